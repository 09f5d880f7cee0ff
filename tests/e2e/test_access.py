"""Who gets in: every route and every action of the socket, with every kind of credential, with keys and without."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product

import httpx
import pytest
from order_engine.domain.access import ApiKey
from order_engine.entrypoints.socket_messages import Ping, Replay, Subscribe, Unsubscribe
from samtranslator.yaml_helper import yaml_parse
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from local.deployment import Deployment
from local.keys import KeyRing
from local.stack import ROOT, LocalStack
from tests.e2e.conftest import QUICK
from tests.e2e.system import FIVE, PATIENCE_SECONDS, System, Watcher, an_order, statuses, wait_for

MOST_STREAMS = 8
CREDENTIALS = (
    "none",
    "malformed",
    "unknown",
    "wrong secret",
    "revoked",
    "without the scope",
    "another owner's",
    "right",
)
# What is answered with keys, by route: a status of HTTP, or of the handshake (101: the socket is open).
REFUSED: dict[str, object] = dict.fromkeys(("none", "malformed", "unknown", "wrong secret", "revoked"), 401)
POSTED = {**REFUSED, "without the scope": 403, "another owner's": 202, "right": 202}
WATCHED = {**REFUSED, "without the scope": 403, "another owner's": 404, "right": 101}
LISTENED = {**REFUSED, "without the scope": 403, "another owner's": 200, "right": 200}
LOOKED_UP = {**REFUSED, "without the scope": 403, "another owner's": 404, "right": 200}
CANCELLED = {**LOOKED_UP, "right": (200, 409)}  # the order may be on its way
PUBLIC: dict[str, object] = dict.fromkeys(CREDENTIALS, 200)
MATRIX: dict[str, dict[str, object]] = {
    "POST /api/orders/execute": POSTED,
    "POST /api/streams": LISTENED,
    "GET /api/orders/{orderId}": LOOKED_UP,
    "DELETE /api/orders/{orderId}": CANCELLED,
    "GET /api/orders": LISTENED,  # the owner's own
    "GET /api/quotes": LISTENED,
    **dict.fromkeys(("GET /api/tokens", "GET /", "GET /docs", "GET /openapi.json", "GET /asyncapi.json"), PUBLIC),
    "GET /assets/{file}": PUBLIC,
    "$connect": WATCHED,
}
# What a socket may ask for about an order that it does not watch, by how it was opened and what stands in the message:
# where keys don't come in, the socket was opened with another order's token, and the message has a token. A number is
# the answer to the handshake: such a socket is never open.
_NO_SOCKET = {"revoked": 401, "revoked while open": "closed", "without the scope": 403}
ACTIONS: dict[str, dict[str, object]] = {
    "subscribe": {
        **dict.fromkeys(("none", "malformed", "unknown", "wrong secret"), "UNAUTHORIZED"),
        **_NO_SOCKET,
        "another owner's": "UNKNOWN_ORDER",
        "right": "subscribed",
        "the order's token": "subscribed",
    },
    **{
        action: {**dict.fromkeys((*CREDENTIALS, "the order's token"), answer), **_NO_SOCKET}
        for action, answer in (("unsubscribe", "NOT_SUBSCRIBED"), ("replay", "NOT_SUBSCRIBED"), ("ping", "pong"))
    },
}
ANSWERED_ON = {"$default": ACTIONS}


@dataclass(frozen=True)
class Keyed:
    """A system with keys; `operator` makes and revokes them. Both are of owners of their own."""

    system: System
    operator: KeyRing

    def bearer(self, credential: str, scope: str, owner: str = "mine") -> str | None:
        """An Authorization header with a kind of credential, for what needs the scope."""
        key = self.operator.create(owner if credential != "another owner's" else "yours", [scope])
        match credential:
            case "none":
                return None
            case "malformed":
                return f"Bearer {key.text[:-1]}"
            case "unknown":
                return f"Bearer {ApiKey.draw().text}"
            case "wrong secret":
                return f"Bearer {ApiKey(key.key_id, ApiKey.draw().secret).text}"
            case "revoked":
                self.operator.revoke(key.key_id)
            case "without the scope":
                return f"Bearer {self.operator.create(owner, ['read' if scope == 'trade' else 'trade']).text}"
        return f"Bearer {key.text}"

    def post(self, authorization: str | None, **changes: object) -> httpx.Response:
        headers = {"authorization": authorization} if authorization else {}
        return self.system.post(json.dumps(an_order(**changes)).encode(), **headers)

    def send(self, route: str, authorization: str | None) -> httpx.Response:
        """A request without a body, about an order of mine where it is about one."""
        method, _, path = route.partition(" ")
        headers = {"authorization": authorization} if authorization else {}
        url = self.system.stack.endpoints.http + path
        url = url.replace("{orderId}", self.placed()["orderId"]) if "{orderId}" in url else url
        url = url.replace("{file}", "style.css") + ("?tokenIn=SOL&tokenOut=USDC&amountIn=1" if "quotes" in url else "")
        return httpx.request(method, url, headers=headers, trust_env=False, timeout=PATIENCE_SECONDS)

    def connection_token(self, authorization: str | None) -> httpx.Response:
        return self.send("POST /api/streams", authorization)

    def placed(self, owner: str = "mine", **changes: object) -> dict[str, str]:
        """The body of the 202 to an owner's order."""
        response = self.post(self.bearer("right", "trade", owner), **changes)
        assert response.status_code == 202, response.text
        body: dict[str, str] = response.json()
        return body

    def open(self, query: str, authorization: str | None = None) -> ClientConnection:
        headers = {"Authorization": authorization} if authorization else {}
        url = self.system.stack.outputs["WebSocketUrl"] + query
        return connect(url, proxy=None, additional_headers=headers, open_timeout=PATIENCE_SECONDS)

    def handshake(self, query: str, authorization: str | None = None) -> int:
        try:
            with self.open(query, authorization):
                return 101
        except InvalidStatus as refusal:
            return refusal.response.status_code


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    parameters = {**QUICK, "Access": "keys", "OwnerStreams": f"{MOST_STREAMS}"}
    with (
        LocalStack(tmp_path_factory.mktemp("keyed"), port=0, parameters=parameters) as stack,
        httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS) as http,
    ):
        system = System(stack, http)
        yield Keyed(system, KeyRing(Deployment.of(stack.endpoints)))
        assert_nothing_secret_was_logged(stack)


def assert_nothing_secret_was_logged(stack: LocalStack) -> None:
    """Neither keys nor tokens stand in what the stack wrote, nor anything that looks like them."""
    log = stack.log.read_text(errors="replace")
    assert "order accepted" in log
    assert "oe_" not in log
    assert "token=" not in log


def test_every_route_is_in_the_matrix() -> None:
    resources = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
    events = [one for resource in resources.values() for one in resource["Properties"].get("Events", {}).values()]
    http = {f"{one['Properties']['Method']} {one['Properties']['Path']}" for one in events if one["Type"] == "HttpApi"}
    sockets = {*resources["WebSocketApi"]["Properties"]["Routes"]}

    # Lambda tells of a closed socket, and nobody is answered.
    assert http | sockets == {*MATRIX} | {*ANSWERED_ON} | {"$disconnect"}
    assert all(tuple(answers) == CREDENTIALS for answers in MATRIX.values())
    assert set(ACTIONS) == {kind.__name__.lower() for kind in (Subscribe, Unsubscribe, Replay, Ping)}
    cases = {*CREDENTIALS, "revoked while open", "the order's token"}
    assert all({*answers} == cases for answers in ACTIONS.values())


@pytest.mark.parametrize(("route", "credential"), [*product(MATRIX, CREDENTIALS)])
def test_with_keys(keyed: Keyed, route: str, credential: str) -> None:
    if route == "$connect":
        query = f"?orderId={keyed.placed()['orderId']}"
        answered = keyed.handshake(query, keyed.bearer(credential, "read"))
    else:
        trades = "execute" in route or route.startswith("DELETE")
        authorization = keyed.bearer(credential, "trade" if trades else "read")
        response = keyed.post(authorization) if "execute" in route else keyed.send(route, authorization)
        answered = response.status_code
        if answered == 401:
            assert response.headers["www-authenticate"] == "Bearer"

    expected = MATRIX[route][credential]
    assert answered in (expected if isinstance(expected, tuple) else (expected,))


@pytest.mark.parametrize(
    ("action", "credential"), [(action, credential) for action in ACTIONS for credential in ACTIONS[action]]
)
def test_on_a_socket_with_keys(keyed: Keyed, action: str, credential: str) -> None:
    expected = ACTIONS[action][credential]
    order, other = keyed.placed(), keyed.placed()
    right, wrong = (one["streamUrl"].partition("token=")[2] for one in (order, other))
    message = {"action": action, "orderId": order["orderId"]}
    token = {"malformed": "x", "unknown": "A" * 22, "wrong secret": wrong, "the order's token": right}.get(credential)
    by_key = credential in ("revoked", "revoked while open", "without the scope", "another owner's", "right")
    key = keyed.operator.create("mine", ["read"])
    authorization = f"Bearer {key.text}" if credential == "revoked while open" else keyed.bearer(credential, "read")
    if isinstance(expected, int):
        assert keyed.handshake("", authorization) == expected
        return
    query = "" if by_key else f"?orderId={other['orderId']}&token={wrong}&after=1"
    with keyed.open(query, authorization if by_key else None) as socket:
        if credential == "revoked while open":
            wait_for(lambda: keyed.operator.revoke(key.key_id) == 1, "its socket is kept")
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=PATIENCE_SECONDS)
            return
        watcher = Watcher(socket)
        watcher.say(message | ({"token": token} if token else {}))
        answers = watcher.until("subscribed", "error", "pong")

    assert answers[-1].get("code", answers[-1]["type"]) == expected
    assert all(one["orderId"] in (order["orderId"], other["orderId"]) for one in answers if "orderId" in one)
    if expected != "subscribed":
        assert not [one for one in answers if one.get("orderId") == order["orderId"] and "status" in one]


def test_a_token_of_a_key_opens_sockets_for_five_minutes_without_the_key(keyed: Keyed) -> None:
    """As a browser does, which can't set a header on the handshake."""
    response = keyed.connection_token(keyed.bearer("right", "read"))
    made = response.json()
    left = datetime.fromisoformat(made["expiresAt"]) - datetime.now(UTC)
    query = made["streamUrl"].partition("/live")[2]
    assert timedelta(minutes=4) < left <= timedelta(minutes=5)
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"

    mine, yours = keyed.placed("mine"), keyed.placed("yours")
    with keyed.open(query) as socket:
        watcher = Watcher(socket)
        watcher.say({"action": "subscribe", "orderId": yours["orderId"]})
        assert watcher.next()["code"] == "UNKNOWN_ORDER"
        watcher.say({"action": "subscribe", "orderId": mine["orderId"]})
        assert [one["status"] for one in watcher.to_the_end() if "status" in one] == FIVE

    key_id, until, code = query.removeprefix("?token=").split(".")
    later = f"?token={key_id}.{int(until) + 1}.{code}"
    wrong = (later, query[:-1], "?token=", f"{query}&orderId={mine['orderId']}", f"?token={key_id}.1.{code}")
    assert [keyed.handshake(one) for one in wrong] == [401] * 5


def test_a_revoked_keys_token_opens_nothing(keyed: Keyed) -> None:
    key = keyed.operator.create("leaving", ["read"])
    query = keyed.connection_token(f"Bearer {key.text}").json()["streamUrl"].partition("/live")[2]

    with keyed.open(query) as socket:
        wait_for(lambda: keyed.operator.revoke(key.key_id) == 1, "its socket is kept")
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=PATIENCE_SECONDS)

    wait_for(lambda: keyed.handshake(query) == 401, "no function remembers the key")


@pytest.mark.parametrize("query", ["?orderId=a", "?after=1", f"?{'%F0%9F%98%80' * 64}=1", "?orderId=a&token=x"])
def test_without_a_key_nothing_is_said_of_a_query(keyed: Keyed, query: str) -> None:
    with pytest.raises(InvalidStatus) as refused, keyed.open(query):
        pass

    assert refused.value.response.status_code == 401
    assert len(refused.value.response.body or b"") < 300
    assert keyed.handshake(query, keyed.bearer("right", "read")) in (400, 401)


def test_an_owner_has_so_many_sockets_open(keyed: Keyed) -> None:
    """Counted by an index, which may lag on AWS."""
    authorization = keyed.bearer("right", "read", "busy")
    with ExitStack() as opened:
        for _ in range(MOST_STREAMS):
            opened.enter_context(keyed.open("", authorization))
        assert keyed.handshake("", authorization) == 429
        assert keyed.handshake(f"?orderId={keyed.placed('busy')['orderId']}", authorization) == 429
        assert keyed.handshake("", keyed.bearer("right", "read", "idle")) == 101
    wait_for(lambda: keyed.handshake("", authorization) == 101, "those that left count no more")


def test_a_request_without_a_key_costs_little(keyed: Keyed) -> None:
    """However large it is: it is not read, and so are neither the journal nor a table."""
    large = json.dumps({f"field {n} " + "x" * 60: n for n in range(200)}).encode()
    before, many = keyed.system.stack.log.stat().st_size, 10

    for n in range(many):
        headers = {"authorization": f"Bearer {ApiKey.draw().text}"} if n % 2 else {}
        response = keyed.system.post(large, **headers)
        assert response.status_code == 401
        assert len(response.content) + sum(len(name + value) for name, value in response.headers.items()) < 1024

    written = keyed.system.stack.log.read_bytes()[before:].splitlines()  # other functions may log meanwhile
    refusals = [line for line in written if b"-SubmitFunction-" in line or b"OrdersRefused" in line]
    assert many < sum(map(len, refusals)) < many * 1024


# Where nobody is asked there are no other kinds: no key is unknown, revoked, or another owner's.
ANY: dict[str, str | None] = {
    "none": None,
    "malformed": "Bearer nonsense",
    "well-formed": f"Bearer {ApiKey('0' * 12, 's' * 43).text}",
}
OPEN_ACTIONS = {"subscribe": "subscribed", "unsubscribe": "NOT_SUBSCRIBED", "replay": "NOT_SUBSCRIBED", "ping": "pong"}


@pytest.mark.parametrize(("action", "credential"), [*product(OPEN_ACTIONS, ANY)])
def test_on_a_socket_that_is_open(system: System, action: str, credential: str) -> None:
    """A key at the handshake, and a token in the message, make no difference."""
    order_id = system.submit(an_order())["orderId"]
    given = ANY[credential]
    headers = {"Authorization": given} if given else {}
    token = {} if credential == "none" else {"token": "nonsense"}
    with connect(system.stack.outputs["WebSocketUrl"], proxy=None, additional_headers=headers) as socket:
        watcher = Watcher(socket)
        watcher.say({"action": action, "orderId": order_id, **token})
        answer = watcher.until("subscribed", "error", "pong")[-1]

    assert {*OPEN_ACTIONS} == {*ACTIONS}
    assert answer.get("code", answer["type"]) == OPEN_ACTIONS[action]


@pytest.mark.parametrize(("route", "authorization"), [*product(MATRIX, ANY.values())])
def test_open(system: System, route: str, authorization: str | None) -> None:
    """Nobody is asked, and everything is the public's."""
    headers = {"authorization": authorization} if authorization else {}
    response = system.post(json.dumps(an_order()).encode(), **headers)
    assert response.status_code == 202
    order = response.json()
    if "{orderId}" in route:
        method, _, path = route.partition(" ")
        url = system.stack.endpoints.http + path.replace("{orderId}", order["orderId"])
        assert httpx.request(method, url, headers=headers, trust_env=False).status_code in (200, 409)
    if "streams" in route:
        url = system.stack.endpoints.http + route.partition(" ")[2]
        assert httpx.post(url, headers=headers, trust_env=False).json() == {
            "streamUrl": system.stack.outputs["WebSocketUrl"]
        }
    if route == "$connect":
        assert "token" not in order["streamUrl"]
        assert statuses(system.follow(order["orderId"])) == FIVE
    assert system.row_of(order["orderId"])["owner"] == "public"


def test_a_stream_is_opened_by_its_own_token_alone(keyed: Keyed) -> None:
    mine, other = keyed.placed(), keyed.placed()
    token, others = (order["streamUrl"].partition("token=")[2] for order in (mine, other))
    query = f"?orderId={mine['orderId']}"

    with connect(mine["streamUrl"], proxy=None) as socket:
        assert statuses(Watcher(socket).to_the_end()) == FIVE
    refused = [keyed.handshake(f"{query}&token={wrong}") for wrong in (others, "", token[:-1], "x" * 500)]

    assert refused == [401] * 4
    assert len(token) == 22


def test_a_repeated_request_gets_the_same_token(keyed: Keyed) -> None:
    authorization = keyed.bearer("right", "trade")
    answers = [keyed.post(authorization, clientOrderId="twice").json() for _ in range(2)]

    assert answers[0]["streamUrl"] == answers[1]["streamUrl"]


def test_owners_with_the_same_client_order_id_have_nothing_to_do_with_each_other(keyed: Keyed) -> None:
    asked = {"clientOrderId": "the same", "amountIn": "3"}
    mine, yours = keyed.placed("mine", **asked), keyed.placed("yours", **{**asked, "amountIn": "4"})

    assert mine["orderId"] != yours["orderId"]
    assert [keyed.system.row_of(order["orderId"])["owner"] for order in (mine, yours)] == ["mine", "yours"]


def test_revoking_a_key_closes_the_sockets_that_it_opened(keyed: Keyed) -> None:
    keyed.system.consume("route_execute", False)  # an order that stays pending
    try:
        order_id = keyed.placed()["orderId"]
        key = keyed.operator.create("mine", ["read"])
        with (
            keyed.open(f"?orderId={order_id}", f"Bearer {key.text}") as closed,
            keyed.open(f"?orderId={order_id}", keyed.bearer("right", "read")) as kept,
        ):
            assert [Watcher(socket).next()["status"] for socket in (closed, kept)] == ["pending"] * 2
            wait_for(lambda: len(keyed.system.connections(order_id)) == 2, "both connections are kept")

            assert keyed.operator.revoke(key.key_id) == 1

            with pytest.raises(ConnectionClosed):
                closed.recv(timeout=PATIENCE_SECONDS)
            assert Watcher(kept).up_to_pong() == []
    finally:
        keyed.system.consume("route_execute", True)


def test_keys_where_they_do_not_belong_are_in_no_log(keyed: Keyed) -> None:
    """The fixture looks for them when everything has been done."""
    key = keyed.operator.create("mine", ["trade", "read"]).text
    good = f"Bearer {key}"
    body = json.dumps(an_order()).encode()

    keyed.system.post(body, authorization=good, content_type=key)
    keyed.system.post(json.dumps({key: key, **an_order()}).encode(), authorization=good)
    keyed.system.post(json.dumps(an_order(tokenIn=key)).encode(), authorization=good)
    keyed.system.post(body + key.encode(), authorization=good)
    keyed.post(good, clientOrderId=key)
    keyed.system.post(body, authorization=good, idempotency_key=key)
    keyed.handshake(f"?orderId={key}", good)
    keyed.handshake(f"?orderId={keyed.placed()['orderId']}&token={key}&after={key}")
    with keyed.open(f"?orderId={keyed.placed()['orderId']}", good) as socket:
        socket.send(key)
        socket.send(json.dumps({"action": key, "after": key}))
        assert [message.get("type") for message in Watcher(socket).until("error")][-1] == "error"
