"""Each function's handler, envelopes in and out, over moto, a local API Gateway and a real PostgreSQL.

events/*.json are the envelopes, as `sam local` gets them too. What an order lives through is in tests/e2e.
"""

import base64
import io
import json
import logging
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from order_engine.adapters.aws import client
from order_engine.adapters.keys import DynamoKeys
from order_engine.adapters.pause import DynamoPauses
from order_engine.adapters.quotas import DynamoQuotas
from order_engine.bootstrap import Bootstrap, utc_now
from order_engine.domain.access import ApiKey, StoredKey
from order_engine.domain.events import StatusEvent
from order_engine.domain.quota import Quota
from order_engine.domain.record import OrderRecord
from order_engine.entrypoints.handler import Handler
from order_engine.observability import logger
from order_engine.ports import Pause
from order_engine.settings import Settings
from order_engine.use_cases import watch

from functions.cancel import app as cancel
from functions.dead_letters import app as dead_letters
from functions.launch import app as launch
from functions.market import app as market
from functions.notify import app as notify
from functions.orders import app as orders
from functions.route_execute import app as route_execute
from functions.site import app as site
from functions.submit import app as submit
from functions.watch_market import app as watch_market
from functions.ws_connect import app as ws_connect
from tests.integration.conftest import API_KEYS, CHAIN, CLIENT_ORDER_IDS, CONNECTIONS, JOURNAL, SUBSCRIBER_PAGES, WATCH
from tests.support.builders import LambdaContext, an_order, http_event, sqs_event
from tests.support.database import Connections, Database, events_of, row_of
from tests.support.local_aws import LocalGateway

# Powertools says so at every invocation that counts nothing; observability.py ignores it, but pytest resets filters.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

EVENTS = Path(__file__).parents[2] / "events"
CALLER = "203.0.113.7"
HANDLERS: dict[str, Handler[Any]] = {
    app.__name__.split(".")[1]: app.handler for app in (submit, cancel, orders, market, site, ws_connect)
}
BODY = '{"tokenIn":"SOL","tokenOut":"USDC","amountIn":10}'
LIFE = ["pending", "routing", "building", "submitted", "confirmed"]


class Deployment:
    """The functions on one set of parts, and what one sees of it from outside."""

    def __init__(self, gateway: LocalGateway, connections: Connections) -> None:
        self.gateway = gateway
        self.queue_url = client("sqs").create_queue(QueueName=f"orders-{uuid4()}")["QueueUrl"]
        self.environment = {
            "JOURNAL_TABLE": JOURNAL,
            "CLIENT_ORDER_IDS_TABLE": CLIENT_ORDER_IDS,
            "CONNECTIONS_TABLE": CONNECTIONS,
            "SUBSCRIBER_PAGES_TABLE": SUBSCRIBER_PAGES,
            "CHAIN_TABLE": CHAIN,
            "WATCH_TABLE": WATCH,
            "ORDERS_QUEUE_URL": self.queue_url,
            "NOTIFY_FUNCTION": "notify",
            "ACCESS": "open",
            "MANAGEMENT_ENDPOINT": gateway.url,
            "STREAM_URL": "wss://stream.example.com/live",
            "VENUE_QUOTE_LATENCY_MS": "0",
            "VENUE_SWAP_LATENCY_MS": "0",
        }
        self.parts = Bootstrap(Settings(self.environment))
        self.parts.connect_to_database = connections

    def invoke(
        self, function: Handler[Any], event: dict[str, Any] | str, context: LambdaContext | None = None
    ) -> dict[str, Any]:
        """Invokes a function with an event, or with the one of that name in events/; a JSON body is read."""
        event = event if isinstance(event, dict) else event_in(event)
        response = function.on(self.parts)(event, context or LambdaContext())
        return {**response, "body": json.loads(response["body"])} if "body" in response else response

    def journaled(self, *order_ids: UUID) -> None:
        for order_id in order_ids:
            order = an_order(order_id=order_id, created_at=utc_now())
            self.parts.journal.create(OrderRecord.accepted(order), "fingerprint")

    def read(self, order_id: UUID) -> OrderRecord:
        return self.parts.journal.read(order_id)

    def messages(self) -> list[str]:
        """The messages in the orders queue, hidden from then on."""
        received = client("sqs").receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10)
        return [message["Body"] for message in received.get("Messages", [])]


@pytest.fixture
def deployment(
    dynamodb: Any, gateway: LocalGateway, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> Deployment:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", gateway.url)
    return Deployment(gateway, connections)


def event_in(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


def orders_of(event: dict[str, Any]) -> list[UUID]:
    return [UUID(json.loads(record["body"])["orderId"]) for record in event["Records"]]


def about(order_id: UUID, event: dict[str, Any]) -> dict[str, Any]:
    """The same event of the queue, about another order."""
    (record,) = event["Records"]
    return {"Records": [{**record, "body": json.dumps({"orderId": str(order_id)})}]}


# --- orders -----------------------------------------------------------------------------------------------------------


def test_an_order_is_looked_up_and_cancelled(deployment: Deployment) -> None:
    order_id = UUID(event_in("orders-look-up")["pathParameters"]["orderId"])
    assert deployment.invoke(orders.handler, "orders-look-up")["body"]["code"] == "UNKNOWN_ORDER"
    deployment.journaled(order_id)

    looked_up = deployment.invoke(orders.handler, "orders-look-up")["body"]
    cancelled = deployment.invoke(cancel.handler, "cancel")

    assert (looked_up["status"], looked_up["amountIn"], len(looked_up["events"])) == ("pending", "10", 1)
    assert (cancelled["statusCode"], cancelled["body"]["status"]) == (200, "cancelled")
    assert cancelled["body"]["events"] == [event_of(event) for event in deployment.read(order_id).events]
    assert deployment.messages() == [json.dumps({"orderId": str(order_id)})]


def test_orders_are_listed_while_they_move_and_when_they_have_ended(deployment: Deployment) -> None:
    since = quote(utc_now().isoformat())
    event = event_in("orders-list") | {"rawQueryString": f"tokenIn=SOL&tokenOut=USDC&limit=1&from={since}"}
    order_id = uuid4()
    deployment.journaled(uuid4(), order_id)

    first = deployment.invoke(orders.handler, event)
    following = first["headers"]["Link"].partition("?")[2].partition(">")[0]
    second = deployment.invoke(orders.handler, event | {"rawQueryString": following})
    listed = first["body"]["orders"] + second["body"]["orders"]

    assert "Link" not in second["headers"]
    assert {order["orderId"] for order in listed} >= {str(order_id)}
    assert [order["status"] for order in listed] == ["pending", "pending"]
    assert listed == sorted(listed, key=lambda order: order["createdAt"], reverse=True)

    deployment.invoke(cancel.handler, event_in("cancel") | {"pathParameters": {"orderId": str(order_id)}})
    deployment.invoke(route_execute.handler, about(order_id, event_in("route_execute")))
    ended = deployment.invoke(orders.handler, event | {"rawQueryString": f"status=cancelled&from={since}"})["body"][
        "orders"
    ]

    look_up = event_in("orders-look-up") | {"pathParameters": {"orderId": str(order_id)}}
    looked_up = deployment.invoke(orders.handler, look_up)["body"]
    assert [order["orderId"] for order in ended] == [str(order_id)]
    assert ended[0] == {name: value for name, value in looked_up.items() if name != "events"}
    assert ended[0]["completedAt"]


def test_an_order_that_only_postgresql_knows_is_shown_the_same(deployment: Deployment) -> None:
    order_id = uuid4()
    look_up = event_in("orders-look-up") | {"pathParameters": {"orderId": str(order_id)}}
    deployment.journaled(order_id)
    deployment.invoke(route_execute.handler, about(order_id, event_in("route_execute")))
    from_the_journal = deployment.invoke(orders.handler, look_up)["body"]

    key = {"orderId": {"S": str(order_id)}}
    deployment.parts.dynamodb.delete_item(TableName=JOURNAL, Key=key)
    from_the_archive = deployment.invoke(orders.handler, look_up)["body"]

    assert from_the_journal["status"] in ("confirmed", "failed")
    assert from_the_archive == from_the_journal


def test_venues_are_compared_without_a_trace(deployment: Deployment) -> None:
    stored = [deployment.parts.dynamodb.scan(TableName=table)["Count"] for table in (JOURNAL, CHAIN)]

    response = deployment.invoke(market.handler, "market-quotes")

    body = response["body"]
    best = max(body["quotes"], key=lambda one: Decimal(one["amountOut"]))
    assert response["statusCode"] == 200
    assert (body["tokenIn"], body["tokenOut"], body["amountIn"]) == ("SOL", "USDC", "10")
    assert {one["venue"] for one in body["quotes"]} == {"raydium", "meteora"}
    assert (body["best"], body["rejected"]) == (best["venue"], [])
    assert Decimal(body["minAmountOut"]) < Decimal(best["amountOut"])
    assert [deployment.parts.dynamodb.scan(TableName=table)["Count"] for table in (JOURNAL, CHAIN)] == stored


def test_what_no_venue_takes_is_told_as_such(deployment: Deployment) -> None:
    event = event_in("market-quotes")
    large = event | {"rawQueryString": "tokenIn=SOL&tokenOut=USDC&amountIn=900000000"}
    unlaunched = event | {"rawQueryString": "tokenIn=USDC&tokenOut=NOVA&amountIn=5"}

    codes = [
        {one["code"] for one in deployment.invoke(market.handler, asked)["body"]["rejected"]}
        for asked in (large, unlaunched)
    ]

    assert codes == [{"INSUFFICIENT_LIQUIDITY"}, {"NO_POOL"}]
    assert "best" not in deployment.invoke(market.handler, large)["body"]


def test_venues_that_are_away_are_asked_again(deployment: Deployment) -> None:
    deployment.environment["VENUE_ERROR_RATE"] = "1"

    response = deployment.invoke(market.handler, "market-quotes")

    assert (response["statusCode"], response["body"]["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert response["headers"]["Retry-After"] == "1"


def test_everybody_may_know_the_tokens(deployment: Deployment) -> None:
    response = deployment.invoke(market.handler, "market-tokens")

    tokens = {one["symbol"]: one for one in response["body"]["tokens"]}
    assert tokens["USDC"] == {
        "symbol": "USDC",
        "mint": "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGkZwyTDt1v",
        "decimals": 6,
        "launches": False,
    }
    assert tokens["NOVA"]["launches"]
    assert "public" in response["headers"]["Cache-Control"]


def event_of(event: StatusEvent) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(event.to_json())
    return parsed


# --- submit -----------------------------------------------------------------------------------------------------------


def test_an_order_is_journaled_queued_and_accepted_with_its_stream_url(deployment: Deployment) -> None:
    response = deployment.invoke(submit.handler, "submit")

    order_id = response["body"]["orderId"]
    assert (response["statusCode"], response["headers"]) == (
        202,
        {"Content-Type": "application/json", "Referrer-Policy": "no-referrer"},
    )
    created_at = deployment.read(UUID(order_id)).order.created_at
    assert response["body"] == {
        "orderId": order_id,
        "status": "pending",
        "createdAt": created_at.isoformat().replace("+00:00", "Z"),
        "streamUrl": f"wss://stream.example.com/live?orderId={order_id}",
    }
    assert deployment.messages() == [json.dumps({"orderId": order_id})]


def test_an_owner_is_told_of_its_quota_and_of_its_end(deployment: Deployment, dynamodb: Any) -> None:
    settings = {**deployment.environment, "ACCESS": "keys", "API_KEYS_TABLE": API_KEYS, "OWNER_ORDERS_PER_MINUTE": "1"}
    deployment.parts = Bootstrap(Settings(settings))
    key = ApiKey.draw()
    DynamoKeys(dynamodb, API_KEYS).create(StoredKey.of(key, f"owner-{uuid4()}", ["trade"], utc_now(), "somebody"))
    event = event_in("submit")
    event["headers"]["authorization"] = f"Bearer {key.text}"

    first, second = (deployment.invoke(submit.handler, event) for _ in range(2))

    policy = {"RateLimit-Policy": '"owner";q=1;w=60'}
    assert first["statusCode"] == 202
    assert {name: first["headers"].get(name) for name in policy} == policy
    assert first["headers"]["RateLimit"] == '"owner";r=0;t=60'
    assert "&token=" in first["body"]["streamUrl"]
    assert (second["statusCode"], second["body"]["code"]) == (429, "TOO_MANY_REQUESTS")
    assert {name: second["headers"].get(name) for name in policy} == policy
    assert 55 <= int(second["headers"]["Retry-After"]) <= 60
    assert len(deployment.messages()) == 1


@pytest.mark.parametrize("lacking", ["keys", "quotas"])
@pytest.mark.parametrize(("keyed", "code"), [(False, "NOTHING_ACCEPTED"), (True, "ACCEPTANCE_UNKNOWN")])
def test_an_outage_at_the_door_says_only_what_is_known(
    deployment: Deployment, dynamodb: Any, lacking: str, keyed: bool, code: str
) -> None:
    """With a clientOrderId an earlier request may have been accepted."""
    key = ApiKey.draw()
    DynamoKeys(dynamodb, API_KEYS).create(StoredKey.of(key, f"owner-{uuid4()}", ["trade"], utc_now(), "somebody"))
    settings = {**deployment.environment, "ACCESS": "keys", "API_KEYS_TABLE": API_KEYS, "OWNER_ORDERS_PER_MINUTE": "1"}
    deployment.parts = Bootstrap(
        Settings({**settings, "API_KEYS_TABLE": "no table"} if lacking == "keys" else settings)
    )
    if lacking == "quotas":
        deployment.parts.quotas = DynamoQuotas(dynamodb, "no table", Quota(1), utc_now)
    event = event_in("submit-repeated" if keyed else "submit")
    event["headers"]["authorization"] = f"Bearer {key.text}"

    response = deployment.invoke(submit.handler, event)

    assert (response["statusCode"], response["body"]["code"]) == (503, code)


def test_a_repeated_order_gets_the_same_response_with_the_present_status(deployment: Deployment) -> None:
    first, second = (deployment.invoke(submit.handler, "submit-repeated") for _ in range(2))
    deployment.invoke(route_execute.handler, sqs_event(deployment.messages()[0]))
    third = deployment.invoke(submit.handler, "submit-repeated")

    assert first["statusCode"] == 202
    assert first == second
    assert third == {**first, "body": {**first["body"], "status": "confirmed"}}


def test_a_bad_order_is_refused_with_a_problem_that_names_each_field(deployment: Deployment) -> None:
    response = deployment.invoke(submit.handler, "submit-bad")

    assert response["statusCode"] == response["body"]["status"] == 422
    assert response["headers"] == {"Content-Type": "application/problem+json"}
    assert {error["field"] for error in response["body"]["errors"]} == {"amountIn", "slippageBps"}
    assert deployment.messages() == []


@pytest.mark.parametrize(("added", "status"), [("", 202), ("%", 400)])
def test_a_body_in_base64_is_read_strictly(deployment: Deployment, added: str, status: int) -> None:
    event = {**http_event(base64.b64encode(BODY.encode()).decode() + added), "isBase64Encoded": True}

    assert deployment.invoke(submit.handler, event)["statusCode"] == status


def test_an_order_that_cannot_be_queued_is_refused_for_a_second(deployment: Deployment) -> None:
    deployment.environment["ORDERS_QUEUE_URL"] += "-of-somebody-else"

    response = deployment.invoke(submit.handler, http_event(BODY))

    assert (response["statusCode"], response["body"]["code"]) == (503, "NOTHING_ACCEPTED")
    assert response["headers"]["Retry-After"] == "1"


def test_a_paused_engine_takes_no_orders_and_watches_no_market(
    deployment: Deployment, dynamodb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_EVERY", timedelta())

    def watched() -> int:
        watching = deployment.invoke(watch_market.handler, {"looks": 1}, LambdaContext(remaining_ms=160_000))
        looks: int = watching["looks"]
        return looks

    pauses, at = DynamoPauses(dynamodb, WATCH), utc_now()
    deployment.parts.watchlist.note(an_order(order_type="limit", limit_price=Decimal(1)))
    assert (pauses.read(), watched()) == (None, 1)

    assert pauses.pause(at, "me") == pauses.pause(utc_now(), "somebody else") == pauses.read() == Pause(at, "me")

    response = deployment.invoke(submit.handler, http_event(BODY))
    assert (response["statusCode"], response["body"]["code"]) == (503, "PAUSED")
    assert (response["headers"]["Retry-After"], deployment.messages()) == ("10", [])
    assert watched() == 0

    for _ in range(2):
        pauses.resume()
        assert (pauses.read(), watched()) == (None, 1)
    assert deployment.invoke(submit.handler, http_event(BODY))["statusCode"] == 202


# --- route_execute and dead_letters -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["route_execute", "route_execute-batch"])
def test_the_orders_of_a_batch_are_executed_and_persisted_once(
    deployment: Deployment, database: Database, name: str
) -> None:
    deployment.journaled(*orders_of(event_in(name)))

    for function in (route_execute, route_execute, dead_letters):  # redelivered, which changes nothing
        assert deployment.invoke(function.handler, name) == {"batchItemFailures": []}

    for record in map(deployment.read, orders_of(event_in(name))):
        assert [event.status for event in record.events] == LIFE
        assert row_of(database, record)["tx_hash"] == record.last.model_dump()["tx_hash"]
        assert len(events_of(database, record)) == 5


@pytest.mark.parametrize("function", [route_execute, dead_letters])
def test_poison_is_redelivered_until_it_is_a_dead_letter_and_stays(deployment: Deployment, function: Any) -> None:
    event = event_in("route_execute-poison")

    response = deployment.invoke(function.handler, event)

    assert response == {"batchItemFailures": [{"itemIdentifier": one["messageId"]} for one in event["Records"]]}


def test_an_order_that_kept_killing_its_workers_ends_as_failed(deployment: Deployment, database: Database) -> None:
    (order_id,) = orders_of(event_in("dead_letters"))
    deployment.journaled(order_id)
    an_hour_ago = Bootstrap(deployment.parts.settings, lambda: utc_now() - timedelta(hours=1))
    an_hour_ago.journal.claim(order_id)  # by a worker that crashed

    assert deployment.invoke(dead_letters.handler, "dead_letters") == {"batchItemFailures": []}

    assert deployment.read(order_id).status == "failed"
    assert row_of(database, deployment.read(order_id))["failure_code"] == "INTERNAL_ERROR"


# --- launch and watch_market ------------------------------------------------------------------------------------------


class FewSeconds(LambdaContext):
    """The context of an invocation whose time is nearly over, but for a moment."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._ends_at = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        """See `LambdaContext`."""
        return int((self._ends_at - time.monotonic()) * 1000)


@pytest.mark.parametrize(
    "event",
    [{"token": "SOL"}, {"token": "nova"}, {"token": None}, {"token": ["NOVA"]}, {}],
    ids=lambda event: "".join(map(str, event.values())),
)
def test_only_a_token_that_launches_is_launched(deployment: Deployment, event: dict[str, Any]) -> None:
    refused = deployment.invoke(launch.handler, event)

    assert refused == {"errors": [{"field": "token", "message": "must be one of NOVA, ORBIT"}]}


def test_a_sniper_waits_for_a_launch_and_is_brought_back_by_the_watch(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_EVERY", timedelta())

    def watched() -> dict[str, Any]:
        return deployment.invoke(watch_market.handler, "watch_market", FewSeconds(watch.LOOK + 0.8))

    body = '{"tokenIn":"SOL","tokenOut":"NOVA","amountIn":"0.1","orderType":"sniper"}'
    order_id = UUID(deployment.invoke(submit.handler, http_event(body))["body"]["orderId"])
    (message,) = deployment.messages()
    assert deployment.invoke(route_execute.handler, sqs_event(message)) == {"batchItemFailures": []}
    assert [event.status for event in deployment.read(order_id).events] == ["pending", "open"]
    assert watched()["looks"] > 0
    assert deployment.messages() == []

    launched = deployment.invoke(launch.handler, "launch")
    assert launched == deployment.invoke(launch.handler, "launch")  # the first moment holds
    assert set(launched) == {"token", "opensAt"}
    assert watched()["looks"] > 0
    assert deployment.messages() == [message]  # once, however often it looked
    deployment.invoke(route_execute.handler, sqs_event(message))

    life = ["pending", "open", "triggered", "routing", "building", "submitted", "confirmed"]
    assert [event.status for event in deployment.read(order_id).events] == life


def test_a_watch_without_time_looks_at_nothing(deployment: Deployment) -> None:
    assert deployment.invoke(watch_market.handler, "watch_market", LambdaContext(remaining_ms=20_000)) == {"looks": 0}


# --- ws_connect and notify --------------------------------------------------------------------------------------------


def test_a_connection_is_kept_notified_answered_closed_and_forgotten(deployment: Deployment) -> None:
    wanted, posted = event_in("notify"), deployment.gateway.posted
    connection_id, order_id = wanted["connectionId"], UUID(wanted["orderId"])
    deployment.journaled(order_id)

    assert deployment.invoke(ws_connect.handler, "ws_connect-connect") == {"statusCode": 200}
    assert deployment.gateway.invoked == [("notify", "Event", wanted)]
    assert deployment.invoke(notify.handler, "notify") == {}
    assert deployment.invoke(ws_connect.handler, "ws_connect-default") == {"statusCode": 200}
    assert posted[connection_id].pop() == {"type": "pong"}
    deployment.invoke(route_execute.handler, sqs_event(json.dumps({"orderId": str(order_id)})))
    assert [message["status"] for message in posted[connection_id]] == LIFE
    assert deployment.gateway.closed == {connection_id}
    assert deployment.invoke(ws_connect.handler, "ws_connect-disconnect") == {"statusCode": 200}
    assert deployment.read(order_id).subscribers == ()


def test_a_connection_to_an_unknown_order_is_refused_with_a_problem(deployment: Deployment) -> None:
    response = deployment.invoke(ws_connect.handler, "ws_connect-connect-unknown")

    assert response["statusCode"] == response["body"]["status"] == 404
    assert deployment.gateway.invoked == []


def test_notify_ignores_an_order_that_is_no_more(deployment: Deployment) -> None:
    event = {"orderId": str(uuid4()), "connectionId": "nobody", "generation": 1}

    assert deployment.invoke(notify.handler, event) == {}


# --- all of them ------------------------------------------------------------------------------------------------------


def lines_about(deployment: Deployment, monkeypatch: pytest.MonkeyPatch, body: str) -> dict[str, dict[str, Any]]:
    """The log lines about an order, by their messages; each must have its id."""
    written = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", written)
    order_id = deployment.invoke(submit.handler, http_event(body))["body"]["orderId"]
    deployment.invoke(route_execute.handler, sqs_event(*deployment.messages()))
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert {line.get("orderId") for line in lines} == {order_id}
    return {line["message"]: line for line in lines}


def test_the_log_lines_of_an_order_that_is_confirmed(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = lines_about(deployment, monkeypatch, BODY)

    routed, confirmed = lines["order routed"], lines["order confirmed"]
    events = [json.loads(event.to_json()) for event in deployment.read(UUID(confirmed["orderId"])).events]
    assert (routed["quotes"], routed["rejected"]) == (events[2]["quotes"], [])
    assert (confirmed["pair"], confirmed["amountIn"]) == ("SOL/USDC", "10")
    for name in ("venue", "executedPrice", "amountOut"):
        assert confirmed[name] == events[-1][name]
    assert 0 < confirmed["seconds"] == round(confirmed["seconds"], 3) < 60
    assert "pair" not in lines["order submitted"]


def test_the_log_line_of_an_order_that_fails_says_why(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = lines_about(deployment, monkeypatch, BODY.replace("10", "0.000000001"))["order failed"]

    assert (failed["pair"], failed["amountIn"], failed["code"]) == ("SOL/USDC", "0.000000001", "AMOUNT_TOO_SMALL")
    assert failed["error"] == "0.000000001 SOL buy no USDC on raydium; 0.000000001 SOL buy no USDC on meteora"
    assert 0 < failed["seconds"] < 60


def test_no_function_logs_the_address_of_a_caller(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", written)
    monkeypatch.setattr(logger._logger, "level", logging.DEBUG)
    called = [path.stem for path in EVENTS.glob("*.json") if CALLER in path.read_text()]

    for name in called:
        HANDLERS[name.partition("-")[0]].on(deployment.parts)(event_in(name), LambdaContext())

    assert {name.partition("-")[0] for name in called} == set(HANDLERS)
    assert written.getvalue()
    assert CALLER not in written.getvalue()


def test_a_log_line_has_of_its_invocation_only_what_is_read(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", written)
    logger.append_keys(left="by an invocation before")

    HANDLERS["submit"].on(deployment.parts)(event_in("submit"), LambdaContext())

    line = json.loads(written.getvalue().splitlines()[0])
    own = {"function_name", "function_request_id", "orderId", "owner"}
    assert set(line) - own == {"level", "location", "message", "timestamp", "service"}
    assert (line["function_name"], line["function_request_id"]) == ("function", LambdaContext().aws_request_id)


def test_the_log_lines_have_the_fields_that_the_guides_queries_name(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those beginning with @ are CloudWatch's, and every line has function_name and level."""
    guide = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    queries = re.findall(r"^```text\n(.*?)^```|--query-string '(.*?)'", guide, re.DOTALL | re.MULTILINE)
    clauses = [part for query in queries for part in re.split(r"[|\n]", "".join(query))]
    named = [re.match(r" *(?:fields|stats count\(\*\) by) (.*)", clause) for clause in clauses]
    fields = {field.strip() for found in named if found for field in found[1].split(",")}
    fields = {field for field in fields if not field.startswith("@")}

    written = [
        *lines_about(deployment, monkeypatch, BODY).values(),
        *lines_about(deployment, monkeypatch, BODY.replace("10", "0.000000001")).values(),
    ]

    assert {"orderId", "quotes.0.venue", "reason"} < fields
    assert fields - {name for line in written for name in flat(line)} == set()


def flat(value: Any, name: str = "") -> Iterator[str]:
    """The fields of a line, as Logs Insights names those inside others."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if name:
        yield name
    for key, one in inside:
        yield from flat(one, f"{name}.{key}" if name else str(key))
