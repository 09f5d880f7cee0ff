"""Publish an order's events: append them to the journal, post them to the subscribers.

Each subscriber has one writer at a time. A new one is `notify`'s, which brings it up to date and then hands it over;
from then on the publisher of the order's events posts to it. Subscribers are kept in pages: on each page, fanning an
event out and handing a subscriber over exclude each other, because both are conditional writes to that one item. So
each event reaches a subscriber by the one or by the other. A repeat is possible after a fault, with the same sequence.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby
from typing import TypeVar

from order_engine import limits
from order_engine.domain.amounts import to_wire
from order_engine.domain.errors import ServiceUnavailable, SocketGone, SocketUnreachable
from order_engine.domain.events import Cancelled, Confirmed, Expired, Failed, StatusEvent
from order_engine.domain.record import OrderRecord
from order_engine.domain.subscriber import CONNECTING, OVERDUE_AFTER, Subscriber
from order_engine.observability import count_lag, logger
from order_engine.ports import Claim, Clock, Journal, NotifyRequests, Sockets, Subscribers
from order_engine.use_cases.audience import Audience

# Concurrent posts of one event. A socket that hangs occupies one for the limit of a post; more hanging sockets than
# this delay those behind them, which are then taken back too.
_FAN_OUT = 64

T = TypeVar("T")


@dataclass(frozen=True)
class Publisher:
    """Appends events to the journal and posts them to the subscribers whose writer it is."""

    journal: Journal
    subscribers: Subscribers
    audience: Audience
    sockets: Sockets
    notify_requests: NotifyRequests
    now: Clock
    pool: Pool = field(default_factory=lambda: ThreadPoolExecutor(_FAN_OUT, "post"))

    def publish(self, claim: Claim, record: OrderRecord) -> Claim:
        """Append the record's last event, then post it.

        Raises LeaseLost or ServiceUnavailable if it could not be appended, and nothing because of a subscriber.
        """
        claim = self.journal.append(claim, record)
        return replace(claim, record=self.post(claim.record))

    def post(self, record: OrderRecord) -> OrderRecord:
        """Post the record's last event to every subscriber whose writer the publisher is, within `limits.POSTS`.

        Those that were not reached are taken back for `notify`, which is asked for them, and for those whose catch-up
        seems to have been lost. Never raises: where a subscriber may lack an event and could not be taken back, the
        record returned is `behind`, and the next event is posted together with all that came before it. Those that
        were reached by a final event are `served`.
        """
        budget = _Budget(self.now, limits.POSTS)
        known, complete = self._known(record, budget)
        live = [one for one in known if one.live_after is not None and one.live_after < record.sequence]
        logger.info(
            f"order {record.status}",
            extra={
                "sequence": record.sequence,
                "attempt": record.attempt,
                "subscribers": len(live),
                **_outcome(record, self.now()),
            },
        )
        messages = {
            event.sequence: event.to_json() for event in (record.events if record.behind else record.events[-1:])
        }
        due = [[messages[event.sequence] for event in _due(record, one)] for one in live]
        posted = self._together(
            [(self._post_all, (one, texts, budget)) for one, texts in zip(live, due, strict=True)], budget
        )
        if live:
            count_lag(record.last)
        budget = _Budget(self.now, limits.TAKE_BACK)
        unreached = [
            replace(one, sent_through=_due(record, one)[0].sequence - 1)
            for one, reached in zip(live, posted, strict=True)
            if not reached
        ]
        taken, all_taken = self._take_back(unreached, budget)
        asked = self._ask([*taken, *self._overdue(known, record)], budget)
        latest = {one.connection_id: one for one in taken}
        return replace(
            record,
            subscribers=tuple(latest.get(one.connection_id, one) for one in record.subscribers),
            behind=not (complete and all_taken),
            requested=record.requested | asked,
            served=tuple(one for one, reached in zip(live, posted, strict=True) if reached) if record.is_final else (),
        )

    def dismiss(self, record: OrderRecord) -> None:
        """Close the sockets of those that were `served` and watch nothing else, within `limits.CLOSES`. Never raises: a
        client whose socket stays open has had everything.

        To be called last. A gateway that has taken a message may not have passed it on when it is told to close the
        socket, and then drops it: MiniStack does under load, and AWS promises nothing.
        """
        closed = self._together([(self._close, (one,)) for one in record.served], _Budget(self.now, limits.CLOSES))
        if left := closed.count(None):
            logger.info("sockets left open for want of time", extra={"sockets": left})

    def finish(self, record: OrderRecord) -> OrderRecord:
        """Re-request `notify` for overdue subscribers before the order closes: nobody looks after them afterwards.

        Returns a record that is `behind` if one of them may lack an event: the order must then not be closed yet.
        """
        if record.behind:
            record = self.post(record)
        budget = _Budget(self.now, limits.POSTS)
        known, complete = self._known(record, budget)
        overdue = self._overdue(known, record)
        asked = self._ask(overdue, budget)
        return replace(record, behind=record.behind or not complete or len(asked) < len(overdue))

    def _known(self, record: OrderRecord, budget: "_Budget") -> tuple[tuple[Subscriber, ...], bool]:
        """Return the subscribers of every page as they were when the last event was fanned out there, and whether it
        could be fanned out on all pages."""
        if not record.crowded:
            return record.subscribers, True
        (turned,) = self._together([(self.subscribers.fan_out, (record.order.order_id, record.sequence))], budget)
        return (*record.subscribers, *(turned or ())), turned is not None

    def _overdue(self, known: Sequence[Subscriber], record: OrderRecord) -> list[Subscriber]:
        """Return the subscribers that `notify` should have handed over by now. Its invocation may have been lost;
        another one does no harm, because `notify` resumes from what is stored."""
        overdue = self.now() - OVERDUE_AFTER
        return [
            one
            for one in known
            if one.live_after is None
            and (one.generation > 1 or one.connected_at < overdue)
            and _name(one) not in record.requested
        ]

    def _post_all(self, subscriber: Subscriber, messages: Sequence[str], budget: "_Budget") -> bool:
        """Post the messages. Return whether the subscriber has them, or needs none because it is gone."""
        for message in messages:
            if budget.left() < limits.POST:
                return False
            try:
                self.sockets.post(subscriber.connection_id, message)
            except SocketGone:
                if self.now() - subscriber.connected_at < CONNECTING:
                    return False  # not connected yet: it asked for what comes after the last event, and had nothing due
                limits.run_in(self.pool, self._forget, subscriber)
                return True
            except SocketUnreachable as fault:
                logger.warning(
                    "socket unreachable", extra={"connectionId": subscriber.connection_id, "reason": str(fault)}
                )
                return False
        return True

    def _take_back(self, unreached: Sequence[Subscriber], budget: "_Budget") -> tuple[list[Subscriber], bool]:
        """Make `notify` the writer of subscribers that were not reached, with one write a page. Return those that are
        still kept, and whether every page could be written."""
        pages = [list(of) for _, of in groupby(sorted(unreached, key=_page), key=_page)]
        written = self._together([(self.subscribers.take_back, (page,)) for page in pages], budget)
        return [one for page in written for one in page or ()], None not in written

    def _ask(self, subscribers: Sequence[Subscriber], budget: "_Budget") -> frozenset[tuple[str, int]]:
        """Invoke `notify` for each, all at once. Return the names of those for whom that succeeded."""
        asked = self._together([(self._request, (one,)) for one in subscribers], budget)
        return frozenset(_name(one) for one, known in zip(subscribers, asked, strict=True) if known)

    def _request(self, subscriber: Subscriber) -> bool:
        self.notify_requests.send(subscriber)
        return True

    def _forget(self, subscriber: Subscriber) -> None:
        """Best-effort cleanup: a subscriber left over is found gone at the next post, or expires with its order."""
        try:
            self.audience.gone(subscriber)
        except ServiceUnavailable as fault:
            logger.warning("a subscriber that is gone could not be removed", extra={"reason": str(fault)})

    def _close(self, subscriber: Subscriber) -> bool:
        try:
            if self.audience.ended(subscriber):
                self.sockets.close(subscriber.connection_id)
        except (SocketUnreachable, ServiceUnavailable) as fault:
            logger.info("socket not closed", extra={"connectionId": subscriber.connection_id, "reason": str(fault)})
        return True

    def _together(
        self, calls: "Iterable[tuple[Callable[..., T], tuple[object, ...]]]", budget: "_Budget"
    ) -> list[T | None]:
        """Make calls at once. Return their results; None for a call that failed or did not end within the budget."""
        futures = [limits.run_in(self.pool, call, *arguments) for call, arguments in calls]
        wait(futures, timeout=max(budget.left(), 0))
        return [_result(future) for future in futures]


class _Budget:
    """A time budget for several calls, within what is left of the invocation."""

    def __init__(self, now: Clock, seconds: float) -> None:
        self._now = now
        self._ends_at = now() + timedelta(seconds=min(seconds, max(limits.seconds_left(), 0)))

    def left(self) -> float:
        """Return the seconds left; below 0 once the budget is spent."""
        return (self._ends_at - self._now()).total_seconds()


def _result(future: Future[T]) -> T | None:
    if future.cancel() or not future.done():
        return None
    fault = future.exception()
    if fault is None:
        return future.result()
    if not isinstance(fault, Exception):
        raise fault
    unforeseen = None if isinstance(fault, ServiceUnavailable) else fault
    logger.warning("a subscriber could not be served", extra={"reason": str(fault)}, exc_info=unforeseen)
    return None


def _outcome(record: OrderRecord, now: datetime) -> dict[str, object]:
    """Return what the log line of a final status says besides; nothing that a client wrote freely."""
    order, last = record.order, record.last
    asked = {
        "pair": f"{order.token_in}/{order.token_out}",
        "amountIn": to_wire(order.amount_in),
        "seconds": round((now - order.created_at).total_seconds(), 3),
    }
    match last:
        case Confirmed(venue=venue, executed_price=price, amount_out=amount_out):
            return {**asked, "venue": venue, "executedPrice": to_wire(price), "amountOut": to_wire(amount_out)}
        case Failed(code=code, error=error) | Expired(code=code, error=error):
            return {**asked, "code": code, "error": error}
        case Cancelled():
            return asked
        case _:
            return {}


def _page(subscriber: Subscriber) -> int:
    return subscriber.page


def _name(subscriber: Subscriber) -> tuple[str, int]:
    return subscriber.connection_id, subscriber.generation


def _due(record: OrderRecord, subscriber: Subscriber) -> tuple[StatusEvent, ...]:
    """Return what to post to a live subscriber: the last event, or all since its handover if it may lack one."""
    if record.behind and subscriber.live_after is not None:
        return record.events[subscriber.live_after :]
    return record.events[-1:]
