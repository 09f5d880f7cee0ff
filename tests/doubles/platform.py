"""What AWS does around the engine: the queue with its poller, Lambda's invocations, the WebSocket's gateway.

Everything happens on the gate's timeline. Each invocation has its function's time and use cases of its own: whatever it
had in memory dies with it. Any number of orders and connections may live on one platform.

The doubles, from the bottom: `timeline` is virtual time and processes, `pool` their threads, `gate` where every call
passes and faults happen. On them stand the ports: `journal` and `subscribers` (which keep everything in `tables`),
`services` (queue, sockets, requests for notify, PostgreSQL) and `venues` on a `chain`. `lives` has clients, and hands
what they saw to the campaign's checker. A test of one use case takes it from here, and has its faults from
`gate.Troubles`; a test of whole lives goes

    world = World(Platform(Gate(faults=planned({7: Mode.HANG}))), [Life(visits=(Visit("early", 0.1),))]).run()
    assert world.breaches() == []
"""

import json
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor as Pool
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from order_engine import limits
from order_engine.domain.access import ANYBODY, PUBLIC
from order_engine.domain.errors import OrderEngineError, UnknownOrder
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.refusals import RequestRefused
from order_engine.domain.steps import Policy
from order_engine.domain.subscriber import Subscriber
from order_engine.domain.swaps import VenueName
from order_engine.entrypoints.batches import process_batch
from order_engine.entrypoints.order_body import parse_order
from order_engine.entrypoints.problems import problem_response
from order_engine.entrypoints.socket_messages import answer
from order_engine.use_cases.access import Access
from order_engine.use_cases.audience import Audience
from order_engine.use_cases.cancel import Cancellation
from order_engine.use_cases.execute import Executor
from order_engine.use_cases.launch import Launches
from order_engine.use_cases.notify import Notifier
from order_engine.use_cases.publish import Publisher
from order_engine.use_cases.submit import Submission
from order_engine.use_cases.subscribe import Subscription
from order_engine.use_cases.venue_calls import VenueCalls
from order_engine.use_cases.watch import Watcher

from tests.doubles.chain import Ledger, MemoryChain
from tests.doubles.connections import MemoryConnections
from tests.doubles.gate import Gate, Service
from tests.doubles.journal import MemoryJournal
from tests.doubles.pool import VirtualPool
from tests.doubles.services import (
    MemoryHistory,
    MemoryNotifyRequests,
    MemoryQueue,
    MemorySockets,
    Message,
    Rows,
    Socket,
)
from tests.doubles.subscribers import MemorySubscribers
from tests.doubles.tables import Tables
from tests.doubles.timeline import Ended
from tests.doubles.venues import Market, ScriptedVenue
from tests.doubles.watchlist import MemoryWatchlist

# Seconds, as in template.yaml (test_platform.py).
FUNCTIONS = {
    "submit": 15.0,
    "cancel": 15.0,
    "ws_connect": 15.0,
    "notify": 30.0,
    "route_execute": 20.0,
    "dead_letters": 20.0,
    "watch_market": 160.0,
    "launch": 15.0,
}
VISIBILITY_SECONDS, DEAD_LETTER_SECONDS = 45.0, 300.0
MAX_RECEIVES, WORKERS = 5, 10

INVOCATION_RETRIES = (60.0, 120.0)  # after which Lambda repeats an asynchronous invocation that failed
WATCH_SECONDS = 60.0  # from one invocation of watch_market to the next
_FIRST_WATCH_SECONDS = 0.5  # after the first order was noted
_BURIALS = 10  # after so many tries a dead letter is left where it is
_LAST_SECONDS = 0.3  # of an invocation, as in `order_engine.entrypoints.handler`
_OPENING_SECONDS = 0.02  # after the handshake's answer, until posts are accepted


@dataclass(frozen=True)
class Parts:
    """What a platform makes its doubles of; a broken variant replaces one of them."""

    journal: type[MemoryJournal] = MemoryJournal
    subscribers: type[MemorySubscribers] = MemorySubscribers
    connections: type[MemoryConnections] = MemoryConnections
    watchlist: type[MemoryWatchlist] = MemoryWatchlist
    queue: type[MemoryQueue] = MemoryQueue
    history: type[MemoryHistory] = MemoryHistory
    sockets: type[MemorySockets] = MemorySockets
    notify_requests: type[MemoryNotifyRequests] = MemoryNotifyRequests
    venue: type[ScriptedVenue] = ScriptedVenue
    policy: Policy = field(default_factory=Policy)


@dataclass
class Letter:
    """A message on the orders queue, how often it was received, and whether a worker has had it deleted: two workers
    that were handed the same message delete the same."""

    order_id: UUID
    received: int = 0
    deleted: bool = False

    @property
    def body(self) -> str:
        """As it is on the wire."""
        return json.dumps({"orderId": str(self.order_id)})


@dataclass
class Platform:
    """A deployment. While it goes `by_hand`, messages and requests for notify are only kept, with their delays."""

    gate: Gate = field(default_factory=Gate)
    parts: Parts = field(default_factory=Parts)
    tables: Tables = field(default_factory=Tables)
    ledger: Ledger = field(default_factory=Ledger)
    market: Market = field(default_factory=Market)
    rows: Rows = field(default_factory=Rows)
    sockets: dict[str, Socket] = field(default_factory=dict)
    dead_letters: list[Letter] = field(default_factory=list)
    longest_rest: timedelta = timedelta(days=30)
    by_hand: bool = False
    kept: deque[tuple[Letter | Subscriber, float]] = field(default_factory=deque)
    waiting: int = 0  # messages that are in the queue
    _busy: int = 0
    _ready: deque[Letter] = field(default_factory=deque)
    _watchers: list[Watcher] = field(default_factory=list)  # one for each environment that is warm
    _is_watched: bool = False
    _schedules: int = 0

    def __post_init__(self) -> None:
        gate, parts = self.gate, self.parts
        self.timeline = gate.timeline
        self.journal = parts.journal(gate, self.tables)
        self.subscribers = parts.subscribers(gate, self.tables)
        self.connections = parts.connections(gate, self.tables)
        self.watchlist = parts.watchlist(gate, self.tables, self.begin_to_watch)
        self.audience = Audience(self.subscribers, self.connections)
        self.access = Access(None, gate.timeline)
        self.posts = parts.sockets(gate, self.sockets, self.disconnect)
        self.queue = parts.queue(gate, self._put, lambda: len(self._ready))
        self.notify_requests = parts.notify_requests(gate, self._ask)
        self.history = parts.history(gate, self.rows)
        self.chain = MemoryChain(gate, self.ledger)
        self.venues = tuple(parts.venue(name, self.chain, self.market) for name in VenueName)

    # --- the functions ------------------------------------------------------------------------------------------------

    def executor(self, posts: Pool | None = None, venues: Mapping[VenueName, Pool] | None = None) -> Executor:
        """That of a worker, or of the dead letters' consumer; on pools of its own where none are given."""
        watching = (self.subscribers, self.audience, self.posts, self.notify_requests)
        posts = posts or VirtualPool(self.timeline, 64)
        pools = venues or dict.fromkeys(VenueName, VirtualPool(self.timeline))
        return Executor(
            self.journal,
            Publisher(self.journal, *watching, self.timeline, posts),
            self.queue,
            self.history,
            self.watchlist,
            VenueCalls(self.venues, self.timeline, pools),
            self.timeline,
            self.parts.policy,
        )

    def subscription(self) -> Subscription:
        """That of the WebSocket's function."""
        return Subscription(self.subscribers, self.connections, self.posts, self.notify_requests, self.timeline)

    def notifier(self) -> Notifier:
        """That of notify."""
        watching = (self.subscribers, self.audience, self.posts)
        return Notifier(self.journal, *watching, self.timeline, sleep=self.timeline.wait)

    def cancellation(self) -> Cancellation:
        """That of cancel."""
        return Cancellation(self.journal, self.queue, self.timeline)

    def submission(self) -> Submission:
        """That of submit."""
        return Submission(self.journal, self.queue, self.timeline, longest_rest=self.longest_rest)

    def watcher(self) -> Watcher:
        """That of the function which watches the market."""
        calls = VenueCalls(self.venues, self.timeline, dict.fromkeys(VenueName, VirtualPool(self.timeline)))
        pool = VirtualPool(self.timeline)
        return Watcher(self.watchlist, calls, self.queue, self.timeline, self.timeline.wait, pool)

    def invoke(self, function: str, work: Callable[[], object], ended: Ended, delay: float = 0.0) -> None:
        """Has a function do its work, in its time."""

        def limited() -> None:
            with limits.invocation(lambda: self.timeline.seconds_left - _LAST_SECONDS):
                work()

        self.timeline.invoke(limited, delay, function, FUNCTIONS[function], ended)

    # --- HTTP ---------------------------------------------------------------------------------------------------------

    def post(self, body: Message, answered: Callable[[int, Message], object]) -> None:
        """A client posts an order; it is told the status and the body of the answer (502 and nothing if the function
        died)."""
        self._request("submit", lambda: self.submit(body), answered)

    def _request(
        self, function: str, work: Callable[[], tuple[int, Message]], answered: Callable[[int, Message], object]
    ) -> None:
        """Has a function answer a request; one that dies has answered nothing."""
        answer: list[tuple[int, Message]] = []
        self.invoke(function, lambda: answer.append(work()), lambda _fault: answered(*(answer or [(502, {})])[-1]))

    def submit(self, body: Message) -> tuple[int, Message]:
        """What the function does."""
        try:
            record = self.submission().submit(parse_order(json.dumps(body).encode(), "application/json"), PUBLIC)
        except RequestRefused as refusal:
            return problem_response(refusal)["statusCode"], {"code": refusal.code}
        created_at = json.loads(record.order.to_json())["createdAt"]
        return 202, {"orderId": str(record.order.order_id), "status": str(record.status), "createdAt": created_at}

    def cancel(self, order_id: str, answered: Callable[[int, Message], object]) -> None:
        """A client cancels an order; it is told the status and the body of the answer."""
        self._request("cancel", lambda: self.cancel_at_once(order_id), answered)

    def cancel_at_once(self, order_id: str) -> tuple[int, Message]:
        """What the function does."""
        try:
            record = self.cancellation().cancel(UUID(order_id), ANYBODY)
        except UnknownOrder:
            return 404, {}
        except RequestRefused as refusal:
            return problem_response(refusal)["statusCode"], {"code": refusal.code}
        return 200, {"status": str(record.status)}

    # --- the orders queue ---------------------------------------------------------------------------------------------

    def _put(self, order_id: UUID, delay_seconds: float) -> None:
        self.waiting += 1
        self.pass_on(Letter(order_id), delay_seconds + 0.01)

    def pass_on(self, what: Letter | Subscriber, delay: float) -> None:
        """Has a message delivered, or notify invoked."""
        if self.by_hand:
            self.kept.append((what, delay))
        elif isinstance(what, Letter):
            self.timeline.invoke(partial(self.deliver, what), delay)
        else:
            self.invoke_notify(what, delay)

    def deliver(self, letter: Letter) -> None:
        """The poller hands a message to a worker; if none is free, as soon as one is."""
        if letter.deleted:
            return
        if self._busy >= WORKERS:
            self._ready.append(letter)
            return
        self._busy += 1
        self.receive(letter, self._free_worker)

    def _free_worker(self) -> None:
        self._busy -= 1
        while self._ready and self._ready[0].deleted:
            self._ready.popleft()
        if self._ready:
            self.deliver(self._ready.popleft())

    def receive(self, letter: Letter, done: Callable[[], object] = lambda: None) -> None:
        """A worker has a message from now on."""
        letter.received += 1
        again = self.bury if letter.received >= MAX_RECEIVES else self.deliver
        self._consume("route_execute", letter, VISIBILITY_SECONDS, partial(again, letter), done)

    def bury(self, letter: Letter, tries: int = 0) -> None:
        """The dead-letter queue hands a message to its consumer; one that stays is left there in the end."""
        if letter.deleted:
            return
        if tries == _BURIALS:
            self.waiting -= 1
            self.dead_letters.append(letter)
            return
        self._consume("dead_letters", letter, DEAD_LETTER_SECONDS, partial(self.bury, letter, tries + 1))

    def _consume(
        self,
        function: str,
        letter: Letter,
        hidden: float,
        again: Callable[[], object],
        done: Callable[[], object] = lambda: None,
    ) -> None:
        """Has a function work on a message, which is hidden meanwhile. It is deleted if the function says so."""
        failures: list[Any] = [None]

        def work() -> None:
            failures[:] = self.work(function, letter)

        def ended(_fault: BaseException | None) -> None:
            done()
            if not failures:
                self.timeline.invoke(partial(self.acknowledge, letter))
            self.timeline.invoke(again, max(visible_at - self.timeline.seconds, 0.0))

        visible_at = self.timeline.seconds + hidden
        self.invoke(function, work, ended)

    def work(self, function: str, letter: Letter) -> list[Any]:
        """What the function does; returns the messages that it failed to work on."""
        executor = self.executor()
        received = {"ApproximateReceiveCount": str(letter.received)}
        record = {"messageId": "m", "eventSource": "aws:sqs", "body": letter.body, "attributes": received}

        def act(order_id: UUID, received: int) -> object:
            if function == "route_execute":
                return executor.process(order_id, received)
            return executor.give_up(order_id, "its workers died")

        failed: list[Any] = process_batch({"Records": [record]}, self, act)["batchItemFailures"]
        return failed

    def get_remaining_time_in_millis(self) -> float:
        """What a handler reads of its context."""
        return min(self.timeline.seconds_left, 900.0) * 1000

    def acknowledge(self, letter: Letter) -> None:
        """The poller deletes a message; if that fails, it is delivered again."""
        try:
            self.gate.call(Service.ACKNOWLEDGE, "delete", lambda: self._delete(letter))
        except OrderEngineError:
            return

    def _delete(self, letter: Letter) -> None:
        self.waiting -= not letter.deleted
        letter.deleted = True

    # --- the market ---------------------------------------------------------------------------------------------------

    def rests(self) -> bool:
        """Whether there is an order that waits for the market."""
        return any(item.record.status is OrderStatus.OPEN for item in self.tables.orders.values())

    def begin_to_watch(self) -> None:
        """Something rests: from now on the schedule is kept until nothing does. A watch over nothing is left out."""
        if not self._is_watched and not self.by_hand:
            self._is_watched = True
            self._schedules += 1
            self.timeline.later(_FIRST_WATCH_SECONDS, partial(self._keep_schedule, self._schedules))

    def _keep_schedule(self, number: int) -> None:
        if number != self._schedules:
            return
        self._is_watched = self.rests()
        if self._is_watched:
            self.watch()
            self.timeline.later(WATCH_SECONDS, partial(self._keep_schedule, number))

    def watch(self, delay: float = 0.0) -> None:
        """The schedule invokes watch_market, in an environment that is warm, or in another one."""
        watcher = self._watchers.pop() if self._watchers else self.watcher()

        def ended(fault: BaseException | None) -> None:
            if fault is None:
                self._watchers.append(watcher)

        self.invoke("watch_market", partial(self._watch, watcher), ended, delay)

    def _watch(self, watcher: Watcher) -> None:
        """What the function does. It also ends when nothing rests any more."""
        idle = False

        def pause(seconds: float) -> None:
            nonlocal idle
            self.timeline.wait(seconds)
            idle = not self.rests()
            if idle:
                self._is_watched = False

        watcher.pause = pause
        with limits.invocation(lambda: 0.0 if idle else self.timeline.seconds_left - _LAST_SECONDS):
            watcher.run()

    def launch(self, symbol: str) -> None:
        """An operator has the pools of a token opened, and tries again until that is done."""

        def ended(fault: BaseException | None) -> None:
            if fault:
                self.timeline.later(1.0, lambda: self.launch(symbol))

        self.invoke("launch", lambda: Launches(self.chain, self.timeline).open(symbol), ended)

    # --- notify -------------------------------------------------------------------------------------------------------

    def _ask(self, wanted: Subscriber) -> None:
        self.pass_on(wanted, 0.01)

    def invoke_notify(self, wanted: Subscriber, delay: float, tries: int = 0) -> None:
        """Lambda invokes notify, and repeats an invocation that failed twice."""

        def ended(fault: BaseException | None) -> None:
            if fault and tries < len(INVOCATION_RETRIES):
                self.invoke_notify(wanted, INVOCATION_RETRIES[tries], tries + 1)

        self.invoke("notify", lambda: self.notify(wanted), ended, delay)

    def notify(self, wanted: Subscriber) -> None:
        """What the function does."""
        with suppress(UnknownOrder):
            self.notifier().notify(wanted)

    # --- the WebSocket ------------------------------------------------------------------------------------------------

    def connect(
        self, connection_id: str, order_id: str | None, after: int, socket: Socket, told: Callable[[bool], object]
    ) -> None:
        """A client shakes hands, for an order or for none yet; it is told whether that was accepted."""

        def shake_hands() -> None:
            if order_id:
                self.subscription().join(connection_id, UUID(order_id), after)
            else:
                self.subscription().open(connection_id, ANYBODY)

        def ended(fault: BaseException | None) -> None:
            if fault is None:
                socket.opens_at = self.timeline.seconds + _OPENING_SECONDS
                self.sockets[connection_id] = socket
            told(fault is None)

        self.invoke("ws_connect", shake_hands, ended)

    def disconnect(self, connection_id: str) -> None:
        """A socket was closed, by its client or by the engine; the gateway tells once."""
        self.sockets[connection_id].closed = True
        self.invoke("ws_connect", lambda: self.subscription().leave(connection_id), lambda _fault: None)

    def say(self, connection_id: str, text: str, told: Callable[[bool], object]) -> None:
        """A client says something; it is told whether the function lived through it."""

        def listen() -> None:
            answer(self.access, self.subscription(), connection_id, text)

        self.invoke("ws_connect", listen, lambda fault: told(fault is None))
