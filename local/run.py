"""Runs the local stack until somebody stops it."""

import json
import os
import sys
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

from order_client import Quote, Refused, Status
from order_client.display import say
from rich.console import Console

from local.errors import LocalStackError
from local.log import Echo
from local.order import Fields, order_of, place, show_refusal
from local.settings import read_settings
from local.stack import PATH, LocalStack

_SAMPLE = ("SOL", "USDC", "10")
_RESTS_SECONDS = 75  # the last ten of which are of no use: a transaction can land for so long


def run(quiet: bool) -> NoReturn:
    """Starts the stack as the environment says, shows a sample order and how to send others, and serves.

    Unless it is to be quiet, it also shows errors, and orders that end.

    Never returns: raises KeyboardInterrupt, or LocalStackError if the stack does not start or ends by itself.
    """
    console = Console()
    settings = read_settings(os.environ)
    quiet = quiet or settings.quiet
    started_at = time.monotonic()

    def progress(what: str) -> None:
        console.print(f"[{time.monotonic() - started_at:5.1f} s] {what}", highlight=False, markup=False)

    stack = LocalStack(
        port=settings.port,
        parameters=settings.parameters,
        progress=progress,
        reload=settings.reload,
        keep=settings.keep,
    )
    with stack, nullcontext() if quiet else Echo(stack.log, console) as echo:
        life = _show_sample(stack, order_of(*_SAMPLE), console) if settings.sample else []
        order_id = life[-1].order_id if life else None
        _print_usage(stack, order_id, settings.keep, console)
        if echo:
            console.print("Errors, and orders that end, are shown here; QUIET=1: not.", highlight=False)
            echo.besides = order_id or ""
        if quotes := [quote for status in life for quote in status.quotes]:
            _show_sample(stack, _limit_above(quotes), console)
        stack.wait_until_ended()
        raise LocalStackError(f"MiniStack ended by itself; {stack.log} may say why")


def _show_sample(stack: LocalStack, asked: Fields, console: Console) -> list[Status]:
    """Send a sample order and show its life. Return its statuses; none if it was not accepted or not followed."""
    try:
        return place(stack.endpoints, asked, console)
    except Refused as refusal:
        show_refusal(refusal, console)
    except LocalStackError as error:
        say(f"the sample order failed: {error}", console)
    return []


def _limit_above(quotes: list[Quote]) -> Fields:
    """A limit order that fires 0.1 % above the best of the last two quotes, with the usual slippageBps in reserve, and
    waits for about a minute."""
    best = max(quote.amount_out for quote in quotes[-2:])
    price = (best / Decimal(_SAMPLE[2]) * Decimal("1.001") * Decimal("0.995")).quantize(Decimal("0.01"))
    until = (datetime.now(UTC) + timedelta(seconds=_RESTS_SECONDS)).isoformat()
    return {**order_of(*_SAMPLE), "orderType": "limit", "limitPrice": price, "expiresAt": until}


def _print_usage(stack: LocalStack, order_id: str | None, keep: bool, console: Console) -> None:
    body = json.dumps(dict(zip(("tokenIn", "tokenOut", "amountIn"), _SAMPLE, strict=True)))
    url = f"{stack.endpoints.http}{PATH}"
    authorization = f"-H @{_from_here(stack.authorization)} " if stack.endpoints.key else ""
    key_for_page = f"; it asks for the key in {_from_here(stack.authorization)}" if stack.endpoints.key else ""
    client = [f"ORDERS_URL={stack.endpoints.http}"]
    client += [f"ORDERS_KEY_FILE={_from_here(stack.authorization)}"] if stack.endpoints.key else []
    hint = "" if order_id else ", with the orderId that the answer to your order has"
    kept = "keeps the order history, and drops the rest" if keep else "drops all orders; KEEP=1 keeps the history"
    for line in (
        "",
        f"Page       {stack.endpoints.http}/ (documentation: {stack.endpoints.http}/docs){key_for_page}",
        f"HTTP       {url}",
        f"WebSocket  {stack.endpoints.websocket}",
        f"           {stack.outputs['WebSocketUrl']} for many orders at once",
        f"PostgreSQL {stack.postgres.url_to_show} (make psql)",
        f"log        {_from_here(stack.log)}",
        "",
        "Send an order:",
        f"  curl -sS -w '\\n' '{url}' {authorization}-H 'Content-Type: application/json' -d '{body}'",
        f"Watch one{hint}:",
        f"  {_from_here(Path(sys.executable))} -m local watch --json {order_id or 'ORDER_ID'}",
        "Or with the client:",
        f"  {' '.join(client)} {_from_here(Path(sys.executable).with_name('orders'))} submit {' '.join(_SAMPLE)}",
        "",
        f"Serving (process {os.getpid()}). Ctrl-C stops it.",
        f"That {kept}.",
    ):
        say(line, console)


def _from_here(path: Path) -> str:
    """The path as one would type it in the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
