"""Watch the market for the orders that rest, and bring back those that are due.

Once a second: one price for each pair with resting orders, the orders which that makes due, and those whose time is
over. Each is put before a worker, whose own quote decides. So nothing here has to be certain: an order that is brought
back too early rests on, one that is brought back twice is claimed once.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from uuid import UUID, uuid4

from order_engine import limits
from order_engine.domain.errors import ServiceUnavailable
from order_engine.observability import count, logger
from order_engine.ports import Clock, Cursor, OrderQueue, Pair, Side, Watchlist
from order_engine.use_cases.venue_calls import VenueCalls

_EVERY = timedelta(seconds=1)

# Seconds without which no look is begun: the watchlist, the prices, the index, the queue's length, and the messages.
LOOK = 3 * limits.DYNAMODB + limits.QUOTE + 2 * limits.QUEUE

# So many messages may wait for a worker, or only one order is brought back: half of what the workers take up at once.
# However many orders come due together, a market order waits behind few; and however many of those there are, orders
# that rest have their share of a third of what ten workers do.
_MOST_WAITING = 5

# So many orders end at once whose time is over: that takes a worker no time to speak of.
_MOST_ENDING = 25

# Entries of the index that are read at once, and how many times for a side in one look; the next one reads on.
_PAGE, _PAGES = 50, 4

# Until an order that is still due is sent again: a worker has it, or its own quote is not what it waits for.
_AGAIN, _AGAIN_AT_MOST = timedelta(seconds=2), timedelta(seconds=15)

# Not sent again for so long after that, an order was not due for a while: it begins anew.
_LEFT = timedelta(seconds=10)

# By so much a worker's clock may be behind ours: it would find an order still in time, and note its expiry anew, before
# we delete that entry as seen to.
_SKEW = timedelta(seconds=5)

# A side that was noted so long ago is forgotten if it is empty. The index has long shown what was noted before.
_QUIET = timedelta(minutes=10)


@dataclass
class Watcher:
    """The use case of `watch_market`. Two at once do no harm; the one that began later is the one that goes on."""

    watchlist: Watchlist
    venues: VenueCalls
    queue: OrderQueue
    now: Clock
    pause: Callable[[float], None] = time.sleep
    pool: Pool = field(default_factory=lambda: ThreadPoolExecutor(_MOST_ENDING, "watch"))
    _sent: dict[UUID, tuple[datetime, timedelta]] = field(default_factory=dict)  # when last, and how long to leave it
    _reached: dict[Side, Cursor] = field(default_factory=dict)  # where the next look begins
    _turn: int = 0

    def run(self, most: float = math.inf) -> int:
        """Look once a second, `most` times or until another runner takes over or too little time is left. Return how
        often it did."""
        runner, looks, watches = str(uuid4()), 0, False
        while looks < most and limits.seconds_left() > LOOK:
            next_look = self.now() + _EVERY
            try:
                if not watches:  # tried again: whoever watched before may have seen it taken over already, and ended
                    self.watchlist.take_over(runner)
                    watches = True
                    self._tidy()
                if not self.look(runner):
                    break
                count("MarketLooks")
                looks += 1
            except ServiceUnavailable as fault:
                logger.warning("the market could not be looked at", extra={"reason": str(fault)})
            self.pause(max((next_look - self.now()).total_seconds(), 0.0))
        logger.info("the watch ends", extra={"looks": looks})
        return looks

    def look(self, runner: str) -> bool:
        """Bring back what is due now, as far as the workers have room. Return False if another runner watches.

        Raises ServiceUnavailable, if nobody tells a price after what is over has been brought back."""
        watched = self.watchlist.read()
        if watched.runner != runner:
            return False
        prices: Mapping[Pair, Decimal] = {}
        unpriced = None
        try:
            prices = self.venues.spots(sorted({side.pair for side in watched.sides}))
        except ServiceUnavailable as fault:
            unpriced = fault  # orders expire all the same
        over = self.watchlist.expiring(self.now() - _SKEW, _MOST_ENDING)
        due = list(islice(self._due(watched.sides, prices), _MOST_WAITING))
        if over or due:
            room = max(_MOST_WAITING - self.queue.waiting(), 1)
            ended = [limits.run_in(self.pool, self._end, *one) for one in over]
            _wait_for(ended + [limits.run_in(self.pool, self._send, one) for one in due[:room]])
        if unpriced:
            raise unpriced
        return True

    def _due(self, sides: Iterable[Side], prices: Mapping[Pair, Decimal]) -> Iterator[UUID]:
        """Yield the orders that are due and were not sent a moment ago, on each side those first that were not sent at
        all: else few that stay due would keep all others back. Each look begins with another side."""
        priced = sorted((side for side in sides if side.pair in prices), key=str)
        self._turn += 1
        first = self._turn % max(len(priced), 1)
        for side in (*priced[first:], *priced[:first]):
            start, again = self._reached.get(side), list[UUID]()
            for _ in range(_PAGES):
                self._reached[side] = start  # where the next look goes on, if there is room for no more than this page
                orders, start = self.watchlist.due(side, prices[side.pair], _PAGE, start)
                yield from (order_id for order_id in orders if order_id not in self._sent)
                again += [order_id for order_id in orders if self._is_due_again(order_id)]
                if start is None:
                    break
            self._reached[side] = start
            yield from sorted(again, key=lambda order_id: self._sent[order_id])

    def _is_due_again(self, order_id: UUID) -> bool:
        sent = self._sent.get(order_id)
        return sent is not None and sent[0] + sent[1] <= self.now()

    def _send(self, order_id: UUID) -> None:
        self.queue.send(order_id)
        count("OrdersDue")
        now, (sent_at, pause) = self.now(), self._sent.get(order_id, (self.now(), _AGAIN / 2))
        goes_on = now - sent_at <= pause + _LEFT
        self._sent[order_id] = now, min(2 * pause, _AGAIN_AT_MOST) if goes_on else _AGAIN

    def _end(self, order_id: UUID, entry: str) -> None:
        self.queue.send(order_id)
        self.watchlist.swept(entry)

    def _tidy(self) -> None:
        """Forget the sides on which no order rests, and what was sent long ago."""
        now = self.now()
        self._sent = {key: sent for key, sent in self._sent.items() if sent[0] + 2 * _AGAIN_AT_MOST > now}
        try:
            for side, noted_at in self.watchlist.read().sides.items():
                if noted_at + _QUIET < now and self.watchlist.is_empty(side):
                    self.watchlist.forget(side, noted_at)
        except ServiceUnavailable as fault:
            logger.warning("the watchlist was not tidied", extra={"reason": str(fault)})


def _wait_for(calls: Sequence[Future[None]]) -> None:
    """Wait for calls made at once. Raises what one of them raised, once all have ended."""
    wait(calls)
    for call in calls:
        call.result()
