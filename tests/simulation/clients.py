"""The clients of a plan's orders: who posts them, and who watches."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.chaos.world import FINAL, Cancel, Posted, Transcript
from tests.doubles import lives
from tests.doubles.services import Message, Socket
from tests.simulation import plan as plans
from tests.simulation.deployment import PlannedPlatform
from tests.simulation.plan import Era, OrderPlan, Post, Visit

_MOST_TRIES = 200
_RETRY_SECONDS = 1.5


class Poster:
    """Whoever wants an order. With a key it goes on until it is told something; `order_ids` has the order of each era.

    `era` counts the lives of its key."""

    def __init__(self, platform: PlannedPlatform, plan: OrderPlan, posted: list[Posted], cancels: list[Cancel]) -> None:
        self.platform = platform
        self.cancels = cancels
        self.timeline = platform.gate.timeline
        self.plan = plan
        self.order_ids: dict[int, str] = {}
        self.waiting: dict[int, list[Callable[[], object]]] = {}  # for the order's id
        self._posted = posted
        self._era = 0
        self._tries = 0

    def begin(self) -> None:
        """Posts in each era, the first of which begins at once."""
        self._post_all(self.plan.posts)
        for delay in self.plan.cancels:
            self.timeline.later(delay, lambda: self._cancel(_MOST_TRIES))
        after = 0.0
        for era in self.plan.eras:
            after += era.after
            self.timeline.later(after, lambda era=era: self._renew(era))  # type: ignore[misc]

    def _cancel(self, tries: int) -> None:
        """Cancels the first era's order, as soon as its id is known, until it is told what came of it."""
        order_id = self.order_ids.get(0)
        if order_id is None:
            self.waiting.setdefault(0, []).append(lambda: self._cancel(tries))
            return

        def answered(status: int, answer: Message) -> None:
            self.cancels.append(Cancel(order_id, status, answer))
            if status >= 500 and tries:
                self.timeline.later(_RETRY_SECONDS, lambda: self._cancel(tries - 1))

        self.platform.cancel_for(f"o{self.plan.number} cancel", order_id, answered)

    def _renew(self, era: Era) -> None:
        self._era += era.expired
        gate = self.platform.gate
        gate.calm_at = max(gate.calm_at, self.timeline.seconds + gate.plan.calm_at)
        self.platform.tables.sweep(self.timeline())
        self._post_all(era.posts)

    def _post_all(self, posts: tuple[Post, ...]) -> None:
        for number, post in enumerate(posts):
            self.timeline.later(post.delay, lambda post=post, number=number: self._post(post, number))  # type: ignore[misc]

    def _post(self, post: Post, number: int) -> None:
        plan, era = self.plan, self._era
        body: dict[str, Any] = dict(plan.body)
        if plan.keyed:
            body["clientOrderId"] = f"key {plan.number}"
        expected = "accept" if plan.valid else "refuse"
        if post.conflict:
            if era not in self.order_ids:
                return  # the key is not known to be taken yet
            expected, body["amountIn"] = "conflict", "7"
        begun = self.timeline().timestamp()

        def answered(status: int, answer: Message) -> None:
            heard = post.answered
            until = self.timeline().timestamp()
            posted = Posted(begun, body, expected, status if heard else 0, answer if heard else {}, until, era)
            self._posted.append(posted)
            if posted.accepted:
                self.order_ids.setdefault(era, posted.accepted)
                for ready in self.waiting.pop(era, ()):
                    self.timeline.later(0.0, ready)
            elif plan.keyed and expected == "accept" and era == self._era and self._tries < _MOST_TRIES:
                self._tries += 1
                self.timeline.later(_RETRY_SECONDS, lambda: self._post(replace(post, answered=True), number))

        self.platform.submit_for(f"o{plan.number}.{era} post {number}", body, answered)


class _Received(list[tuple[float, Message]]):
    """What a socket received; whoever listens is told of each message."""

    def __init__(self, heard: Callable[[], object]) -> None:
        super().__init__()
        self._heard = heard

    def append(self, message: tuple[float, Message]) -> None:
        super().append(message)
        self._heard()


class Watcher:
    """Somebody who watches an order, on one socket after the other; `evidence` has what they heard."""

    def __init__(self, poster: Poster, name: str, visits: tuple[Visit, ...], era: int) -> None:
        self.evidence = lives.Watcher(lives.Visit(name, 0.0))
        self._poster = poster
        self._platform = poster.platform
        self._timeline = poster.timeline
        self._name = name
        self._visits = list(visits)
        self._era = era
        self._seen = 0
        self._ended = False
        self._handshakes = 0

    def begin(self) -> None:
        """Comes for the next visit, if there is one."""
        if self._visits:
            visit = self._visits.pop(0)
            self._timeline.later(visit.delay, lambda: self._connect(visit, _MOST_TRIES))

    def _connect(self, visit: Visit, tries: int) -> None:
        """As soon as the order's id is known; refused, it tries again with another connection."""
        order_id, now = self._poster.order_ids.get(self._era), self._timeline.seconds
        again = lambda: self._connect(visit, tries - 1)  # noqa: E731
        if order_id is None:
            self._poster.waiting.setdefault(self._era, []).append(again)
            return
        self._handshakes += 1
        connection_id = f"{self._name}.{self._handshakes}"
        transcript = Transcript(order_id, self._seen, self._ended, opened_at=now, mute=visit.mute)
        deaf, stuck = ((begins + now, ends + now) for begins, ends in (visit.deaf, visit.stuck))
        stay = _Stay(self._platform, connection_id, visit, transcript)
        socket = Socket(deaf=deaf, stuck=stuck, received=_Received(stay.heard))

        def told(accepted: bool) -> None:
            if not accepted:
                if tries:
                    self._timeline.later(_RETRY_SECONDS, again)
                return
            socket.opens_at = self._timeline.seconds + visit.handshake
            self.evidence.sockets.append((transcript, socket))
            stay.begin(socket, lambda: self._left(socket))

        self._platform.connect(connection_id, order_id, self._seen, socket, told)

    def _left(self, socket: Socket) -> None:
        for _, message in socket.received:
            if "sequence" not in message:
                continue
            self._seen = max(self._seen, message["sequence"])
            self._ended = self._ended or message["status"] in FINAL
        self.begin()


class Desk:
    """A client with one socket for several orders."""

    def __init__(self, platform: PlannedPlatform, posters: dict[int, Poster], plan: plans.Desk, name: str) -> None:
        self._timeline = platform.gate.timeline
        self._posters = posters
        self._plan = plan
        self.evidence = lives.Watcher(lives.Visit(name, 0.0))
        self._desk = lives.Desk(platform, name, self._socket, self.evidence)

    def begin(self) -> None:
        """Connects, and subscribes to each order as soon as its id is known."""
        self._desk.begin()
        for number in self._plan.orders:
            if poster := self._posters.get(number):
                self._watch(poster)
        if self._plan.visit.leave_at is not None:
            self._timeline.later(self._plan.visit.leave_at, lambda: self._desk.leave(self._plan.visit.silent))

    def _watch(self, poster: Poster) -> None:
        order_id = poster.order_ids.get(0)
        if order_id is None:
            poster.waiting.setdefault(0, []).append(lambda: self._watch(poster))
            return
        transcript = self._desk.watch(order_id)
        transcript.mute = self._plan.visit.mute
        if poster.plan.number in self._plan.unsubscribes:
            self._timeline.later(self._plan.after, lambda: self._desk.unsubscribe(transcript))

    def _socket(self) -> Socket:
        visit, now = self._plan.visit, self._timeline.seconds
        deaf, stuck = ((begins + now, ends + now) for begins, ends in (visit.deaf, visit.stuck))
        return Socket(deaf=deaf, stuck=stuck)


class _Stay:
    """One visit, from its handshake on."""

    def __init__(self, platform: PlannedPlatform, connection_id: str, visit: Visit, transcript: Transcript) -> None:
        self._platform = platform
        self._timeline = platform.gate.timeline
        self._connection_id = connection_id
        self._visit = visit
        self._transcript = transcript
        self._replayed = visit.replay_after is None
        self._socket: Socket | None = None
        self._over = False
        self._left: Callable[[], object] = lambda: None

    def begin(self, socket: Socket, left: Callable[[], object]) -> None:
        """The handshake was accepted."""
        self._socket, self._left = socket, left
        if self._visit.leave_at is not None:
            self._timeline.later(self._visit.leave_at, self._leave)
        self.heard()

    def heard(self) -> None:
        """A message came."""
        if self._socket is None:
            return
        many = len(self._socket.received)
        if self._visit.leave_after is not None and many >= self._visit.leave_after:
            self._timeline.later(0.0, self._leave)
        if not self._replayed and many >= (self._visit.replay_after or 0):
            self._replayed = True
            self._timeline.later(0.0, self._replay)

    def _leave(self) -> None:
        if self._over or self._socket is None:
            return
        self._over = True
        if not self._socket.closed:
            self._transcript.left = True
            if self._visit.silent:
                self._socket.closed = True
            else:
                self._platform.disconnect(self._connection_id)
        self._left()

    def _replay(self) -> None:
        if self._socket is None or self._socket.closed:
            return
        self._transcript.replays.append(0)
        self._platform.say(
            self._connection_id, '{"action":"replay","after":0}', lambda heard: None if heard else self._say_again()
        )

    def _say_again(self) -> None:
        self._timeline.later(_RETRY_SECONDS, self._replay)
