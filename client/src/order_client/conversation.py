"""What is said on one WebSocket: subscribing, asking for what is missing, pings, and what the engine says of them."""

import asyncio
import json
import re
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection

from order_client.errors import UnexpectedAnswer, refusal
from order_client.models import Status
from order_client.progress import Progress
from order_client.wire import read

PING_SECONDS = 240.0  # API Gateway closes a connection after ten minutes of silence
ANSWER_SECONDS = 10.0  # until what has had no answer is said again
_MOST_TIMES = 3  # that it is said, until another connection may be better
_MUTE_SECONDS = 60.0  # where the engine does not say for how long it ignores messages
_MUTED_FOR = re.compile(r"(\d+) s\b")

Message = dict[str, Any]


class Stale(Exception):
    """This connection is of no more use; another one may be."""


@dataclass
class _Asked:
    due: float  # when to say it next, by the loop's clock
    times: int = 0


class Conversation:
    """The statuses of the orders in `waiting`, from which those that end are removed."""

    def __init__(self, socket: ClientConnection, waiting: MutableMapping[str, Progress], subscribing: bool) -> None:
        self._socket = socket
        self._waiting = waiting
        self._to_subscribe = set(waiting) if subscribing else set()
        self._asked = {order_id: _Asked(self._now()) for order_id in sorted(self._to_subscribe)}
        self._ping_due = self._now() + PING_SECONDS

    async def next(self) -> list[Status]:
        """Wait for a message, or for something to be due. Return the statuses that are to be shown by now.

        Raises Stale, websockets' ConnectionClosed, Refused if an order can't be watched, and UnexpectedAnswer.
        """
        due = min([self._ping_due, *(asked.due for asked in self._asked.values())])
        try:
            async with asyncio.timeout_at(due):
                text = await self._socket.recv()
        except TimeoutError:
            await self._say_what_is_due()
            return []
        message = _parse(text)
        order_id = str(message.get("orderId", ""))
        if "sequence" in message:
            return self._take(message)
        if message.get("type") == "subscribed":
            self._heard(order_id)
        elif message.get("type") == "error":
            self._mind(message, order_id)
        return []

    def _take(self, message: Message) -> list[Status]:
        status = read(Status, message)
        order = self._waiting.get(status.order_id)
        if order is None:
            return []
        due = order.take(status)
        if order.ended:
            del self._waiting[order.order_id]
            self._asked.pop(order.order_id, None)
        else:
            self._heard(order.order_id)
            if order.has_gap:  # said once nothing else comes: what is missing may be on its way
                self._asked.setdefault(order.order_id, _Asked(self._now()))
        return due

    def _heard(self, order_id: str) -> None:
        self._to_subscribe.discard(order_id)
        order, asked = self._waiting.get(order_id), self._asked.get(order_id)
        if asked and order and order.has_gap:
            asked.due = self._now() + ANSWER_SECONDS  # it is still coming
        else:
            self._asked.pop(order_id, None)

    def _mind(self, message: Message, order_id: str) -> None:
        """Do what an error message calls for."""
        affected = [self._asked[order_id]] if order_id in self._asked else [*self._asked.values()]
        match message.get("code"):
            case "UNKNOWN_CONNECTION" | "NOT_SUBSCRIBED" as code:
                raise Stale(code)
            case "REPLAY_UNDER_WAY" | "TOO_MANY_SUBSCRIBERS":
                for one in affected:
                    one.due = self._now() + ANSWER_SECONDS
            case "TOO_MANY_MESSAGES":
                told = _MUTED_FOR.search(str(message.get("detail")))
                muted_until = self._now() + (float(told[1]) if told else _MUTE_SECONDS)
                self._ping_due = max(self._ping_due, muted_until)
                for one in self._asked.values():
                    one.due, one.times = muted_until, 0
            case _:
                raise refusal(message)

    async def _say_what_is_due(self) -> None:
        now = self._now()
        for order_id in [order_id for order_id, asked in self._asked.items() if asked.due <= now]:
            await self._ask(order_id)
        if self._ping_due <= now:
            self._ping_due = now + PING_SECONDS
            await self._say({"action": "ping"})

    async def _ask(self, order_id: str) -> None:
        """Ask for what an order has not had yet. Raises Stale if that was of no use time and again."""
        asked = self._asked[order_id]
        if asked.times >= _MOST_TIMES:
            raise Stale("no answer")
        asked.due, asked.times = self._now() + ANSWER_SECONDS, asked.times + 1
        action = "subscribe" if order_id in self._to_subscribe else "replay"
        await self._say({"action": action, "orderId": order_id, "after": self._waiting[order_id].seen})

    async def _say(self, message: Message) -> None:
        await self._socket.send(json.dumps(message))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _parse(text: str | bytes) -> Message:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswer("a message on the stream is no JSON") from error
    if not isinstance(message, dict):
        raise UnexpectedAnswer("a message on the stream is no JSON object")
    return message
