"""The simulation bites: each wrong engine is found within a few seeds, and its story is short."""

from dataclasses import replace

import pytest

from tests.doubles.platform import Parts
from tests.doubles.quiet import quiet
from tests.reliability.broken import (
    EntersAgain,
    ForgetsTheRow,
    HandsOverBlindly,
    NoLease,
    SaysDeadTooSoon,
    TurnsAllButOnePage,
)
from tests.simulation.drawing import draw
from tests.simulation.story import judge, shrunk, tell
from tests.simulation.test_stories import STORIES
from tests.simulation.venue import PlannedVenue

_MOST_SEEDS = 100
_LONGEST_STORY = 60  # lines


class _Hasty(SaysDeadTooSoon, PlannedVenue):
    """Says that what is pending is dead."""


_RIGHT = Parts(venue=PlannedVenue)
WRONG = {
    "the lease is ignored": (replace(_RIGHT, journal=NoLease), "sequences without gaps"),
    "a handover without its condition": (replace(_RIGHT, subscribers=HandsOverBlindly), "in order, without gaps"),
    "the last page is not turned": (replace(_RIGHT, subscribers=TurnsAllButOnePage), "a socket that stays sees all"),
    "pending is taken for dead": (replace(_RIGHT, venue=_Hasty), "only a dead transaction is given up"),
    "a row that was not written is forgotten": (replace(_RIGHT, history=ForgetsTheRow), "a final order has its row"),
}


def _found(parts: Parts, rule: str) -> int | None:
    """The first seed in which the promise is broken."""
    for seed in range(_MOST_SEEDS):
        if any(breach.rule == rule for breach in judge(draw(seed), parts)):
            return seed
    return None


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_engine_is_found(name: str) -> None:
    """By the promise that it breaks."""
    parts, rule = WRONG[name]
    with quiet():
        assert _found(parts, rule) is not None


def test_a_wrong_engine_is_found_by_a_call_that_the_sdk_repeats() -> None:
    """It needs a moment that few seeds have: the first try takes effect between a handover and the order's end."""
    story = STORIES["$connect's write takes effect a second time, after the handover"]
    with quiet():
        broken = judge(story, replace(_RIGHT, subscribers=EntersAgain))

    assert [breach.rule for breach in broken] == ["a socket that stays sees all"]


def test_a_story_is_short() -> None:
    """One order, and little more than the calls between which it happens."""
    parts, rule = WRONG["pending is taken for dead"]
    with quiet():
        seed = _found(parts, rule)
        assert seed is not None
        plan = shrunk(seed, rule, parts)
        story = list(tell(plan, parts))

    assert len(plan.orders) == 1
    assert len(story) <= _LONGEST_STORY
    assert any(rule in line for line in story)
