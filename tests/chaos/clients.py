"""The campaign's clients: they send orders, repeat themselves, watch, and write down what they saw."""

import asyncio
import json
import random
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from math import inf
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.frames import CloseCode

from local.stack import PATH, LocalStack
from tests.chaos.market import Market
from tests.chaos.plan import Request, Visit
from tests.chaos.relay import Relay
from tests.chaos.stores import Stores
from tests.chaos.world import Cancel, Message, Posted, Transcript

# A client whose order was not accepted repeats it, and one with a clientOrderId also when it got no clear response.
_TRIES = 100
_PAUSE_SECONDS = 0.3
_PATIENCE_SECONDS = 60.0  # for an order to be closed, or a crowd to be there
_POLL_SECONDS = 0.25
_HANDSHAKES = 10  # until a subscriber gives up; between them a pause, which doubles up to:
_MOST_HANDSHAKE_PAUSE_SECONDS = 5.0
_HANDSHAKES_AT_ONCE = 8  # the gateway takes them one by one, and one that waits for long is refused
_SUBSCRIBE_SECONDS = 0.8  # between two messages of one that watches many orders: it may send 120 a minute
_REPEAT_SECONDS = 3.0  # until it subscribes to an order once more of which it has not heard
_HEARING_SECONDS = 1.0  # how soon a socket that has nothing to do notices the end of the run


class Visitor:
    def __init__(self) -> None:
        self.transcripts: list[Transcript] = []
        self.refused = 0  # handshakes that failed, and were tried again
        self.coming = 0  # visits that are still to begin
        self._over = False
        self._shaking_hands = asyncio.Semaphore(_HANDSHAKES_AT_ONCE)

    def end(self) -> None:
        """Close every socket that is still open; what it has had by now was all it had time for."""
        self._over = True

    async def sit(self, url: str, accepted: Sequence[str]) -> None:
        """Watch orders on one socket, each from soon after it was accepted, until the run is over."""
        socket = await self._open(url)
        if socket is None:
            return
        mine: dict[str, Transcript] = {}
        heard: set[str] = set()
        asked: dict[str, float] = {}
        try:
            while not self._over:
                now = time.monotonic()
                waiting = [one for one in mine if one not in heard and now - asked[one] > _REPEAT_SECONDS]
                if waiting or accepted[-1:] != [*mine][-1:]:
                    order_id = waiting[0] if waiting else accepted[-1]
                    if order_id not in mine:
                        mine[order_id] = Transcript(order_id, 0, opened_at=time.time(), shared=True)
                        self.transcripts.append(mine[order_id])
                    asked[order_id] = now
                    await socket.send(json.dumps({"action": "subscribe", "orderId": order_id}))
                until = now + _SUBSCRIBE_SECONDS
                while (left := until - time.monotonic()) > 0:
                    with suppress(TimeoutError):
                        message = _parsed(await asyncio.wait_for(socket.recv(), left))
                        order_id = message.get("orderId", "")
                        if "sequence" in message:
                            mine[order_id].messages.append((time.time(), message))
                        if order_id and "code" not in message:
                            heard.add(order_id)
        except ConnectionClosed as cut:
            closed = cut.rcvd is not None and cut.rcvd.code == CloseCode.NORMAL_CLOSURE
            for transcript in mine.values():
                transcript.closed, transcript.broken = closed, "" if closed else f"{cut}"
        await socket.close()

    def unserved(self, resting: Collection[str] = (), sequence: Callable[[str], int] = lambda _: 0) -> int:
        """Open sockets that have not had everything up to their order's final status, as far as is known, or up to the
        `sequence` of an order that rests."""
        waiting = [
            one
            for one in self.transcripts
            if not (one.left or one.closed or one.broken or one.final or one.ended_before or one.mute)
        ]
        known = {order_id: sequence(order_id) for order_id in {one.order_id for one in waiting} & set(resting)}
        return sum(one.seen < known.get(one.order_id, inf) for one in waiting)

    def served(self, order_id: str) -> int:
        """Sockets of an order that have had something."""
        return sum(one.order_id == order_id and bool(one.messages) for one in self.transcripts)

    async def watch(self, order_id: str, url: str, visits: tuple[Visit, ...]) -> None:
        """One subscriber: visits one after the other, each resumes after what the last one had."""
        seen, ended = 0, False
        self.coming += len(visits)
        for visit in visits:
            await asyncio.sleep(visit.delay)
            transcript = Transcript(order_id, seen, ended, mute=visit.mute)
            socket = await self._open(f"{url}&after={seen}" if seen else url)
            self.coming -= 1
            self.transcripts.append(transcript)
            if socket is None:
                transcript.left = self._over
                transcript.broken = "" if self._over else "the handshake was refused, time and again"
                continue
            transcript.opened_at = time.time()
            try:
                await self._read(socket, transcript, visit)
            except ConnectionClosed as cut:
                transcript.closed = cut.rcvd is not None and cut.rcvd.code == CloseCode.NORMAL_CLOSURE
                transcript.broken = "" if transcript.closed else f"{cut}"
            await socket.close()
            seen, ended = transcript.seen, ended or transcript.final

    async def _open(self, url: str) -> ClientConnection | None:
        """A handshake that is refused because its function was killed is tried again."""
        for tried in range(_HANDSHAKES):
            if self._over:
                break
            try:
                async with self._shaking_hands:
                    return await connect(url, proxy=None, open_timeout=20, ping_interval=None)
            except (InvalidHandshake, ConnectionClosed, OSError):
                self.refused += 1
            await asyncio.sleep(min(_PAUSE_SECONDS * 2**tried, _MOST_HANDSHAKE_PAUSE_SECONDS))
        return None

    async def _read(self, socket: ClientConnection, transcript: Transcript, visit: Visit) -> None:
        """Write down what is received until the visit is over, or the run is."""
        leaves_at = time.monotonic() + visit.linger if visit.mute else inf
        while not self._over:
            now, text = time.monotonic(), None
            if now >= leaves_at or (visit.leave_after is not None and len(transcript.messages) >= visit.leave_after):
                transcript.left = True
                return
            with suppress(TimeoutError):
                text = await asyncio.wait_for(socket.recv(), min(_HEARING_SECONDS, leaves_at - now))
                message = _parsed(text)
                if "sequence" in message and "status" in message:
                    transcript.messages.append((time.time(), message))
                else:
                    transcript.noise.append(str(text))
            if visit.replay and transcript.messages and not transcript.replays:
                transcript.replays.append(0)
                await socket.send(json.dumps({"action": "replay", "after": 0}))
            ended = transcript.final or (text is None and transcript.ended_before)
            if ended and leaves_at == inf and not visit.to_the_end:
                leaves_at = time.monotonic() + visit.linger


class Clients:
    """All clients of one run, on an event loop in a thread of their own.

    The requests' times count from `start`, or, with an opening, from `go`: it is sent at once and while no worker takes
    orders, and `opened` is set when it has been accepted and its viewers are there. What they write down may be read
    meanwhile; it only grows. With a relay they mute viewers, and hold requests back while the system is behind: load
    beyond what this machine can do is another test.
    """

    def __init__(
        self,
        stack: LocalStack,
        requests: Sequence[Request],
        opening: Sequence[Request] = (),
        relay: Relay | None = None,
        at_once: int = 32,
        desks: int = 0,
    ) -> None:
        self.stores = Stores(stack)
        self.posted: list[Posted] = []
        self.cancels: list[Cancel] = []
        self.visitor = Visitor()
        self.accepted: list[str] = []  # the orders, in the order of their acceptance
        self.diverted: list[str] = []
        self.crowded: list[str] = []
        self.opened, self.go, self.sent_all = threading.Event(), threading.Event(), threading.Event()
        self._requests, self._opening, self._relay, self._at_once = requests, opening, relay, at_once
        self._desks = desks
        self.market = Market.of(self.stores.configuration("route_execute")["Environment"]["Variables"])
        self._http: httpx.AsyncClient
        self._group: asyncio.TaskGroup
        self._turn = asyncio.Lock()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="clients", daemon=True)
        self.start = self._thread.start

    def end(self, deadline_seconds: float = 60) -> None:
        """Close all sockets; raise what went wrong in the clients themselves, if anything did."""
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
        timeout, base = httpx.Timeout(40, pool=None), self.stores.stack.endpoints.http
        async with (
            httpx.AsyncClient(base_url=base, limits=limits, timeout=timeout, trust_env=False) as self._http,
            asyncio.TaskGroup() as self._group,
        ):
            if self._opening:
                await asyncio.gather(*map(self._open, self._opening))
                self.opened.set()
                await asyncio.to_thread(self.go.wait)
            for _ in range(self._desks):
                plain = self.stores.stack.endpoints.websocket.partition("?")[0]
                self._group.create_task(self.visitor.sit(plain, self.accepted))
            begun = time.monotonic()
            await asyncio.gather(*(self._request(begun, request) for request in self._requests))
            self.sent_all.set()

    async def _open(self, request: Request) -> None:
        """Send an order of the opening. Posts to its mute viewers, which come first, hang before the others come."""
        answer = await self._insist(request.body)
        if answer is None:
            return
        order_id = answer["orderId"]
        (self.diverted if request.diverted else self.crowded).append(order_id)
        mute = [visits for visits in request.subscribers if visits[0].mute]
        self._watch(answer, mute)
        await _until(lambda: self.visitor.served(order_id) >= len(mute))
        if mute and self._relay:
            self._relay.mute(await asyncio.to_thread(self.stores.connections, order_id))
        self._watch(answer, [visits for visits in request.subscribers if not visits[0].mute])
        await _until(lambda: self.visitor.served(order_id) >= len(request.subscribers))

    async def _request(self, begun: float, request: Request) -> None:
        await asyncio.sleep(request.at - (time.monotonic() - begun))
        if self._relay:
            async with self._turn:
                await _until(lambda: not self.stores.behind())
        if not request.valid:
            await self._post(request.body, "refuse")
            return
        body = self.market.body(request)
        repeat = partial(self._insist, body)
        racing = [self._group.create_task(repeat()) for delay in request.repeats if not delay]
        answer = await repeat()
        others = [_later(delay, repeat()) for delay in request.repeats if delay]
        if answer:
            self.accepted.append(answer["orderId"])
            self._watch(answer, request.subscribers)
            others += [_later(delay, self._cancel(answer["orderId"])) for delay in request.cancels]
            if request.conflict:
                others.append(_later(0.1, self._post({**body, **request.conflict}, "conflict")))
        await asyncio.gather(*racing, *others)
        if answer and request.afterlife:
            await self._afterlife(request, answer["orderId"])

    async def _afterlife(self, request: Request, order_id: str) -> None:
        """Use the key of an order that is closed once more, while it lives or after that."""
        if not await _until(lambda: "closed" in self.stores.journal_item(order_id)):
            return
        if request.afterlife == "closed":
            await self._insist(request.body)
            if request.conflict:
                await self._post(request.conflict, "conflict")
            return
        await asyncio.to_thread(self.stores.expire, request.body["clientOrderId"])
        other = request.conflict or request.body
        answers = await asyncio.gather(*(self._insist(other, era=1) for _ in range(2)))
        if answers[0]:
            self.accepted.append(answers[0]["orderId"])
            self._watch(answers[0], request.subscribers)

    def _watch(self, answer: Message, subscribers: Sequence[tuple[Visit, ...]]) -> None:
        for visits in subscribers:
            self._group.create_task(self.visitor.watch(answer["orderId"], answer["streamUrl"], visits))

    async def _insist(self, body: Message, era: int = 0) -> Message | None:
        """Post an order until it is accepted or refused for good; without a key, one that may have been accepted is
        not repeated. Return the 202's body."""
        for _ in range(_TRIES):
            posted = await self._post(body, "accept", era)
            if posted.accepted:
                return posted.answer
            if posted.unclear and (not posted.key or 400 <= posted.status < 500):
                break
            await asyncio.sleep(_PAUSE_SECONDS * random.uniform(1, 3))
        return None

    async def _cancel(self, order_id: str) -> None:
        """Cancel an order until one is told what came of it."""
        for _ in range(_TRIES):
            status, text = 0, ""
            with suppress(httpx.TransportError):
                response = await self._http.delete(f"/api/orders/{order_id}")
                status, text = response.status_code, response.text
            self.cancels.append(Cancel(order_id, status, _parsed(text)))
            if status in (200, 409):
                return
            await asyncio.sleep(_PAUSE_SECONDS * random.uniform(1, 3))

    async def _post(self, body: Message, expected: str, era: int = 0) -> Posted:
        at, status, text = time.time(), 0, ""
        with suppress(httpx.TransportError):  # no response is a result too
            response = await self._http.post(PATH, json=body)
            status, text = response.status_code, response.text
        posted = Posted(at, body, expected, status, _parsed(text), time.time(), era)
        self.posted.append(posted)
        return posted


def _parsed(text: str | bytes) -> Message:
    """A JSON object; {} for anything else."""
    with suppress(ValueError):
        if isinstance(parsed := json.loads(text, parse_float=Decimal), dict):
            return parsed
    return {}


async def _later(delay: float, action: Coroutine[Any, Any, object]) -> object:
    await asyncio.sleep(delay)
    return await action


async def _until(condition: Callable[[], bool]) -> bool:
    """Wait for a condition; return False if it did not come true in good time."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not await asyncio.to_thread(condition):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True
