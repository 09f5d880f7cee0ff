"""Sends one order to the running stack and shows what becomes of it."""

import httpx
from rich.console import Console
from websockets.exceptions import WebSocketException

from local.client import Message, follow, submit
from local.display import show_life
from local.errors import LocalStackError, OrderRefused
from local.stack import Endpoints, running


def order(token_in: str, token_out: str, amount: str) -> int:
    """Send a market order to the stack that `python -m local` runs. Return 0 if it was confirmed, 1 if not.

    Raises LocalStackError if no stack is running.
    """
    console = Console()
    try:
        last = place(running(), token_in, token_out, amount, console)
    except OrderRefused as refusal:
        _show_refusal(refusal.problem, console)
        return 1
    return 0 if last["status"] == "confirmed" else 1


def place(endpoints: Endpoints, token_in: str, token_out: str, amount: str, console: Console) -> Message:
    """Send a market order, show its life and return the last status.

    Raises OrderRefused, and LocalStackError if the stack does not respond.
    """
    try:
        accepted = submit(endpoints.http, {"tokenIn": token_in, "tokenOut": token_out, "amountIn": amount})
        title = f"order {accepted['orderId']}: {amount} {token_in} for {token_out}"
        return show_life(follow(accepted["streamUrl"]), title, console)
    except (httpx.TransportError, WebSocketException, OSError) as error:
        raise LocalStackError(f"the stack at {endpoints.http} does not respond: {error}") from error


def _show_refusal(problem: Message, console: Console) -> None:
    errors = [f"{error['field']} {error['message']}" for error in problem.get("errors", [])]
    console.print(f"refused ({problem['status']} {problem.get('title')})", highlight=False, markup=False)
    for line in errors or [str(problem.get("detail"))]:
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
