"""The lives of an order that the tests go through, each with what may go wrong at any moment left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from order_engine.adapters.journal.subscribers import PAGE_SIZE

from tests.doubles.gate import Mode, Service
from tests.doubles.lives import Visit
from tests.doubles.venues import Fate, HardVenue, Moves, ScriptedVenue, Twist
from tests.support.builders import START


@dataclass(frozen=True)
class Scenario:
    """One order's life. `lethal`: the service whose call kills every worker, so that its message ends among the dead
    letters. `by_itself`, `careless`: see `Ledger`; `moves`: see `Market`. `repeats_at`, `cancels_at`, `renewals`,
    `asks`, `launches`: see `Life`."""

    name: str
    ends_as: str
    fates: tuple[Fate, ...] = ()
    visits: tuple[Visit, ...] = ()
    key: str | None = "key"
    lethal: tuple[Service, Mode] | None = None
    by_itself: bool = True
    careless: bool = False
    venue: type[ScriptedVenue] = ScriptedVenue
    twists: Mapping[tuple[str, int], Twist] = field(default_factory=dict)
    page_size: int = PAGE_SIZE
    repeats_at: tuple[float, ...] = ()
    cancels_at: tuple[float, ...] = ()
    renewals: int = 0
    asks: Mapping[str, str] = field(default_factory=dict)
    moves: Moves = ()
    launches: Mapping[str, float] = field(default_factory=dict)


def at(seconds: float) -> str:
    """A moment on the timeline, on the wire."""
    return f"{START + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S.%fZ}"


EARLY = (Visit("early", 0.012),)
CROWD = (Visit("first", 0.012), Visit("second", 0.05), Visit("third", 0.25))

PLAIN = Scenario("plain", "confirmed")
WATCHED = Scenario("watched", "confirmed", visits=(*EARLY, Visit("midway", 1.0)))
WATCHED_ONCE = Scenario("watched by one", "confirmed", visits=EARLY)
WITHOUT_KEY = Scenario("without a key", "confirmed", key=None)
REPEATED = Scenario("posted again and again", "confirmed", (Fate.NO_QUOTES,), repeats_at=(0.3, 0.6))
RENEWED = Scenario("key used again after its life", "confirmed", renewals=1)
TRANSIENT = Scenario("first attempt unavailable", "confirmed", (Fate.UNAVAILABLE,))
ONE_QUOTE = Scenario("one venue down", "confirmed", (Fate.ONE_QUOTE,))
EXHAUSTED = Scenario("three failed attempts", "failed", (Fate.NO_QUOTES,) * 3, EARLY)
NO_LIQUIDITY = Scenario("no liquidity", "failed", (Fate.NO_LIQUIDITY,), EARLY)
TIMEOUT_BEFORE = Scenario("timeout before sending", "confirmed", (Fate.TIMEOUT_BEFORE_SENDING,))
TIMEOUT_AFTER = Scenario("timeout after sending", "confirmed", (Fate.TIMEOUT_AFTER_SENDING,), EARLY)
SLOW = Scenario("lands in its last moment", "confirmed", (Fate.SLOW,))
TOO_SLOW = Scenario("would land too late", "confirmed", (Fate.TOO_SLOW,))
REVERTS = Scenario("reverts", "failed", (Fate.REVERTS,), EARLY)
DUST = Scenario("settles for nothing", "failed", (Fate.DUST,), careless=True)
LOOKED_AT = Scenario("lands when looked at", "confirmed", (Fate.TIMEOUT_AFTER_SENDING,), by_itself=False)

HARD_SLOW = Scenario("hard venue, lands in its last moment", "confirmed", (Fate.SLOW,), venue=HardVenue)
HARD_LOST = Scenario("hard venue, lost on its way", "failed", (Fate.LOST,), venue=HardVenue)  # its minute is over then
HARD_TIMEOUT = Scenario(
    "hard venue, timeout after sending", "confirmed", (Fate.TIMEOUT_AFTER_SENDING,), venue=HardVenue
)

LATE = Scenario("late subscriber", "confirmed", visits=(*EARLY, Visit("late", 30.0)))
LEAVING = Scenario("one leaves", "confirmed", visits=(Visit("leaving", 0.012, leaves_at=1.0), Visit("staying", 0.2)))
REPLAYING = Scenario("one replays", "confirmed", visits=(Visit("replaying", 0.012, replays_at=0.7),))
THROTTLED = Scenario("throttled socket", "confirmed", visits=(Visit("throttled", 0.012, deaf=(0.2, 0.26)), *EARLY))
THROTTLED_LAST = Scenario("throttled at the end", "confirmed", visits=(Visit("throttled", 0.012, deaf=(2.6, 2.8)),))
STUCK = Scenario(
    "sockets that hang", "confirmed", visits=tuple(Visit(f"stuck {n}", 0.02, stuck=(0.1, 9.0)) for n in (1, 2))
)
CROWDED = Scenario("a crowd", "confirmed", visits=CROWD, page_size=1)
CROWDED_AT_ONCE = Scenario(
    "two at once", "failed", (Fate.NO_LIQUIDITY,), (Visit("a", 0.012), Visit("b", 0.012)), page_size=1
)
CROWDED_LEAVING = Scenario(
    "a crowd, one leaves, one is throttled",
    "failed",
    (Fate.REVERTS,),
    (
        Visit("first", 0.012),
        Visit("leaving", 0.014, leaves_at=0.5),
        Visit("throttled", 0.016, deaf=(0.2, 0.3)),
        Visit("replaying", 0.018, replays_at=0.4),
    ),
    page_size=2,
)

SHARED = Scenario("a socket for many orders", "confirmed", visits=(Visit("desk", 0.012, shared=True), *EARLY))
SHARED_CROWDED = Scenario(
    "sockets for many orders, crowded, one unsubscribes",
    "failed",
    (Fate.NO_LIQUIDITY,),
    (Visit("a", 0.012, shared=True), Visit("b", 0.012, shared=True, leaves_at=0.4), Visit("late", 40.0, shared=True)),
    page_size=1,
)

CANCELLED = Scenario("cancelled while it is quoted", "cancelled", visits=EARLY, cancels_at=(0.1,))
CANCELLED_TWICE = Scenario("cancelled twice at once", "cancelled", visits=EARLY, cancels_at=(0.1, 0.1))
CANCELLED_BACKING_OFF = Scenario("cancelled between attempts", "cancelled", (Fate.NO_QUOTES,), EARLY, cancels_at=(0.5,))
CANCELLED_CROWDED = Scenario("cancelled before a crowd", "cancelled", visits=CROWD[:2], page_size=1, cancels_at=(0.1,))
CANCELLED_TOO_LATE = Scenario("cancelled too late", "confirmed", visits=EARLY, cancels_at=(1.0,))

FOK = Scenario("fill or kill", "expired", (Fate.UNAVAILABLE,), EARLY, asks={"timeInForce": "fok"})
FOK_FILLED = Scenario("fill or kill, filled", "confirmed", visits=EARLY, asks={"timeInForce": "fok"})
FOK_LOST = Scenario("fill or kill, would land too late", "expired", (Fate.TOO_SLOW,), asks={"timeInForce": "fok"})
EXPIRING = Scenario("until it expires", "expired", (Fate.TOO_SLOW,), EARLY, asks={"expiresAt": at(15.0)})
TOO_SHORT = Scenario("too short for a transaction", "expired", visits=EARLY, asks={"expiresAt": at(5.0)})
LONG_ENOUGH = Scenario("long enough", "confirmed", (Fate.UNAVAILABLE,), asks={"expiresAt": at(600.0)})
PAST = Scenario("past already", "expired", visits=EARLY, asks={"expiresAt": at(-1.0)})

# The price is 150 USDC for a SOL, and SOL for NOVA as well once that is launched.
LIMIT = {"orderType": "limit", "limitPrice": "160"}
NOW = {"orderType": "limit", "limitPrice": "148"}
UP, DOWN = ((3.0, "1.1"),), ((3.0, "0.9"),)
RESTING_CROWD = (Visit("first", 0.012), Visit("while it rests", 1.6), Visit("leaving", 0.05, leaves_at=2.0))

LIMIT_DUE = Scenario("limit, due at once", "confirmed", visits=EARLY, asks=NOW)
LIMIT_REACHED = Scenario(
    "limit, reached later", "confirmed", visits=(*EARLY, Visit("while it rests", 2.0)), asks=LIMIT, moves=UP
)
LIMIT_CROWDED = Scenario("limit, a crowd", "confirmed", visits=RESTING_CROWD, page_size=1, asks=LIMIT, moves=UP)
LIMIT_THROTTLED = Scenario(
    "limit, throttled as it opens", "confirmed", visits=(Visit("deaf", 0.012, deaf=(0.1, 1.5)),), asks=LIMIT, moves=UP
)
STOP = Scenario("stop", "confirmed", visits=EARLY, asks={"orderType": "stop", "triggerPrice": "140"}, moves=DOWN)
TAKE_PROFIT = Scenario("take profit", "confirmed", asks={"orderType": "takeProfit", "triggerPrice": "160"}, moves=UP)
SNIPER = Scenario(
    "sniper", "confirmed", visits=EARLY, asks={"orderType": "sniper", "tokenOut": "NOVA"}, launches={"NOVA": 3.0}
)
RESTED_TO_THE_END = Scenario("limit, expires", "expired", visits=EARLY, asks={**LIMIT, "expiresAt": at(4.0)})
REACHED_TOO_LATE = Scenario("limit, reached too late", "expired", asks={**LIMIT, "expiresAt": at(9.0)}, moves=UP)
RETURNS = Scenario(
    "limit, goes back to rest",
    "confirmed",
    (Fate.NOT_BUILT,),
    EARLY,
    asks=LIMIT,
    moves=((3.0, "1.1"), (4.0, "1"), (7.0, "1.1")),
)
MISSED_ONCE_SENT = Scenario(
    "limit, missed after it was sent", "failed", (Fate.TOO_SLOW,), EARLY, asks=LIMIT, moves=(*UP, (10.0, "1"))
)
LIMIT_TRANSIENT = Scenario("limit, first attempt unavailable", "confirmed", (Fate.UNAVAILABLE,), asks=LIMIT, moves=UP)
CANCELLED_AT_REST = Scenario("limit, cancelled at rest", "cancelled", visits=EARLY, asks=LIMIT, cancels_at=(2.0,))
CANCELLED_TRIGGERED = Scenario(
    "limit, cancelled once triggered", "cancelled", visits=EARLY, asks=LIMIT, moves=UP, cancels_at=(3.8,)
)
REACHED = Scenario("limit, reached while nobody looks", "confirmed", asks=LIMIT, moves=((1.0, "1.1"),))
REACHED_WATCHED = replace(REACHED, name="limit, reached while one watches", visits=EARLY)
OVER = Scenario("limit, over while nobody looks", "expired", asks={**LIMIT, "expiresAt": at(1.0)})
DEADLY_RESTING = Scenario(
    "limit, dies at its quotes", "failed", visits=EARLY, asks=NOW, lethal=(Service.QUOTES, Mode.KILL_AFTER)
)

DEADLY_QUOTES = Scenario("dies at its quotes", "failed", (), EARLY, lethal=(Service.QUOTES, Mode.KILL_AFTER))
DEADLY_SENDING = Scenario("dies once it has sent", "confirmed", (), EARLY, lethal=(Service.CHAIN, Mode.KILL_AFTER))
DEADLY_REVERTED = Scenario(
    "dies once it has sent what reverts", "failed", (Fate.REVERTS,), lethal=(Service.CHAIN, Mode.KILL_AFTER)
)
DEADLY_HISTORY = Scenario("dies at its history", "confirmed", lethal=(Service.HISTORY, Mode.KILL_BEFORE))

ALL = [scenario for scenario in list(vars().values()) if isinstance(scenario, Scenario)]
