"""Broken variants of the engine on the real stack, to show that the checker bites: each in a copy of the project's
folder."""

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from local.stack import ROOT, LocalStack
from tests.chaos import plan
from tests.chaos.broken_engines import VARIANTS, Variant
from tests.chaos.faults import Fault
from tests.chaos.hosting import Timings
from tests.chaos.running import run
from tests.chaos.world import Terms

_SECONDS = 4.0
_ORDERS = 80
_SETTLE_SECONDS = 60.0
_TIMINGS = Timings(function_seconds=20, lease_seconds=21, visibility_seconds=6)
_FUNCTIONS = ("route_execute", "dead_letters", "notify", "submit", "ws_connect")


def all_caught(console: Console, venues: dict[str, str], terms: Terms) -> int:
    """Runs each variant on a stack of its own; answers the exit code: 0 if each is told for what it is."""
    told = [_told(variant, console, venues, terms) for variant in VARIANTS]
    console.print(f"{sum(told)} of {len(VARIANTS)} variants told for what they are")
    return 0 if all(told) else 1


def _told(variant: Variant, console: Console, venues: dict[str, str], terms: Terms) -> bool:
    doubles = [Fault(0.3 + n * _SECONDS / 100, "duplicate", choice=0.99) for n in range(100)]
    lost = Fault(_SECONDS / 2, "lose", "sqs", choice=1.0, seconds=1.5)
    drawn = plan.draw(11, _SECONDS, _ORDERS, viewers=0)
    agenda = replace(drawn, faults=sorted([lost, *doubles], key=lambda one: one.at))
    with tempfile.TemporaryDirectory() as folder:
        root, state = Path(folder) / "project", Path(folder) / "state"
        _patched(root, variant.patch)
        with LocalStack(state, port=0, parameters=venues) as stack:
            outcome = run(stack, agenda, _TIMINGS, Console(quiet=True), _SETTLE_SECONDS, root, terms)
    rules = Counter(breach.rule for breach in outcome.breaches)
    told = variant.rule in rules if variant.rule else not rules
    console.print(f"{'told' if told else 'MISSED'}: {variant.name}: {dict(rules) or 'no breach'}", markup=False)
    return told


def _patched(root: Path, patch: str) -> None:
    """The project's folder once more, with the patch before the functions' code."""
    root.mkdir()
    for name in ("layers", "local"):
        (root / name).symlink_to(ROOT / name)
    for function in _FUNCTIONS:
        code = root / "functions" / function
        code.mkdir(parents=True)
        (code / "app.py").write_text(patch + (ROOT / "functions" / function / "app.py").read_text())
