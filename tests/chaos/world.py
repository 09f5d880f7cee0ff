"""What the checker judges: everything that clients saw and stores hold, as plain data in the wire format's words."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from math import inf
from typing import Any

Message = dict[str, Any]  # a JSON object; its numbers with a point are Decimal
Row = dict[str, Any]

FINAL = ("confirmed", "failed", "cancelled", "expired")


@dataclass(frozen=True)
class Posted:
    """One POST as its client saw it.

    `expected`: "accept", "refuse" (an invalid body) or "conflict" (a key that another body has taken). `status` is 0
    without a response, and `answer` is {} where that was no JSON object. `era` says how often the life of its
    clientOrderId had ended before.
    """

    at: float  # epoch seconds
    body: Message
    expected: str
    status: int
    answer: Message = field(default_factory=dict)
    until: float = inf  # epoch seconds, when the response came
    era: int = 0

    @property
    def key(self) -> str | None:
        return self.body.get("clientOrderId")

    @property
    def unclear(self) -> bool:
        """Whether it may have been accepted, although its client was not told so."""
        return self.status not in (202, 429) and not self.nothing_accepted

    @property
    def nothing_accepted(self) -> bool:
        """Whether its client was told that no order of this request will ever be executed."""
        return self.answer.get("code") == "NOTHING_ACCEPTED"

    @property
    def accepted(self) -> str | None:
        """The order's id, if it was accepted."""
        return self.answer.get("orderId") if self.status == 202 else None


@dataclass(frozen=True)
class Cancel:
    """One DELETE of an order as its client saw it; `status` is 0 without a response."""

    order_id: str
    status: int
    answer: Message = field(default_factory=dict)


@dataclass
class Transcript:
    """One socket as its client saw it, from the handshake that succeeded to the end.

    `after` is what it asked for, and `ended_before` says that its subscriber had had a final status by then. `left`
    says that its client hung up, `closed` that the server closed it (code 1000), `broken` why it ended otherwise; one
    that is none of these stayed open to the end. `mute`: posts to it were made to hang from some moment on.
    `shared`: it is one order's share of a socket that was opened for none; `left` then also says that its client
    unsubscribed.
    """

    order_id: str
    after: int
    ended_before: bool = False
    opened_at: float = 0.0
    messages: list[tuple[float, Message]] = field(default_factory=list)
    replays: list[int] = field(default_factory=list)  # the `after` of every replay that was asked for
    noise: list[str] = field(default_factory=list)  # what was no status of an order
    left: bool = False
    closed: bool = False
    broken: str = ""
    mute: bool = False
    shared: bool = False

    @property
    def seen(self) -> int:
        """The greatest sequence that it has had, `after` included."""
        return max((int(message["sequence"]) for _, message in self.messages), default=self.after)

    @property
    def final(self) -> bool:
        return any(message["status"] in FINAL for _, message in self.messages)


@dataclass(frozen=True)
class Journaled:
    """An order in the journal; `lease` owns a lease that was not released, `errors` are its attempts that failed."""

    order: Message
    events: Sequence[Message]
    status: str
    sequence: int
    closed: bool
    lease: str = ""
    errors: Sequence[Message] = ()

    @property
    def rests(self) -> bool:
        """Whether the order waits for its condition, and is not executed at once."""
        return self.order.get("orderType", "market") != "market" and self.order.get("timeInForce") != "fok"

    @property
    def resting(self) -> bool:
        """Whether that is what it was doing at the end."""
        return self.rests and self.status == "open"


@dataclass(frozen=True)
class OnChain:
    """A transaction on the chain, `state` being sent, landed, reverted or dead; `lands_at` (epoch seconds) is when it
    lands unless it dies before, if that is known."""

    tx_hash: str
    order_id: str
    state: str
    amount_out: Decimal | None = None
    executed_price: Decimal | None = None
    lands_at: float | None = None


@dataclass(frozen=True)
class Terms:
    """What a run was set to, where a promise is a number; the defaults demand nothing."""

    back_off_seconds: float = 0.0  # the least before the second attempt; twice that before the third
    validity_seconds: float = 0.0  # of a transaction, from when it is built
    latest_seconds: float = inf  # before its expiresAt an order may expire so early: nothing could be sent any more
    status_seconds: float = inf  # the most from one status of a crowded order to the next, while nothing else is slow
    longest_rest: timedelta = timedelta(days=30)  # of an order without expiresAt
    overdue_seconds: float = inf  # the most that an order rests whose expiresAt has passed, or that is due all the time


@dataclass(frozen=True)
class World:
    """The end of a run.

    `rows` and `event_rows` are PostgreSQL's orders (by id) and order_events; `waiting` counts the messages that are
    still in the orders queue; `dead_letters` are the bodies in the dead-letter queue, `poison` those that were put
    into the orders queue to end there. `diverted` are the orders whose messages became dead letters before any worker
    had them, `crowded` those with many subscribers.

    Of the orders that rest: `index` has those that are found by their price, with their side (SOL/USDC#rise) and
    that price; `sides` and `expiries` (<epoch milliseconds>#<orderId>) are what the watcher looks at. `launches` has
    when the pools of a token opened (epoch seconds), `market` for a pair (SOL/USDC) the least and the greatest price
    of any venue in the last `overdue_seconds` before `ended_at` (epoch seconds), when the stores were read.
    """

    posted: Sequence[Posted] = ()
    cancels: Sequence[Cancel] = ()
    transcripts: Sequence[Transcript] = ()
    journal: Mapping[str, Journaled] = field(default_factory=dict)
    chain: Sequence[OnChain] = ()
    rows: Mapping[str, Row] = field(default_factory=dict)
    event_rows: Sequence[Row] = ()
    waiting: int = 0
    dead_letters: Sequence[str] = ()
    poison: Sequence[str] = ()
    diverted: Sequence[str] = ()
    crowded: Sequence[str] = ()
    index: Mapping[str, tuple[str, Decimal]] = field(default_factory=dict)
    sides: Collection[str] = ()
    expiries: Collection[str] = ()
    launches: Mapping[str, float] = field(default_factory=dict)
    market: Mapping[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    ended_at: float = 0.0
    terms: Terms = field(default_factory=Terms)

    @property
    def accepted(self) -> set[str]:
        """The orders of which some client was told that they are accepted."""
        return {order_id for posted in self.posted if (order_id := posted.accepted)}

    def chain_of(self, order_id: str) -> list[OnChain]:
        return [transaction for transaction in self.chain if transaction.order_id == order_id]


@dataclass(frozen=True)
class Breach:
    """A promise that was not kept; `order_id` is empty where it is no one order's."""

    rule: str
    order_id: str
    detail: str
