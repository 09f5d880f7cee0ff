"""Sends one order to the running stack, or watches one, and shows what becomes of it."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar
from uuid import UUID

from order_client import AsyncClient, OrderEngineError, Refused, Status
from order_client.display import say, show_life
from rich.console import Console

from local.errors import LocalStackError
from local.log import last_errors
from local.market import Ticker
from local.stack import STATE, Endpoints, running

T = TypeVar("T")
Fields = dict[str, Any]

# JSON numbers; amounts and prices may be strings as well.
_WHOLE_NUMBERS = ("slippageBps", "maxPriceImpactBps")
_SERVER_ERROR = 500
_LIMIT_SECONDS = 30.0
_PATIENCE_SECONDS = 10.0  # for the stack to be there again, which restarts its gateway in less


def order(token_in: str, token_out: str, amount: str, fields: Sequence[str]) -> int:
    """Send an order to the stack that `python -m local` runs; `fields` are others of it, such as limitPrice=150.

    Return 0 if it was confirmed, 1 if not. Raises LocalStackError if no stack is running, or a field has no value.
    """
    console, asked = Console(), order_of(token_in, token_out, amount)
    for field in fields:
        name, given, value = field.partition("=")
        if not given:
            raise LocalStackError(f"a further field is given as name=value, such as orderType=limit, not {field!r}")
        asked[name] = int(value) if name in _WHOLE_NUMBERS and value.isdecimal() else value
    try:
        return _exit_code(place(running(), asked, console))
    except Refused as refusal:
        show_refusal(refusal, console)
        return 1


def watch(order: str, as_json: bool) -> int:
    """Show an order's statuses as they come, given its id or its streamUrl; `as_json` as they are on the wire.

    Return 0 if it was confirmed, 1 if not. Raises LocalStackError if the socket is refused, or is not there again soon
    after it broke.
    """
    stack = running()
    url = order if "://" in order else stack.websocket.replace("{orderId}", str(parse_order_id(order)))

    async def watched(client: AsyncClient) -> list[Status]:
        try:
            statuses = client.watch(url)
        except ValueError as error:
            raise LocalStackError(f"{order} is no streamUrl: {error}") from error
        return await (_print(statuses) if as_json else show_life(statuses, f"order {order}", Console()))

    try:
        return _exit_code(_run(stack, watched))
    except Refused as refusal:
        raise LocalStackError(f"the socket is refused ({refusal.status}): {refusal.detail}") from refusal


def cancel(order: str) -> int:
    """Cancel an order. Return 0 if it is cancelled, 1 if not. Raises LocalStackError if no stack responds."""
    stack, order_id, console = running(), str(parse_order_id(order)), Console()
    try:
        cancelled = _run(stack, lambda client: client.cancel(order_id))
    except Refused as refusal:
        show_refusal(refusal, console)
        return 1
    say(f"order {order_id} is {cancelled.status}", console)
    return 0


def parse_order_id(text: str, by: str = "ORDER") -> UUID:
    """Raises LocalStackError if it is none; `by` is what make calls it."""
    try:
        return UUID(text)
    except ValueError as error:
        given = f", and {text!r} is none" if text else ""
        raise LocalStackError(f"give an orderId (with make: {by}=<orderId>){given}") from error


def order_of(token_in: str, token_out: str, amount: str) -> Fields:
    """The body of a market order."""
    return {"tokenIn": token_in, "tokenOut": token_out, "amountIn": amount}


def place(endpoints: Endpoints, asked: Mapping[str, Any], console: Console) -> list[Status]:
    """Send an order, show its life and return its statuses; while it rests, show where the price is.

    Raises Refused, and LocalStackError if the stack does not respond.
    """
    ticker = Ticker(endpoints, asked["tokenIn"], asked["tokenOut"])

    async def placed(client: AsyncClient) -> list[Status]:
        accepted = await client.submit(asked)
        kind = f", {asked['orderType']}" if "orderType" in asked else ""
        title = f"order {accepted.order_id}: {asked['amountIn']} {asked['tokenIn']} for {asked['tokenOut']}{kind}"
        return await show_life(client.watch(accepted), title, console, ticker.tell)

    return _run(endpoints, placed)


def show_refusal(refusal: Refused, console: Console) -> None:
    """Print a refusal: what is wrong with the order, or the last error that was logged."""
    wrong = [f"{error.field} {error.message}" for error in refusal.errors]
    lines = [f"refused ({refusal.status} {refusal.title})", *(f"  {one}" for one in wrong or [refusal.detail])]
    if refusal.status >= _SERVER_ERROR:
        lines += last_errors(STATE / "stack.log", most=1)
    for line in lines:
        say(line, console)


def _run(endpoints: Endpoints, work: Callable[[AsyncClient], Coroutine[Any, Any, T]]) -> T:
    """Raises Refused, and LocalStackError for every other error. Nothing is repeated: a developer wants to see it."""

    async def worked() -> T:
        async with AsyncClient(
            endpoints.http, endpoints.key, limit=_LIMIT_SECONDS, deadline=0, patience=_PATIENCE_SECONDS
        ) as client:
            return await work(client)

    try:
        return asyncio.run(worked())
    except Refused:
        raise
    except (OrderEngineError, OSError) as error:
        raise LocalStackError(f"the stack at {endpoints.http} does not respond: {error}") from error


async def _print(statuses: AsyncGenerator[Status, None]) -> list[Status]:
    life, console = [], Console()
    async with aclosing(statuses):
        async for status in statuses:
            say(json.dumps(status.raw), console)
            life.append(status)
    return life


def _exit_code(life: Sequence[Status]) -> int:
    return 0 if life and life[-1].status == "confirmed" else 1
