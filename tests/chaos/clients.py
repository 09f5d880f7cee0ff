"""The campaign's clients: they send orders, repeat themselves, watch, and write down what they saw."""

import asyncio
import json
import random
import threading
import time
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

import httpx

from local.client import PATH
from tests.chaos.plan import Request
from tests.chaos.visits import Visitor
from tests.chaos.world import Message, Posted

# A client whose order was not accepted asks again, and one with a clientOrderId also when it got no clear answer.
_TRIES = 100
_NOT_ACCEPTED = (429, 503)
_PAUSE_SECONDS = 0.3
_MOST_CONNECTIONS = 32


class Clients:
    """All clients of one run, on an event loop in a thread of their own.

    `posted` and `visitor.transcripts` may be read while it runs; they only grow.
    """

    def __init__(self, http: str, requests: list[Request], at_once: int = _MOST_CONNECTIONS) -> None:
        self.posted: list[Posted] = []
        self.visitor = Visitor()
        self.accepted: list[str] = []  # the orders, in the order of their acceptance
        self.sent_all = threading.Event()
        self._http = http
        self._requests = requests
        self._at_once = at_once
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="clients", daemon=True)

    def start(self) -> None:
        """Begins; the requests' times count from now."""
        self._thread.start()

    def end(self, deadline_seconds: float = 60) -> None:
        """Hangs up whoever is left, and raises what went wrong in the clients themselves, if anything did."""
        self.visitor.end()
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
            self.sent_all.set()

    async def _all(self) -> None:
        limits = httpx.Limits(max_connections=self._at_once, max_keepalive_connections=self._at_once)
        timeout = httpx.Timeout(40, pool=None)
        async with (
            httpx.AsyncClient(base_url=self._http, limits=limits, timeout=timeout, trust_env=False) as http,
            asyncio.TaskGroup() as group,
        ):
            begun = time.monotonic()
            sending = [group.create_task(self._request(http, group, begun, request)) for request in self._requests]
            await asyncio.wait(sending)
            self.sent_all.set()

    async def _request(self, http: httpx.AsyncClient, group: asyncio.TaskGroup, begun: float, request: Request) -> None:
        await asyncio.sleep(request.at - (time.monotonic() - begun))

        def later(delay: float, action: Callable[[], Coroutine[Any, Any, object]]) -> asyncio.Task[object]:
            async def wait_and_act() -> object:
                await asyncio.sleep(delay)
                return await action()

            return group.create_task(wait_and_act())

        if not request.valid:
            await self._post(http, request.body, "refuse")
            return
        racing = [later(0, lambda: self._insist(http, request.body)) for delay in request.repeats if not delay]
        answer = await self._insist(http, request.body)
        if answer:
            self.accepted.append(answer["orderId"])
            for visits in request.subscribers:
                group.create_task(self.visitor.watch(answer["orderId"], answer["streamUrl"], visits))
        others = [later(delay, lambda: self._insist(http, request.body)) for delay in request.repeats if delay]
        if answer and (conflict := request.conflict):
            others.append(later(0.1, lambda: self._post(http, conflict, "conflict")))
        if racing or others:
            await asyncio.wait([*racing, *others])

    async def _insist(self, http: httpx.AsyncClient, body: Message) -> Message | None:
        """Posts an order until it is accepted or refused for good; without a key, one that may have been accepted is
        not repeated. Answers the 202's body."""
        for _ in range(_TRIES):
            posted = await self._post(http, body, "accept")
            if posted.accepted:
                return posted.answer
            if posted.status not in _NOT_ACCEPTED and ("clientOrderId" not in body or 400 <= posted.status < 500):
                break
            await asyncio.sleep(_PAUSE_SECONDS * random.uniform(1, 3))
        return None

    async def _post(self, http: httpx.AsyncClient, body: Message, expected: str) -> Posted:
        at = time.time()
        try:
            response = await http.post(PATH, content=json.dumps(body), headers={"content-type": "application/json"})
        except httpx.TransportError:
            posted = Posted(at, body, expected, 0)
        else:
            posted = Posted(at, body, expected, response.status_code, _object(response.text))
        self.posted.append(posted)
        return posted


def _object(text: str) -> Message:
    try:
        parsed = json.loads(text, parse_float=Decimal)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
