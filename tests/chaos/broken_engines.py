"""Engines with one part swapped, by lines that are put before the functions' code."""

from dataclasses import dataclass


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
from order_engine.adapters.journal.journal import DynamoJournal

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
from order_engine.adapters.journal.subscribers import DynamoSubscribers

change = DynamoSubscribers._update
def careless(self, order_id, page, update, condition, *rest, **more):
    if condition.startswith("#sequence = :through"):
        time.sleep(0.05)
        condition = condition.replace("#sequence = :through", "#sequence >= :through")
    return change(self, order_id, page, update, condition, *rest, **more)
DynamoSubscribers._update = careless
""",
    ),
    Variant(
        "a failed first attempt is written, and never replaced",
        "PostgreSQL = journal",
        """
from order_engine.domain.events import Failed
from order_engine.use_cases.execute import Executor

with_errors = Executor._with_errors
def hasty(self, claim, record):
    if len(record.errors) > len(claim.record.errors) and not record.is_final:
        error = record.errors[-1]
        ends = {"code": error.code, "error": error.error, "attempts": record.errors}
        self.history.record(record.followed_by(Failed(**record.header(self.now()), message="hasty", **ends)))
    return with_errors(self, claim, record)
Executor._with_errors = hasty
""",
    ),
    Variant(
        "what timed out is taken for dead",
        "only a dead transaction is given up",
        """
from order_engine.adapters.mock_market.venue import MockVenue
from order_engine.domain.swaps import Dropped

MockVenue.abandon = lambda self, transaction: Dropped()
""",
    ),
    Variant(
        "the floor is not enforced",
        "never worse than asked",
        """
from order_engine.adapters.mock_market import chain
from order_engine.domain import decisions

chain.refusal_of = lambda *_: None
submitted = decisions._submitted
decisions._submitted = lambda record: submitted(record).model_copy(update={"min_amount_out": 0})
""",
    ),
    Variant(
        "the outcome is acknowledged before it is written",
        "a final order has its row",
        """
from order_engine.adapters.history import PostgresHistory

write = PostgresHistory.record
def forgetful(self, record):
    if record.sequence % 2: write(self, record)
PostgresHistory.record = forgetful
""",
    ),
    Variant(
        "the back-off is the queue's alone",
        "no attempt before its back-off is over",
        """
from order_engine.adapters.journal.journal import DynamoJournal

release = DynamoJournal.release
DynamoJournal.release = lambda self, claim, closed=False, not_before=None: release(self, claim, closed)
""",
    ),
    Variant(
        "a key never expires",
        "an expired key is another order",
        """
from order_engine.adapters.journal.journal import DynamoJournal

class Eternal:
    def __init__(self, dynamodb): self._dynamodb = dynamodb
    def __getattr__(self, name): return getattr(self._dynamodb, name)
    def transact_write_items(self, **call):
        key = call["TransactItems"][0]["Put"]
        key["ConditionExpression"] = "attribute_not_exists(id)"
        del key["ExpressionAttributeValues"]
        return self._dynamodb.transact_write_items(**call)

make = DynamoJournal.__init__
DynamoJournal.__init__ = lambda self, dynamodb, *rest: make(self, Eternal(dynamodb), *rest)
""",
    ),
    Variant(
        "whatever fails was not accepted",
        "nothing accepted under a key means no order",
        """
from order_engine.use_cases import submit
from order_engine.domain.errors import NothingAccepted

submit.AcceptanceUnknown = lambda detail, key: NothingAccepted(detail)
""",
    ),
    Variant(
        "every dead letter is given up",
        "an order that no worker took up is executed",
        """
from order_engine.domain.steps import GivenUp
from order_engine.use_cases.execute import Executor

Executor.give_up = lambda self, order_id, reason: self._with_claim(order_id, lambda _: GivenUp(reason))
""",
    ),
    Variant(
        "any price impact is accepted",
        "the chosen quote's price impact is allowed",
        """
from order_engine.domain import decisions

choose = decisions.choose
def deaf(order, answers):
    return choose(order.model_copy(update={"max_price_impact_bps": 10_000}), answers)
decisions.choose = deaf
""",
    ),
)
