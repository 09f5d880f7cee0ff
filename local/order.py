"""Sends one order to the running stack, or watches one, and shows what becomes of it."""

import json
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

import httpx
from rich.console import Console
from websockets.exceptions import InvalidStatus, WebSocketException

from local.client import Message, follow, submit
from local.client import cancel as cancel_over_http
from local.display import say, show_life
from local.errors import LocalStackError, OrderRefused
from local.log import last_errors
from local.market import Ticker
from local.stack import STATE, Endpoints, running

# JSON numbers; amounts and prices may be strings as well.
_WHOLE_NUMBERS = ("slippageBps", "maxPriceImpactBps")


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
        last = place(running(), asked, console)[-1]
    except OrderRefused as refusal:
        show_refusal(refusal, console)
        return 1
    return _exit_code(last)


def watch(order: str, as_json: bool) -> int:
    """Show an order's statuses as they come, given its id or its streamUrl; `as_json` as they are on the wire.

    Return 0 if it was confirmed, 1 if not. Raises LocalStackError if the socket is refused or breaks.
    """
    stack = running()
    url = order if "://" in order else stack.websocket.replace("{orderId}", str(parse_order_id(order)))
    console = Console()
    try:
        if not as_json:
            return _exit_code(show_life(follow(url, key=stack.key), f"order {order}", console)[-1])
        message: Message = {}
        for message in follow(url, key=stack.key):
            say(json.dumps(message, default=str), console)
        return _exit_code(message)
    except InvalidStatus as refusal:
        said = refusal.response.reason_phrase
        with suppress(ValueError, KeyError, TypeError):
            said = json.loads(refusal.response.body or b"")["detail"]
        raise LocalStackError(f"the socket is refused ({refusal.response.status_code}): {said}") from refusal
    except (WebSocketException, OSError) as error:
        raise LocalStackError(f"the socket at {url} does not respond: {error or type(error)}") from error


def cancel(order: str) -> int:
    """Cancel an order. Return 0 if it is cancelled, 1 if not. Raises LocalStackError if no stack responds."""
    stack, order_id, console = running(), str(parse_order_id(order)), Console()
    try:
        say(f"order {order_id} is {cancel_over_http(stack.http, order_id, stack.key)['status']}", console)
    except OrderRefused as refusal:
        show_refusal(refusal, console)
        return 1
    except httpx.TransportError as error:
        raise LocalStackError(f"the stack at {stack.http} does not respond: {error or type(error)}") from error
    return 0


def parse_order_id(text: str) -> UUID:
    """Raises LocalStackError if it is none."""
    try:
        return UUID(text)
    except ValueError as error:
        given = f", and {text!r} is none" if text else ""
        raise LocalStackError(f"give an orderId (with make: ORDER=<orderId>){given}") from error


def order_of(token_in: str, token_out: str, amount: str) -> Message:
    """The body of a market order."""
    return {"tokenIn": token_in, "tokenOut": token_out, "amountIn": amount}


def place(endpoints: Endpoints, asked: Message, console: Console) -> list[Message]:
    """Send an order, show its life and return its statuses; while it rests, show where the price is.

    Raises OrderRefused, and LocalStackError if the stack does not respond.
    """
    try:
        accepted = submit(endpoints.http, asked, endpoints.key)
        kind = f", {asked['orderType']}" if "orderType" in asked else ""
        title = f"order {accepted['orderId']}: {asked['amountIn']} {asked['tokenIn']} for {asked['tokenOut']}{kind}"
        watched = Ticker(endpoints, asked["tokenIn"], asked["tokenOut"])
        return show_life(follow(accepted["streamUrl"], while_open=watched.tell), title, console)
    except (httpx.TransportError, WebSocketException, OSError) as error:
        raise LocalStackError(f"the stack at {endpoints.http} does not respond: {error or type(error)}") from error


def show_refusal(refusal: OrderRefused, console: Console) -> None:
    """Print a refusal: what is wrong with the order, or the last error that was logged."""
    problem = refusal.problem
    wrong = [f"{error['field']} {error['message']}" for error in problem.get("errors", [])]
    lines = [f"refused ({problem['status']} {problem['title']})", *(f"  {one}" for one in wrong or [problem["detail"]])]
    if problem["status"] >= httpx.codes.INTERNAL_SERVER_ERROR:
        lines += last_errors(STATE / "stack.log", most=1)
    for line in lines:
        say(line, console)


def _exit_code(last: Message) -> int:
    return 0 if last.get("status") == "confirmed" else 1
