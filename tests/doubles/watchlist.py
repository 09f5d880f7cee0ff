"""The watchlist in memory, with the conditions of the DynamoDB adapter (test_contract.py)."""

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from order_engine.adapters.journal.item import milliseconds, side_of
from order_engine.domain.events import Opened
from order_engine.domain.order import Order
from order_engine.ports import Cursor, Side, Watched

from tests.doubles.gate import Gate, Service, outside
from tests.doubles.tables import Tables


class MemoryWatchlist:
    """Implements `ports.Watchlist`; its index is what the journal's items say. `noted` is told of each order."""

    def __init__(self, gate: Gate, tables: Tables, noted: Callable[[], object] = lambda: None) -> None:
        self.gate = gate
        self.tables = tables
        self._noted = noted

    def note(self, order: Order) -> None:
        """See `ports.Watchlist`: two writes."""
        if order.expires_at is not None:
            self._note_expiry(order.order_id, order.expires_at)
        self._note_side(side_of(order))

    @outside(Service.WATCHLIST)
    def _note_expiry(self, order_id: UUID, expires_at: datetime) -> None:
        self.tables.expiries[f"{milliseconds(expires_at):015d}#{order_id}"] = order_id
        self._noted()

    @outside(Service.WATCHLIST)
    def _note_side(self, side: Side) -> None:
        self.tables.sides[side] = self.gate.timeline()
        self._noted()

    @outside(Service.WATCHLIST)
    def take_over(self, runner: str) -> None:
        self.tables.runner = runner

    @outside(Service.WATCHLIST)
    def read(self) -> Watched:
        return Watched(self.tables.runner, dict(self.tables.sides))

    @outside(Service.WATCHLIST)
    def forget(self, side: Side, noted_at: datetime) -> None:
        if self.tables.sides.get(side) == noted_at:
            del self.tables.sides[side]

    @outside(Service.WATCHLIST)
    def due(self, side: Side, price: Decimal, most: int, after: Cursor) -> tuple[list[UUID], Cursor]:
        resting = sorted(self._resting(side), reverse=not side.rises)
        there = [(at, order_id) for at, order_id in resting if (at <= price if side.rises else at >= price)]
        if after is not None and (after["last"][0] <= price if side.rises else after["last"][0] >= price):
            there = [one for one in there if (one > after["last"] if side.rises else one < after["last"])]
        page = there[:most]
        return [order_id for _, order_id in page], {"last": page[-1]} if len(there) > most else None

    @outside(Service.WATCHLIST)
    def is_empty(self, side: Side) -> bool:
        return not any(self._resting(side))

    @outside(Service.WATCHLIST)
    def expiring(self, now: datetime, most: int) -> list[tuple[UUID, str]]:
        until = f"{milliseconds(now):015d}"
        return [(self.tables.expiries[name], name) for name in sorted(self.tables.expiries) if name < until][:most]

    @outside(Service.WATCHLIST)
    def swept(self, entry: str) -> None:
        self.tables.expiries.pop(entry, None)

    def _resting(self, side: Side) -> Iterator[tuple[Decimal, UUID]]:
        for order_id, item in self.tables.orders.items():
            if isinstance(item.record.last, Opened) and side_of(item.record.order) == side:
                yield item.record.last.reference_price, order_id
