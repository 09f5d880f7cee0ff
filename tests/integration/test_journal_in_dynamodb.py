"""The journal's own ways with DynamoDB: its items and calls, repeated writes, races (its contract: tests/doubles)."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from io import BytesIO
from itertools import repeat
from typing import Any
from uuid import UUID, uuid4

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError, ReadTimeoutError
from order_engine import limits
from order_engine.adapters.aws import CONTENDED, client
from order_engine.adapters.journal.journal import KEPT, DynamoJournal
from order_engine.domain.errors import (
    LeaseHeld,
    LeaseLost,
    OrderClosed,
    OrderEngineError,
    ServiceUnavailable,
    UnknownOrder,
)
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.record import OrderRecord
from order_engine.domain.refusals import ClientOrderIdReused
from order_engine.ports import KEY_LIFETIME, Claim

from tests.doubles.timeline import Timeline
from tests.integration.conftest import CLIENT_ORDER_IDS, JOURNAL
from tests.support.builders import START, advanced, an_order
from tests.support.local_aws import AnswerLost, Meanwhile, counted_calls
from tests.support.outages import SLACK_SECONDS

LEASE = timedelta(seconds=25)


@pytest.fixture
def clock() -> Timeline:
    return Timeline()


@pytest.fixture
def journal(dynamodb: Any, clock: Timeline) -> DynamoJournal:
    return DynamoJournal(dynamodb, JOURNAL, CLIENT_ORDER_IDS, clock, LEASE)


def accepted(key: str | None = None) -> OrderRecord:
    return OrderRecord.accepted(an_order(client_order_id=key))


def created(journal: DynamoJournal, key: str | None = None) -> UUID:
    return journal.create(accepted(key), "fingerprint").order.order_id


def routed(claim: Claim) -> OrderRecord:
    return advanced(claim.record, OrderStatus.ROUTING, START, attempt=1)


def item_of(dynamodb: Any, table: str, **key: str) -> dict[str, Any]:
    (name,) = key
    item: dict[str, Any] = dynamodb.get_item(TableName=table, Key={name: {"S": key[name]}})["Item"]
    return item


# --- items and calls --------------------------------------------------------------------------------------------------


def test_an_order_without_a_key_is_one_plain_write(journal: DynamoJournal, dynamodb: Any) -> None:
    with counted_calls(dynamodb) as calls:
        created(journal)

    assert calls == {("PutItem", JOURNAL): 1}


def test_a_key_expires_with_its_lifetime_and_its_order_once_closed(
    journal: DynamoJournal, dynamodb: Any, clock: Timeline
) -> None:
    order_id = created(journal, "expires")
    claim = journal.claim(order_id)

    key = item_of(dynamodb, CLIENT_ORDER_IDS, id="public#expires")
    assert key["orderId"] == {"S": str(order_id)}
    assert key["expiresAt"] == {"N": str(int((START + KEY_LIFETIME).timestamp()))}
    assert "expiresAt" not in item_of(dynamodb, JOURNAL, orderId=str(order_id))
    journal.release(claim, closed=True)
    order = item_of(dynamodb, JOURNAL, orderId=str(order_id))
    assert order["expiresAt"] == {"N": str(int((clock() + KEPT).timestamp()))}
    assert KEPT > KEY_LIFETIME


def test_an_operator_sees_where_an_order_stands_without_its_events(journal: DynamoJournal, dynamodb: Any) -> None:
    order_id = created(journal)
    journal.append(claim := journal.claim(order_id), routed(claim))

    item = item_of(dynamodb, JOURNAL, orderId=str(order_id))

    assert (item["status"], item["sequence"], item["attempt"]) == ({"S": "routing"}, {"N": "2"}, {"N": "1"})


# --- races ------------------------------------------------------------------------------------------------------------


def at_once(calls: list[Callable[[], object]]) -> list[object]:
    """What each of several simultaneous calls returned or raised."""

    def outcome(call: Callable[[], object]) -> object:
        try:
            return call()
        except OrderEngineError as fault:
            return fault

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(outcome, calls))


@pytest.mark.parametrize("bodies", [["one"] * 8, ["one", "two"] * 4], ids=["equal", "different"])
def test_racing_requests_with_one_key_create_one_order(journal: DynamoJournal, bodies: list[str]) -> None:
    key = f"racing {uuid4()}"

    outcomes = at_once([partial(journal.create, accepted(key), body) for body in bodies])

    records = [one for one in outcomes if isinstance(one, OrderRecord)]
    refused = [body for body, one in zip(bodies, outcomes, strict=True) if isinstance(one, ClientOrderIdReused)]
    assert len({record.order.order_id for record in records}) == 1
    assert len(set(refused)) == len(set(bodies)) - 1
    assert len(records) == 8 - len(refused) == bodies.count("one")


def test_of_racing_claims_exactly_one_gets_the_order(journal: DynamoJournal) -> None:
    outcomes = at_once([partial(journal.claim, created(journal))] * 8)

    assert Counter(map(type, outcomes)) == {Claim: 1, LeaseHeld: 7}


def test_of_a_claim_and_a_withdrawal_at_once_exactly_one_succeeds(journal: DynamoJournal) -> None:
    for _ in range(10):
        order_id = created(journal)
        claimed, withdrawn = at_once([partial(journal.claim, order_id), partial(journal.withdraw, order_id)])

        assert isinstance(claimed, UnknownOrder if withdrawn else Claim)


def test_of_racing_appends_under_one_lease_exactly_one_is_taken(journal: DynamoJournal) -> None:
    claim = journal.claim(created(journal))
    events = [advanced(claim.record, OrderStatus.ROUTING, START, message=f"{n}", attempt=1) for n in range(8)]

    outcomes = at_once([partial(journal.append, claim, event) for event in events])

    assert Counter(map(type, outcomes)) == {Claim: 1, LeaseLost: 7}
    assert len(journal.read(claim.record.order.order_id).events) == 2


# --- writes that are repeated -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize("key", [None, "lost"])
def test_a_write_whose_answer_was_lost_takes_effect_once(
    journal: DynamoJournal, dynamodb: Any, clock: Timeline, key: str | None, interrupted: bool
) -> None:
    """botocore repeats it, and the second try finds what the first one wrote."""
    stuttering = DynamoJournal(AnswerLost(dynamodb), JOURNAL, CLIENT_ORDER_IDS, clock, LEASE)

    order_id = created(stuttering, key and f"{key} {interrupted}")
    if interrupted:
        journal.claim(order_id)
        clock.wait(LEASE.total_seconds() + 1)
    claim = stuttering.claim(order_id)
    assert claim.interrupted is interrupted
    claim = stuttering.append(claim, routed(claim))
    assert claim.record == journal.read(order_id)
    assert len(claim.record.events) == 2
    stuttering.release(claim)
    claim = journal.claim(order_id)
    assert not claim.interrupted
    stuttering.release(claim, closed=True)
    with pytest.raises(OrderClosed):
        journal.claim(order_id)
    assert stuttering.withdraw(created(journal))


def test_botocore_repeats_a_transaction_with_the_same_token(monkeypatch: pytest.MonkeyPatch) -> None:
    dynamodb, tokens = client("dynamodb", "http://127.0.0.1:9"), list[str]()

    class Body(BytesIO):
        def stream(self, **_: Any) -> Iterator[bytes]:
            yield self.read()

    def lose_the_first_answer(request: Any, **_: Any) -> AWSResponse:
        tokens.append(json.loads(request.body)["ClientRequestToken"])
        if len(tokens) == 1:
            raise ReadTimeoutError(endpoint_url=request.url)
        return AWSResponse(request.url, 200, {}, Body(b"{}"))

    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    dynamodb.meta.events.register("before-send.dynamodb", lose_the_first_answer)
    created(DynamoJournal(dynamodb, JOURNAL, CLIENT_ORDER_IDS, Timeline(), LEASE), "mine")

    assert len(tokens) == 2
    assert tokens[0] == tokens[1]


def conflict() -> None:
    """Another transaction holds an item of this one."""
    reasons = [{"Code": "TransactionConflict"}, {"Code": "None"}]
    error = {"Code": "TransactionCanceledException", "Message": "[TransactionConflict, None]"}
    raise ClientError({"Error": error, "CancellationReasons": reasons}, "TransactWriteItems")


def test_a_creation_in_conflict_with_a_transaction_is_repeated(dynamodb: Any, clock: Timeline) -> None:
    conflicts = repeat(conflict, 3)
    busy = Meanwhile(dynamodb, "transact_write_items", conflicts)

    order_id = created(DynamoJournal(busy, JOURNAL, CLIENT_ORDER_IDS, clock, LEASE), "in conflict")

    assert next(conflicts, None) is None
    assert DynamoJournal(dynamodb, JOURNAL, CLIENT_ORDER_IDS, clock, LEASE).read(order_id).sequence == 1


def test_an_endless_conflict_is_given_up_in_time(dynamodb: Any, clock: Timeline) -> None:
    busy, begun = Meanwhile(dynamodb, "transact_write_items", repeat(conflict)), time.monotonic()

    with pytest.raises(ServiceUnavailable, match="TransactionConflict"):
        created(DynamoJournal(busy, JOURNAL, CLIENT_ORDER_IDS, clock, LEASE), "in endless conflict")

    assert time.monotonic() - begun < CONTENDED - limits.DYNAMODB + SLACK_SECONDS
