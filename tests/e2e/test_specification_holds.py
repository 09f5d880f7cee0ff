"""The running system, by its specifications: requests are drawn from them, and what comes is judged by them.

Schemathesis draws from OpenAPI, the same requests in every run, right ones and wrong ones. The socket's messages are
said here, so that every status and every reply comes at least once.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from order_engine.domain.lifecycle import OrderStatus
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from local.keys import KeyRing
from tests.e2e.system import PATIENCE_SECONDS, System, Watcher, an_order
from tests.support.specifications import (
    Json,
    flat,
    named,
    operations,
    problems_with,
    problems_with_answer,
    resolved,
    specification,
)

OPENAPI, ASYNCAPI = specification("openapi"), specification("asyncapi")
EXAMPLES = 25  # of each operation, besides those at every boundary
MOST_SECONDS = 400
# What a schema can't say makes right data wrong (a token's decimal places); API Gateway answers 404, not 405; what is
# cancelled is still there.
NOT_CHECKED = "positive_data_acceptance,unsupported_method,use_after_free,ensure_resource_availability"


def schemathesis(folder: Path, document: Json, url: str, *arguments: str) -> Json:
    """Send requests drawn from the document, and return the report. Fails with what it says of any that is wrong."""
    (folder / "openapi.json").write_text(json.dumps(document))
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", "openapi.json", "--url", url, "--no-color"]
    command += [
        "--seed",
        "1",
        "--max-examples",
        f"{EXAMPLES}",
        "--generation-database",
        "none",
        "--continue-on-failure",
    ]
    command += ["--exclude-checks", NOT_CHECKED, *arguments]
    command += ["--report", "json", "--report-json-path", "report.json"]
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=MOST_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    report: Json = json.loads((folder / "report.json").read_text())
    assert report["complete"]
    assert report["operations"]["tested"] == len([*operations(document)])
    sent: Json = report["test_cases"]
    return sent


def test_without_keys_every_answer_is_specified(
    system: System, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    document = json.loads(json.dumps(OPENAPI))
    for _, _, operation in operations(document):
        del operation["security"]

    sent = schemathesis(tmp_path, document, system.stack.endpoints.http, "--phases", "examples,coverage,fuzzing")

    assert sent["generated"] > 500
    record_property("told", ["specification: without keys", f"{sent['generated']} requests as specified"])


def test_with_keys_every_answer_is_specified(
    with_keys: tuple[str, KeyRing], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    url, operator = with_keys
    key = operator.create("drawn", ["trade", "read"])

    bearer = f"Authorization: Bearer {key.text}"
    sent = schemathesis(tmp_path, OPENAPI, url, "--header", bearer, "--phases", "examples,coverage")

    assert sent["generated"] > 300
    record_property("told", ["specification: with keys", f"{sent['generated']} requests as specified"])


def test_the_scope_is_the_one_that_is_needed(with_keys: tuple[str, KeyRing]) -> None:
    url, operator = with_keys
    bearers = {scope: f"Bearer {operator.create('scoped', [scope]).text}" for scope in ("trade", "read")}
    with httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE_SECONDS) as http:
        for path, method, operation in operations(OPENAPI):
            needed = [scope for one in operation["security"] for scope in one["bearer"]]
            without = http.request(method, path)
            assert (without.status_code == 401) == bool(needed)
            for scope, bearer in bearers.items():
                response = http.request(method, path, headers={"authorization": bearer})
                assert (response.status_code == 403) == (bool(needed) and scope not in needed)
                if response.status_code == 403:
                    assert_specified(operation, response)


def assert_specified(operation: Json, response: httpx.Response) -> None:
    answer = resolved(OPENAPI, operation["responses"][str(response.status_code)])
    content = answer["content"][response.headers["content-type"]]
    assert problems_with_answer(OPENAPI, content["schema"], response.json()) == []


# --- orders, and what is said of them ---------------------------------------------------------------------------------

FAR = "1000"  # a price that the market does not come to
ORDERS: dict[str, dict[str, Any]] = {
    "confirmed": an_order(),
    "triggered": an_order(orderType="limit", limitPrice="100", timeInForce="gtc", clientOrderId="as specified"),
    "failed": an_order(amountIn="9000000"),
    "expired": an_order(orderType="limit", limitPrice=FAR, timeInForce="fok"),
    "cancelled": an_order(orderType="stop", triggerPrice="1", minAmountOut="1"),
}


def test_every_status_and_reply_is_specified(system: System) -> None:
    """On a connection for many orders, over HTTP, and in the list."""
    with httpx.Client(base_url=system.stack.endpoints.http, trust_env=False, timeout=PATIENCE_SECONDS) as http:
        ids = {name: system.submit(order)["orderId"] for name, order in ORDERS.items()}
        stream = http.post("/api/streams")
        with connect(stream.json()["streamUrl"], proxy=None) as socket:
            watcher = Watcher(socket)
            heard = []
            for order_id in ids.values():
                say(watcher, {"action": "subscribe", "orderId": order_id})
                heard += watcher.until("subscribed")
            while not {"open"} & {one.get("status") for one in heard if one.get("orderId") == ids["cancelled"]}:
                heard.append(watcher.next())
            answers = {name: http.get(f"/api/orders/{order_id}") for name, order_id in ids.items()}
            answers["deleted"] = http.delete(f"/api/orders/{ids['cancelled']}")
            while (
                len({one["orderId"] for one in heard if one.get("status") in ORDERS and one["status"] != "triggered"})
                < 5
            ):
                heard.append(watcher.next())
            for message, reply in (
                ({"action": "subscribe", "orderId": ids["confirmed"], "after": 2}, "subscribed"),
                ({"action": "ping"}, "pong"),
                ({"action": "unsubscribe", "orderId": ids["cancelled"]}, "error"),
                ({"action": "replay", "orderId": ids["failed"], "after": 1}, "error"),
            ):
                say(watcher, message)
                heard += watcher.until(reply)
            resting = system.submit(an_order(orderType="limit", limitPrice=FAR))["orderId"]
            say(watcher, {"action": "subscribe", "orderId": resting})
            heard += watcher.until("open")
            say(watcher, {"action": "unsubscribe", "orderId": resting})
            heard += watcher.until("unsubscribed")
            for wrong in ("hello", '{"action": "cancel"}', '{"action": "replay", "after": -1}'):
                socket.send(wrong)
                heard += watcher.until("error")
            say(watcher, {"action": "subscribe", "orderId": "00000000-0000-4000-8000-000000000000"})
            heard += watcher.until("error")
        http.delete(f"/api/orders/{resting}")

    for message in heard:
        name = f"{message['status']}_event" if "status" in message else message["type"]
        schema = named(ASYNCAPI, "".join(part.title() for part in name.split("_")))
        assert problems_with_answer(ASYNCAPI, schema, message) == [], message
    assert {one.get("status") for one in heard} == {*OrderStatus, None}
    assert {one["code"] for one in heard if one.get("type") == "error"} == {
        *("NOT_SUBSCRIBED", "INVALID_JSON", "UNKNOWN_ACTION", "INVALID_FIELD", "UNKNOWN_ORDER")
    }
    assert problems_with_answer(OPENAPI, named(OPENAPI, "Stream"), stream.json()) == []
    for name, response in answers.items():
        operation = OPENAPI["paths"]["/api/orders/{orderId}"]["delete" if name == "deleted" else "get"]
        assert response.status_code == 200
        assert_specified(operation, response)


def test_the_list_has_what_is_specified(system: System) -> None:
    for name, order in ORDERS.items():
        order_id = system.submit(order)["orderId"]
        if name != "cancelled":
            system.follow(order_id)
    with httpx.Client(base_url=system.stack.endpoints.http, trust_env=False, timeout=PATIENCE_SECONDS) as http:
        response = http.get("/api/orders", params={"limit": len(ORDERS)})
        following = http.get(response.links["next"]["url"])

    for page in (response, following):
        assert_specified(OPENAPI["paths"]["/api/orders"]["get"], page)
    assert problems_with(OPENAPI, OPENAPI["components"]["headers"]["Link"]["schema"], response.headers["link"]) == []
    listed = {order["status"]: order for order in response.json()["orders"]}
    assert {"confirmed", "failed", "expired"} <= {*listed}
    properties = flat(OPENAPI, named(OPENAPI, "OrderSummary"))["properties"]
    shown = {name for order in listed.values() for name in order}
    assert {*properties} - shown <= {"clientOrderId", "limitPrice", "triggerPrice", "minAmountOut", "expiresAt"}


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("/api/tokens", "TokenList"),
        ("/api/quotes?tokenIn=SOL&tokenOut=USDC&amountIn=10", "Quotes"),
        ("/api/quotes?tokenIn=SOL&tokenOut=NOVA&amountIn=10", "Quotes"),
    ],
)
def test_the_market_is_told_as_specified(system: System, path: str, schema: str) -> None:
    response = httpx.get(system.stack.endpoints.http + path, trust_env=False, timeout=PATIENCE_SECONDS)

    assert response.status_code == 200
    assert problems_with_answer(OPENAPI, named(OPENAPI, schema), response.json()) == []


def test_an_acceptance_is_specified(system: System) -> None:
    assert problems_with_answer(OPENAPI, named(OPENAPI, "Accepted"), system.submit(an_order())) == []


def say(watcher: Watcher, message: Json) -> None:
    assert problems_with(ASYNCAPI, named(ASYNCAPI, message["action"].title()), message) == []
    watcher.say(message)


@pytest.mark.parametrize(
    "query", ["?orderId=a", "?after=1", "?orderId=00000000-0000-4000-8000-000000000000", "?orderId=&after=x"]
)
def test_a_handshake_is_refused_as_specified(system: System, query: str) -> None:
    with pytest.raises(InvalidStatus) as refused, system.socket(query):
        pass

    response = refused.value.response
    problem = json.loads(response.body or b"")
    assert problem["code"] in ASYNCAPI["channels"]["live"]["x-refusals"][str(response.status_code)]
    assert problems_with_answer(OPENAPI, named(OPENAPI, "Problem"), problem) == []
