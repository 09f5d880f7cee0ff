"""Clients on a platform, and what a run leaves behind, for the checker of the campaign to judge (tests/chaos).

A `Life` is one order's: who posts it, how often, and who watches. A `World` has any number of lives on one platform.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from uuid import UUID

from order_engine.adapters.journal.item import side_name, side_of
from order_engine.domain.events import Opened
from order_engine.ports import KEY_LIFETIME

from tests.chaos.checker import check
from tests.chaos.world import Breach, Cancel, Journaled, OnChain, Posted, Terms, Transcript
from tests.chaos.world import World as Judged
from tests.doubles.platform import Platform
from tests.doubles.resting import at_rest
from tests.doubles.services import Message, Socket, parsed

BODY: Message = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 10}
_MOST_POSTS = 100
_ERA_SECONDS = (KEY_LIFETIME + timedelta(hours=1)).total_seconds()
_SETTLING_SECONDS = 7200.0
_DUE_SECONDS = 180.0  # the next watch, the next message, and a worker that died


@dataclass(frozen=True)
class Visit:
    """A subscriber, in seconds from the order's submission (an order is final after about three)."""

    name: str
    joins_at: float
    leaves_at: float | None = None
    replays_at: float | None = None  # asks for everything again on the open socket
    deaf: tuple[float, float] = (0.0, 0.0)  # from when until when its socket is throttled
    stuck: tuple[float, float] = (0.0, 0.0)  # from when until when posts to its socket hang
    shared: bool = False  # on a socket that is opened for no order, and then subscribed to this one


@dataclass(frozen=True)
class Life:
    """One order's life: with a key, its client posts until it is answered, and again at `repeats_at`; `renewed_at` are
    the eras (1, 2 …) of the key's life in which it posts the same once more, an hour after the last one was over."""

    key: str | None = "key"
    visits: Sequence[Visit] = ()
    begins_at: float = 0.0
    cancels_at: Sequence[float] = ()
    repeats_at: Sequence[float] = ()
    renewals: int = 0
    asks: Mapping[str, str] = field(default_factory=dict)  # besides
    launches: Mapping[str, float] = field(default_factory=dict)  # tokens, and when their pools open


@dataclass
class Watcher:
    """A subscriber and its sockets, one after the other."""

    visit: Visit
    sockets: list[tuple[Transcript, Socket]] = field(default_factory=list)
    handshakes: int = 0
    left: bool = False


class Desk:
    """A client that watches orders on one socket, which it opens for none of them; refused, it tries again with another
    connection. It says `subscribe` until it hears of the order."""

    def __init__(self, platform: Platform, name: str, make: Callable[[], Socket], watcher: Watcher) -> None:
        self.watcher = watcher
        self._platform = platform
        self._timeline = platform.timeline
        self._name = name
        self._make = make
        self._orders: dict[str, Transcript] = {}
        self._connected = ""
        self._socket = Socket(closed=True)

    def begin(self) -> None:
        """Connects."""
        self.watcher.handshakes += 1
        name, socket = f"{self._name}-{self.watcher.handshakes}", self._make()

        def told(accepted: bool) -> None:
            if not accepted:
                self._timeline.invoke(self.begin, min(self.watcher.handshakes, 30.0))
                return
            self._connected, self._socket = name, socket
            for order_id, transcript in self._orders.items():
                self._enter(order_id, transcript)

        self._platform.connect(name, None, 0, socket, told)

    def watch(self, order_id: str) -> Transcript:
        """Subscribes to an order, now or as soon as it is connected."""
        transcript = self._orders[order_id] = Transcript(order_id, 0, shared=True)
        if self._connected and not self._socket.closed:
            self._enter(order_id, transcript)
        return transcript

    def unsubscribe(self, transcript: Transcript) -> None:
        """Says so, once."""
        if self._connected and not self._socket.closed:
            transcript.left = True
            text = json.dumps({"action": "unsubscribe", "orderId": transcript.order_id})
            self._platform.say(self._connected, text, lambda _heard: None)

    def leave(self, silent: bool = False) -> None:
        """Hangs up."""
        if not self._connected or self._socket.closed:
            return
        for transcript in self._orders.values():
            transcript.left = True
        if silent:
            self._socket.closed = True
        else:
            self._platform.disconnect(self._connected)

    def _enter(self, order_id: str, transcript: Transcript) -> None:
        transcript.opened_at = self._timeline.seconds
        self.watcher.sockets.append((transcript, self._socket))
        self._say(order_id, transcript, _MOST_POSTS)

    def _say(self, order_id: str, transcript: Transcript, tries: int) -> None:
        heard = any(message.get("orderId") == order_id for _, message in self._socket.received if "code" not in message)
        if heard or not tries or self._socket.closed or transcript.left:
            return
        text = json.dumps({"action": "subscribe", "orderId": order_id})
        self._platform.say(self._connected, text, lambda _heard: None)
        self._timeline.invoke(lambda: self._say(order_id, transcript, tries - 1), 2.0)


class World:
    """Lives on a platform. `run` has everything happen; `breaches` judges what is left."""

    def __init__(self, platform: Platform, lives: Sequence[Life], terms: Terms | None = None) -> None:
        self.platform = platform
        self.timeline = platform.timeline
        self.lives = lives
        self.posted: list[Posted] = []
        self.cancels: list[Cancel] = []
        self.watchers: list[Watcher] = []
        self.order_ids: dict[int, str] = {}  # the first order of each life
        self._terms = terms or Terms()

    def run(self) -> "World":
        """Begins every life, and lets the world go on until nothing is left to do."""
        for number, life in enumerate(self.lives):
            self._begin(number, life)
        return self.settle(max(_length(life) for life in self.lives))

    def settle(self, lasts: float = 0.0) -> "World":
        """Lets the world go on until nothing is left to do, for `lasts` seconds and two hours at the most."""
        self.timeline.run(until=self.timeline.seconds + lasts + _SETTLING_SECONDS)
        self.platform.ledger.settle(self.timeline())
        return self

    def _begin(self, number: int, life: Life) -> None:
        later = self.timeline.invoke
        for at in (0.0, *life.repeats_at):
            later(partial(self.post, number, life, 0), life.begins_at + at)
        for era in range(1, life.renewals + 1):
            later(partial(self.post, number, life, era), life.begins_at + era * _ERA_SECONDS)
        for token, at in life.launches.items():
            self.timeline.later(life.begins_at + at, partial(self.platform.launch, token))
        for at in life.cancels_at:
            later(partial(self.cancel, number), life.begins_at + at)
        for visit in life.visits:
            watcher = Watcher(visit)
            self.watchers.append(watcher)
            later(partial(self.join, number, watcher), life.begins_at + visit.joins_at)

    # --- whoever posts ------------------------------------------------------------------------------------------------

    def post(self, number: int, life: Life, era: int) -> None:
        """The client posts its order; with a clientOrderId it goes on until it is accepted."""
        body = {**BODY, **life.asks, **({"clientOrderId": life.key} if life.key else {})}
        begun = self.timeline().timestamp()
        if era:
            self.platform.tables.sweep(self.timeline())

        def answered(status: int, answer: Message) -> None:
            posted = Posted(begun, body, "accept", status, answer, self.timeline().timestamp(), era)
            self.posted.append(posted)
            if posted.accepted:
                self.order_ids.setdefault(number, posted.accepted)
            elif life.key and len(self.posted) < _MOST_POSTS:
                self.timeline.invoke(lambda: self.post(number, life, era), 1.0)

        self.platform.post(body, answered)

    def cancel(self, number: int, tries: int = _MOST_POSTS) -> None:
        """The client cancels its order, as soon as it knows the order's id, until it is told what came of it."""
        order_id = self.order_ids.get(number)
        if order_id is None:
            if tries and not self._is_over(number):
                self.timeline.invoke(lambda: self.cancel(number, tries - 1), 0.2)
            return

        def answered(status: int, answer: Message) -> None:
            self.cancels.append(Cancel(order_id, status, answer))
            if status >= 500 and tries:
                self.timeline.invoke(lambda: self.cancel(number, tries - 1), 1.0)

        self.platform.cancel(order_id, answered)

    # --- whoever watches ----------------------------------------------------------------------------------------------

    def join(self, number: int, watcher: Watcher) -> None:
        """A client connects, as soon as it knows the order's id; refused, it tries again with another connection."""
        if watcher.left:
            return
        if number not in self.order_ids:
            if not self._is_over(number):
                self.timeline.invoke(lambda: self.join(number, watcher), 0.2)
            return
        visit, order_id = watcher.visit, self.order_ids[number]
        if visit.shared:
            desk = Desk(self.platform, visit.name, lambda: Socket(deaf=visit.deaf, stuck=visit.stuck), watcher)
            transcript = desk.watch(order_id)
            desk.begin()
            if visit.leaves_at is not None:
                self.timeline.invoke(lambda: desk.unsubscribe(transcript), visit.leaves_at - self.timeline.seconds)
            return
        watcher.handshakes += 1
        name = f"{number}-{visit.name}-{watcher.handshakes}"
        socket = Socket(deaf=visit.deaf, stuck=visit.stuck)

        def told(accepted: bool) -> None:
            if not accepted:
                self.timeline.invoke(lambda: self.join(number, watcher), min(watcher.handshakes, 30.0))
                return
            transcript = Transcript(order_id, 0, opened_at=self.timeline.seconds)
            watcher.sockets.append((transcript, socket))
            self._plan(watcher, name, transcript)

        self.platform.connect(name, order_id, 0, socket, told)

    def join_at_once(self, visit: Visit, order_id: str) -> None:
        """A client has connected, and notify been asked for it: for worlds whose processes are run by hand."""
        socket = self.platform.sockets[visit.name] = Socket(deaf=visit.deaf, stuck=visit.stuck)
        self.watchers.append(Watcher(visit, [(Transcript(order_id, 0), socket)]))
        self.platform.subscription().join(visit.name, UUID(order_id))

    def _is_over(self, number: int) -> bool:
        """Whether its client got no answer, and does not ask again."""
        return self.lives[number].key is None and any(not posted.key for posted in self.posted)

    def _plan(self, watcher: Watcher, name: str, transcript: Transcript) -> None:
        visit, now, socket = watcher.visit, self.timeline.seconds, self.platform.sockets[name]

        def leave() -> None:
            watcher.left = True
            if not socket.closed:
                transcript.left = True
                self.platform.disconnect(name)

        def replay() -> None:
            if socket.closed:
                return
            transcript.replays.append(0)
            self.platform.say(name, '{"action":"replay","after":0}', told)

        def told(heard: bool) -> None:
            if not heard:
                self.timeline.invoke(replay, 1.0)

        if visit.leaves_at is not None:
            self.timeline.invoke(leave, max(visit.leaves_at - now, 0.0))
        if visit.replays_at is not None:
            self.timeline.invoke(replay, max(visit.replays_at - now, 0.0))

    # --- the judgement ------------------------------------------------------------------------------------------------

    def breaches(self) -> list[Breach]:
        """What the checker finds, and what only whoever moves the market can tell."""
        return [*check(self.evidence()), *at_rest(self.platform, self.platform.gate.calm_from, _DUE_SECONDS)]

    def evidence(self) -> Judged:
        """What the run has left behind, as plain values."""
        platform = self.platform
        orders = {str(order_id): item for order_id, item in platform.tables.orders.items()}
        # One that was withdrawn, after the queue had taken it and its answer was lost, ends there: it names no order.
        nobodys = [letter.body for letter in platform.dead_letters if str(letter.order_id) not in orders]
        return Judged(
            posted=self.posted,
            cancels=self.cancels,
            transcripts=[_heard(transcript, socket) for one in self.watchers for transcript, socket in one.sockets],
            journal={
                order_id: Journaled(
                    order=parsed(item.record.order.model_dump_json(by_alias=True, exclude_none=True)),
                    events=[parsed(event.to_json()) for event in item.record.events],
                    status=item.record.status,
                    sequence=item.record.sequence,
                    closed=item.closed,
                    lease=item.lease_owner or "",
                    errors=[parsed(error.to_json()) for error in item.record.errors],
                )
                for order_id, item in orders.items()
            },
            chain=[
                OnChain(
                    tx_hash,
                    str(sent.transaction.order_id),
                    sent.state,
                    sent.execution.amount_out if sent.execution else None,
                    sent.execution.executed_price if sent.execution else None,
                )
                for tx_hash, sent in platform.ledger.sent.items()
            ],
            rows=platform.rows.orders,
            event_rows=list(platform.rows.events.values()),
            waiting=platform.waiting,
            dead_letters=[letter.body for letter in platform.dead_letters],
            poison=nobodys,
            terms=replace(self._terms, longest_rest=platform.longest_rest),
            index={
                order_id: (side_name(side_of(item.record.order)), item.record.last.reference_price)
                for order_id, item in orders.items()
                if isinstance(item.record.last, Opened)
            },
            sides=[side_name(side) for side in platform.tables.sides],
            expiries=list(platform.tables.expiries),
            launches={token: at.timestamp() for token, at in platform.ledger.launches.items()},
            ended_at=self.timeline().timestamp(),
        )

    @property
    def status(self) -> str:
        """Where the first life's order stands; empty where there is none."""
        return next((str(item.record.status) for item in self.platform.tables.orders.values()), "")


def _length(life: Life) -> float:
    return life.begins_at + max(
        [*life.repeats_at, life.renewals * _ERA_SECONDS, *(one.joins_at for one in life.visits), 0.0]
    )


def _heard(transcript: Transcript, socket: Socket) -> Transcript:
    statuses = [
        (at, message)
        for at, message in socket.received
        if "sequence" in message and message["orderId"] == transcript.order_id
    ]
    return replace(transcript, messages=statuses, closed=socket.dismissed)
