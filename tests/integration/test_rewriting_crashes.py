"""Workers that crash while an outcome is written to PostgreSQL again."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from order_engine.adapters.aws import client
from order_engine.bootstrap import Bootstrap, utc_now
from order_engine.domain.errors import LeaseHeld, UnknownOrder
from order_engine.domain.record import OrderRecord
from order_engine.settings import Settings
from order_engine.use_cases.execute import Executor, Outcome

from local.rewrite import Journal
from tests.integration.conftest import CHAIN, CLIENT_ORDER_IDS, CONNECTIONS, JOURNAL, SUBSCRIBER_PAGES, WATCH
from tests.support.builders import an_order
from tests.support.database import Connections, Database, events_of, rows_of
from tests.support.local_aws import LocalGateway

# Powertools says so at every invocation that counts nothing; observability.py ignores it, but pytest resets filters.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")


class Crash(BaseException):
    """The worker is gone."""


class Worker:
    """A worker of the deployed engine, on a clock that can be set forward."""

    def __init__(self, gateway: LocalGateway, connections: Connections) -> None:
        self.ahead = timedelta()
        given = {"JOURNAL_TABLE": JOURNAL, "CLIENT_ORDER_IDS_TABLE": CLIENT_ORDER_IDS, "CONNECTIONS_TABLE": CONNECTIONS}
        given |= {"SUBSCRIBER_PAGES_TABLE": SUBSCRIBER_PAGES, "CHAIN_TABLE": CHAIN, "WATCH_TABLE": WATCH}
        given |= {"NOTIFY_FUNCTION": "notify", "MANAGEMENT_ENDPOINT": gateway.url}
        given |= {"ORDERS_QUEUE_URL": client("sqs").create_queue(QueueName=f"orders-{uuid4()}")["QueueUrl"]}
        given |= {"VENUE_QUOTE_LATENCY_MS": "0", "VENUE_SWAP_LATENCY_MS": "0"}
        self.parts = Bootstrap(Settings(given), self.now)
        self.parts.connect_to_database = connections

    def now(self) -> datetime:
        return utc_now() + self.ahead

    def executor(self) -> Executor:
        return self.parts.executor()

    def item(self, order_id: UUID) -> dict[str, Any]:
        key = {"orderId": {"S": str(order_id)}}
        found: dict[str, Any] = self.parts.dynamodb.get_item(TableName=JOURNAL, Key=key)["Item"]
        return found


@pytest.fixture
def worker(dynamodb: Any, gateway: LocalGateway, connections: Connections, monkeypatch: pytest.MonkeyPatch) -> Worker:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", gateway.url)
    return Worker(gateway, connections)


@pytest.mark.parametrize("is_written", [False, True])
@pytest.mark.parametrize("is_lost", [False, True])
def test_a_worker_that_crashes_leaves_the_row_to_the_next(
    worker: Worker, database: Database, monkeypatch: pytest.MonkeyPatch, is_written: bool, is_lost: bool
) -> None:
    order = an_order(order_id=uuid4(), created_at=utc_now())
    worker.parts.journal.create(OrderRecord.accepted(order), "fingerprint")
    assert worker.executor().process(order.order_id) is Outcome.DONE
    record = worker.parts.journal.read(order.order_id)
    was = rows_of(database, record), events_of(database, record)
    assert (len(was[0]), len(was[1])) == (1, 5)
    if is_lost:
        database.execute("DELETE FROM order_events WHERE order_id = %s", [order.order_id])
        database.execute("DELETE FROM orders WHERE order_id = %s", [order.order_id])

    Journal(worker.parts.dynamodb, JOURNAL).owe(worker.item(order.order_id))
    assert {"live", "placed"} < set(worker.item(order.order_id))
    dying = worker.executor()
    write = type(dying.history).record

    def crash(history: Any, record: OrderRecord) -> None:
        if is_written:
            write(history, record)
        raise Crash

    with monkeypatch.context() as broken, pytest.raises(Crash):
        broken.setattr(type(dying.history), "record", crash)
        dying.process(order.order_id)
    assert "closed" not in worker.item(order.order_id)
    with pytest.raises(LeaseHeld):
        worker.parts.journal.claim(order.order_id)
    Journal(worker.parts.dynamodb, JOURNAL).owe(worker.item(order.order_id))  # the command is run again meanwhile

    worker.ahead = timedelta(seconds=26)  # its lease has run out, and its message is there again
    assert worker.executor().process(order.order_id) is Outcome.DONE

    assert (rows_of(database, record), events_of(database, record)) == was
    item = worker.item(order.order_id)
    assert (item["closed"], {"live", "placed"} & set(item)) == ({"BOOL": True}, set())
    assert worker.parts.journal.read(order.order_id).events == record.events


def test_an_order_that_the_journal_has_forgotten_meanwhile_stays_forgotten(worker: Worker) -> None:
    order = an_order(order_id=uuid4(), created_at=utc_now())
    worker.parts.journal.create(OrderRecord.accepted(order), "fingerprint")
    worker.executor().process(order.order_id)
    item = worker.item(order.order_id)
    worker.parts.dynamodb.delete_item(TableName=JOURNAL, Key={"orderId": item["orderId"]})

    Journal(worker.parts.dynamodb, JOURNAL).owe(item)

    with pytest.raises(UnknownOrder):
        worker.parts.journal.read(order.order_id)
