"""Live updates: every subscriber sees every status in order, whenever it joins.

Each subscriber has one writer at a time. A new one is `notify`'s, which brings it up to date and then hands it over;
from then on the publisher of the order's events posts to it. Subscribers are kept in pages: on each page, fanning an
event out and handing a subscriber over exclude each other, because both are conditional writes to that one item. So
each event reaches a subscriber by the one or by the other. A repeat is possible after a fault, with the same sequence.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain, groupby, repeat
from typing import TypeVar

from order_engine import limits
from order_engine.errors import ServiceUnavailable, SocketGone, SocketUnreachable
from order_engine.observability import count_lag, logger
from order_engine.orders import JournalEntry, StatusEvent, Subscriber
from order_engine.ports import CatchUps, Claim, Clock, Journal, Sockets, Subscribers

# How long a 410 means 'not connected yet' (API Gateway refuses posts while $connect runs) rather than 'gone': longer
# than ws_connect may take.
CONNECTING = timedelta(seconds=20)

# After so long a newcomer that was not handed over may have been lost, and `notify` is asked for it once more.
_OVERDUE = timedelta(seconds=10)

# Posts of one event that run at once. Sockets that hang occupy as many, for the limit of one post; more of them than
# this hold up those behind them, who are then taken back too.
_FAN_OUT = 64

# How long `notify` goes on with a socket that is throttled or hangs; its invocation is repeated after a minute.
_PATIENCE = timedelta(seconds=5)

# After a pause of so many seconds `notify` looks whether the subscriber is still there: one that connects and leaves
# at once must not hold it for all of CONNECTING.
_LOOK_AGAIN_SECONDS = 0.4

T = TypeVar("T")


@dataclass(frozen=True)
class Publisher:
    """Appends events to the journal and posts them to the subscribers that are handed over."""

    journal: Journal
    subscribers: Subscribers
    sockets: Sockets
    catch_ups: CatchUps
    now: Clock
    pool: Pool = field(default_factory=lambda: ThreadPoolExecutor(_FAN_OUT, "post"))

    def publish(self, claim: Claim, entry: JournalEntry) -> Claim:
        """Appends the entry's last event, then posts it.

        Raises LeaseLost or ServiceUnavailable if it could not be appended, and nothing because of a subscriber.
        """
        claim = self.journal.append(claim, entry)
        return replace(claim, entry=self.post(claim.entry))

    def post(self, entry: JournalEntry) -> JournalEntry:
        """Posts the entry's last event to every subscriber whose writer the publisher is, within `limits.POSTS`.

        Those that were not reached are taken back for `notify`, which is asked for them, and for those whose catch-up
        seems to have been lost. Never raises: where a subscriber may lack an event and could not be taken back, the
        entry returned is `behind`, and the next event is posted together with all that came before it.
        """
        budget = _Budget(self.now, limits.POSTS)
        known, complete = self._known(entry, budget)
        live = [one for one in known if one.live_after is not None and one.live_after < entry.sequence]
        logger.info(
            f"order {entry.status}",
            extra={"sequence": entry.sequence, "attempt": entry.attempt, "subscribers": len(live)},
        )
        messages = {event.sequence: event.to_json() for event in (entry.events if entry.behind else entry.events[-1:])}
        due = [[messages[event.sequence] for event in _due(entry, one)] for one in live]
        posted = self._together(
            [(self._post_all, (one, texts, budget)) for one, texts in zip(live, due, strict=True)], budget
        )
        if live:
            count_lag(entry.last)
        budget = _Budget(self.now, limits.TAKE_BACK)
        unreached = [
            replace(one, sent_through=_due(entry, one)[0].sequence - 1)
            for one, reached in zip(live, posted, strict=True)
            if not reached
        ]
        taken, all_taken = self._take_back(unreached, budget)
        asked = self._ask([*taken, *self._strays(known, entry)], budget)
        latest = {one.connection_id: one for one in taken}
        return replace(
            entry,
            subscribers=tuple(latest.get(one.connection_id, one) for one in entry.subscribers),
            behind=not (complete and all_taken),
            requested=entry.requested | asked,
        )

    def finish(self, entry: JournalEntry) -> JournalEntry:
        """The last chance to serve the subscribers of a final order, before nobody looks after them any more.

        Returns an entry that is `behind` if one of them may lack an event: the order must then not be closed yet.
        """
        if entry.behind:
            entry = self.post(entry)
        budget = _Budget(self.now, limits.POSTS)
        known, complete = self._known(entry, budget)
        strays = self._strays(known, entry)
        asked = self._ask(strays, budget)
        return replace(entry, behind=entry.behind or not complete or len(asked) < len(strays))

    def _known(self, entry: JournalEntry, budget: "_Budget") -> tuple[tuple[Subscriber, ...], bool]:
        """The subscribers of every page, each as it was when the last event was fanned out there; and whether all pages
        could be turned."""
        if not entry.crowded:
            return entry.subscribers, True
        (turned,) = self._together([(self.subscribers.turn, (entry.order.order_id, entry.sequence))], budget)
        return (*entry.subscribers, *(turned or ())), turned is not None

    def _strays(self, known: Sequence[Subscriber], entry: JournalEntry) -> list[Subscriber]:
        """Those that `notify` should have handed over by now, and has not been asked for in this delivery: it may have
        been lost. Asking once more does no harm, because it goes on from what is stored."""
        overdue = self.now() - _OVERDUE
        return [
            one
            for one in known
            if one.live_after is None
            and (one.generation > 1 or one.connected_at < overdue)
            and _name(one) not in entry.requested
        ]

    def _post_all(self, subscriber: Subscriber, messages: Sequence[str], budget: "_Budget") -> bool:
        """Whether the subscriber has had the messages, or needs none because it is gone."""
        for message in messages:
            if budget.left() < limits.POST:
                return False
            try:
                self.sockets.post(subscriber.connection_id, message)
            except SocketGone:
                if self.now() - subscriber.connected_at < CONNECTING:
                    return False  # not connected yet: it asked for what comes after the last event, and had nothing due
                limits.submit(self.pool, self._forget, subscriber)
                return True
            except SocketUnreachable as fault:
                logger.warning(
                    "socket unreachable", extra={"connectionId": subscriber.connection_id, "reason": str(fault)}
                )
                return False
        return True

    def _take_back(self, unreached: Sequence[Subscriber], budget: "_Budget") -> tuple[list[Subscriber], bool]:
        """Makes `notify` the writer of those that were not reached, with a write for each page; returns those that are
        still there, and whether every page could be written."""
        pages = [list(of) for _, of in groupby(sorted(unreached, key=_page), key=_page)]
        written = self._together([(self.subscribers.take_back, (page,)) for page in pages], budget)
        return [one for page in written for one in page or ()], None not in written

    def _ask(self, subscribers: Sequence[Subscriber], budget: "_Budget") -> frozenset[tuple[str, int]]:
        """Has `notify` invoked for each, all at once; returns the names of those for whom it is known to be."""
        asked = self._together([(self._request, (one,)) for one in subscribers], budget)
        return frozenset(_name(one) for one, known in zip(subscribers, asked, strict=True) if known)

    def _request(self, subscriber: Subscriber) -> bool:
        self.catch_ups.request(subscriber)
        return True

    def _forget(self, subscriber: Subscriber) -> None:
        """Best-effort clean-up: a subscriber that is left over is found gone again, or expires with its order."""
        try:
            self.subscribers.leave(subscriber)
        except ServiceUnavailable as fault:
            logger.warning("a subscriber that is gone is still kept", extra={"reason": str(fault)})

    def _together(
        self, calls: "Iterable[tuple[Callable[..., T], tuple[object, ...]]]", budget: "_Budget"
    ) -> list[T | None]:
        """The results of calls that run at once; None for each that failed or was not through within the budget."""
        futures = [limits.submit(self.pool, call, *arguments) for call, arguments in calls]
        wait(futures, timeout=max(budget.left(), 0))
        return [_result(future) for future in futures]


class _Budget:
    """Time for several calls together, within what is left of the invocation."""

    def __init__(self, now: Clock, seconds: float) -> None:
        self._now = now
        self._ends_at = now() + timedelta(seconds=min(seconds, max(limits.seconds_left(), 0)))

    def left(self) -> float:
        """Seconds, below 0 once it is spent."""
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


def _page(subscriber: Subscriber) -> int:
    return subscriber.page


def _name(subscriber: Subscriber) -> tuple[str, int]:
    return subscriber.connection_id, subscriber.generation


def _due(entry: JournalEntry, subscriber: Subscriber) -> tuple[StatusEvent, ...]:
    """What a live subscriber is to be posted: the last event, or all since it was handed over where one may lack."""
    if entry.behind and subscriber.live_after is not None:
        return entry.events[subscriber.live_after :]
    return entry.events[-1:]


@dataclass(frozen=True)
class CatchUp:
    """The use case of `notify`: posts what a subscriber has not had yet, then hands it over to the publisher."""

    journal: Journal
    subscribers: Subscribers
    sockets: Sockets
    now: Clock
    # Back-off between tries at a socket that is not there yet or throttled, in seconds; the last one is repeated for as
    # long as the handshake may be under way.
    pauses: Sequence[float] = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
    sleep: Callable[[float], None] = time.sleep

    def bring_up_to_date(self, wanted: Subscriber) -> None:
        """Runs until the subscriber is handed over or gone.

        Only order, page and connection of `wanted` count: a subscriber that was taken back once more meanwhile is
        served from where that left it, because nobody may have been asked for it. Raises UnknownOrder, and
        SocketUnreachable or ServiceUnavailable where a repeated invocation can help.
        """
        pauses = chain(self.pauses, repeat(None))
        ends_at = self.now() + _PATIENCE
        generation, sent_through = 0, 0
        while True:
            entry = self.journal.read(wanted.order_id)
            subscriber = self._still(wanted, entry)
            if subscriber is None:
                return
            if subscriber.generation != generation:
                generation, sent_through = subscriber.generation, subscriber.sent_through
            for event in entry.events[sent_through:]:
                if not self._post(subscriber, event, pauses, ends_at):
                    break
                sent_through = event.sequence
            else:
                sent_through = entry.sequence
                if self.subscribers.hand_over(subscriber, through=sent_through):
                    logger.info("subscriber up to date", extra={"sequence": sent_through})
                    return

    def _still(self, wanted: Subscriber, entry: JournalEntry) -> Subscriber | None:
        """The subscriber as it stands, if it is still to be brought up to date."""
        found = self.subscribers.read(wanted) if wanted.page else entry.subscriber(wanted.connection_id)
        return found if found and found.live_after is None else None

    def _post(
        self, subscriber: Subscriber, event: StatusEvent, pauses: Iterator[float | None], ends_at: datetime
    ) -> bool:
        """Posts with patience; False when so long a pause was made that the subscriber may have left meanwhile."""
        while True:
            try:
                self.sockets.post(subscriber.connection_id, event.to_json())
                return True
            except SocketGone:
                pause = next(pauses) or self.pauses[-1]
                if self.now() - subscriber.connected_at >= CONNECTING:
                    self.subscribers.leave(subscriber)
                    return False
            except SocketUnreachable:
                following = next(pauses)
                if following is None or self.now() > ends_at:
                    raise
                pause = following
            self.sleep(pause)
            if pause >= _LOOK_AGAIN_SECONDS:
                return False
