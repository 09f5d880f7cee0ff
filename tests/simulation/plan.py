"""What a seed's world is like: its orders, clients, viewers and troubles, as data of which any part may be left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.doubles.gate import Mode, Service
from tests.doubles.venues import Moves


@dataclass(frozen=True)
class Fault:
    """What happens to one call; `size` in [0, 1) says how late or how slow."""

    kind: Mode
    size: float = 0.5


Place = tuple[str, int]  # a process, and the number of its call


@dataclass(frozen=True)
class Window:
    """A service with one trouble for every call, or for some (`share`), while it lasts."""

    service: Service
    kind: Mode
    begins: float
    ends: float
    share: float = 1.0


class Answer(StrEnum):
    """What a venue does with a request for a quote or for a transaction."""

    OK = "ok"
    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate limited"
    UNFORESEEN = "raises something unforeseen"
    HANGS = "hangs"
    TOO_LITTLE = "has too little"  # InsufficientLiquidity
    NOTHING = "buys nothing"
    TOO_SMALL = "amount too small"
    IMPACT = "moves the price"


class Broadcast(StrEnum):
    """What a venue does with a transaction that it is sent."""

    LANDS = "lands"
    SLOW = "lands late"  # perhaps after its validity, which is never
    LOST = "is lost"  # until it is sent again
    LOST_FOR_GOOD = "is always lost"
    REVERTS = "reverts"
    SHORT = "swaps for too little"  # which no venue may do
    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate limited"
    TIMES_OUT = "times out before"
    TIMES_OUT_AFTER = "times out after"
    UNFORESEEN = "raises something unforeseen"
    HANGS = "hangs"
    HANGS_AFTER = "hangs after"


@dataclass(frozen=True)
class Fate:
    """What becomes of one attempt; `quotes` has an answer for each venue; `seconds` from sending to landing; for
    how long the venue is `blind` to what it was sent."""

    quotes: tuple[Answer, Answer] = (Answer.OK, Answer.OK)
    build: Answer = Answer.OK
    broadcast: Broadcast = Broadcast.LANDS
    seconds: float = 2.5
    blind: float = 0.0


@dataclass(frozen=True)
class Post:
    """One POST of an order, `delay` seconds after its era began; `conflict`: another body under its key. `answered`:
    whether its client gets the answer."""

    delay: float
    conflict: bool = False
    answered: bool = True


@dataclass(frozen=True)
class Era:
    """One life of an order's clientOrderId: `after` so many seconds from the era before, the same POST is made again;
    `expected` says whether the key has expired by then."""

    after: float
    posts: tuple[Post, ...]
    expired: bool = False


@dataclass(frozen=True)
class Visit:
    """One stay on a socket: comes `delay` seconds after the order or the last stay, leaves after so many messages or so
    many seconds (None: stays to the end), and asks for a replay after so many. Its handshake takes `handshake` seconds
    more after $connect; posts to it are throttled or hang in the window `troubled` (after it came)."""

    delay: float
    leave_after: int | None = None
    leave_at: float | None = None
    replay_after: int | None = None
    handshake: float = 0.05
    deaf: tuple[float, float] = (0.0, 0.0)
    stuck: tuple[float, float] = (0.0, 0.0)
    mute: bool = False  # posts to it hang for ever
    silent: bool = False  # nobody is told when it leaves


@dataclass(frozen=True)
class Desk:
    """A client that watches these orders, by their numbers, on one socket that it opens for none of them; it says
    `unsubscribe` for some, `after` so many seconds."""

    at: float
    orders: tuple[int, ...]
    unsubscribes: tuple[int, ...] = ()
    after: float = 0.0
    visit: Visit = Visit(0.0)


@dataclass(frozen=True)
class OrderPlan:
    """One order, its clients and its luck. `poison`: this service kills every worker that calls it for the order, for
    so many deliveries."""

    number: int
    at: float
    body: Mapping[str, Any]
    keyed: bool
    valid: bool = True
    posts: tuple[Post, ...] = (Post(0.0),)
    eras: tuple[Era, ...] = ()
    cancels: tuple[float, ...] = ()  # so many seconds after it began
    viewers: tuple[tuple[Visit, ...], ...] = ()
    fates: tuple[Fate, ...] = ()
    poison: tuple[Service, int] | None = None


@dataclass(frozen=True)
class Plan:
    """A world. `faults` are those of single calls: None has them drawn, at `rate` of the calls, from `kinds`, until
    `calm_at`. `moves` are the market's, `launches` the tokens whose pools open, and when. `skew`: by how many seconds a
    process's clock may be wrong; `jitter`: how unequal calls' times are."""

    seed: int
    orders: tuple[OrderPlan, ...]
    desks: tuple[Desk, ...] = ()
    moves: Moves = ()
    launches: tuple[tuple[str, float], ...] = ()
    windows: tuple[Window, ...] = ()
    faults: Mapping[Place, Fault] | None = None
    rate: float = 0.0
    kinds: tuple[Mode, ...] = ()
    calm_at: float = 100.0
    workers: int = 3
    page_size: int = 2
    validity: float = 10.0
    skew: float = 0.0
    jitter: float = 1.0
    duplicates: float = 0.0  # of messages and invocations
    delays: float = 0.0  # share of messages and invocations that come late
