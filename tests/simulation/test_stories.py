"""What simulations have found, as the stories they were shrunk to."""

import pytest

from tests.doubles.gate import Mode
from tests.doubles.quiet import quiet
from tests.simulation.plan import Fate, Fault, OrderPlan, Place, Plan, Visit
from tests.simulation.story import judge

_BODY = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "10"}


def _slow(name: str, *calls: int, size: float = 0.8) -> dict[Place, Fault]:
    return {(name, call): Fault(Mode.SLOW, size) for call in calls}


def _world(faults: dict[Place, Fault], *visits: Visit, fates: tuple[Fate, ...] = ()) -> Plan:
    order = OrderPlan(1, 0.0, _BODY, keyed=False, viewers=(visits,) if visits else (), fates=fates)
    return Plan(0, (order,), faults=faults, jitter=0.0)


STORIES = {
    # Notify has nothing to post to it, and so does not see that it is not connected yet; the next status finds it so.
    "a viewer comes back with `after`, and its handshake takes longer than the next status": _world(
        {}, Visit(0.0, leave_after=4), Visit(0.0, handshake=5.0), fates=(Fate(seconds=4.0),)
    ),
    # Its time to connect has passed before $connect has returned.
    "$connect itself takes ten seconds": _world(
        _slow("ws_connect o1 viewer 0.1 #1", 2, 3, size=0.99), Visit(0.0, handshake=0.3)
    ),
    # The call would outlast the function's time limit, if it hung.
    "a slow journal leaves no time for the venue": _world(_slow("route_execute o1 #1", 1, 2, 5, 7)),
    # The first try, which the SDK gave up, would undo the handover.
    "$connect's write takes effect a second time, after the handover": _world(
        {("ws_connect o1 viewer 0.1 #1", 2): Fault(Mode.REPEATED, 0.3)}, Visit(0.0), fates=(Fate(seconds=5.0),)
    ),
    # It raises the generation once more, after notify was asked for the one before, and nobody asks again.
    "a write that takes a viewer back takes effect after the order was closed": _world(
        {
            ("route_execute o1 #1", 11): Fault(Mode.KILL_AFTER),
            ("route_execute o1 #2", 3): Fault(Mode.LATE, 0.2),
        },
        Visit(0.0, deaf=(35.0, 95.0)),
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_a_story_has_a_good_end(story: str) -> None:
    """No promise is broken any more."""
    with quiet():
        assert not judge(STORIES[story])
