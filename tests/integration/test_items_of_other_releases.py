"""Items of other releases, as a deployment or a rollback leaves them in the tables: they are read like ours."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import pytest
from order_engine.adapters.journal.connections import DynamoConnections
from order_engine.adapters.journal.journal import DynamoJournal
from order_engine.adapters.journal.subscribers import DynamoSubscribers
from order_engine.adapters.notify_requests import subscriber_of
from order_engine.domain.errors import LeaseHeld, UnknownOrder
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.record import OrderRecord
from order_engine.domain.refusals import ClientOrderIdReused
from order_engine.domain.subscriber import Connection
from order_engine.use_cases.audience import Audience

from local.stack import ROOT
from tests.doubles.timeline import Timeline
from tests.integration.conftest import CLIENT_ORDER_IDS, CONNECTIONS, JOURNAL, SUBSCRIBER_PAGES
from tests.support.builders import START, a_limit, a_subscriber, advanced, an_order
from tests.support.releases import release_before

ORDER_ID = UUID("5a3b0000-0000-5000-8000-000000000001")  # made from the clientOrderId, as it was then
LEASE = timedelta(seconds=25)

# Word for word what release 0.1 wrote while a worker waited for a confirmation: no behind, crowded, takenFrom,
# releasedBy or notBefore; an order without maxPriceImpactBps; a transaction without signed and validUntil.
_EVENTS = (
    '{"orderId":"5a3b0000-0000-5000-8000-000000000001","sequence":1,"status":"pending","attempt":0,'
    '"timestamp":"2026-01-02T03:04:05.678901Z","message":"Order received: swap 10 SOL for USDC"}',
    '{"orderId":"5a3b0000-0000-5000-8000-000000000001","sequence":2,"status":"routing","attempt":1,'
    '"timestamp":"2026-01-02T03:04:05.928901Z","message":"Comparing prices"}',
    '{"orderId":"5a3b0000-0000-5000-8000-000000000001","sequence":3,"status":"building","attempt":1,'
    '"timestamp":"2026-01-02T03:04:06.178901Z","message":"Building","venue":"raydium","quotes":[{"venue":"raydium",'
    '"price":"149.5","fee":"0.003","priceImpactPct":"0.0299","amountOut":"1490"},{"venue":"meteora","price":"149.5",'
    '"fee":"0.002","priceImpactPct":"0.0299","amountOut":"1480.000001"}],"minAmountOut":"1482.55"}',
    '{"orderId":"5a3b0000-0000-5000-8000-000000000001","sequence":4,"status":"submitted","attempt":1,'
    '"timestamp":"2026-01-02T03:04:06.428901Z","message":"Sent","venue":"raydium",'
    '"txHash":"tx-5a3b0000-0000-5000-8000-000000000001-1"}',
)
EARLIER_ORDER: dict[str, Any] = {
    "orderId": {"S": "5a3b0000-0000-5000-8000-000000000001"},
    "fingerprint": {"S": "4f2a"},
    "order": {
        "S": '{"orderId":"5a3b0000-0000-5000-8000-000000000001","orderType":"market","tokenIn":"SOL",'
        '"tokenOut":"USDC","amountIn":"10","slippageBps":50,"clientOrderId":"mine",'
        '"createdAt":"2026-01-02T03:04:05.678901Z"}'
    },
    "events": {"L": [{"S": event} for event in _EVENTS]},
    "subscribers": {
        "M": {
            "UqyzSd0JIAMCJ-w=": {
                "M": {
                    "connectedAt": {"S": "2026-01-02T03:04:05.678901+00:00"},
                    "sentThrough": {"N": "4"},
                    "generation": {"N": "1"},
                    "liveAfter": {"N": "4"},
                }
            }
        }
    },
    "sequence": {"N": "4"},
    "status": {"S": "submitted"},
    "attempt": {"N": "1"},
    "errors": {"L": []},
    "leaseOwner": {"S": "f30f98c5-1b2c-45d2-b055-0ae54578bdf0"},
    "leaseUntil": {"N": "1767323070678"},
    "transaction": {
        "S": '{"txHash":"tx-5a3b0000-0000-5000-8000-000000000001-1",'
        '"orderId":"5a3b0000-0000-5000-8000-000000000001","attempt":1,"venue":"raydium","tokenIn":"SOL",'
        '"tokenOut":"USDC","amountIn":"10","fee":"0.03","quotedAmountOut":"1490","minAmountOut":"1482.55",'
        '"steps":["wrap 10 SOL","swap 10 SOL for USDC on raydium"]}'
    },
}
EARLIER_ROW: dict[str, Any] = {
    "connectionId": {"S": "UqyzSd0JIAMCJ-w="},
    "orderId": {"S": "5a3b0000-0000-5000-8000-000000000001"},
    "expiresAt": {"N": "1767330245"},
}
EARLIER_EVENT = {"orderId": str(ORDER_ID), "connectionId": "UqyzSd0JIAMCJ-w=", "generation": 1}
EARLIER_KEYS = uuid5(NAMESPACE_URL, "urn:order-engine:client-order-id")


@pytest.fixture
def clock() -> Timeline:
    return Timeline()


@pytest.fixture
def journal(dynamodb: Any, clock: Timeline) -> DynamoJournal:
    dynamodb.put_item(TableName=JOURNAL, Item=EARLIER_ORDER)
    return DynamoJournal(dynamodb, JOURNAL, CLIENT_ORDER_IDS, clock, LEASE)


@pytest.fixture
def subscribers(dynamodb: Any, journal: DynamoJournal) -> DynamoSubscribers:
    dynamodb.put_item(TableName=CONNECTIONS, Item=EARLIER_ROW)
    return DynamoSubscribers(dynamodb, SUBSCRIBER_PAGES, JOURNAL)


def test_an_order_of_an_earlier_release_is_read(journal: DynamoJournal) -> None:
    record = journal.read(ORDER_ID)

    assert record.order.amount_in == Decimal(10)
    assert record.order.max_price_impact_bps == 1000
    assert (record.order.limit_price, record.order.trigger_price, record.order.expires_at) == (None, None, None)
    assert (record.misses, record.tries, record.openings) == (0, 1, ())
    assert [event.status for event in record.events] == ["pending", "routing", "building", "submitted"]
    assert record.transaction
    assert (record.transaction.request_id, record.transaction.signed, record.transaction.valid_until) == ("", "", None)
    assert (record.behind, record.crowded, record.taken_up) == (False, False, True)


def test_an_earlier_release_reads_an_owners_order(journal: DynamoJournal, dynamodb: Any) -> None:
    """The owner is an attribute of its own, which that release does not look at."""
    record = OrderRecord.accepted(an_order(order_id=uuid4(), owner="acme"))

    journal.create(record, "as asked")

    item = dynamodb.get_item(TableName=JOURNAL, Key={"orderId": {"S": str(record.order.order_id)}})["Item"]
    assert item["owner"] == {"S": "acme"}
    assert "owner" not in json.loads(item["order"]["S"])
    assert journal.read(record.order.order_id).order.owner == "acme"
    assert journal.read(ORDER_ID).order.owner == "public"


def test_an_order_that_does_not_rest_has_nothing_that_an_earlier_release_does_not_know(
    journal: DynamoJournal, dynamodb: Any
) -> None:
    order = an_order(order_id=uuid4())

    claim = journal.claim(journal.create(OrderRecord.accepted(order), "as asked").order.order_id)
    journal.release(journal.append(claim, advanced(claim.record, OrderStatus.ROUTING, attempt=1)))

    item = dynamodb.get_item(TableName=JOURNAL, Key={"orderId": {"S": str(order.order_id)}})["Item"]
    assert {"misses", "watch", "watchPrice"} & set(item) == set()
    assert {"limitPrice", "triggerPrice"} & set(json.loads(item["order"]["S"])) == set()


def test_an_order_at_rest_is_in_the_index_by_its_side_and_price(journal: DynamoJournal, dynamodb: Any) -> None:
    order = a_limit(order_id=uuid4())
    key = {"orderId": {"S": str(order.order_id)}}

    def indexed() -> dict[str, Any]:
        item = dynamodb.get_item(TableName=JOURNAL, Key=key)["Item"]
        return {name: item[name] for name in ("watch", "watchPrice") if name in item}

    claim = journal.claim(journal.create(OrderRecord.accepted(order), "as asked").order.order_id)
    assert indexed() == {}
    price = Decimal("0.000000123456789012345678")
    claim = journal.append(claim, advanced(claim.record, OrderStatus.OPEN, reference_price=price))
    assert indexed() == {"watch": {"S": "SOL/USDC#rise"}, "watchPrice": {"N": "0.000000123456789012345678"}}
    claim = journal.append(claim, advanced(claim.record, OrderStatus.TRIGGERED))
    assert indexed() == {}


def test_an_order_of_an_earlier_release_is_taken_over(journal: DynamoJournal, clock: Timeline) -> None:
    with pytest.raises(LeaseHeld):
        journal.claim(ORDER_ID)
    clock.wait(LEASE.total_seconds() + 0.001)

    claim = journal.claim(ORDER_ID)

    assert claim.interrupted
    claim = journal.append(claim, advanced(claim.record, OrderStatus.FAILED, clock()))
    journal.release(claim, closed=True)
    assert journal.read(ORDER_ID).is_final


def test_only_an_untouched_order_of_an_earlier_release_is_withdrawn(journal: DynamoJournal, dynamodb: Any) -> None:
    free = {name: value for name, value in EARLIER_ORDER.items() if not name.startswith("lease")}
    first = {"sequence": {"N": "1"}}

    for item, untouched in ((EARLIER_ORDER | first, False), (free, False), (free | first, True)):
        dynamodb.put_item(TableName=JOURNAL, Item=item)
        assert journal.withdraw(ORDER_ID) is untouched


def test_the_key_of_an_order_of_an_earlier_release_is_taken(journal: DynamoJournal) -> None:
    key = f"key-{uuid4()}"
    earlier, repeated, other = (
        OrderRecord.accepted(order)
        for order in (an_order(order_id=uuid5(EARLIER_KEYS, key)), *(an_order(client_order_id=key) for _ in range(2)))
    )
    journal.create(earlier, "fingerprint")

    assert journal.create(repeated, "fingerprint") == earlier
    with pytest.raises(ClientOrderIdReused):
        journal.create(other, "another")
    for missing in (repeated, other):
        with pytest.raises(UnknownOrder):
            journal.read(missing.order.order_id)


def test_a_subscriber_of_an_earlier_release_is_like_any_other(
    subscribers: DynamoSubscribers, journal: DynamoJournal, dynamodb: Any
) -> None:
    connections = DynamoConnections(dynamodb, CONNECTIONS, Timeline())
    connection = connections.find("UqyzSd0JIAMCJ-w=")
    assert connection
    found = connection.subscriber(ORDER_ID)
    kept = subscribers.read(found)
    assert kept
    assert (kept.live_after, kept.page, kept.connected_at) == (4, 0, START)

    (taken,) = subscribers.take_back([kept])
    assert subscribers.hand_over(taken, through=4)
    assert connections.add(a_subscriber(uuid4(), "UqyzSd0JIAMCJ-w=")) is None  # it is asked to connect again
    assert connections.end(found)
    Audience(subscribers, connections).gone(found)

    assert journal.read(ORDER_ID).subscribers == ()
    assert connections.find("UqyzSd0JIAMCJ-w=") is None


def test_an_earlier_release_finds_whom_a_connection_was_opened_for(dynamodb: Any) -> None:
    connection = Connection("new=", START, {ORDER_ID: 3})

    DynamoConnections(dynamodb, CONNECTIONS, Timeline()).open(connection)

    row = dynamodb.get_item(TableName=CONNECTIONS, Key={"connectionId": {"S": "new="}})["Item"]
    assert (row["orderId"], row["page"]) == ({"S": str(ORDER_ID)}, {"N": "3"})


def test_more_subscribers_than_a_page_now_has_are_taken_back(
    subscribers: DynamoSubscribers, journal: DynamoJournal, dynamodb: Any
) -> None:
    row = EARLIER_ORDER["subscribers"]["M"]["UqyzSd0JIAMCJ-w="]
    many = {"M": {f"c-{number}": row for number in range(45)}}
    dynamodb.put_item(TableName=JOURNAL, Item={**EARLIER_ORDER, "subscribers": many})

    taken = subscribers.take_back(journal.read(ORDER_ID).subscribers)

    assert [one.generation for one in taken] == [2] * 45


def test_a_request_for_notify_of_an_earlier_release_is_read() -> None:
    one = subscriber_of(EARLIER_EVENT)

    assert (one.order_id, one.connection_id, one.generation, one.page) == (ORDER_ID, "UqyzSd0JIAMCJ-w=", 1, 0)


# Reads a queue's message and a request for `notify`, and writes both, for the order and connection on its command line.
MESSAGES = """
import json, sys
from dataclasses import replace
from uuid import UUID
from order_engine.adapters.notify_requests import event_for, subscriber_of
from order_engine.adapters.queue import SqsOrderQueue, order_id_of

class Sqs:
    def send_message(self, **sent):
        self.body = sent["MessageBody"]

body, event = json.load(sys.stdin)
one, sqs = subscriber_of(json.loads(event)), Sqs()
SqsOrderQueue(sqs, "").send(order_id_of(body))
print(json.dumps([sqs.body, event_for(replace(one, generation=one.generation + 1))]))
"""


def test_messages_and_requests_go_from_release_to_release(tmp_path: Path) -> None:
    def passed_on(messages: list[str], root: Path) -> list[str]:
        """What a release writes that has read these."""
        environment = {**os.environ, "PYTHONPATH": str(root / "layers/common/python")}
        command = [sys.executable, "-c", MESSAGES]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            input=json.dumps(messages),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        written: list[str] = json.loads(done.stdout)
        return written

    before = release_before(tmp_path)
    begun = [json.dumps({"orderId": str(ORDER_ID)}), json.dumps({**EARLIER_EVENT, "page": 3})]

    body, event = passed_on(passed_on(passed_on(begun, before), ROOT), before)

    assert json.loads(body) == {"orderId": str(ORDER_ID)}
    assert json.loads(event) == {**EARLIER_EVENT, "generation": 4, "page": 3}


def test_what_a_later_release_adds_is_ignored(journal: DynamoJournal, dynamodb: Any) -> None:
    expected = journal.read(ORDER_ID)

    def more(attribute: dict[str, str]) -> dict[str, str]:
        return {"S": json.dumps({**json.loads(attribute["S"]), "later": {"of": "another release"}})}

    rows = EARLIER_ORDER["subscribers"]["M"]
    later = {
        **EARLIER_ORDER,
        "later": {"M": {}},
        "order": more(EARLIER_ORDER["order"]),
        "transaction": more(EARLIER_ORDER["transaction"]),
        "events": {"L": [more(event) for event in EARLIER_ORDER["events"]["L"]]},
        "subscribers": {"M": {name: {"M": {**row["M"], "later": {"S": "x"}}} for name, row in rows.items()}},
    }
    dynamodb.put_item(TableName=JOURNAL, Item=later)

    assert journal.read(ORDER_ID) == expected
