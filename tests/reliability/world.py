"""A world for one order: the use cases on fakes, the queue and the invocations that drive them, and its clients.

Everything happens on the virtual clock, in one thread. What runs beside a worker (a client that joins, notify) has its
turn between two of the worker's calls, as soon as its time has come.
"""

import heapq
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from uuid import UUID

from order_engine.batches import process_batch
from order_engine.delivery import CatchUp, Publisher
from order_engine.errors import NothingAccepted, OrderEngineError
from order_engine.execution import Executor
from order_engine.orders import VenueName
from order_engine.submission import Submission, order_id_for, parse_request
from order_engine.subscription import Subscription

from tests.reliability.fake_journal import LEASE, FakeJournal, FakeSubscribers, Items
from tests.reliability.fake_services import Connection, FakeCatchUps, FakeHistory, FakeQueue, FakeSockets, Row
from tests.reliability.fake_venue import FakeChain, FakeVenue, Ledger, Market
from tests.reliability.gate import Clock, Gate, Killed, Mode, Service
from tests.reliability.inline import InlinePool
from tests.reliability.invariants import Breach, Evidence, Journaled, OnChain, Persisted, Transcript, breaches
from tests.reliability.scenarios import Scenario, Visit
from tests.reliability.schedules import run_tasks

VISIBILITY_SECONDS = 45.0  # the orders queue's
MAX_RECEIVES = 5
DEAD_LETTER_SECONDS = 300.0  # the dead-letter queue's visibility timeout
INVOCATION_RETRIES = (60.0, 120.0)  # after which Lambda repeats an asynchronous invocation that failed
_ENOUGH_STEPS = 500


@dataclass
class Parts:
    """How a world makes its parts; a broken variant replaces one of them."""

    journal: type[FakeJournal] = FakeJournal
    subscribers: type[FakeSubscribers] = FakeSubscribers
    venue: type[FakeVenue] = FakeVenue
    publisher: type[Publisher] = Publisher
    executor: type[Executor] = Executor
    acknowledges: Callable[[Exception], bool] = lambda fault: False


@dataclass
class Message:
    """A message on the orders queue, how often it was received, and whether a worker has had it deleted: two workers
    that were handed the same message delete the same."""

    order_id: UUID
    received: int = 0
    deleted: bool = False


@dataclass
class Client:
    """A subscriber, over all its connections; `received` is one list for them all."""

    visit: Visit
    received: list[str] = field(default_factory=list)
    connection_id: str = ""
    connections: int = 0
    left: bool = False


class Context:
    """What a handler reads of its Lambda context."""

    def get_remaining_time_in_millis(self) -> int:
        """Time enough."""
        return 15_000


class World:
    """One order's world. `run` lets it go on until nothing is left to do; `breaches` judges what is left."""

    def __init__(
        self,
        scenario: Scenario,
        plan: Mapping[int, Mode] | None = None,
        parts: Parts | None = None,
        away: Mapping[Service, tuple[float, float]] | None = None,
        one_per_order: bool = False,
    ) -> None:
        random.seed(0)  # the back-off's jitter
        self.scenario, self.parts = scenario, parts or Parts()
        self.clock = Clock()
        self.gate = Gate(self.clock, plan or {}, away or {}, self._between)
        self.items: Items = {}
        self.watching: dict[str, UUID] = {}
        self.connections: dict[str, Connection] = {}
        self.ledger = Ledger(one_per_order)
        self.market = Market(scenario.fates)
        self.rows: dict[str, Row] = {}
        self.accepted: set[str] = set()
        self.order_id = order_id_for(scenario.client_order_id)
        self.dead_letters: list[UUID] = []
        self.clients = [Client(visit) for visit in scenario.visits]
        self._agenda: list[tuple[float, int, bool, Callable[[], None]]] = []
        self._numbers = count()
        self._build()

    def _build(self) -> None:
        gate, parts = self.gate, self.parts
        self.journal = parts.journal(gate, self.items)
        self.subscribers = parts.subscribers(gate, self.items, self.watching)
        self.sockets = FakeSockets(gate, self.connections)
        self.queue = FakeQueue(gate, self._put)
        self.history = FakeHistory(gate, self.rows)
        self.catch_ups = FakeCatchUps(gate, self._invoke)
        self.chain = FakeChain(gate, self.ledger)
        self.venues = tuple(parts.venue(name, self.chain, self.market) for name in VenueName)

    # --- the processes; each is new for each invocation: whatever it had in memory died with the one before ----------

    def executor(self) -> Executor:
        """A worker."""
        publisher = self.parts.publisher(
            self.journal, self.subscribers, self.sockets, self.catch_ups, _pool=InlinePool()
        )
        return self.parts.executor(
            journal=self.journal,
            publisher=publisher,
            queue=self.queue,
            history=self.history,
            venues=self.venues,
            now=self.clock.now,
            _pool=InlinePool(),
        )

    def submit(self) -> None:
        """The client posts its order; with a clientOrderId it goes on until it is answered."""
        body = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 10}
        if self.scenario.client_order_id:
            body["clientOrderId"] = self.scenario.client_order_id
        try:
            request = parse_request(json.dumps(body).encode(), "application/json")
            order = Submission(self.journal, self.queue, self.clock.now).submit(request)
        except (Killed, NothingAccepted):
            if self.scenario.client_order_id:
                self.later(1.0, self.submit)
            return
        self.accepted.add(str(order.order_id))

    def deliver(self, message: Message) -> None:
        """The queue hands a message to a worker, and deletes it if the worker says so."""
        if message.deleted:
            return
        message.received += 1
        came_back = self.clock.seconds + VISIBILITY_SECONDS
        self.gate.lethal = self.scenario.lethal
        done = self._batch(message, self.executor().process)
        self.gate.lethal = None
        if done:
            return
        if message.received >= MAX_RECEIVES:
            self._at(came_back, False, lambda: self.bury(message))
        else:
            self._at(came_back, False, lambda: self.deliver(message))

    def bury(self, message: Message, tries: int = 0) -> None:
        """The dead-letter queue hands a message to its consumer; one that stays is left there in the end."""
        if message.deleted or self._batch(message, lambda order_id: self.executor().give_up(order_id, "workers died")):
            return
        if tries == 10:
            self.dead_letters.append(message.order_id)
        else:
            self.later(DEAD_LETTER_SECONDS, lambda: self.bury(message, tries + 1))

    def _batch(self, message: Message, work: Callable[[UUID], object]) -> bool:
        def guarded(order_id: UUID) -> None:
            try:
                work(order_id)
            except OrderEngineError as fault:
                if not self.parts.acknowledges(fault):
                    raise

        record = {"messageId": "m", "eventSource": "aws:sqs", "body": json.dumps({"orderId": str(message.order_id)})}
        try:
            if process_batch({"Records": [record]}, Context(), guarded)["batchItemFailures"]:
                return False
            self.gate.call(Service.ACKNOWLEDGE, "delete", lambda: setattr(message, "deleted", True))
        except (Killed, OrderEngineError):
            return False
        return True

    def notify(self, order_id: UUID, connection_id: str, generation: int, tries: int = 0) -> None:
        """Lambda invokes notify, and repeats an invocation that failed twice."""
        catch_up = CatchUp(self.journal, self.subscribers, self.sockets, self.clock.now, pauses=(0.0,) * 7)
        try:
            catch_up.bring_up_to_date(order_id, connection_id, generation)
        except (Killed, OrderEngineError):
            if tries < len(INVOCATION_RETRIES):
                again = tries + 1
                self.later(
                    INVOCATION_RETRIES[tries],
                    lambda: self.notify(order_id, connection_id, generation, again),
                    beside=True,
                )

    # --- the clients -------------------------------------------------------------------------------------------------

    def subscription(self) -> Subscription:
        """The WebSocket's functions."""
        return Subscription(self.subscribers, self.sockets, self.catch_ups, self.clock.now)

    def join(self, client: Client) -> None:
        """A client connects; if the handshake is refused, it tries again with another connection."""
        if client.left:
            return
        client.connections += 1
        connection_id = f"{client.visit.name}-{client.connections}"
        try:
            self.subscription().join(connection_id, str(self.order_id), None)
        except (Killed, OrderEngineError):
            self.later(min(client.connections, 30.0), lambda: self.join(client), beside=True)
            return
        client.connection_id = connection_id
        self.connections[connection_id] = Connection(self.clock.seconds + 0.02, client.received, client.visit.deaf)

    def leave(self, client: Client) -> None:
        """A client closes its socket; the gateway tells once."""
        client.left = True
        if client.connection_id:
            self.connections[client.connection_id].closed = True
            self._shielded(lambda: self.subscription().leave(client.connection_id))

    def replay(self, client: Client) -> None:
        """A client asks for everything again; when it is told of an error, it repeats that."""
        text = '{"action":"replay","after":0}'
        if not self._shielded(lambda: self.subscription().hear(client.connection_id, text)):
            self.later(1.0, lambda: self.replay(client), beside=True)

    def _shielded(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except (Killed, OrderEngineError):
            return False
        return True

    # --- time --------------------------------------------------------------------------------------------------------

    def later(self, seconds: float, action: Callable[[], None], beside: bool = False) -> None:
        """Puts an action on the agenda; one that runs `beside` may have its turn while another process runs."""
        self._at(self.clock.seconds + seconds, beside, action)

    def _at(self, seconds: float, beside: bool, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (seconds, next(self._numbers), beside, action))

    def _put(self, order_id: UUID, delay_seconds: float) -> None:
        self.later(delay_seconds + 0.01, lambda: self.deliver(Message(order_id)))

    def _invoke(self, order_id: UUID, connection_id: str, generation: int) -> None:
        self.later(0.01, lambda: self.notify(order_id, connection_id, generation), beside=True)

    def _between(self, _service: Service) -> None:
        """What happens beside a process while it is between two calls."""
        if self.scenario.lands_by_itself:
            self.ledger.land_due(self.clock.now())
        while self._agenda and self._agenda[0][0] <= self.clock.seconds and self._agenda[0][2]:
            heapq.heappop(self._agenda)[3]()

    def run(self) -> "World":
        """Submits the order, and lets the world go on until nothing is left to do."""
        self.later(0.0, self.submit)
        for client in self.clients:
            self._plan_visit(client)
        return self.settle()

    def _plan_visit(self, client: Client) -> None:
        visit = client.visit
        self.later(visit.joins_at, lambda: self.join(client), beside=True)
        if visit.leaves_at is not None:
            self.later(visit.leaves_at, lambda: self.leave(client), beside=True)
        if visit.replays_at is not None:
            self.later(visit.replays_at, lambda: self.replay(client), beside=True)

    def settle(self) -> "World":
        """Lets the world go on until nothing is left to do."""
        self._drain(lambda: bool(self._agenda))
        self.clock.wait(600.0)  # long enough for everything that is on its way to the chain
        self.ledger.land_due(self.clock.now())
        return self

    def _drain(self, more: Callable[[], bool]) -> None:
        for _ in range(_ENOUGH_STEPS):
            if not more():
                return
            at, _, _, action = heapq.heappop(self._agenda)
            self.clock.seconds = max(self.clock.seconds, at)
            action()

    # --- several processes at once -----------------------------------------------------------------------------------

    def prepare(self) -> Message:
        """Submits the order, and connects its clients; notify was asked for them, and has not run. Answers the order's
        message, which is not delivered."""
        self.submit()
        self._agenda.clear()
        for client in self.clients:
            self.join(client)
        return Message(self.order_id)

    def run_beside(self) -> None:
        """Runs the invocations of notify that were asked for by now; a process of its own."""
        while due := [entry for entry in self._agenda if entry[2] and entry[0] <= self.clock.seconds + 1]:
            self._agenda.remove(min(due))
            heapq.heapify(self._agenda)
            min(due)[3]()

    def run_at_once(
        self, works: Sequence[Callable[[], None]], choose: Callable[[int], int], preemptions: int, expiries: int = 0
    ) -> None:
        """Runs processes interleaved (see `run_tasks`). As often as `expiries`, time passes until leases run out."""

        def hook(before_call: Callable[[Service], None]) -> None:
            def between(service: Service) -> None:
                before_call(service)
                if self.scenario.lands_by_itself:
                    self.ledger.land_due(self.clock.now())

            self.gate.between = between

        expire = partial(self.clock.wait, LEASE.total_seconds() + 1)
        try:
            run_tasks(works, hook, choose, preemptions, expire, expiries)
        finally:
            self.gate.between = self._between

    # --- the judgement -----------------------------------------------------------------------------------------------

    def breaches(self) -> list[Breach]:
        """What the checker finds."""
        return breaches(self.evidence())

    def evidence(self) -> Evidence:
        """What the run has left behind, as plain values."""
        return Evidence(
            accepted=frozenset(self.accepted),
            journal={
                str(order_id): Journaled(
                    order=json.loads(item.entry.order.to_json()),
                    events=[json.loads(event.to_json()) for event in item.entry.events],
                    closed=item.closed,
                    claimed=item.lease_owner is not None,
                )
                for order_id, item in self.items.items()
            },
            chain=[
                OnChain(
                    tx_hash,
                    sent.order_id,
                    sent.state,
                    sent.execution.amount_out if sent.execution else None,
                    sent.execution.executed_price if sent.execution else None,
                )
                for tx_hash, sent in self.ledger.sent.items()
            ],
            history={order_id: Persisted(row.columns, row.events) for order_id, row in self.rows.items()},
            transcripts=[
                Transcript(client.visit.name, str(self.order_id), not client.left, client.received)
                for client in self.clients
            ],
            queued=[f"{at:.3f} s" for at, _, _, _ in self._agenda],
            dead_letters=[str(order_id) for order_id in self.dead_letters],
        )

    @property
    def status(self) -> str:
        """Where the order stands; empty where the journal has none."""
        return next((str(item.entry.status) for item in self.items.values()), "")
