"""Engines with one part broken, by lines that are put before the functions' code, on the real stack: the checker must
tell each. `make chaos ARGS=--variants`."""

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from local.stack import ROOT
from tests.chaos import plan
from tests.chaos.running import Timings, run, unhosted
from tests.chaos.world import Terms
from tests.support.operations import FUNCTIONS

# Each by its name, the promise that the checker must then find broken, and its lines, which follow upon _COMMON.
_BROKEN = """
# no lease: two workers have the same order -> sequences without gaps
class Unconditional(Client):
    def update_item(self, **call):
        call["ConditionExpression"] = f"attribute_exists(orderId) OR ({call['ConditionExpression']})"
        return self._dynamodb.update_item(**call)

DynamoJournal.__init__ = made_with(Unconditional)

# no handover condition: an event in between is lost -> in order, without gaps
import time
from order_engine.adapters.journal.subscribers import DynamoSubscribers

change = DynamoSubscribers._update
def careless(self, order_id, page, update, condition, *rest, **more):
    if condition.startswith("#sequence = :through"):
        time.sleep(0.05)
        condition = condition.replace("#sequence = :through", "#sequence >= :through")
    return change(self, order_id, page, update, condition, *rest, **more)
DynamoSubscribers._update = careless

# a failed first attempt is written, and never replaced -> PostgreSQL = journal
from order_engine.domain.events import Failed
from order_engine.use_cases.execute import Executor

defer = Executor._defer
def hasty(self, claim, seconds, reason):
    record = claim.record
    if reason.startswith("attempt "):
        error = record.errors[-1]
        ends = {"code": error.code, "error": error.error, "attempts": record.errors}
        self.history.record(record.followed_by(Failed(**record.header(self.now()), message="hasty", **ends)))
    return defer(self, claim, seconds, reason)
Executor._defer = hasty

# what timed out is taken for dead -> only a dead transaction is given up
from order_engine.adapters.mock_market.venue import MockVenue
from order_engine.domain.swaps import Dropped

MockVenue.abandon = lambda self, transaction: Dropped()

# the floor is not enforced -> never worse than asked
from order_engine.adapters.mock_market import chain
from order_engine.domain.record import OrderRecord

chain.refusal_of = lambda *_: None
generous = lambda record: record.transaction.model_copy(update={"min_amount_out": 0})
OrderRecord.submitted_transaction = property(generous)

# the outcome is acknowledged before it is written -> a final order has its row
from order_engine.adapters.history import PostgresHistory

write = PostgresHistory.record
def forgetful(self, record):
    if record.sequence % 2: write(self, record)
PostgresHistory.record = forgetful

# the back-off is the queue's alone -> no attempt before its back-off is over
release = DynamoJournal.release
DynamoJournal.release = lambda self, claim, closed=False, not_before=None: release(self, claim, closed)

# a key never expires -> an expired key is another order
class Eternal(Client):
    def transact_write_items(self, **call):
        key = call["TransactItems"][0]["Put"]
        key["ConditionExpression"] = "attribute_not_exists(id)"
        del key["ExpressionAttributeValues"]
        return self._dynamodb.transact_write_items(**call)

DynamoJournal.__init__ = made_with(Eternal)

# whatever fails was not accepted -> nothing accepted under a key means no order
from order_engine.use_cases import submit
from order_engine.domain.refusals import NothingAccepted

submit.AcceptanceUnknown = lambda detail, key: NothingAccepted(detail)

# every dead letter is given up -> an order that no worker took up is executed
from order_engine.domain.steps import GivenUp
from order_engine.use_cases.execute import Executor

Executor.give_up = lambda self, order_id, reason: self._with_claim(order_id, lambda _: GivenUp(reason))

# any price impact is accepted -> the chosen quote's price impact is allowed
from order_engine.domain import decisions

choose = decisions.choose
def deaf(order, answers):
    return choose(order.model_copy(update={"max_price_impact_bps": 10_000}), answers)
decisions.choose = deaf
"""
_COMMON = """
from order_engine.adapters.journal.journal import DynamoJournal

make = DynamoJournal.__init__
made_with = lambda kind: lambda self, dynamodb, *rest: make(self, kind(dynamodb), *rest)

class Client:
    def __init__(self, dynamodb): self._dynamodb = dynamodb
    def __getattr__(self, name): return getattr(self._dynamodb, name)
"""
_SECONDS = 4.0
_ORDERS = 80
_TIMINGS = Timings(function_seconds=20, lease_seconds=21, visibility_seconds=6)


def all_caught(console: Console, venues: dict[str, str], terms: Terms) -> int:
    """Run each variant on a stack of its own; return the exit code: 0 if each is told for what it is."""
    told = [_told("the engine as it is", "", "", console, venues, terms)]
    for section in _BROKEN.split("\n# ")[1:]:
        title, _, patch = section.partition("\n")
        name, _, rule = title.partition(" -> ")
        told.append(_told(name, rule, _COMMON + patch + "\n", console, venues, terms))
    console.print(f"{sum(told)} of {len(told)} variants told for what they are")
    return 0 if all(told) else 1


def _told(name: str, rule: str, patch: str, console: Console, venues: dict[str, str], terms: Terms) -> bool:
    doubles = [plan.Fault(0.3 + n * _SECONDS / 100, "duplicate", choice=0.99) for n in range(100)]
    # Only a client that got no clear response can be told something wrong; settling takes a minute longer then.
    lost = [plan.Fault(0.2, "lose", "sqs", choice=1.0, seconds=_SECONDS)] if not rule or "accepted" in rule else []
    agenda = replace(plan.draw(11, _SECONDS, _ORDERS, viewers=0), faults=[*lost, *doubles])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        _patched(root, patch)
        with unhosted(Path(folder) / "state", venues) as stack:
            outcome = run(stack, agenda, _TIMINGS, terms, Console(quiet=True), 60, root)
    rules = Counter(breach.rule for breach in outcome.breaches)
    told = rule in rules if rule else not rules
    console.print(f"{'told' if told else 'MISSED'}: {name}: {dict(rules) or 'no breach'}", markup=False)
    return told


def _patched(root: Path, patch: str) -> None:
    """A copy of the project's folder, with the patch before the functions' code."""
    root.mkdir()
    for name in ("layers", "local"):
        (root / name).symlink_to(ROOT / name)
    for function in FUNCTIONS:
        code = root / "functions" / function
        code.mkdir(parents=True)
        (code / "app.py").write_text(patch + (ROOT / "functions" / function / "app.py").read_text())
