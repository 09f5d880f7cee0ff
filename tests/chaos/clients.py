"""The campaign's clients: they send orders, repeat themselves, watch, and write down what they saw."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import httpx

from tests.chaos.backstage import Backstage
from tests.chaos.plan import Request, Visit
from tests.chaos.posts import Poster
from tests.chaos.visits import Visitor
from tests.chaos.world import Message, Posted

_MOST_CONNECTIONS = 32
_PATIENCE_SECONDS = 60.0  # for an order to be closed, or a crowd to be there
_POLL_SECONDS = 0.25


class Clients:
    """All clients of one run, on an event loop in a thread of their own.

    The requests' times count from `start`, or, with an opening, from `go`: it is sent at once and while no worker is
    about, and `opened` is set when it has been accepted and its viewers are there. `posted` and `visitor.transcripts`
    may be read while it runs; they only grow.
    """

    def __init__(
        self,
        http: str,
        requests: Sequence[Request],
        at_once: int = _MOST_CONNECTIONS,
        opening: Sequence[Request] = (),
        backstage: Backstage | None = None,
    ) -> None:
        self.posted: list[Posted] = []
        self.visitor = Visitor()
        self.accepted: list[str] = []  # the orders, in the order of their acceptance
        self.diverted: list[str] = []
        self.crowded: list[str] = []
        self.opened, self.go, self.sent_all = threading.Event(), threading.Event(), threading.Event()
        self._http = http
        self._requests = requests
        self._at_once = at_once
        self._opening = opening
        self._backstage = backstage
        self._queue = asyncio.Lock()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="clients", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def end(self, deadline_seconds: float = 60) -> None:
        """Hangs up whoever is left, and raises what went wrong in the clients themselves, if anything did."""
        self.visitor.end()
        self.go.set()
        self._thread.join(deadline_seconds)
        if self._failure:
            raise self._failure
        if self._thread.is_alive():
            raise TimeoutError("the clients did not come to an end")

    def _run(self) -> None:
        try:
            asyncio.run(self._all())
        except BaseException as failure:  # noqa: BLE001  raised again by `end`, in the thread that can do something
            self._failure = failure
            self.opened.set()
            self.sent_all.set()

    async def _all(self) -> None:
        limits = httpx.Limits(max_connections=self._at_once, max_keepalive_connections=self._at_once)
        timeout = httpx.Timeout(40, pool=None)
        async with (
            httpx.AsyncClient(base_url=self._http, limits=limits, timeout=timeout, trust_env=False) as http,
            asyncio.TaskGroup() as group,
        ):
            poster = Poster(http, self.posted)
            if self._opening:
                await asyncio.gather(*(self._open(poster, group, request) for request in self._opening))
                self.opened.set()
                await asyncio.to_thread(self.go.wait)
            begun = time.monotonic()
            sending = [group.create_task(self._request(poster, group, begun, request)) for request in self._requests]
            if sending:
                await asyncio.wait(sending)
            self.sent_all.set()

    async def _turn(self) -> None:
        """Holds requests back while the system is behind: load beyond what this machine can do is another test."""
        if backstage := self._backstage:
            async with self._queue:
                await _until(lambda: not backstage.behind())

    async def _open(self, poster: Poster, group: asyncio.TaskGroup, request: Request) -> None:
        """Sends an order of the opening. Its mute viewers come first, and posts to them hang before the others come."""
        answer = await poster.insist(request.body)
        if answer is None:
            return
        order_id = answer["orderId"]
        (self.diverted if request.diverted else self.crowded).append(order_id)
        watching = [visits for visits in request.subscribers if not visits[0].mute]
        mute = [visits for visits in request.subscribers if visits[0].mute]
        self._watch(group, answer, mute)
        await _until(lambda: self.visitor.served(order_id) >= len(mute))
        if mute and self._backstage:
            await asyncio.to_thread(self._backstage.mute, order_id)
        self._watch(group, answer, watching)
        await _until(lambda: self.visitor.served(order_id) >= len(request.subscribers))

    async def _request(self, poster: Poster, group: asyncio.TaskGroup, begun: float, request: Request) -> None:
        await asyncio.sleep(request.at - (time.monotonic() - begun))
        await self._turn()

        def later(delay: float, action: Callable[[], Coroutine[Any, Any, object]]) -> asyncio.Task[object]:
            async def wait_and_act() -> object:
                await asyncio.sleep(delay)
                return await action()

            return group.create_task(wait_and_act())

        if not request.valid:
            await poster.once(request.body, "refuse")
            return
        repeat = partial(poster.insist, request.body)
        racing = [later(0, repeat) for delay in request.repeats if not delay]
        answer = await repeat()
        if answer:
            self.accepted.append(answer["orderId"])
            self._watch(group, answer, request.subscribers)
        others = [later(delay, repeat) for delay in request.repeats if delay]
        if answer and (conflict := request.conflict):
            others.append(later(0.1, lambda: poster.once(conflict, "conflict")))
        if racing or others:
            await asyncio.wait([*racing, *others])
        if answer and request.afterlife and self._backstage:
            await self._afterlife(poster, group, request, answer["orderId"])

    async def _afterlife(self, poster: Poster, group: asyncio.TaskGroup, request: Request, order_id: str) -> None:
        """Uses the key of an order that is closed once more, while it lives or after that."""
        backstage, other = self._backstage, request.conflict or request.body
        if backstage is None or not await _until(lambda: backstage.closed(order_id)):
            return
        if request.afterlife == "closed":
            await poster.insist(request.body)
            if request.conflict:
                await poster.once(request.conflict, "conflict")
            return
        await asyncio.to_thread(backstage.expire, request.body["clientOrderId"])
        answers = await asyncio.gather(*(poster.insist(other, era=1) for _ in range(2)))
        if answers[0]:
            self.accepted.append(answers[0]["orderId"])
            self._watch(group, answers[0], request.subscribers)

    def _watch(self, group: asyncio.TaskGroup, answer: Message, subscribers: Sequence[tuple[Visit, ...]]) -> None:
        for visits in subscribers:
            group.create_task(self.visitor.watch(answer["orderId"], answer["streamUrl"], visits))


async def _until(condition: Callable[[], bool]) -> bool:
    """Waits for a condition; False if it did not come true in good time."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not await asyncio.to_thread(condition):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True
