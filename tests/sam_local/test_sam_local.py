"""Every event of events/ through `sam local`: in AWS's runtime image, from what `sam build` made, on the local stack.

`make sam-local` runs this; it sets SAM to the SAM CLI's path. The stack's own workers run beside it, so that what a
container submits is executed. Most events go through `sam local start-lambda`, whose containers stay warm: that is
quicker by minutes than a `sam local invoke` for each.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import boto3
import httpx
import psycopg
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from order_engine.adapters.journal.journal import DynamoJournal
from order_engine.adapters.journal.subscribers import DynamoSubscribers
from order_engine.adapters.journal.watchlist import DynamoWatchlist
from order_engine.adapters.notify_requests import event_for
from order_engine.adapters.queue import order_id_of
from order_engine.bootstrap import utc_now
from order_engine.domain.events import Opened
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.order import Order
from order_engine.domain.record import OrderRecord
from websockets.sync.client import ClientConnection, connect

from local import processes
from local.events import EVENTS, sample_order
from local.gateway import REGION
from local.sam import BUILD, SamLocal, function_of
from local.stack import PATH
from tests.support.raw_client import submit

_T = TypeVar("_T")
SAM = os.environ.get("SAM", "")
QUICK = {"VenueQuoteLatencyMs": "20-50", "VenueSwapLatencyMs": "200-300", "VenueMaxSlipBps": "10"}
CONNECTION = "UqyzSd0JIAMCJ-w="  # of the events

pytestmark = pytest.mark.skipif(not SAM, reason="`make sam-local` runs these; they need Docker and the SAM CLI")


@dataclass(frozen=True)
class World:
    """The local stack, and the SAM CLI beside it."""

    sam: SamLocal
    functions: Any  # boto3's client of `sam local start-lambda`

    def invoke(self, event: str | dict[str, Any], function: str = "") -> dict[str, Any]:
        """Invokes a function in a warm container, with the event in a file of events/ or another one; answers its
        answer."""
        path = self.sam.events / f"{event}.json"
        payload = json.dumps(event) if isinstance(event, dict) else path.read_text()
        response = self.functions.invoke(FunctionName=function or function_of(path), Payload=payload)
        answer: dict[str, Any] = json.loads(response["Payload"].read())
        assert "errorType" not in answer, answer
        return answer

    def invoke_once(self, event: str) -> dict[str, Any]:
        """Does the same with `sam local invoke`, in a container of its own."""
        path = self.sam.events / f"{event}.json"
        command = [
            SAM,
            "local",
            "invoke",
            function_of(path),
            "--config-file",
            str(self.sam.config),
            "--event",
            str(path),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment(self.sam), timeout=180
        )
        assert done.returncode == 0, done.stderr
        for line in re.findall(r"^REPORT .*", done.stderr, re.MULTILINE):
            print(f"{path.name}: {line.partition('Init')[2]}")
        lines = [line for line in done.stdout.splitlines() if line.startswith(("{", "["))]
        assert lines, done.stderr
        answer: dict[str, Any] = json.loads(lines[-1])
        assert "errorType" not in answer, done.stderr
        return answer

    def submitted(self, event: str, invoke: Callable[[str], dict[str, Any]] | None = None) -> dict[str, Any]:
        """The response to an order, sent again where a service did not respond in time, as a client does."""
        answers = ((invoke or self.invoke)(event) for _ in range(3))
        return next((answer for answer in answers if answer["statusCode"] != 503), {})

    def client(self, service: str) -> Any:
        return self.sam.stack.gateway.client(service)

    def journal(self) -> DynamoJournal:
        outputs = self.sam.stack.outputs
        orders, keys = outputs["JournalTableName"], outputs["ClientOrderIdsTableName"]
        return DynamoJournal(self.client("dynamodb"), orders, keys, utc_now, timedelta(seconds=25))

    def an_order(self) -> UUID:
        """An order in the journal whose message nobody has sent."""
        return self.journal().create(OrderRecord.accepted(sample_order(uuid4())), "none").order.order_id

    def row(self, order_id: str | UUID) -> Any:
        """The order's row in PostgreSQL, waited for."""
        with psycopg.connect(self.sam.stack.postgres.url, autocommit=True) as connection:
            query = "SELECT status, failure_code FROM orders WHERE order_id = %s"
            return eventually(lambda: connection.execute(query, [str(order_id)]).fetchone())

    @contextmanager
    def watch(self, order_id: UUID) -> Iterator[tuple[ClientConnection, str]]:
        """A socket that watches an order and has had its first status, and its connection ID."""
        url = self.sam.stack.endpoints.websocket.replace("{orderId}", str(order_id))
        with connect(url, proxy=None) as socket:
            assert json.loads(socket.recv(timeout=10))["sequence"] == 1
            eventually(lambda: [one.live_after for one in self.journal().read(order_id).subscribers] == [1])
            yield socket, self.journal().read(order_id).subscribers[0].connection_id


def eventually(condition: Callable[[], _T], seconds: float = 30) -> _T:
    """What a condition answers once that is true."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return answer


def read(event: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((EVENTS / f"{event}.json").read_text())
    return content


def environment(sam: SamLocal) -> dict[str, str]:
    """What the SAM CLI gets to see."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST", "LANG") if name in os.environ}
    credentials = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": str(sam.credentials)}
    return {**kept, **credentials, "SAM_CLI_TELEMETRY": "0"}


@contextmanager
def server(sam: SamLocal, command: str, *options: str) -> Iterator[str]:
    """A server of the SAM CLI's; its address, once it serves."""
    port = processes.free_port()
    whole = [SAM, "local", command, "--config-file", str(sam.config), "--port", str(port), *options]
    with (sam.config.parent / f"{command}.log").open("w") as log:
        process = subprocess.Popen(whole, stdout=log, stderr=log, env=environment(sam), start_new_session=True)
    try:
        address = f"http://127.0.0.1:{port}"
        eventually(lambda: serves(address), seconds=120)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # what a shell starts in the background ignores Ctrl-C
        process.wait(90)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with (
        SamLocal(state=tmp_path_factory.mktemp("sam") / "state", port=0, parameters=QUICK) as sam,
        server(sam, "start-lambda", "--warm-containers", "LAZY") as address,
    ):
        once = Config(read_timeout=180, retries={"total_max_attempts": 1}, signature_version=UNSIGNED)
        yield World(sam, boto3.client("lambda", endpoint_url=address, region_name=REGION, config=once))


def test_submit_takes_an_order_in_and_the_stack_executes_it(world: World) -> None:
    answer = world.submitted("submit", world.invoke_once)

    body = json.loads(answer["body"])
    assert (answer["statusCode"], body["status"]) == (202, "pending")
    assert world.row(body["orderId"]) == ("confirmed", None)


def test_submit_takes_a_limit_order_in(world: World) -> None:
    body = json.loads(world.submitted("submit-limit")["body"])

    assert world.row(body["orderId"]) == ("confirmed", None)


def test_submit_names_each_field_that_is_wrong(world: World) -> None:
    answer = world.invoke("submit-bad")

    problem = json.loads(answer["body"])
    assert answer["statusCode"] == 422
    assert {error["field"] for error in problem["errors"]} == {"amountIn", "slippageBps"}


def test_submit_answers_a_repeated_request_with_the_same_order(world: World) -> None:
    first = json.loads(world.submitted("submit-repeated")["body"])
    assert world.row(first["orderId"]) == ("confirmed", None)

    second = json.loads(world.submitted("submit-repeated")["body"])

    assert second == {**first, "status": "confirmed"}


def test_route_execute_executes_an_order(world: World) -> None:
    answer = world.invoke_once("route_execute")

    assert answer == {"batchItemFailures": []}
    assert world.row(order_id_of(read("route_execute")["Records"][0]["body"])) == ("confirmed", None)


def test_route_execute_executes_a_batch_as_far_as_its_time_goes(world: World) -> None:
    answer = world.invoke("route_execute-batch")

    come_again = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
    first, *rest = read("route_execute-batch")["Records"]
    assert first["messageId"] not in come_again
    for record in (first, *rest):
        if record["messageId"] not in come_again:
            assert world.row(order_id_of(record["body"])) == ("confirmed", None)


def test_route_execute_has_poison_come_again(world: World) -> None:
    answer = world.invoke("route_execute-poison")

    ids = [record["messageId"] for record in read("route_execute-poison")["Records"]]
    assert answer == {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in ids]}


def test_a_socket_hears_of_each_status_from_the_container(world: World) -> None:
    order_id = world.an_order()
    event = read("route_execute")
    event["Records"][0]["body"] = json.dumps({"orderId": str(order_id)})
    with world.watch(order_id) as (socket, _):
        world.invoke(event, "RouteExecuteFunction")
        heard = [json.loads(socket.recv(timeout=10))["status"] for _ in range(4)]

    assert heard == ["routing", "building", "submitted", "confirmed"]


def test_orders_shows_an_order_and_cancel_cancels_it(world: World) -> None:
    order_id = UUID(read("orders-look-up")["pathParameters"]["orderId"])
    journaled = world.journal().read(order_id).status

    assert json.loads(world.invoke("orders-look-up")["body"])["status"] == journaled
    assert json.loads(world.invoke("cancel")["body"])["status"] == "cancelled"
    assert world.row(order_id) == ("cancelled", None)


def test_orders_lists_them(world: World) -> None:
    submitted = json.loads(world.submitted("submit")["body"])["orderId"]
    assert world.row(submitted) == ("confirmed", None)

    listed = json.loads(world.invoke("orders-list")["body"])["orders"]

    assert submitted in {order["orderId"] for order in listed}
    assert {order["status"] for order in listed} == {"confirmed"}


def test_market_compares_the_venues_and_lists_the_tokens(world: World) -> None:
    quotes = json.loads(world.invoke("market-quotes")["body"])

    assert quotes["best"] in {quote["venue"] for quote in quotes["quotes"]}
    assert {"SOL", "USDC"} <= {token["symbol"] for token in json.loads(world.invoke("market-tokens")["body"])["tokens"]}


def test_site_serves_the_page_and_what_its_layer_brings(world: World) -> None:
    page = world.invoke("site")
    # Without its content, which is more than the SAM CLI prints whole.
    asked = {"rawPath": "/assets/swagger-ui-bundle.js", "headers": {"if-none-match": "*"}}
    library = world.invoke(read("site") | asked, "SiteFunction")

    assert [one["statusCode"] for one in (page, library)] == [200, 304]
    assert page["headers"]["Content-Type"].startswith("text/html")


def test_dead_letters_ends_an_order_as_failed(world: World) -> None:
    answer = world.invoke("dead_letters")

    assert answer == {"batchItemFailures": []}
    order_id = order_id_of(read("dead_letters")["Records"][0]["body"])
    assert world.row(order_id) == ("failed", "INTERNAL_ERROR")
    assert world.journal().read(order_id).status is OrderStatus.FAILED


def test_ws_connect_keeps_a_subscriber_and_forgets_it_when_it_leaves(world: World) -> None:
    order_id = UUID(read("ws_connect-connect")["queryStringParameters"]["orderId"])

    assert world.invoke("ws_connect-connect") == {"statusCode": 200}
    table, key = world.sam.stack.outputs["ConnectionsTableName"], {"connectionId": {"S": CONNECTION}}
    row = world.client("dynamodb").get_item(TableName=table, Key=key).get("Item")
    assert row is None or row["orderId"]["S"] == str(order_id)  # None: notify found no such socket, and has removed it
    assert world.invoke("ws_connect-disconnect") == {"statusCode": 200}
    assert "Item" not in world.client("dynamodb").get_item(TableName=table, Key=key)
    assert world.journal().read(order_id).subscriber(CONNECTION) is None


def test_ws_connect_refuses_a_subscriber_of_no_order(world: World) -> None:
    answer = world.invoke("ws_connect-connect-unknown")

    assert answer["statusCode"] == 404
    assert json.loads(answer["body"])["code"] == "UNKNOWN_ORDER"


def test_ws_connect_answers_a_ping_on_the_socket(world: World) -> None:
    event = read("ws_connect-default")
    with world.watch(world.an_order()) as (socket, connection_id):
        event["requestContext"]["connectionId"] = connection_id
        assert world.invoke(event, "WsConnectFunction") == {"statusCode": 200}
        assert json.loads(socket.recv(timeout=10)) == {"type": "pong"}


def test_ws_connect_says_where_to_connect_for_many_orders(world: World) -> None:
    answer = world.invoke("ws_connect-streams")

    assert (answer["statusCode"], json.loads(answer["body"])["streamUrl"]) == (
        200,
        world.sam.stack.outputs["WebSocketUrl"],
    )


def test_ws_connect_bears_that_its_socket_is_gone(world: World) -> None:
    assert world.invoke("ws_connect-default") == {"statusCode": 200}


def test_notify_brings_a_subscriber_up_to_date(world: World) -> None:
    order_id, journal, outputs = world.an_order(), world.journal(), world.sam.stack.outputs
    tables = (outputs[f"{name}TableName"] for name in ("SubscriberPages", "Journal"))
    subscribers = DynamoSubscribers(world.client("dynamodb"), *tables)
    with world.watch(order_id) as (socket, connection_id):
        watching = journal.read(order_id).subscriber(connection_id)
        assert watching
        (behind,) = subscribers.take_back([replace(watching, sent_through=0)])  # as after a post that did not arrive
        event = json.loads(event_for(behind))
        assert event.keys() == read("notify").keys()

        assert world.invoke(event, "NotifyFunction") == {}

        assert json.loads(socket.recv(timeout=10))["sequence"] == 1
        up_to_date = journal.read(order_id).subscriber(connection_id)
        assert up_to_date
        assert up_to_date.live_after == 1


def test_notify_has_nothing_to_do_for_a_subscriber_that_is_gone(world: World) -> None:
    assert world.invoke("notify") == {}


def test_watch_market_brings_back_what_is_due(world: World) -> None:
    terms = {**sample_order(uuid4()).model_dump(), "order_type": "limit", "limit_price": Decimal(1)}
    record = OrderRecord.accepted(Order(**terms))
    order_id = world.journal().create(record, "none").order.order_id
    claim = world.journal().claim(order_id)
    opened = Opened(**record.header(utc_now()), message="at rest", reference_price=Decimal(1))
    world.journal().release(world.journal().append(claim, record.followed_by(opened)))
    watched, journal = (world.sam.stack.outputs[name] for name in ("WatchTableName", "JournalTableName"))
    DynamoWatchlist(world.client("dynamodb"), watched, journal, utc_now).note(record.order)

    assert world.invoke("watch_market")["looks"] >= 1
    assert world.row(order_id) == ("confirmed", None)


def test_launch_opens_the_pools_of_a_token(world: World) -> None:
    answer = world.invoke("launch")

    assert sorted(answer) == ["opensAt", "token"]
    assert world.invoke("launch") == answer


def test_migrate_applies_the_migrations_and_answers_cloudformation(world: World) -> None:
    answer = world.invoke("migrate")

    assert (answer["Status"], answer["Reason"]) == ("SUCCESS", "applied: nothing new")
    put = world.client("s3").get_object(Bucket="deployment", Key="answer-to-cloudformation.json")["Body"].read()
    assert json.loads(put) == answer


def test_preflight_finds_room_and_answers_cloudformation(world: World) -> None:
    assert world.invoke("preflight")["Status"] == "SUCCESS"


def test_start_api_takes_an_order_in_and_the_stack_executes_it(world: World) -> None:
    with server(world.sam, "start-api") as base:
        assert shutil.which("curl")
        body = '{"tokenIn":"SOL","tokenOut":"USDC","amountIn":"1.25"}'
        curl = ["curl", "-sS", "--noproxy", "*", base + PATH, "-H", "Content-Type: application/json", "-d", body]
        answer = json.loads(subprocess.run(curl, capture_output=True, text=True, check=True, timeout=120).stdout)
        again = submit(base, {"tokenIn": "BONK", "tokenOut": "SOL", "amountIn": "1000000"})

    assert answer["status"] == "pending"
    assert world.row(answer["orderId"]) == ("confirmed", None)
    assert world.row(again["orderId"]) == ("confirmed", None)


def serves(base: str) -> bool:
    """Asks for what no function has: one that does would start a container at each try, and be late for all."""
    try:
        return bool(httpx.get(f"{base}/no-such-path", trust_env=False).status_code)
    except httpx.TransportError:
        return False


def test_every_event_is_used() -> None:
    source = Path(__file__).read_text()

    assert [path.stem for path in EVENTS.glob("*.json") if f'"{path.stem}"' not in source] == []
    assert (BUILD / "template.yaml").exists()
