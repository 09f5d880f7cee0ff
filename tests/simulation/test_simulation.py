"""A short simulation with fixed seeds; `make simulate` runs a long one, with any."""

from collections.abc import Callable
from dataclasses import replace

from order_engine.domain.errors import FailureCode
from order_engine.domain.lifecycle import OrderStatus

from tests.doubles.gate import Mode
from tests.doubles.platform import FUNCTIONS
from tests.doubles.quiet import quiet
from tests.simulation.drawing import draw
from tests.simulation.gate import Line
from tests.simulation.plan import Plan
from tests.simulation.simulate import run_seeds
from tests.simulation.simulation import Simulation
from tests.simulation.story import judge, recorded, tell

SEEDS = 120
_RARE = {FailureCode.INTERNAL_ERROR, FailureCode.SETTLEMENT_MISMATCH, FailureCode.TRANSACTION_REVERTED}


def test_whole_lives_keep_every_promise(record_property: Callable[[str, object], None]) -> None:
    """And the seeds reach what they are for."""
    tally = run_seeds(0, SEEDS)

    record_property("told", ["simulation", tally.summary(), *tally.table()])
    assert not tally.failed, f"replay with: SEED={min(tally.failed)} make simulate"
    assert {kind for kind, _ in tally.faults} == set(Mode)
    assert set(OrderStatus) - {status for move in tally.moves for status in move} == set()
    assert set(FailureCode) - set(tally.ends) <= _RARE
    assert max(tally.pages) > 3
    assert set(tally.invocations) == set(FUNCTIONS)


def test_a_seed_is_the_same_world_each_time() -> None:
    """Call by call, as a plan with drawn faults and as one with the same faults written down."""
    with quiet():
        plan = replace(draw(7), rate=0.05)
        once, again = _calls(plan), _calls(plan)
        world = Simulation(plan).run()
        written_down = _calls(replace(plan, faults=dict(world.gate.met)))

    assert once == again == written_down
    assert world.gate.met


def _calls(plan: Plan) -> list[Line]:
    return list(Simulation(plan, told=True).run().gate.lines or ())


def test_a_seed_that_fails_nowhere_is_told_too() -> None:
    """Its story has a line for each call."""
    with quiet():
        story = list(tell(recorded(3)))
        assert not judge(draw(3))

    assert sum(" s  submit " in line for line in story) > 2
    assert not any(line.startswith("BROKEN") for line in story)
