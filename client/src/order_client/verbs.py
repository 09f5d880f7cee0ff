"""What each verb of the command does and prints. All return the exit code."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any
from uuid import uuid4

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from order_client.async_client import AsyncClient
from order_client.bulk import Summary, submit_many
from order_client.display import COLOURS, describe, say, show_life
from order_client.in_flight import InFlight
from order_client.models import Accepted, NewOrder, Order
from order_client.output import ENDED_OTHERWISE, OK, Output, complain
from order_client.wire import plain

_COLUMNS = ("created", "orderId", "status", "type", "sold", "bought", "venue", "what else")


class Verbs:
    """The verbs, for people or `as_json`. `in_flight`: the orders that a submit has placed and not seen the end of."""

    def __init__(self, client: AsyncClient, as_json: bool) -> None:
        self.in_flight = InFlight()
        self._client = client
        self._as_json = as_json
        self._out = Output()

    async def submit(self, order: NewOrder, watch: bool) -> int:
        """One order, to its end."""
        client_order_id = str(uuid4()) if order.client_order_id is None else order.client_order_id
        async with self._client as client:
            with self.in_flight.order(client_order_id):
                accepted = await client.submit(replace(order, client_order_id=client_order_id))
                self.in_flight.accepted(client_order_id, accepted.order_id)
                return await self._show(client, order, accepted, watch)

    async def submit_many(self, order: NewOrder, count: int, concurrency: int, watch: bool) -> int:
        """Many orders; the summary is printed after Ctrl-C too, where JSON is asked for on standard error."""
        summary = Summary()
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        try:
            async with self._client as client:
                with Progress(*columns, console=Console(stderr=True), disable=not self._out.is_terminal) as progress:
                    task = progress.add_task("orders", total=count)
                    await submit_many(
                        client,
                        order,
                        count,
                        concurrency,
                        summary,
                        watch=watch,
                        tell=self._out.json if self._as_json else _nothing,
                        done=lambda: progress.advance(task),
                        in_flight=self.in_flight,
                    )
        finally:
            for line in summary.lines():
                if self._as_json:
                    complain(line)
                else:
                    say(line, self._out)
        return summary.exit_code

    async def watch(self, orders: Sequence[str], after: int) -> int:
        """One order as a table, several as lines."""
        async with self._client as client:
            [first, *others] = orders
            if self._as_json or others:
                return await self._tell(client, *orders, after=after)
            life = await show_life(client.watch(first, after), f"order {first}", self._out)
            return _exit_code(one.status for one in life[-1:])

    async def cancel(self, order_id: str) -> int:
        """Cancel one order."""
        async with self._client as client:
            order = await client.cancel(order_id)
        if self._as_json:
            self._out.json(order.raw)
        else:
            say(f"order {order_id} is {order.status}", self._out)
        return OK

    async def get(self, order_id: str) -> int:
        """Show one order."""
        async with self._client as client:
            order = await client.get(order_id)
        if self._as_json:
            self._out.json(order.raw)
            return OK
        for name, value in order.raw.items():
            if name != "events":
                say(f"{name:<18} {value}", self._out)
        for event in order.events:
            first, *rest = describe(event).splitlines() or [""]
            say(f"{event.timestamp:%H:%M:%S.%f}  {event.status:<10} {first}", self._out)
            for line in rest:
                say(f"{'':>26} {line}", self._out)
        return OK

    async def list(self, most: int, filters: Mapping[str, Any]) -> int:
        """List orders."""
        shown = 0
        table = Table(box=None, header_style="bold")
        for column in _COLUMNS:
            table.add_column(column, no_wrap=column == "orderId")
        async with self._client as client, aclosing(client.list(**filters)) as orders:
            async for order in orders:
                if self._as_json:
                    self._out.json(order.raw)
                elif self._out.is_terminal:
                    table.add_row(*(Text(cell, style=COLOURS.get(cell.strip(), "")) for cell in _row(order)))
                else:
                    say("  ".join(_row(order)).rstrip(), self._out)
                shown += 1
                if shown == most:
                    break
        if table.row_count:
            self._out.print(table)
        if not shown and not self._as_json:
            complain("no orders")
        return OK

    async def quote(
        self, token_in: str, token_out: str, amount: str, slippage_bps: int | None, max_price_impact_bps: int | None
    ) -> int:
        """Show quotes."""
        async with self._client as client:
            quotes = await client.quote(
                token_in, token_out, amount, slippage_bps=slippage_bps, max_price_impact_bps=max_price_impact_bps
            )
        if self._as_json:
            self._out.json(quotes.raw)
            return OK if quotes.quotes else ENDED_OTHERWISE
        for quote in quotes.quotes:
            best = "  <- best" if quote.venue == quotes.best else ""
            figures = f"price {plain(quote.price)}, fee {plain(quote.fee)}, you get {plain(quote.amount_out)}"
            say(f"{quote.venue}: {figures} {token_out}{best}", self._out)
        for rejection in quotes.rejected:
            say(f"{rejection.venue}: {rejection.code}, {rejection.error}", self._out)
        if quotes.min_amount_out is not None:
            say(f"at least {plain(quotes.min_amount_out)} {token_out}", self._out)
        return OK if quotes.quotes else ENDED_OTHERWISE

    async def tokens(self) -> int:
        """List tokens."""
        async with self._client as client:
            tokens = await client.tokens()
        for token in tokens:
            if self._as_json:
                self._out.json(token.raw)
            else:
                launches = "  has to launch first" if token.launches else ""
                say(f"{token.symbol:<8} {token.mint:<44} {token.decimals:>2} decimals{launches}", self._out)
        return OK

    async def _show(self, client: AsyncClient, order: NewOrder, accepted: Accepted, watch: bool) -> int:
        """Print what becomes of an order that was accepted."""
        if self._as_json:
            self._out.json(accepted.raw)
            return await self._tell(client, accepted) if watch else OK
        if not watch:
            say(f"order {accepted.order_id} is {accepted.status}", self._out)
            return OK
        kind = f", {order.order_type}" if order.order_type else ""
        title = f"order {accepted.order_id}: {order.amount_in} {order.token_in} for {order.token_out}{kind}"
        return _exit_code(one.status for one in (await show_life(client.watch(accepted), title, self._out))[-1:])

    async def _tell(self, client: AsyncClient, *orders: Any, after: int = 0) -> int:
        """Print each status in a line, as it comes; those of several orders from one connection."""
        if len(orders) == 1:
            statuses = client.watch(orders[0], after)
        else:
            statuses = client.stream(*orders, after=dict.fromkeys(orders, after))
        last: dict[str, str] = {}
        async with aclosing(statuses):
            async for status in statuses:
                last[status.order_id] = status.status
                if self._as_json:
                    self._out.json(status.raw)
                else:
                    say(f"{status.order_id}  {status.status:<10} {status.message}", self._out)
        return _exit_code(last.values())


def _nothing(_document: Mapping[str, Any]) -> None:
    """For people only the summary is printed."""


def _exit_code(statuses: Any) -> int:
    return OK if all(status == "confirmed" for status in statuses) else ENDED_OTHERWISE


def _row(order: Order) -> tuple[str, ...]:
    other = order.code or ""
    if order.executed_price is not None:
        other = f"at {plain(order.executed_price)}"
    elif (price := order.limit_price or order.trigger_price) is not None and not order.is_final:
        other = f"waits for {plain(price)}"
    return (
        f"{order.created_at:%Y-%m-%d %H:%M:%S}",
        order.order_id,
        f"{order.status:<9}",
        order.order_type,
        f"{plain(order.amount_in)} {order.token_in}",
        f"{plain(order.amount_out)} {order.token_out}".strip(),
        order.venue or "",
        other,
    )
