"""What a person is told of the functions' log."""

import json
import logging
from io import StringIO
from pathlib import Path

import pytest
from aws_lambda_powertools import Logger

from local.log import last_errors, lines_of, told_error, told_order

ORDER = "0d9c1f2e-0000-4000-8000-000000000001"
CONTEXT = {"function_name": "order-engine-RouteExecuteFunction-1A2B3C", "orderId": ORDER}


def logged(**fields: object) -> str:
    return json.dumps({"level": "INFO", "message": "…", "timestamp": "2026-11-23 06:00:00,000+0000", **fields}) + "\n"


def raised() -> str:
    """An exception, as our logger writes it."""
    stream = StringIO()
    logger = Logger(service="test", logger_handler=logging.StreamHandler(stream), level="INFO")
    try:
        raise RuntimeError("boom")  # which Python underlines
    except RuntimeError:
        logger.exception("the worker failed", extra=CONTEXT)
    return stream.getvalue()


def test_an_error_is_told_with_function_order_and_exception() -> None:
    [line] = lines_of(raised())

    told = (told_error(line) or "").splitlines()

    assert told[0] == f"error in route_execute, order {ORDER}: the worker failed"
    assert told[-1].strip() == "RuntimeError: boom"
    assert 'raise RuntimeError("boom")' in told[-2]
    assert told[-3].strip().startswith('File "')
    assert not any(set(one) <= set(" ~^") for one in told)


@pytest.mark.parametrize(
    "text",
    [
        "[2026-11-23 06:00:00 +0000] [7] [CRITICAL] submit: WORKER TIMEOUT (pid:8)",
        "ERROR:    Exception in ASGI application",
    ],
)
def test_what_servers_say_of_themselves_is_told_as_it_is(text: str) -> None:
    assert [told_error(line) for line in lines_of(text)] == [text]


@pytest.mark.parametrize(
    "text", [logged(message="order accepted"), logged(level="WARNING"), "no JSON", "[1, 2]", '"ERROR"', "null", ""]
)
def test_other_lines_are_not_told(text: str) -> None:
    assert [
        told_error(line) or told_order(line) for line in lines_of(text) if told_error(line) or told_order(line)
    ] == []


def test_an_order_that_ended_is_told_in_one_line() -> None:
    terms = {"orderId": ORDER, "pair": "SOL/USDC", "amountIn": "10", "seconds": 2.634}
    outcome = {"venue": "meteora", "executedPrice": "151.9", "amountOut": "1519"}
    confirmed = logged(message="order confirmed", **terms, **outcome)
    failed = logged(message="order failed", **terms, code="ORDER_EXPIRED", error="too late")

    assert [told_order(line) for line in lines_of(confirmed + failed)] == [
        f"confirmed  {ORDER}  10 SOL for 1519 USDC on meteora at 151.9  (2.6 s)",
        f"failed     {ORDER}  10 SOL for USDC: ORDER_EXPIRED, too late  (2.6 s)",
    ]


def test_the_last_errors_are_the_last(tmp_path: Path) -> None:
    log = tmp_path / "stack.log"
    assert last_errors(log, most=2) == []
    log.write_text("".join(logged(level="ERROR", message=f"number {number}") + "noise\n" for number in range(4)))

    told = last_errors(log, most=2)

    assert [one.rpartition("error: ")[2] for one in told] == ["number 2", "number 3"]
