"""What is repeated, what is not, and what the caller is told."""

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import pytest
from order_client import (
    AsyncClient,
    Backoff,
    Client,
    Conflict,
    Forbidden,
    InvalidRequest,
    NewOrder,
    NotFound,
    Refused,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from order_client.backoff import retry_after

from tests.unit.client.engine import ORDER, OTHER, Answer, Engine, says, status_of, summary

KEY = "oe_a-key-that-nobody-may-read"
ASKED = NewOrder(token_in="SOL", token_out="USDC", amount_in=Decimal("1E-7"))  # noqa: S106 - tokens to trade
QUICK: Any = {"backoff": Backoff(0.01, 0.02), "limit": 10.0}


def run(engine: Engine, work: Callable[[AsyncClient], Awaitable[Any]], **options: Any) -> Any:
    async def worked() -> Any:
        async with AsyncClient(engine.url, KEY, **{**QUICK, **options}) as client:
            return await work(client)

    return asyncio.run(worked())


@pytest.mark.parametrize("fault", [-1, 0, 429, 500, 502, 503, 504])
def test_submit_is_repeated_with_the_same_body_and_id(engine: Engine, fault: int) -> None:
    engine.answers = [Answer(fault), Answer(fault), engine.accepted]

    accepted = run(engine, lambda client: client.submit(ASKED), limit=1.0 if fault == 0 else 10.0)

    bodies = [request.body or {} for request in engine.requests]
    assert bodies == [bodies[0]] * 3
    assert bodies[0].pop("clientOrderId") == accepted.client_order_id
    assert bodies[0] == {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "0.0000001"}
    assert (accepted.order_id, accepted.created_at) == (ORDER, datetime(2026, 11, 22, 14, 30, tzinfo=UTC))
    assert {request.headers["Authorization"] for request in engine.requests} == {f"Bearer {KEY}"}


def test_an_id_that_is_given_is_kept_and_other_ones_differ(engine: Engine) -> None:
    engine.answers = [engine.accepted] * 3
    mine = {"tokenIn": "SOL", "clientOrderId": "mine"}

    async def thrice(client: AsyncClient) -> None:
        for order in (mine, ASKED, ASKED):
            await client.submit(order)

    run(engine, thrice)

    first, second, third = ((request.body or {})["clientOrderId"] for request in engine.requests)
    assert first == "mine"
    assert second != third


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (413, InvalidRequest),
        (415, InvalidRequest),
        (422, InvalidRequest),
        (418, Refused),
    ],
)
def test_other_refusals_are_not_repeated(engine: Engine, status: int, kind: type[Refused]) -> None:
    errors = [{"field": "amountIn", "message": "must be above 0"}]
    engine.answers = [Answer(status, {"status": status, "code": "SOME_CODE", "detail": "why", "errors": errors})]

    with pytest.raises(Refused, match="amountIn must be above 0") as refused:
        run(engine, lambda client: client.submit({**ASKED.to_wire(), "clientOrderId": "mine"}))

    assert type(refused.value) is kind
    assert (refused.value.status, refused.value.code, refused.value.client_order_id) == (status, "SOME_CODE", "mine")
    assert len(engine.requests) == 1


def test_it_gives_up_at_the_deadline_and_names_the_order(engine: Engine) -> None:
    with pytest.raises(Unavailable, match="clientOrderId mine") as failed:
        run(engine, lambda client: client.submit({"clientOrderId": "mine"}), deadline=0.5)

    assert failed.value.client_order_id == "mine"
    assert len(engine.requests) > 1


def test_one_that_never_responds_is_unreachable(engine: Engine) -> None:
    engine.answers = [Answer(0)] * 20

    with pytest.raises(Unreachable) as failed:
        run(engine, lambda client: client.submit(ASKED), limit=0.05, deadline=0.2)

    assert failed.value.client_order_id


def test_retry_after_is_honoured(engine: Engine) -> None:
    engine.answers = [Answer(429, {}, {"Retry-After": "1"}), engine.accepted]
    began = time.monotonic()

    run(engine, lambda client: client.submit(ASKED))

    assert time.monotonic() - began >= 1


def test_a_retry_after_beyond_the_deadline_is_told_at_once(engine: Engine) -> None:
    engine.answers = [Answer(429, {"code": "TOO_MANY_REQUESTS"}, {"Retry-After": "3600"}), engine.accepted]

    with pytest.raises(TooManyRequests) as refused:
        run(engine, lambda client: client.submit(ASKED))

    assert (refused.value.retry_after, len(engine.requests)) == (3600, 1)


def test_retry_after_may_be_a_date() -> None:
    then = datetime.now(UTC) + timedelta(seconds=100)

    assert retry_after(format_datetime(then, usegmt=True)) == pytest.approx(99, abs=2)
    assert [retry_after(one) for one in (None, "", "soon", "7")] == [None, None, None, 7]


def test_without_a_deadline_nothing_is_repeated(engine: Engine) -> None:
    with pytest.raises(Unavailable):
        run(engine, lambda client: client.submit(ASKED), deadline=0)

    assert len(engine.requests) == 1


@pytest.mark.parametrize("fault", [-1, 429, 503])
def test_the_other_verbs_are_repeated_too(engine: Engine, fault: int) -> None:
    quotes = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "1", "timestamp": "2026-11-22T14:30:00Z"}
    order = summary(events=[status_of(1)])
    answers: list[object] = [order, order, {"orders": []}, {**quotes, "quotes": [], "rejected": []}, {"tokens": []}]
    for answer in answers:
        engine.answers += [Answer(fault), Answer(200, answer)]

    async def all_verbs(client: AsyncClient) -> list[object]:
        return [
            await client.cancel(ORDER),
            await client.get(ORDER),
            await client.page(),
            await client.quote("SOL", "USDC", 1),
            await client.tokens(),
        ]

    cancelled, got, page, quote, tokens = run(engine, all_verbs)

    assert cancelled == got
    assert (got.events[0].status, got.amount_in, page.orders, quote.best, tokens) == ("pending", 10, (), None, ())
    assert [request.method for request in engine.requests] == ["DELETE"] * 2 + ["GET"] * 8


def test_a_list_follows_the_links_also_over_an_empty_page(engine: Engine) -> None:
    link = {"Link": '</api/orders?status=confirmed&limit=1&cursor=a%2Bb%3D>; rel="next"'}
    engine.answers = [
        Answer(200, {"orders": [summary(ORDER)]}, link),
        Answer(200, {"orders": []}, link),
        Answer(200, {"orders": [summary(OTHER)]}),
    ]

    with Client(engine.url, **QUICK) as client:
        listed = list(client.list(status="confirmed", limit=1, created_from=datetime(2026, 1, 1, tzinfo=UTC)))

    assert [order.order_id for order in listed] == [ORDER, OTHER]
    first, second, third = (request.target for request in engine.requests)
    assert first == "/api/orders?status=confirmed&from=2026-01-01T00%3A00%3A00%2B00%3A00&limit=1"
    assert second == third == f"{first}&cursor=a%2Bb%3D"


def test_unknown_fields_are_tolerated_and_kept(engine: Engine) -> None:
    engine.answers = [Answer(200, summary(later={"field": 1}, expiresAt=None))]

    order = run(engine, lambda client: client.get(ORDER))

    assert order.raw["later"] == {"field": 1}
    assert order.expires_at is None


@pytest.mark.parametrize("body", [[], {}, summary(amountIn="ten"), summary(createdAt="2026-11-22T14:30:00")])
def test_what_is_not_the_api_is_told(engine: Engine, body: object) -> None:
    engine.answers = [Answer(200, body)]

    with pytest.raises(UnexpectedAnswer):
        run(engine, lambda client: client.get(ORDER))


def test_a_gateways_own_refusal_has_a_text(engine: Engine) -> None:
    engine.answers = [Answer(403, {"message": "Forbidden by the gateway"})]

    with pytest.raises(Forbidden, match="Forbidden by the gateway"):
        run(engine, lambda client: client.get(ORDER))


def test_the_key_is_in_no_log_repr_or_error(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    engine.answers = [Answer(503), engine.accepted, Answer(401, {"detail": "no"})]
    engine.talks = [Answer(503), Answer(401, {"status": 401, "detail": "no"})]
    texts = []

    async def all_kinds(client: AsyncClient) -> None:
        accepted = await client.submit(ASKED)
        texts.extend([repr(client), repr(client._connector), repr(accepted)])
        for work in (client.get(ORDER), anext(client.watch(accepted))):
            with pytest.raises(Refused) as refused:
                await work
            texts.append(f"{refused.value!r} {refused.value}")

    run(engine, all_kinds)

    assert len(engine.handshakes) == 2
    assert engine.handshakes[0].headers["Authorization"] == f"Bearer {KEY}"
    texts += [record.getMessage() for record in caplog.records if record.name != "websockets.server"]
    assert "once more in" in caplog.text
    assert not [text for text in texts if KEY in text]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://host",
        "host:80",
        "http://host:99999",
        "http://host:port",
        "http://[::1",
        "http://ho\nst",
        "http://a b",
    ],
)
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="the URL must be") as refused:
        AsyncClient(url)

    assert repr(url) in str(refused.value)


@pytest.mark.parametrize("url", ["http://user:secret@host", "http://host?token=secret", "http://a:secret@host:99999"])
def test_a_url_with_a_secret_is_refused_without_it(url: str) -> None:
    with pytest.raises(ValueError, match="the URL must be") as refused:
        AsyncClient(url)

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("key", ["secret\n", "secret\nb", "secret\x00", "secret\x7f", "secrét", "secret "])
def test_a_key_that_no_header_can_have_is_refused_at_once(key: str) -> None:
    with pytest.raises(ValueError, match="the key has characters that no HTTP header can have") as refused:
        AsyncClient("http://127.0.0.1:1", key)

    assert "secr" not in str(refused.value)


def test_no_proxy_is_asked_for_this_machine(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    engine.answers = [engine.accepted]
    engine.talks = [lambda socket: socket.send('{"sequence": 1}')]

    with Client(engine.url, **QUICK) as client, pytest.raises(UnexpectedAnswer):
        list(client.watch(client.submit(ASKED)))


def test_a_client_that_nobody_closes_does_not_keep_the_interpreter(engine: Engine) -> None:
    engine.talks = [lambda socket: (says(status_of(1))(socket), [*socket])]
    script = f"from order_client import Client; statuses = Client({engine.url!r}).watch({engine.stream_url!r}); "
    script += "print(next(statuses).status)"

    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout, done.stderr) == (0, "pending\n", "")
