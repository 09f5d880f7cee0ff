"""Broken variants of the engine on the real stack, to show that the checker bites.

Each swaps one part, by lines that are put before the functions' code in a copy of the project's folder.
"""

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from local.stack import ROOT, LocalStack
from tests.chaos import plan
from tests.chaos.hosting import Timings
from tests.chaos.plan import Fault
from tests.chaos.running import run

_SECONDS = 4.0
_ORDERS = 80
_SETTLE_SECONDS = 45.0
_TIMINGS = Timings(function_seconds=4, lease_seconds=5, visibility_seconds=6)
_FUNCTIONS = ("route_execute", "dead_letters", "notify")


@dataclass(frozen=True)
class Variant:
    """A part that is swapped, and the promise that the checker must then find broken (none: the engine as it is)."""

    name: str
    rule: str
    patch: str


VARIANTS = (
    Variant("the engine as it is", "", ""),
    Variant(
        "no lease: two workers have the same order",
        "sequences without gaps",
        """
from order_engine.adapters.journal import DynamoJournal

class Unconditional:
    def __init__(self, dynamodb): self._dynamodb = dynamodb
    def __getattr__(self, name): return getattr(self._dynamodb, name)
    def update_item(self, **call):
        call["ConditionExpression"] = f"attribute_exists(orderId) OR ({call['ConditionExpression']})"
        return self._dynamodb.update_item(**call)

make = DynamoJournal.__init__
DynamoJournal.__init__ = lambda self, dynamodb, *rest: make(self, Unconditional(dynamodb), *rest)
""",
    ),
    Variant(
        "no handover condition: an event in between is lost",
        "in order, without gaps",
        """
import time
from order_engine.adapters.subscribers import DynamoSubscribers

change = DynamoSubscribers._change
def careless(self, order_id, connection_id, update, condition, values=None):
    if condition.startswith("#sequence = :through"):
        time.sleep(0.05)
        condition = condition.replace("#sequence = :through", "#sequence >= :through")
    return change(self, order_id, connection_id, update, condition, values)
DynamoSubscribers._change = careless
""",
    ),
    Variant(
        "a failed first attempt is written, and never replaced",
        "PostgreSQL = journal",
        """
from order_engine.execution import Executor
from order_engine.status import OrderStatus

retry_or_fail = Executor._retry_or_fail
def hasty(self, claim, error, attempt=None):
    self.history.record(claim.entry.advanced(OrderStatus.FAILED, self.now(), "no", code=error.code, error=str(error)))
    return retry_or_fail(self, claim, error, attempt)
Executor._retry_or_fail = hasty
""",
    ),
    Variant(
        "what timed out is taken for failed",
        "no transaction is under way",
        """
from order_engine.adapters.mock_venues import MockVenue
from order_engine.orders import Outlook

MockVenue.status = lambda self, tx_hash, wait_seconds: Outlook.DEAD
""",
    ),
    Variant(
        "the floor is not enforced",
        "never worse than asked",
        """
from order_engine.adapters import mock_venues
from dataclasses import replace

execution = mock_venues.MockVenue._execution
mock_venues.MockVenue._execution = lambda *call: replace(execution(*call), reverted=None)
""",
    ),
    Variant(
        "the outcome is acknowledged before it is written",
        "a final order has its row",
        """
from order_engine.adapters.history import PostgresHistory

record = PostgresHistory.record
def forgetful(self, entry):
    if entry.sequence % 2: record(self, entry)
PostgresHistory.record = forgetful
""",
    ),
)


def all_caught(console: Console, venues: dict[str, str]) -> int:
    """Runs each variant on a stack of its own; answers the exit code: 0 if each is told for what it is."""
    told = [_told(variant, console, venues) for variant in VARIANTS]
    console.print(f"{sum(told)} of {len(VARIANTS)} variants told for what they are")
    return 0 if all(told) else 1


def _told(variant: Variant, console: Console, venues: dict[str, str]) -> bool:
    drawn = plan.draw(11, _SECONDS, _ORDERS)
    doubles = [Fault(0.3 + n * _SECONDS / 100, "duplicate", choice=0.99) for n in range(100)]
    agenda = plan.Plan(drawn.requests, doubles)
    with tempfile.TemporaryDirectory() as folder:
        root, state = Path(folder) / "project", Path(folder) / "state"
        _patched(root, variant.patch)
        with LocalStack(state, port=0, parameters=venues) as stack:
            outcome = run(stack, agenda, _TIMINGS, Console(quiet=True), _SETTLE_SECONDS, root)
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
