"""Shows an order's life while it happens: a table that grows in a terminal, plain lines elsewhere."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from order_client.models import Quote, Status
from order_client.wire import plain

COLOURS = {"confirmed": "green", "failed": "red", "cancelled": "yellow", "expired": "yellow", "submitted": "cyan"}
_NOTE_SECONDS = 2.0

# What is told of an order that is open, while nothing comes; it may take a while, and runs in a thread.
Note = Callable[[Status], str]


async def show_life(
    statuses: AsyncGenerator[Status, None], title: str, console: Console, while_open: Note | None = None
) -> list[Status]:
    """Show each status as it arrives, and every two seconds what `while_open` makes of an open one. Return the
    statuses; raises what the iterator does."""
    async with aclosing(statuses):
        if not console.is_terminal:
            say(title, console)
            return await _show(statuses, lambda row: _print_row(console, row), while_open)
        columns = ("since submit", "status", "what happened")
        table = Table(*columns, title=Text(title), title_justify="left", min_width=len(title))
        with Live(table, console=console, auto_refresh=False) as live:

            def add(row: tuple[str, str, str]) -> None:
                since, status, what = row
                first, *details = what.splitlines() or [""]
                cell = Group(Text(first), *(_detail(line) for line in details))
                table.add_row(Text(since, justify="right"), Text(status, style=COLOURS.get(status, "")), cell)
                live.refresh()

            return await _show(statuses, add, while_open)


def say(text: str, console: Console | None = None) -> None:
    """Print a text as it is: nothing in it is marked up, and only the terminal wraps it."""
    (console or Console()).print(text, highlight=False, markup=False, soft_wrap=True)


def describe(status: Status) -> str:
    """What happened, with the figures that the status brings along; one line, or one more for each quote."""
    lines = [status.message]
    match status.status:
        case "building":
            lines += [_quote(quote, status.venue) for quote in status.quotes]
            lines += [f"  {rejection.venue}: {rejection.error}" for rejection in status.rejected]
            lines.append(f"  at least {plain(status.min_amount_out)}")
        case "submitted":
            lines.append(f"  {status.venue}, txHash {_short(status.tx_hash)}")
        case "confirmed":
            lines.append(f"  received {plain(status.amount_out)} at {plain(status.executed_price)} on {status.venue}")
            lines.append(f"  txHash {_short(status.tx_hash)}")
        case "failed" | "expired":
            lines.append(f"  {status.code}, attempt {status.attempt}")
    return "\n".join(lines)


async def _show(
    statuses: AsyncGenerator[Status, None], add: Callable[[tuple[str, str, str]], None], while_open: Note | None
) -> list[Status]:
    life: list[Status] = []
    coming = asyncio.ensure_future(anext(statuses))
    try:
        while True:
            opened = life[-1] if while_open and life and life[-1].status == "open" else None
            done, _ = await asyncio.wait({coming}, timeout=_NOTE_SECONDS if opened else None)
            if done:
                status = coming.result()
                life.append(status)
                coming = asyncio.ensure_future(anext(statuses))
                add((_since(life, status.timestamp), status.status, describe(status)))
            elif while_open and opened:
                add((_since(life, datetime.now(UTC)), "", await asyncio.to_thread(while_open, opened)))
    except StopAsyncIteration:
        return life
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)  # a generator can't be closed while it runs


def _since(life: list[Status], moment: datetime) -> str:
    return f"{(moment - life[0].timestamp).total_seconds():.3f} s"


def _detail(line: str) -> Table:
    """A line that hangs below its dash, however often it is wrapped."""
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text("-"), Text(line.strip()))
    return grid


def _print_row(console: Console, row: tuple[str, str, str]) -> None:
    since, status, what = row
    first, *rest = what.splitlines() or [""]
    say(f"{since:>10}  {status:<10} {first}", console)
    for line in rest:
        say(f"{'':>22} {line}", console)


def _quote(quote: Quote, chosen: str | None) -> str:
    won = "  <- best" if quote.venue == chosen else ""
    figures = f"price {plain(quote.price)}, fee {plain(quote.fee)}, you get {plain(quote.amount_out)}"
    return f"  {quote.venue}: {figures}{won}"


def _short(tx_hash: str | None) -> str:
    return f"{tx_hash[:8]}…{tx_hash[-8:]}" if tx_hash else "unknown"
