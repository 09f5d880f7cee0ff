"""What an owner is shown of its orders: one of them, and the list."""

from dataclasses import dataclass
from uuid import UUID

from order_engine.domain.access import Caller
from order_engine.domain.errors import HistoryUnavailable, ServiceUnavailable, UnknownOrder
from order_engine.domain.events import StatusEvent
from order_engine.domain.lifecycle import FINAL
from order_engine.domain.record import OrderRecord
from order_engine.domain.refusals import NotNowAvailable
from order_engine.domain.summary import OrderFilter, OrderSummary, Position, summary_of
from order_engine.ports import Archive, Journal, LiveOrders

# So many orders that are not closed are looked at for one page: each is read whole, a hundred by one call. A page is
# shorter where more of them are not wanted.
_LOOKED_AT = 200


@dataclass(frozen=True)
class OrderPage:
    """A part of a list, newest first; `end` is where the next part begins, None if there is none."""

    orders: list[OrderSummary]
    end: Position | None


@dataclass(frozen=True)
class Orders:
    """The use case of `orders`. An order that is another owner's is as unknown as none.

    An order is in the journal's index until its row is in the archive. So whoever reads the index first misses none.
    """

    journal: Journal
    live: LiveOrders
    archive: Archive

    def look_up(self, order_id: UUID, caller: Caller) -> tuple[OrderSummary, tuple[StatusEvent, ...]]:
        """Return an order and its events: from the journal, or where that has forgotten it, or does not respond, from
        the archive. Raises UnknownOrder, and NotNowAvailable if it is in neither and one did not respond."""
        fault: ServiceUnavailable | None = None
        try:
            return _shown(self._own(order_id, caller))
        except ServiceUnavailable as unavailable:
            fault = unavailable
        except UnknownOrder:
            pass
        try:
            return self.archive.find(caller.owner, order_id)
        except HistoryUnavailable as unavailable:
            raise NotNowAvailable("the order history did not respond") from unavailable
        except UnknownOrder:
            if fault:
                raise NotNowAvailable("the journal did not respond") from fault
            raise

    def named(self, client_order_id: str, caller: Caller) -> list[OrderSummary]:
        """Return the order that has the caller's clientOrderId, or had it last. Raises NotNowAvailable."""
        try:
            if order_id := self.journal.named(caller.owner, client_order_id):
                return [_shown(self._own(order_id, caller))[0]]
        except UnknownOrder:  # closed long ago, or withdrawn
            pass
        except ServiceUnavailable as fault:
            raise NotNowAvailable("the journal did not respond") from fault
        try:
            found = self.archive.named(caller.owner, client_order_id)
        except HistoryUnavailable as fault:
            raise NotNowAvailable("the order history did not respond") from fault
        return [found] if found else []

    def page(self, wanted: OrderFilter, after: Position | None, most: int, caller: Caller) -> OrderPage:
        """Return the caller's first orders after a position of the list, at most so many. It may be fewer, and even
        none, where `end` says that there is more. Raises NotNowAvailable."""
        if wanted.created_before:  # nothing that was created then comes after this position
            newest = Position(wanted.created_before, UUID(int=0))
            after = min(after, newest) if after else newest
        try:
            live, looked_through = self._live(wanted, after, most, caller)
            archived = self._archived(wanted, after, most, caller)
        except ServiceUnavailable as fault:
            raise NotNowAvailable("the journal did not respond") from fault
        except HistoryUnavailable as fault:
            raise NotNowAvailable("the order history did not respond") from fault
        found = {order.order_id: order for order in live}
        found |= {order.order_id: order for order in archived}  # as it is now, where it was closed meanwhile
        listed = sorted(found.values(), key=lambda order: order.position, reverse=True)
        if looked_through:
            listed = [order for order in listed if order.position >= looked_through]
        if len(listed) > most:
            return OrderPage(listed[:most], listed[most - 1].position)
        return OrderPage(listed, looked_through)

    def _live(
        self, wanted: OrderFilter, after: Position | None, most: int, caller: Caller
    ) -> tuple[list[OrderSummary], Position | None]:
        """Return the orders that are not closed and wanted, and how far was looked. Those that have ended by a filter
        are the archive's: they are closed as soon as their rows are there."""
        if wanted.status in FINAL or wanted.code:
            return [], None
        looked_at = most + 1 if wanted == OrderFilter() else _LOOKED_AT
        records, end = self.live.page(caller.owner, after, wanted.created_from, looked_at)
        orders = (summary_of(record) for record in records if not record.closed)
        return [order for order in orders if wanted.matches(order)], end

    def _archived(self, wanted: OrderFilter, after: Position | None, most: int, caller: Caller) -> list[OrderSummary]:
        if wanted.status and wanted.status not in FINAL:
            return []
        return self.archive.page(caller.owner, wanted, after, most + 1)

    def _own(self, order_id: UUID, caller: Caller) -> OrderRecord:
        record = self.journal.read(order_id)
        caller.check_owns(order_id, record.order.owner)
        return record


def _shown(record: OrderRecord) -> tuple[OrderSummary, tuple[StatusEvent, ...]]:
    return summary_of(record), record.events
