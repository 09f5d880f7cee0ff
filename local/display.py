"""Shows an order's life while it happens: a table that grows in a terminal, plain lines elsewhere."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from local.client import Message

_COLOURS = {"confirmed": "green", "failed": "red", "cancelled": "yellow", "expired": "yellow", "submitted": "cyan"}


def show_life(messages: Iterable[Message], title: str, console: Console) -> list[Message]:
    """Show each status as it arrives, and what is told in between. Return the statuses."""
    if not console.is_terminal:
        console.print(title, highlight=False)
        return _show(messages, lambda row: _print_row(console, row))
    table = Table("since submit", "status", "what happened", title=title, title_justify="left", min_width=len(title))
    with Live(table, console=console, auto_refresh=False) as live:

        def add(row: tuple[str, str, str]) -> None:
            since, status, what = row
            first, *details = what.splitlines()
            cell = Group(Text(first), *(_detail(line) for line in details))
            table.add_row(Text(since, justify="right"), Text(status, style=_COLOURS.get(status, "")), cell)
            live.refresh()

        return _show(messages, add)


def _detail(line: str) -> Table:
    """A line that hangs below its dash, however often it is wrapped."""
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text("-"), Text(line.strip()))
    return grid


def _show(messages: Iterable[Message], add: Callable[[tuple[str, str, str]], None]) -> list[Message]:
    submitted_at, life = None, []
    for message in messages:
        at = datetime.fromisoformat(message["timestamp"])
        submitted_at = submitted_at or at
        add((f"{(at - submitted_at).total_seconds():.3f} s", message["status"], describe(message)))
        if message["status"]:
            life.append(message)
    return life


def say(text: str, console: Console | None = None) -> None:
    """Print a text as it is: nothing in it is marked up, and only the terminal wraps it."""
    (console or Console()).print(text, highlight=False, markup=False, soft_wrap=True)


def _print_row(console: Console, row: tuple[str, str, str]) -> None:
    since, status, what = row
    first, *rest = what.splitlines()
    say(f"{since:>10}  {status:<10} {first}", console)
    for line in rest:
        say(f"{'':>22} {line}", console)


def describe(message: Message) -> str:
    """What happened, with the figures that the status brings along; one line, or one more for each quote."""
    lines = [message["message"]]
    chosen = message.get("venue")
    match message["status"]:
        case "building":
            lines += [_quote(quote, chosen) for quote in message["quotes"]]
            lines += [f"  {rejection['venue']}: {rejection['error']}" for rejection in message.get("rejected", [])]
            lines.append(f"  at least {message['minAmountOut']}")
        case "submitted":
            lines.append(f"  {chosen}, txHash {_short(message['txHash'])}")
        case "confirmed":
            lines.append(f"  received {message['amountOut']} at {message['executedPrice']} on {chosen}")
            lines.append(f"  txHash {_short(message['txHash'])}")
        case "failed" | "expired":
            lines.append(f"  {message['code']}, attempt {message['attempt']}")
    return "\n".join(lines)


def _quote(quote: dict[str, Any], chosen: str | None) -> str:
    won = "  <- best" if quote["venue"] == chosen else ""
    return f"  {quote['venue']}: price {quote['price']}, fee {quote['fee']}, you get {quote['amountOut']}{won}"


def _short(tx_hash: str) -> str:
    return f"{tx_hash[:8]}…{tx_hash[-8:]}"
