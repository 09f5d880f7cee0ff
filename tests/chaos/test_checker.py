"""The checker bites: a clean world passes, and a world with one promise broken is told by that promise's name."""

import inspect
import re
from copy import deepcopy

import pytest

from tests.chaos.breaches import BREACHES, UNKNOWN, Break
from tests.chaos.checker import RULES, check
from tests.chaos.samples import CONFIRMED, clean_world
from tests.chaos.story import story
from tests.chaos.world import World

_SHOWN_BELOW = {"nothing new after a final status", "what is seen is journaled"}


def test_a_world_in_which_every_promise_was_kept_passes() -> None:
    assert check(clean_world()) == []


@pytest.mark.parametrize(("rule", "broken"), BREACHES.values(), ids=BREACHES.keys())
def test_a_broken_promise_is_told(rule: str, broken: Break) -> None:
    breaches = check(broken(deepcopy(clean_world())))

    assert rule in {breach.rule for breach in breaches}


def test_every_rule_has_a_breach() -> None:
    """Of those in the source, f-strings by their beginning."""
    modules = {inspect.getmodule(rule) for rule in RULES}
    sources = "".join(inspect.getsource(module) for module in modules if module)
    named = set(re.findall(r'Breach\(\s*f?"([^"{]+)', sources)) - _SHOWN_BELOW
    shown = {rule for rule, _ in BREACHES.values()}

    assert {name for name in named if not any(rule.startswith(name) for rule in shown)} == set()


def test_something_new_after_a_final_status_is_told() -> None:
    world = clean_world()
    known = world.journal[CONFIRMED].events
    early = {**known[3], "status": "failed"}  # it said failed, and went on
    world.transcripts[0].messages[3] = (9.0, early)

    assert {one.rule for one in check(world)} >= _SHOWN_BELOW


def test_the_story_of_an_order_has_every_source() -> None:
    told = story(clean_world(), CONFIRMED)

    for part in ("POST", "journal: confirmed", "chain: ", "PostgreSQL: ", "socket opened", "tx-2", "replays [0]"):
        assert part in told
    assert "tx-3" not in told
    assert "journal: nothing" in story(clean_world(), UNKNOWN)


def test_the_checker_imports_nothing_of_the_engine() -> None:
    modules = {inspect.getmodule(rule) for rule in (*RULES, check, story, World)}
    for source in map(inspect.getsource, filter(None, modules)):
        assert "order_engine" not in source
        assert "import local" not in source
        assert "from local" not in source
