"""Each function's handler with the envelopes it gets: over moto, a local API Gateway and a real PostgreSQL."""

import base64
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from order_engine.adapters.aws import client
from order_engine.adapters.journal.journal import DynamoJournal
from order_engine.entrypoints.order_body import MAX_BODY_BYTES
from order_engine.observability import logger

from functions.dead_letters import app as dead_letters
from functions.notify import app as notify
from functions.route_execute import app as route_execute
from functions.submit import app as submit
from functions.ws_connect import app as ws_connect
from local.postgres import EmbeddedPostgres
from tests.integration.conftest import CHAIN, CLIENT_ORDER_IDS, CONNECTIONS, JOURNAL, SUBSCRIBER_PAGES
from tests.support.builders import LambdaContext, an_order, http_event, socket_event, sqs_event
from tests.support.database import Connections
from tests.support.local_aws import LocalGateway

# Powertools says so at every invocation that counts nothing; observability.py ignores it, but pytest resets filters.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

CONTEXT = LambdaContext()
BODY = '{"tokenIn":"SOL","tokenOut":"USDC","amountIn":10}'
EVENTS = Path(__file__).parents[2] / "events"
LIFE = ["pending", "routing", "building", "submitted", "confirmed"]


class Deployment:
    """The functions' environment, and what one sees of it from outside."""

    def __init__(self, gateway: LocalGateway, queue_url: str, database_url: str) -> None:
        self.gateway = gateway
        self._queue_url = queue_url
        self._database_url = database_url

    def submit(self, body: str = BODY, **headers: str) -> dict[str, Any]:
        answer = submit.handler(http_event(body, **headers), CONTEXT)
        return {**answer, "body": json.loads(answer["body"])}

    def accepted(self, body: str = BODY) -> str:
        """The orderId of a new order."""
        answer = self.submit(body)
        assert answer["statusCode"] == 202
        return str(answer["body"]["orderId"])

    def messages(self) -> list[str]:
        """The messages in the orders queue, which is empty then."""
        found = client("sqs").receive_message(QueueUrl=self._queue_url, MaxNumberOfMessages=10).get("Messages", [])
        for message in found:
            client("sqs").delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])
        return [message["Body"] for message in found]

    def execute(self, *bodies: str) -> list[str]:
        """Has a batch worked on; answers the messages that must come again."""
        return self._failures(route_execute.handler(sqs_event(*bodies), CONTEXT))

    def bury(self, *bodies: str) -> list[str]:
        return self._failures(dead_letters.handler(sqs_event(*bodies), CONTEXT))

    def _failures(self, answer: dict[str, Any]) -> list[str]:
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def connect(self, connection_id: str, **query: str) -> dict[str, Any]:
        answer: dict[str, Any] = ws_connect.handler(socket_event("$connect", connection_id, **query), CONTEXT)
        return answer

    def say(self, connection_id: str, text: str) -> None:
        assert ws_connect.handler(socket_event("$default", connection_id, text), CONTEXT) == {"statusCode": 200}

    def notify_all(self) -> None:
        """Invokes notify with what it was asked for."""
        while self.gateway.invoked:
            function, _, event = self.gateway.invoked.pop(0)
            assert function == "notify"
            notify.handler(event, CONTEXT)

    def statuses(self, connection_id: str) -> list[str]:
        return [message["status"] for message in self.gateway.posted[connection_id]]

    def row(self, order_id: str) -> tuple[Any, ...] | None:
        with psycopg.connect(self._database_url) as database:
            query = "SELECT status, venue, amount_out, failure_code FROM orders WHERE order_id = %s"
            return database.execute(query, [order_id]).fetchone()


@pytest.fixture
def deployment(
    dynamodb: Any, gateway: LocalGateway, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Deployment]:
    queue_url = client("sqs").create_queue(QueueName=f"orders-{uuid4()}")["QueueUrl"]
    environment = {
        "JOURNAL_TABLE": JOURNAL,
        "CLIENT_ORDER_IDS_TABLE": CLIENT_ORDER_IDS,
        "CONNECTIONS_TABLE": CONNECTIONS,
        "SUBSCRIBER_PAGES_TABLE": SUBSCRIBER_PAGES,
        "CHAIN_TABLE": CHAIN,
        "ORDERS_QUEUE_URL": queue_url,
        "NOTIFY_FUNCTION": "notify",
        "AWS_ENDPOINT_URL_LAMBDA": gateway.url,
        "MANAGEMENT_ENDPOINT": gateway.url,
        "STREAM_URL": "wss://stream.example.com/live",
        "DATABASE_URL": postgres.url,
        "VENUE_QUOTE_LATENCY_MS": "0",
        "VENUE_SWAP_LATENCY_MS": "0",
        "RETRY_BASE_SECONDS": "0",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    connections = Connections(postgres.url)
    monkeypatch.setattr("order_engine.adapters.postgres.connect_to", lambda _: connections())
    _forget_the_last_deployment()
    yield Deployment(gateway, queue_url, postgres.url)
    connections.close()  # which an execution environment would keep
    _forget_the_last_deployment()


def _forget_the_last_deployment() -> None:
    for part in vars(engine).values():
        if hasattr(part, "cache_clear"):
            part.cache_clear()


# --- submit ---------------------------------------------------------------------------------------------------


def test_an_order_is_answered_with_202_and_a_url_that_is_ready_to_connect_to(deployment: Deployment) -> None:
    answer = deployment.submit()

    order_id = answer["body"]["orderId"]
    assert answer["statusCode"] == 202
    assert answer["headers"]["Content-Type"] == "application/json"
    assert answer["body"] == {
        "orderId": str(UUID(order_id)),
        "status": "pending",
        "createdAt": answer["body"]["createdAt"],
        "streamUrl": f"wss://stream.example.com/live?orderId={order_id}",
    }
    assert (
        engine.journal().read(UUID(order_id)).order.created_at.isoformat().replace("+00:00", "Z")
        == (answer["body"]["createdAt"])
    )
    assert deployment.messages() == [json.dumps({"orderId": order_id})]


def test_a_body_in_base64_is_read_and_one_that_is_none_is_refused(deployment: Deployment) -> None:
    event = {**http_event(base64.b64encode(BODY.encode()).decode()), "isBase64Encoded": True}

    assert submit.handler(event, CONTEXT)["statusCode"] == 202
    assert submit.handler({**event, "body": "%%%"}, CONTEXT)["statusCode"] == 400


def test_the_same_key_gives_the_same_answer_and_another_body_409(deployment: Deployment) -> None:
    first = deployment.submit(Idempotency_Key="mine")
    again = deployment.submit('{"amountIn":"10.0","tokenOut":"usdc","tokenIn":"sol","clientOrderId":"mine"}')
    other = deployment.submit('{"amountIn":11,"tokenOut":"USDC","tokenIn":"SOL"}', Idempotency_Key="mine")

    assert again["body"] == first["body"]
    assert (other["statusCode"], other["body"]["code"]) == (409, "CLIENT_ORDER_ID_REUSED")
    assert len(deployment.messages()) == 2


@pytest.mark.parametrize(
    ("body", "headers", "status", "field"),
    [
        ("", {}, 400, None),
        ("[]", {}, 400, None),
        (BODY, {"content_type": "text/plain"}, 415, None),
        (BODY.ljust(MAX_BODY_BYTES + 1), {}, 413, None),
        ('{"tokenIn":"SOL","tokenOut":"USDC","amountIn":-1}', {}, 422, "amountIn"),
        (BODY[:-1] + ',"orderId":"4b3a3a5c-9a5c-4d5e-8f27-8c8f6f2f8d11"}', {}, 422, "orderId"),
    ],
)
def test_what_is_wrong_is_answered_with_a_problem_document_and_nothing_is_queued(
    deployment: Deployment, body: str, headers: dict[str, str], status: int, field: str | None
) -> None:
    answer = deployment.submit(body, **headers)

    assert answer["statusCode"] == answer["body"]["status"] == status
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    assert [error["field"] for error in answer["body"].get("errors", [])] == ([field] if field else [])
    assert deployment.messages() == []


def test_with_the_queue_away_nothing_is_accepted_and_the_client_told_to_come_again(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORDERS_QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com/123456789012/not-there")
    _forget_the_last_deployment()

    answer = deployment.submit()

    assert (answer["statusCode"], answer["body"]["code"]) == (503, "NOTHING_ACCEPTED")
    assert answer["headers"]["Retry-After"] == "1"


# --- route_execute --------------------------------------------------------------------------------------------


def test_an_order_is_executed_and_persisted(deployment: Deployment) -> None:
    order_id = deployment.accepted()

    assert deployment.execute(*deployment.messages()) == []

    record = engine.journal().read(UUID(order_id))
    assert [event.status.value for event in record.events] == LIFE
    assert deployment.row(order_id) == ("confirmed", record.last.venue, record.last.amount_out, None)


def test_a_batch_answers_only_for_the_messages_that_failed(deployment: Deployment) -> None:
    first, held, second = deployment.accepted(), deployment.accepted(), deployment.accepted()
    engine.journal().claim(UUID(held))
    bodies = [json.dumps({"orderId": order_id}) for order_id in (first, held, second)]

    assert deployment.execute(bodies[0], "poison", bodies[1], json.dumps({"orderId": str(uuid4())}), bodies[2]) == [
        "message-1",
        "message-3",
    ]
    assert deployment.row(first) is not None
    assert deployment.row(second) is not None
    assert deployment.row(held) is None


def test_a_message_delivered_again_changes_nothing(deployment: Deployment) -> None:
    order_id = deployment.accepted()
    bodies = deployment.messages()
    deployment.execute(*bodies)
    before = engine.journal().read(UUID(order_id))

    assert deployment.execute(*bodies) == []
    assert engine.journal().read(UUID(order_id)) == before


@pytest.mark.parametrize("away", [{"VENUE_ERROR_RATE": "1"}, {"VENUE_TIMEOUT_RATE": "1"}])
def test_an_order_that_no_venue_quotes_comes_again_twice_and_has_failed_then(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, away: dict[str, str]
) -> None:
    for name, value in away.items():
        monkeypatch.setenv(name, value)
    _forget_the_last_deployment()
    order_id = deployment.accepted()

    rounds = 0
    while bodies := deployment.messages():
        assert deployment.execute(*bodies) == []
        rounds += 1

    row = deployment.row(order_id)
    assert rounds == 3
    assert row is not None
    assert row[0] == "failed"
    assert [error.attempt for error in engine.journal().read(UUID(order_id)).errors] == [1, 2, 3]


# --- sockets --------------------------------------------------------------------------------------------------


def test_an_order_is_followed_from_the_first_second_to_the_last(deployment: Deployment) -> None:
    order_id = deployment.accepted()

    assert deployment.connect("early", orderId=order_id) == {"statusCode": 200}
    deployment.notify_all()
    assert deployment.statuses("early") == ["pending"]
    deployment.execute(*deployment.messages())

    assert deployment.statuses("early") == LIFE
    assert [message["sequence"] for message in deployment.gateway.posted["early"]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("query", "statuses"), [({}, LIFE), ({"after": "2"}, LIFE[2:]), ({"after": "5"}, [])])
def test_whoever_joins_late_gets_what_it_has_not_had(
    deployment: Deployment, query: dict[str, str], statuses: list[str]
) -> None:
    order_id = deployment.accepted()
    deployment.execute(*deployment.messages())

    deployment.connect("late", orderId=order_id, **query)
    deployment.notify_all()

    assert deployment.statuses("late") == statuses


def test_a_subscriber_that_left_gets_nothing_more_and_the_others_do(deployment: Deployment) -> None:
    order_id = deployment.accepted()
    for name in ("leaving", "connecting", "staying"):
        deployment.connect(name, orderId=order_id)
    deployment.notify_all()
    ws_connect.handler(socket_event("$disconnect", "leaving"), CONTEXT)
    deployment.gateway.answers["connecting"] = [410]

    deployment.execute(*deployment.messages())

    assert deployment.statuses("leaving") == deployment.statuses("connecting") == ["pending"]
    assert deployment.statuses("staying") == LIFE
    kept = engine.journal().read(UUID(order_id)).subscribers
    assert {one.connection_id: one.live_after for one in kept} == {"connecting": None, "staying": 1}
    deployment.notify_all()
    assert deployment.statuses("connecting") == LIFE


def test_a_throttled_socket_gets_the_rest_from_notify(deployment: Deployment) -> None:
    order_id = deployment.accepted()
    deployment.connect("throttled", orderId=order_id)
    deployment.notify_all()
    deployment.gateway.answers["throttled"] = [200, 429]

    deployment.execute(*deployment.messages())
    deployment.notify_all()

    assert deployment.statuses("throttled") == LIFE


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 400),
        ({"orderId": "order-1"}, 400),
        ({"orderId": "4b3a3a5c-9a5c-4d5e-8f27-8c8f6f2f8d11"}, 404),
        ({"orderId": "4b3a3a5c-9a5c-4d5e-8f27-8c8f6f2f8d11", "after": "x"}, 400),
    ],
)
def test_a_handshake_that_can_not_be_is_refused_with_a_problem(
    deployment: Deployment, query: dict[str, str], status: int
) -> None:
    answer = deployment.connect("refused", **query)

    assert answer["statusCode"] == json.loads(answer["body"])["status"] == status
    assert deployment.gateway.invoked == []


def test_what_is_said_on_a_socket_is_answered_there_and_the_rest_goes_on(deployment: Deployment) -> None:
    order_id = deployment.accepted()
    deployment.connect("talking", orderId=order_id)
    deployment.notify_all()

    deployment.say("talking", '{"action":"ping"}')
    deployment.say("talking", "no JSON")
    deployment.say("talking", '{"action":"cancel"}')
    answers = deployment.gateway.posted.pop("talking")[1:]
    deployment.execute(*deployment.messages())

    assert [(answer["type"], answer.get("code")) for answer in answers] == [
        ("pong", None),
        ("error", "INVALID_JSON"),
        ("error", "UNKNOWN_ACTION"),
    ]
    assert deployment.statuses("talking") == LIFE[1:]


def test_a_replay_posts_again_from_where_it_was_asked_for(deployment: Deployment) -> None:
    order_id = deployment.accepted()
    deployment.connect("again", orderId=order_id)
    deployment.notify_all()
    deployment.execute(*deployment.messages())
    deployment.gateway.posted.clear()

    deployment.say("again", '{"action":"replay","after":3}')
    deployment.notify_all()

    assert deployment.statuses("again") == LIFE[3:]


def test_a_notify_about_an_order_that_is_no_more_has_nothing_to_do(deployment: Deployment) -> None:
    event = {"orderId": str(uuid4()), "connectionId": "nobody", "generation": 1}

    assert notify.handler(event, CONTEXT) == {}


# --- dead letters ---------------------------------------------------------------------------------------------


def test_an_order_whose_messages_kept_killing_workers_ends_as_failed_for_everybody(deployment: Deployment) -> None:
    order_id = deployment.accepted()
    deployment.connect("waiting", orderId=order_id)
    deployment.notify_all()
    crashed_at(UUID(order_id))

    assert deployment.bury(*deployment.messages()) == []

    assert deployment.statuses("waiting") == ["pending", "failed"]
    assert deployment.row(order_id) == ("failed", None, None, "INTERNAL_ERROR")
    assert deployment.execute(json.dumps({"orderId": order_id})) == []
    assert engine.journal().read(UUID(order_id)).sequence == 2


def test_a_dead_letter_that_no_worker_took_up_goes_back(deployment: Deployment) -> None:
    order_id = deployment.accepted()

    assert deployment.bury(*deployment.messages()) == []
    assert engine.journal().read(UUID(order_id)).status == "pending"
    queue = client("sqs").get_queue_attributes(
        QueueUrl=engine.settings().text("ORDERS_QUEUE_URL"), AttributeNames=["ApproximateNumberOfMessagesDelayed"]
    )
    assert queue["Attributes"]["ApproximateNumberOfMessagesDelayed"] == "1"


def test_a_dead_letter_of_a_confirmed_order_leaves_it_confirmed(deployment: Deployment) -> None:
    order_id = deployment.accepted()
    bodies = deployment.messages()
    deployment.execute(*bodies)

    assert deployment.bury(*bodies) == []
    assert engine.journal().read(UUID(order_id)).status == "confirmed"


def test_poison_stays_in_the_dead_letter_queue(deployment: Deployment) -> None:
    assert deployment.bury("poison", json.dumps({"orderId": str(uuid4())})) == ["message-0", "message-1"]


# --- the events that `sam local` is tried with ----------------------------------------------------------------


def event_in(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


def orders_of(event: dict[str, Any]) -> list[UUID]:
    return [UUID(json.loads(record["body"])["orderId"]) for record in event["Records"]]


def crashed_at(order_id: UUID) -> None:
    """A worker took the order up, and its lease has run out."""
    DynamoJournal(client("dynamodb"), JOURNAL, CLIENT_ORDER_IDS, engine.now, timedelta(0)).claim(order_id)


def journaled(*order_ids: UUID) -> None:
    for order_id in order_ids:
        engine.journal().create(
            OrderRecord.accepted(an_order(order_id=order_id, created_at=engine.now())), "fingerprint"
        )


def test_the_event_of_an_order_is_accepted(deployment: Deployment) -> None:
    answer = submit.handler(event_in("submit"), CONTEXT)

    assert answer["statusCode"] == 202
    assert len(deployment.messages()) == 1


def test_the_event_of_a_repeated_order_gets_the_same_answer_each_time(deployment: Deployment) -> None:
    first, second = (submit.handler(event_in("submit-repeated"), CONTEXT) for _ in range(2))

    assert first["statusCode"] == 202
    assert first == second


def test_the_event_of_a_bad_order_is_refused_with_every_field_that_is_wrong(deployment: Deployment) -> None:
    answer = submit.handler(event_in("submit-bad"), CONTEXT)

    assert answer["statusCode"] == 422
    assert {error["field"] for error in json.loads(answer["body"])["errors"]} == {"amountIn", "slippageBps"}


@pytest.mark.parametrize("name", ["route_execute", "route_execute-batch"])
def test_the_events_of_waiting_orders_have_them_executed(deployment: Deployment, name: str) -> None:
    order_ids = orders_of(event_in(name))
    journaled(*order_ids)

    assert route_execute.handler(event_in(name), CONTEXT) == {"batchItemFailures": []}
    assert [engine.journal().read(order_id).status for order_id in order_ids] == ["confirmed"] * len(order_ids)


def test_the_event_of_poison_has_every_message_come_again(deployment: Deployment) -> None:
    event = event_in("route_execute-poison")

    failures = route_execute.handler(event, CONTEXT)["batchItemFailures"]

    assert [one["itemIdentifier"] for one in failures] == [record["messageId"] for record in event["Records"]]


def test_the_event_of_a_dead_letter_ends_its_order(deployment: Deployment) -> None:
    (order_id,) = orders_of(event_in("dead_letters"))
    journaled(order_id)
    crashed_at(order_id)

    assert dead_letters.handler(event_in("dead_letters"), CONTEXT) == {"batchItemFailures": []}
    assert engine.journal().read(order_id).status == "failed"


def test_the_events_of_a_connection_make_one_story(deployment: Deployment) -> None:
    connect, wanted = event_in("ws_connect-connect"), event_in("notify")
    connection_id, order_id = wanted["connectionId"], UUID(connect["queryStringParameters"]["orderId"])
    journaled(order_id)

    assert ws_connect.handler(connect, CONTEXT) == {"statusCode": 200}
    assert deployment.gateway.invoked == [("notify", "Event", wanted)]
    notify.handler(wanted, CONTEXT)
    assert deployment.statuses(connection_id) == ["pending"]
    ws_connect.handler(event_in("ws_connect-default"), CONTEXT)
    assert deployment.gateway.posted[connection_id][-1] == {"type": "pong"}
    ws_connect.handler(event_in("ws_connect-disconnect"), CONTEXT)
    assert engine.journal().read(order_id).subscribers == ()


def test_the_event_of_a_connection_to_an_unknown_order_is_refused(deployment: Deployment) -> None:
    assert ws_connect.handler(event_in("ws_connect-connect-unknown"), CONTEXT)["statusCode"] == 404


# --- all of them ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [submit, route_execute, ws_connect, notify, dead_letters])
def test_a_warming_event_is_answered_and_does_nothing(deployment: Deployment, function: Any) -> None:
    assert function.handler({"warm": 1}, CONTEXT) == {"warm": 1}
    assert deployment.messages() == []


def test_every_line_about_an_order_carries_its_id(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", written)
    order_id = deployment.accepted()

    deployment.execute(*deployment.messages())

    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    said = [line["message"] for line in lines]
    assert {"order accepted", "order routed", "order confirmed"} <= set(said)
    assert {line.get("orderId") for line in lines} == {order_id}
