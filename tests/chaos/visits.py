"""Subscribers: each visit is one socket, and leaves one transcript."""

import asyncio
import json
import time
from decimal import Decimal

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.chaos.plan import Visit
from tests.chaos.world import Transcript

_TRIES = 10
_PAUSE_SECONDS = 0.3  # doubles with each try, up to:
_MOST_PAUSE_SECONDS = 5.0
_AT_ONCE = 8  # handshakes; the gateway takes them one by one, and one that waits for long is refused
_POLL_SECONDS = 1.0  # how soon a socket that has nothing to do notices the end of the run


class Visitor:
    """Everybody who watches an order, and what they saw."""

    def __init__(self) -> None:
        self.transcripts: list[Transcript] = []
        self.refused = 0  # handshakes that failed, and were tried again
        self.coming = 0  # visits that are still to begin
        self._over = False
        self._shaking_hands = asyncio.Semaphore(_AT_ONCE)

    def end(self) -> None:
        """Has every socket that is still open hang up; what it has had by now was all it had time for."""
        self._over = True

    def unserved(self) -> int:
        """Open sockets that have not had everything up to their order's final status, as far as is known."""
        return sum(
            not (one.left or one.broken or one.final or one.ended_before or one.mute) for one in self.transcripts
        )

    def served(self, order_id: str) -> int:
        """Sockets of an order that have had something."""
        return sum(one.order_id == order_id and bool(one.messages) for one in self.transcripts)

    async def watch(self, order_id: str, url: str, visits: tuple[Visit, ...]) -> None:
        """One subscriber: visits one after the other, each goes on after what the last one had."""
        seen, ended = 0, False
        self.coming += len(visits)
        for visit in visits:
            await asyncio.sleep(visit.delay)
            transcript = await self._visit(Transcript(order_id, seen, ended, mute=visit.mute), url, visit)
            seen, ended = transcript.seen, ended or transcript.final

    async def _visit(self, transcript: Transcript, url: str, visit: Visit) -> Transcript:
        socket = await self._open(f"{url}&after={transcript.after}" if transcript.after else url)
        self.coming -= 1
        if socket is None:
            transcript.broken = "" if self._over else "the handshake was refused, time and again"
            transcript.left = self._over
        self.transcripts.append(transcript)
        if socket is None:
            return transcript
        transcript.opened_at = time.time()
        try:
            await self._read(socket, transcript, visit)
        except ConnectionClosed as cut:
            transcript.broken = f"{cut}"
        await socket.close()
        return transcript

    async def _open(self, url: str) -> ClientConnection | None:
        """A handshake that is refused because its function was killed is tried again."""
        for tried in range(_TRIES):
            if self._over:
                break
            try:
                async with self._shaking_hands:
                    return await connect(url, proxy=None, open_timeout=20, ping_interval=None)
            except (InvalidHandshake, ConnectionClosed, OSError):
                self.refused += 1
            await asyncio.sleep(min(_PAUSE_SECONDS * 2**tried, _MOST_PAUSE_SECONDS))
        return None

    async def _read(self, socket: ClientConnection, transcript: Transcript, visit: Visit) -> None:
        """Writes down what comes until the visit is over, or the run is."""
        leaves_at = time.monotonic() + visit.linger if visit.mute else None
        while not self._over:
            if visit.leave_after is not None and len(transcript.messages) >= visit.leave_after:
                transcript.left = True
                return
            now = time.monotonic()
            if leaves_at is not None and now >= leaves_at:
                transcript.left = True
                return
            patience = _POLL_SECONDS if leaves_at is None else min(_POLL_SECONDS, leaves_at - now)
            try:
                text = await asyncio.wait_for(socket.recv(), patience)
            except TimeoutError:
                if leaves_at is None and not visit.to_the_end and transcript.ended_before:
                    leaves_at = now + visit.linger
                continue
            self._note(transcript, text)
            if visit.replay and len(transcript.messages) == 1 and not transcript.replays:
                transcript.replays.append(0)
                await socket.send(json.dumps({"action": "replay", "after": 0}))
            if transcript.final and not visit.to_the_end and leaves_at is None:
                leaves_at = time.monotonic() + visit.linger

    def _note(self, transcript: Transcript, text: str | bytes) -> None:
        try:
            message = json.loads(text, parse_float=Decimal)
        except ValueError:
            message = None
        if isinstance(message, dict) and "sequence" in message and "status" in message:
            transcript.messages.append((time.time(), message))
        else:
            transcript.noise.append(str(text))
