"""Runs the local stack until somebody stops it."""

import json
import os
import sys
import time
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from local.client import PATH
from local.errors import LocalStackError
from local.order import place
from local.settings import read_settings
from local.stack import LocalStack

_SAMPLE = ("SOL", "USDC", "10")


def run() -> NoReturn:
    """Starts the stack as the environment says, shows a sample order and how to send others, and serves.

    Never returns: raises KeyboardInterrupt, or LocalStackError if the stack does not start or ends by itself.
    """
    console = Console()
    settings = read_settings(os.environ)
    started_at = time.monotonic()

    def progress(what: str) -> None:
        console.print(f"[{time.monotonic() - started_at:5.1f} s] {what}", highlight=False, markup=False)

    stack = LocalStack(port=settings.port, parameters=settings.parameters, progress=progress, reload=settings.reload)
    with stack:
        order_id = None
        if settings.sample:
            order_id = place(stack.endpoints, *_SAMPLE, console)["orderId"]
        _print_usage(stack, order_id, console)
        stack.gateway.wait_until_ended()
        raise LocalStackError(f"MiniStack ended by itself; {stack.log} may say why")


def _print_usage(stack: LocalStack, order_id: str | None, console: Console) -> None:
    body = json.dumps(dict(zip(("tokenIn", "tokenOut", "amountIn"), _SAMPLE, strict=True)))
    websocket = stack.endpoints.websocket.replace("{orderId}", order_id or "ORDER_ID")
    hint = "" if order_id else ", with the orderId that the answer to your order has"
    for line in (
        "",
        f"HTTP       {stack.endpoints.http}{PATH}",
        f"WebSocket  {stack.endpoints.websocket}",
        f"PostgreSQL {stack.endpoints.database}",
        f"log        {_from_here(stack.log)}",
        "",
        "Send an order:",
        f"  curl -sS '{stack.endpoints.http}{PATH}' -H 'Content-Type: application/json' -d '{body}'",
        f"Watch one{hint}:",
        f"  {_from_here(Path(sys.executable))} -m websockets '{websocket}'",
        "",
        "Serving; Ctrl-C stops it.",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _from_here(path: Path) -> str:
    """The path as one would type it in the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
