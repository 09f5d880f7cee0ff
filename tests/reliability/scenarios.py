"""The lives of an order that the tests go through, each with what may go wrong at any moment left out."""

from dataclasses import dataclass

from tests.reliability.fake_venue import Fate
from tests.reliability.gate import Mode, Service


@dataclass(frozen=True)
class Visit:
    """A subscriber, in virtual seconds from the order's submission (an order is final after about three)."""

    name: str
    joins_at: float
    leaves_at: float | None = None
    replays_at: float | None = None  # asks for everything again on the open socket
    deaf: tuple[float, float] = (0.0, 0.0)  # from when until when its socket is throttled


@dataclass(frozen=True)
class Scenario:
    """One order's life. `lethal`: the service whose call kills every worker, so that its message ends among the dead
    letters. `lands_by_itself`: the chain ends what is due unasked (as a real one), or when looked at (the mock one)."""

    name: str
    ends_as: str
    fates: tuple[Fate, ...] = ()
    visits: tuple[Visit, ...] = ()
    client_order_id: str | None = "key"
    lethal: tuple[Service, Mode] | None = None
    lands_by_itself: bool = True


PLAIN = Scenario("plain", "confirmed")
WATCHED = Scenario("watched", "confirmed", visits=(Visit("early", 0.012), Visit("midway", 1.0)))
WITHOUT_KEY = Scenario("without a key", "confirmed", client_order_id=None)
TRANSIENT = Scenario("first attempt unavailable", "confirmed", (Fate.UNAVAILABLE,), (Visit("early", 0.012),))
NO_QUOTES = Scenario("no quotes at first", "confirmed", (Fate.NO_QUOTES,), (Visit("early", 0.012),))
ONE_QUOTE = Scenario("one venue down", "confirmed", (Fate.ONE_QUOTE,))
EXHAUSTED = Scenario("three failed attempts", "failed", (Fate.UNAVAILABLE,) * 3, (Visit("early", 0.012),))
NO_LIQUIDITY = Scenario("no liquidity", "failed", (Fate.NO_LIQUIDITY,), (Visit("early", 0.012),))
TIMEOUT_BEFORE = Scenario(
    "timeout before sending", "confirmed", (Fate.TIMEOUT_BEFORE_SENDING,), (Visit("early", 0.012),)
)
TIMEOUT_AFTER = Scenario("timeout after sending", "confirmed", (Fate.TIMEOUT_AFTER_SENDING,), (Visit("early", 0.012),))
SLOW = Scenario("lands too late", "confirmed", (Fate.SLOW,))
REVERTS = Scenario("reverts", "failed", (Fate.REVERTS,), (Visit("early", 0.012),))
LOOKED_AT = Scenario("lands when looked at", "confirmed", (Fate.TIMEOUT_AFTER_SENDING,), lands_by_itself=False)
LATE = Scenario("late subscriber", "confirmed", visits=(Visit("early", 0.012), Visit("late", 30.0)))
LEAVING = Scenario("one leaves", "confirmed", visits=(Visit("leaving", 0.012, leaves_at=1.0), Visit("staying", 0.2)))
REPLAYING = Scenario("one replays", "confirmed", visits=(Visit("replaying", 0.012, replays_at=0.7),))
THROTTLED = Scenario(
    "throttled socket", "confirmed", visits=(Visit("throttled", 0.012, deaf=(0.505, 0.52)), Visit("fine", 0.012))
)
THROTTLED_LAST = Scenario("throttled at the end", "confirmed", visits=(Visit("throttled", 0.012, deaf=(2.999, 3.03)),))
DEADLY_QUOTES = Scenario(
    "dies at its quotes", "failed", (), (Visit("early", 0.012),), lethal=(Service.QUOTES, Mode.KILL_AFTER)
)
DEADLY_SENDING = Scenario(
    "dies once it has sent", "confirmed", (), (Visit("early", 0.012),), lethal=(Service.CHAIN, Mode.KILL_AFTER)
)
DEADLY_REVERTED = Scenario(
    "dies once it has sent what reverts", "failed", (Fate.REVERTS,), lethal=(Service.CHAIN, Mode.KILL_AFTER)
)
DEADLY_HISTORY = Scenario("dies at its history", "confirmed", lethal=(Service.HISTORY, Mode.KILL_BEFORE))
