"""The Python client and its command, against the whole system."""

import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from order_client import Client, Conflict, NotFound, Status, Unauthorized

from local.gateway import client as boto3_client
from local.keys import KeyRing
from tests.e2e.system import FIVE, PATIENCE_SECONDS, System, an_order, wait_for
from tests.support.raw_client import Message

UNKNOWN = "5a3b0000-0000-4000-8000-000000000000"
# It waits for a price that never comes.
RESTS = {"orderType": "limit", "limitPrice": "100000"}


class Line:
    """A line to a server, as the address of a port of its own, which can be cut and mended."""

    def __init__(self, url: str) -> None:
        self._there = urlsplit(url).hostname, urlsplit(url).port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._ends: list[socket.socket] = []
        self._cut = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection, and those that come from now on."""
        self._cut.set()
        for one in self._ends:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let connections through again."""
        self._cut.clear()

    def close(self) -> None:
        """Cut it for good."""
        self.cut()
        self._server.shutdown(socket.SHUT_RDWR)
        for one in (self._server, *self._ends):
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                if self._cut.is_set():
                    near.close()
                    continue
                far = socket.create_connection(self._there)
                self._ends += [near, far]
                threading.Thread(target=self._pass_on, args=(near, far), daemon=True).start()

    @staticmethod
    def _pass_on(near: socket.socket, far: socket.socket) -> None:
        other = {near: far, far: near}
        with suppress(OSError, ValueError):
            while True:
                for one in select.select([near, far], [], [])[0]:
                    data = one.recv(65536)
                    if not data:
                        for end in other:
                            end.shutdown(socket.SHUT_RDWR)
                        return
                    other[one].sendall(data)


@pytest.fixture
def line(system: System) -> Iterator[Line]:
    line = Line(system.stack.endpoints.http)
    yield line
    line.close()


@pytest.fixture
def client(system: System) -> Iterator[Client]:
    with Client(system.stack.endpoints.http) as client:
        yield client


def orders(url: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
    return subprocess.run(
        [Path(sys.executable).with_name("orders"), *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        env={**kept, "ORDERS_URL": url, **settings},
    )


def objects(done: subprocess.CompletedProcess[str]) -> list[Message]:
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(one) for one in done.stdout.splitlines()]


def test_the_command_submits_watches_gets_and_lists_an_order(system: System) -> None:
    url = system.stack.endpoints.http
    accepted, *life = objects(orders(url, "submit", "SOL", "USDC", "1.5", "--client-order-id", "by-command", "--json"))
    order_id = accepted["orderId"]

    assert [one["status"] for one in life] == FIVE
    assert life == system.follow(order_id)
    assert objects(orders(url, "watch", order_id, "--after", "3", "--json")) == life[3:]
    [shown] = objects(orders(url, "get", order_id, "--json"))
    assert shown.pop("events") == life
    assert objects(orders(url, "list", "--client-order-id", "by-command", "--json")) == [shown]
    again = orders(url, "submit", "SOL", "USDC", "1.5", "--client-order-id", "by-command")
    assert again.stdout.splitlines()[0] == f"order {order_id}: 1.5 SOL for USDC"


def test_the_command_cancels_an_order_once(system: System) -> None:
    url = system.stack.endpoints.http
    order_id = system.submit(an_order(**RESTS))["orderId"]

    cancelled, again = orders(url, "cancel", order_id), orders(url, "cancel", order_id)

    assert cancelled.stdout == again.stdout == f"order {order_id} is cancelled\n"
    assert orders(url, "watch", order_id).returncode == 1
    assert orders(url, "get", UNKNOWN).returncode == 3


def test_the_command_shows_quotes_and_tokens(system: System) -> None:
    url = system.stack.endpoints.http

    [quotes] = objects(orders(url, "quote", "SOL", "USDC", "10", "--json"))
    tokens = {token["symbol"] for token in objects(orders(url, "tokens", "--json"))}

    assert {quote["venue"] for quote in quotes["quotes"]} == {"raydium", "meteora"}
    assert {"SOL", "USDC", "NOVA"} < tokens


def test_the_command_sums_many_orders_up(system: System) -> None:
    done = orders(system.stack.endpoints.http, "submit", "SOL", "USDC", "0.1", "--count", "5", "--concurrency", "3")

    assert (done.returncode, done.stderr) == (0, "")
    assert ": 5 confirmed\n" in done.stdout


def test_a_list_has_every_order_on_its_pages_once(client: Client) -> None:
    since = datetime.now(UTC) - timedelta(seconds=1)
    ids = [client.submit(an_order(**RESTS)).order_id for _ in range(5)]

    def listed() -> list[str]:
        return [one.order_id for one in client.list(created_from=since, order_type="limit", limit=2)]

    wait_for(lambda: set(ids) <= set(listed()), "the orders are listed")
    assert [one for one in listed() if one in ids] == ids[::-1]
    for order_id in ids:
        assert client.cancel(order_id).status == "cancelled"


def test_many_orders_are_watched_on_one_connection(client: Client) -> None:
    ids = [client.submit(an_order()).order_id for _ in range(5)]

    came = [(status.order_id, status.status) for status in client.stream(*ids)]

    assert {order_id: [name for one, name in came if one == order_id] for order_id in ids} == dict.fromkeys(ids, FIVE)
    with pytest.raises(NotFound):
        list(client.watch(UNKNOWN))
    with pytest.raises(Conflict) as late:
        client.cancel(ids[0])
    assert late.value.order_status == "confirmed"


def test_a_line_that_is_cut_loses_and_repeats_nothing(
    system: System, line: Line, record_property: Callable[[str, object], None]
) -> None:
    accepted = system.submit(an_order(**RESTS))
    order_id, there = accepted["orderId"], urlsplit(accepted["streamUrl"]).netloc
    came: list[tuple[float, Status]] = []
    url = accepted["streamUrl"].replace(there, line.address)

    def follow() -> None:
        with Client(f"http://{line.address}") as client:
            for one in client.watch(url):
                came.append((time.monotonic(), one))  # noqa: PERF401 - as it comes

    thread = threading.Thread(target=follow)
    thread.start()
    wait_for(lambda: [one.status for _, one in came] == ["pending", "open"], "it watches")
    line.cut()
    with Client(system.stack.endpoints.http) as other:
        other.cancel(order_id)
        wait_for(lambda: other.get(order_id).is_final, "it has ended")
    mended = time.monotonic()
    line.mend()
    thread.join(PATIENCE_SECONDS)

    assert [(one.sequence, one.status) for _, one in came] == [(1, "pending"), (2, "open"), (3, "cancelled")]
    record_property("told", ["client", f"went on {came[-1][0] - mended:.2f} s after its line was mended"])


def test_a_connection_for_many_that_the_server_closes_is_followed_by_another(system: System, client: Client) -> None:
    ids = [system.submit(an_order(**RESTS))["orderId"] for _ in range(2)]
    statuses = client.stream(*ids)
    came = [next(statuses) for _ in range(4)]
    [connection] = wait_for(lambda: system.connections(ids[0]), "the connection is kept")

    api = f"{system.stack.gateway.url}/_aws/execute-api/{system.stack.outputs['WebSocketApiId']}/live"
    gateway = boto3_client("apigatewaymanagementapi", api, system.stack.gateway.credentials)
    gateway.delete_connection(ConnectionId=connection)
    for order_id in ids:
        client.cancel(order_id)
    came += statuses

    assert sorted((one.order_id, one.sequence, one.status) for one in came) == sorted(
        (order_id, *one) for order_id in ids for one in ((1, "pending"), (2, "open"), (3, "cancelled"))
    )


def test_with_a_key_it_watches_its_own_orders_alone(with_keys: tuple[str, KeyRing]) -> None:
    url, operator = with_keys
    mine, others = (operator.create(owner, ["trade", "read"]).text for owner in ("mine", "others"))

    with Client(url, mine) as client, Client(url, others) as stranger:
        accepted = client.submit(an_order())
        assert [one.status for one in client.watch(accepted)] == FIVE
        assert [one.status for one in client.watch(accepted.order_id)] == FIVE
        with pytest.raises(NotFound):
            list(stranger.watch(accepted.order_id))
    with Client(url) as nobody, pytest.raises(Unauthorized):
        list(nobody.watch(accepted.order_id))
    assert [
        one["status"] for one in objects(orders(url, "watch", "--json", accepted.order_id, ORDERS_KEY=mine))
    ] == FIVE
