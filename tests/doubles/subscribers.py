"""The subscribers in memory, with the calls and conditions of the DynamoDB adapter (test_contract.py)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from order_engine.domain.errors import ServiceUnavailable, UnknownOrder
from order_engine.domain.refusals import ReplayUnderWay, TooManySubscribers
from order_engine.domain.subscriber import OVERDUE_AFTER, Subscriber

from tests.doubles.gate import Gate, Service, outside
from tests.doubles.tables import Page, Tables

_TRIES = 10


class MemorySubscribers:
    """Implements `ports.Subscribers`; all that share `tables` see the same."""

    def __init__(self, gate: Gate, tables: Tables) -> None:
        self.gate = gate
        self.tables = tables

    def join(self, subscriber: Subscriber, admit: Callable[[str], object] = lambda _owner: None) -> Subscriber:
        first = replace(subscriber, page=0)
        owner, has_room, crowded = self._look_at_order(subscriber.order_id)
        admit(owner)
        return first if has_room and self._enter_order(first) else self._enter_further(subscriber, crowded)

    def _enter_further(self, subscriber: Subscriber, crowded: bool) -> Subscriber:
        for _ in range(_TRIES):
            page = self._find_page(subscriber.order_id)
            if page is None:
                raise TooManySubscribers
            if not crowded:
                self._mark_crowded(subscriber.order_id)
                crowded = True
            if self._enter_page(replace(subscriber, page=page)):
                return replace(subscriber, page=page)
        raise ServiceUnavailable("others were quicker")

    @outside(Service.JOURNAL)
    def _look_at_order(self, order_id: UUID) -> tuple[str, bool, bool]:
        order = self.tables.orders.get(order_id)
        if order is None:
            raise UnknownOrder(str(order_id))
        return order.record.order.owner, len(order.subscribers) < self.tables.page_size, order.crowded

    @outside(Service.JOURNAL)
    def _enter_order(self, subscriber: Subscriber) -> bool:
        order = self.tables.orders.get(subscriber.order_id)
        if order is None or len(order.subscribers) >= self.tables.page_size:
            return False
        order.subscribers.setdefault(subscriber.connection_id, subscriber)
        return True

    @outside(Service.PAGES)
    def _find_page(self, order_id: UUID) -> int | None:
        there = self.tables.further.get(order_id, {})
        room = [page for page, item in there.items() if len(item.subscribers) < self.tables.page_size]
        room += [page for page in range(1, self.tables.pages) if page not in there]
        return room[0] if room else None

    @outside(Service.JOURNAL)
    def _mark_crowded(self, order_id: UUID) -> None:
        if order_id not in self.tables.orders:
            raise UnknownOrder(str(order_id))
        self.tables.orders[order_id].crowded = True

    @outside(Service.PAGES)
    def _enter_page(self, subscriber: Subscriber) -> bool:
        page = self.tables.further.setdefault(subscriber.order_id, {}).setdefault(subscriber.page, Page())
        if len(page.subscribers) >= self.tables.page_size:
            return False
        page.subscribers.setdefault(subscriber.connection_id, subscriber)
        return True

    def read(self, subscriber: Subscriber) -> Subscriber | None:
        return self.gate.call(_home(subscriber), "read", lambda: self._kept(subscriber))

    def hand_over(self, subscriber: Subscriber, through: int) -> bool:
        return self.gate.call(_home(subscriber), "hand_over", lambda: self._hand_over(subscriber, through))

    def _hand_over(self, subscriber: Subscriber, through: int) -> bool:
        page, there = self.tables.page(subscriber), self._kept(subscriber)
        if page is None or there is None or there.generation != subscriber.generation:
            return False
        if page.sequence > through or (subscriber.page == 0 and page.sequence != through):
            return False
        page.subscribers[there.connection_id] = replace(there, live_after=through, sent_through=through)
        return True

    def fan_out(self, order_id: UUID, sequence: int) -> tuple[Subscriber, ...]:
        return tuple(one for page in self._list_pages(order_id) for one in self._fan_out_page(order_id, page, sequence))

    @outside(Service.PAGES)
    def _list_pages(self, order_id: UUID) -> Sequence[int]:
        return sorted(self.tables.further.get(order_id, {}))

    @outside(Service.PAGES)
    def _fan_out_page(self, order_id: UUID, number: int, sequence: int) -> Sequence[Subscriber]:
        page = self.tables.further[order_id][number]
        page.sequence = max(page.sequence, sequence)
        return tuple(page.subscribers.values())

    def take_back(self, subscribers: Sequence[Subscriber]) -> list[Subscriber]:
        """See `ports.Subscribers`. One call, where the adapter repeats it without those who have left."""
        if not subscribers:
            return []
        return self.gate.call(_home(subscribers[0]), "take_back", lambda: self._take_back(subscribers))

    def _take_back(self, subscribers: Sequence[Subscriber]) -> list[Subscriber]:
        page, taken = self.tables.page(subscribers[0]), []
        for one in subscribers:
            there = self._kept(one)
            if page and there:
                back = replace(there, sent_through=one.sent_through, generation=there.generation + 1, live_after=None)
                page.subscribers[one.connection_id] = back
                taken.append(back)
        return taken

    def replay(self, subscriber: Subscriber, at: datetime) -> Subscriber | None:
        return self.gate.call(_home(subscriber), "replay", lambda: self._replay(subscriber, at))

    def _replay(self, subscriber: Subscriber, at: datetime) -> Subscriber | None:
        page, there = self.tables.page(subscriber), self._kept(subscriber)
        if page is None or there is None:
            return None
        if there.live_after is None and (there.replayed_at or there.connected_at) >= at - OVERDUE_AFTER:
            raise ReplayUnderWay
        back = replace(there, sent_through=subscriber.sent_through, generation=there.generation + 1, live_after=None)
        page.subscribers[there.connection_id] = back = replace(back, replayed_at=at)
        return back

    def leave(self, subscriber: Subscriber) -> None:
        self.gate.call(_home(subscriber), "leave", lambda: self._strike(subscriber))

    def end(self, subscriber: Subscriber) -> bool:
        return self.gate.call(_home(subscriber), "end", lambda: self._end(subscriber))

    def _end(self, subscriber: Subscriber) -> bool:
        there = self._kept(subscriber)
        if there and there.generation != subscriber.generation:
            return False
        self._strike(subscriber)
        return True

    def _strike(self, subscriber: Subscriber) -> None:
        if page := self.tables.page(subscriber):
            page.subscribers.pop(subscriber.connection_id, None)

    def _kept(self, subscriber: Subscriber) -> Subscriber | None:
        page = self.tables.page(subscriber)
        return page.subscribers.get(subscriber.connection_id) if page else None


def _home(subscriber: Subscriber) -> Service:
    return Service.PAGES if subscriber.page else Service.JOURNAL
