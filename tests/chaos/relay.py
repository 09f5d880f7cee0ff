"""A relay between the functions and the gateway, which delays, loses and refuses what passes through it.

`Relay.disturb` has it do so for a share of a service's requests, for some seconds:

- hang: a request is taken, and gets no response, nor does the gateway ever see it;
- hold: it is passed on seconds later, when its sender has perhaps given up, and takes effect then;
- lose: it takes effect, and the connection is cut instead of a response;
- throttle: it is refused as AWS refuses what exceeds a limit.
"""

import asyncio
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Collection
from typing import NamedTuple, Self

from local import processes

MODES = ("hang", "hold", "lose", "throttle")
# What a request is for, by how its head begins or what it names; a socket is closed by a request of the posts' kind.
_PATTERNS = {
    "dynamodb": re.compile(rb"(?i)\r\nx-amz-target: *dynamodb_"),
    "sqs": re.compile(rb"(?i)\r\nx-amz-target: *amazonsqs\."),
    "invoke": re.compile(rb"^POST /2015-03-31/functions/[^/ ]+/invocations"),
    "posts": re.compile(rb"^(?:POST|DELETE) [^ ]*/(?:@|%40)connections/([^ /?]+)"),
}
SERVICES = tuple(_PATTERNS)
_REFUSALS = {
    "dynamodb": (400, "ProvisionedThroughputExceededException"),
    "sqs": (403, "RequestThrottled"),
    "invoke": (429, "TooManyRequestsException"),
    "posts": (429, "LimitExceededException"),
}
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_HELD_SECONDS = (0.3, 4.0)  # on both sides of the functions' own limits


class _Window(NamedTuple):
    service: str
    mode: str
    share: float
    until: float  # monotonic


class Relay:
    """Listens at `port` of the loopback and passes requests on to the gateway's, for as long as the context lasts.

    `done` counts what was done to requests. Its event loop runs in a thread of its own.
    """

    def __init__(self, gateway_port: int, seed: int = 1) -> None:
        self.port = processes.free_port()
        self.done: Counter[str] = Counter()
        self._gateway_port = gateway_port
        self._dice = random.Random(f"relay {seed}")
        self._windows: list[_Window] = []
        self._mute: set[str] = set()
        self._serving: set[asyncio.Task[None] | None] = set()  # the loop itself forgets a task that waits
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._listens = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)

    def disturb(self, service: str, mode: str, share: float, seconds: float) -> None:
        """Begin a window in which this happens to a share of the requests that arrive for a service."""
        self._windows = [*self._open_windows(), _Window(service, mode, share, time.monotonic() + seconds)]

    def mute(self, connection_ids: Collection[str]) -> None:
        """Let every post to these sockets hang from now on."""
        self._mute |= set(connection_ids)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listens.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._listen())

    async def _listen(self) -> None:
        server = await asyncio.start_server(self._serve, processes.LOOPBACK, self.port, backlog=1024)
        self._listens.set()
        await self._over.wait()
        server.close()

    async def _serve(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        """Serve one connection of a function's, which has one to the gateway for itself."""
        gateway: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._serving.add(asyncio.current_task())
        try:
            while True:
                request = await _message(client)
                service, fault = self._fate(request)
                if fault == "hang":
                    await client.read()  # until the function hangs up
                    return
                if fault == "throttle":
                    answers.write(_refusal(service))
                    continue
                if fault == "hold":
                    await asyncio.sleep(self._dice.uniform(*_HELD_SECONDS))
                if gateway and gateway[0].at_eof():  # it was idle for too long
                    gateway[1].close()
                    gateway = None
                if gateway is None:
                    gateway = await asyncio.open_connection(processes.LOOPBACK, self._gateway_port)
                gateway[1].write(request)
                answer = await _message(gateway[0])
                if fault == "lose":
                    return
                answers.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # either side may hang up at any time, and the relay may end
        finally:
            self._serving.discard(asyncio.current_task())
            answers.close()
            if gateway:
                gateway[1].close()

    def _open_windows(self) -> list[_Window]:
        now = time.monotonic()
        return [one for one in self._windows if one.until > now]

    def _fate(self, request: bytes) -> tuple[str, str]:
        """The service that a request is for, and what happens to it."""
        open_windows = self._open_windows()
        head = request[: request.index(b"\r\n\r\n") + 2]
        matches = ((service, pattern.search(head)) for service, pattern in _PATTERNS.items())
        service, found = next((one for one in matches if one[1]), ("", None))
        named = found[1].decode().replace("%3D", "=") if found and found.groups() else ""
        struck = (one.mode for one in open_windows if one.service == service and self._dice.random() < one.share)
        fault = "hang" if named in self._mute else next(struck, "")
        if fault:
            self.done[f"{service}: {fault}"] += 1
        return service, fault


def _refusal(service: str) -> bytes:
    status, error = _REFUSALS[service]
    body = f'{{"__type":"{error}","message":"too many requests"}}'
    return (
        f"HTTP/1.1 {status} Refused\r\nContent-Type: application/x-amz-json-1.0\r\nx-amzn-ErrorType: {error}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """A request or a response, head and body; both sides give its length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return head + await reader.readexactly(int(length[1])) if length else head
