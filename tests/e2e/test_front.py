"""What is before the emulator: two addresses, our own answers, and nothing for web pages or other users."""

import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psutil
import psycopg
import pytest
from websockets.exceptions import ConnectionClosedOK, InvalidStatus
from websockets.sync.client import connect

from local import processes
from local.gateway import client
from tests.e2e.conftest import FRIEND
from tests.e2e.system import PATIENCE_SECONDS, System, an_order, wait_for
from tests.e2e.test_requests import problem_of

ORDER = json.dumps(an_order()).encode()
# What a page can make a browser send without asking first, and what it asks for first.
PLAIN = {"content-type": "text/plain"}
JSON = {"content-type": "application/json"}
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}


@pytest.fixture
def page(system: System) -> Iterator[httpx.Client]:
    """A client without credentials, as every web page and every user of the machine is one."""
    with httpx.Client(base_url=system.stack.gateway.url, trust_env=False) as client:
        yield client


def test_a_page_of_an_allowed_origin_may_use_the_api(page: httpx.Client) -> None:
    asked = {"access-control-request-method": "DELETE", "access-control-request-headers": "authorization"}
    preflight = page.options(f"/api/orders/{uuid4()}", headers={"origin": FRIEND, **asked})
    response = page.post("/api/orders/execute", content=ORDER, headers={"origin": FRIEND, **JSON})
    refused = page.get("/api/orders?colour=red", headers={"origin": FRIEND})

    assert preflight.status_code == 204
    allowed = {name: preflight.headers[f"access-control-allow-{name}"] for name in ("origin", "methods", "headers")}
    assert allowed["origin"] == FRIEND
    assert {*allowed["methods"].split(",")} == {"GET", "POST", "DELETE"}
    assert {*allowed["headers"].split(",")} == {"authorization", "content-type", "idempotency-key"}
    assert preflight.headers["access-control-max-age"] == "3600"
    for answer, status in ((response, 202), (refused, 422)):
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, FRIEND)
        assert "retry-after" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"origin": "null"}, {"host": "evil.example"}])
@pytest.mark.parametrize(
    ("method", "path", "more"),
    [
        ("POST", "/api/orders/execute", PLAIN),
        ("OPTIONS", "/api/orders/execute", PREFLIGHT),
        ("OPTIONS", "/", PREFLIGHT),
        ("POST", "/_ministack/reset", PLAIN),
        ("GET", "/2015-03-31/functions/", {}),
        ("PUT", "/_front", PLAIN),
    ],
)
def test_a_web_page_of_another_origin_is_refused(
    system: System, page: httpx.Client, method: str, path: str, more: dict[str, str], headers: dict[str, str]
) -> None:
    orders = len(system.items("JournalTableName"))

    response = page.request(method, path, content=ORDER, headers={**headers, **more})

    problem_of(response, 403, "FORBIDDEN")
    assert not [name for name in response.headers if name.startswith("access-control")]
    assert len(system.items("JournalTableName")) == orders


@pytest.mark.parametrize(
    "host", ["127.0.0.1.evil.com", "[::1", "[127.0.0.1]", "localhost.", "x@127.0.0.1", "127.0.0.1/x", ""]
)
def test_an_odd_host_is_refused(page: httpx.Client, host: str) -> None:
    problem_of(page.post("/api/orders/execute", content=ORDER, headers={"host": host, **PLAIN}), 403, "FORBIDDEN")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "[::1]:80"])
def test_every_name_of_the_loopback_will_do(page: httpx.Client, host: str) -> None:
    problem_of(page.get("/nothing", headers={"host": host}), 404, "NOT_FOUND")


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
def test_a_web_page_of_another_origin_gets_no_socket(system: System, headers: dict[str, str]) -> None:
    order_id = system.submit(an_order())["orderId"]
    url = f"{system.stack.outputs['WebSocketUrl']}?orderId={order_id}"

    # A connection made before, so that the Host header is all that differs.
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as stream, pytest.raises(InvalidStatus) as refusal:
        name = headers.get("Host", address.hostname)
        origin = {name: value for name, value in headers.items() if name == "Origin"}
        connect(url.replace(str(address.hostname), str(name)), sock=stream, proxy=None, additional_headers=origin)

    assert refusal.value.response.status_code == 403


@pytest.mark.parametrize("authorization", ["", "AWS4-HMAC-SHA256 Credential=test/20261123/us-east-1/s3/aws4_request"])
@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/deployment", {}),
        ("GET", "/nothing/here", {}),
        ("PATCH", "/api/orders", {}),
        ("POST", "/", {"x-amz-target": "DynamoDB_20120810.ListTables", "content-type": "application/x-amz-json-1.0"}),
        ("GET", "/2015-03-31/functions/", {}),
        ("POST", "/2015-03-31/functions/{submit}/invocations", {}),
        ("POST", "/_ministack/reset", {}),
        ("GET", "/deployment/template.json", {}),
        ("PUT", "/_front", {}),
        ("POST", "/_aws/execute-api/{http}/api/orders/execute", {"content-type": "application/json"}),
        ("GET", "/deployment/template.json?X-Amz-Credential=test%2F20261123", {}),
        ("GET", "/nothing?a=%C3%A9&b=%ff", {}),
        ("POST", "//api/orders/execute", {"content-type": "application/json"}),
        ("POST", "/$default/api/orders/execute", {"content-type": "application/json"}),
        ("OPTIONS", "/api/orders/execute", {}),
        ("DELETE", "/live/@connections/abc", {}),
    ],
)
def test_the_emulators_own_apis_are_not_there_without_the_credential(
    system: System, page: httpx.Client, method: str, path: str, headers: dict[str, str], authorization: str
) -> None:
    outputs = system.stack.outputs
    orders = len(system.items("JournalTableName"))
    asked = path.format(submit=outputs["SubmitFunctionName"], http=outputs["HttpApiId"])

    response = page.request(method, asked, content=ORDER, headers={**headers, "authorization": authorization})

    problem_of(response, 404, "NOT_FOUND")
    assert len(system.items("JournalTableName")) == orders


def test_the_functions_hosts_take_nobody_who_does_not_know_their_path(system: System) -> None:
    configuration = system.functions.get_function_configuration(FunctionName=system.name_of("submit"))
    host = urlsplit(configuration["Environment"]["Variables"]["MINISTACK_LAMBDA_PROXY_URL"])

    answers = [httpx.post(f"http://{host.netloc}/{path}", content=b"{}", trust_env=False) for path in ("", "x")]

    assert [answer.status_code for answer in answers] == [404, 404]


@pytest.mark.parametrize("query", ["?orderId=%C3%A9", "?orderId=5a3b0000-0000-4000-8000-000000000000&after=%D9%A1"])
def test_a_query_that_is_not_ascii_is_refused_like_any_other(system: System, query: str) -> None:
    with pytest.raises(InvalidStatus) as refusal, system.socket(query):
        pass

    assert refusal.value.response.status_code == 400


def test_postgresql_takes_nobody_without_its_password(system: System) -> None:
    database = urlsplit(system.stack.postgres.url)

    for user in (database.username, f"{database.username}:guess"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(database._replace(netloc=f"{user}@{database.hostname}:{database.port}").geturl())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs as another user")
def test_roots_postgresql_has_no_privilege_at_all(system: System) -> None:
    ours = [child for child in psutil.Process().children() if child.name() == "postgres"]
    servers = [one for server in ours for one in (server, *server.children())]
    allowed = {server.pid: Path(f"/proc/{server.pid}/status").read_text() for server in servers}

    assert allowed
    for text in allowed.values():
        facts = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        assert {facts["Uid"], facts["Gid"]} == {"\t".join([str(processes.NOBODY)] * 4)}
        assert {facts[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert facts["NoNewPrivs"] == "1"


def test_what_was_posted_arrives_before_the_close(system: System) -> None:
    """Where MiniStack would drop what it has not passed on yet, to a client that does not read."""
    system.consume("route_execute", False)
    try:
        order_id = system.submit(an_order())["orderId"]
        with system.watching(order_id) as watcher, ThreadPoolExecutor(1) as pool:
            assert watcher.next()["status"] == "pending"
            [connection] = wait_for(lambda: system.connections(order_id), "the connection is kept")
            address = f"{system.stack.gateway.url}/_aws/execute-api/{system.stack.outputs['WebSocketApiId']}/live"
            sockets = client("apigatewaymanagementapi", address, system.stack.gateway.credentials)
            for number in range(80):
                text = json.dumps({"type": number, "text": "x" * 100_000})
                sockets.post_to_connection(ConnectionId=connection, Data=text.encode())

            closing = pool.submit(sockets.delete_connection, ConnectionId=connection)
            received = [watcher.next()["type"] for _ in range(80)]
            with pytest.raises(ConnectionClosedOK):
                watcher.next()

            closing.result(PATIENCE_SECONDS)
        assert received == list(range(80))
    finally:
        system.consume("route_execute", True)


def test_a_request_that_finds_no_worker_is_told_when_to_come_back(system: System) -> None:
    name = system.name_of("submit")
    reserved = system.functions.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"]
    system.functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        response = system.post(ORDER)
    finally:
        system.functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)

    problem_of(response, 429, "TOO_MANY_REQUESTS")
    assert int(response.headers["retry-after"]) >= 1


def test_a_function_that_fails_is_a_502_over_http_and_at_the_handshake(system: System) -> None:
    order_id = system.submit(an_order())["orderId"]
    configured = [system.configuration(function) for function in ("submit", "ws_connect")]
    with closing(socket.create_server((processes.LOOPBACK, 0))) as closed:
        nowhere = f"http://{processes.LOOPBACK}:{closed.getsockname()[1]}/"
    for one in configured:
        variables = {**one["Environment"]["Variables"], "MINISTACK_LAMBDA_PROXY_URL": nowhere}
        system.functions.update_function_configuration(**{**one, "Environment": {"Variables": variables}})
    try:
        response = system.post(ORDER)
        with pytest.raises(InvalidStatus) as refusal, system.socket(f"?orderId={order_id}"):
            pass
    finally:
        for one in configured:
            system.functions.update_function_configuration(**one)

    problem_of(response, 502, "INTERNAL_ERROR")
    assert int(response.headers["retry-after"]) >= 1
    assert refusal.value.response.status_code == 502
    assert json.loads(refusal.value.response.body or b"")["code"] == "INTERNAL_ERROR"


def test_repeated_headers_are_joined_as_by_api_gateway(system: System, page: httpx.Client) -> None:
    for name, value, status, code in (
        ("Idempotency-Key", "a key", 422, "INVALID_FIELD"),
        ("Content-Type", "application/json", 415, "UNSUPPORTED_MEDIA_TYPE"),
    ):
        headers = httpx.Headers([("Content-Type", "application/json"), ("Idempotency-Key", "a key"), (name, value)])

        response = page.post("/api/orders/execute", content=ORDER, headers=headers)

        problem_of(response, status, code)
