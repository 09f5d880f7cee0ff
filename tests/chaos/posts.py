"""Sending orders: every POST and its answer are written down, and whoever got no clear answer repeats itself."""

import asyncio
import json
import random
import time
from decimal import Decimal

import httpx

from local.client import PATH
from tests.chaos.world import Message, Posted

# A client whose order was not accepted asks again, and one with a clientOrderId also when it got no clear answer.
_TRIES = 100
_PAUSE_SECONDS = 0.3


class Poster:
    """Posts orders over one HTTP client; `posted` grows with each."""

    def __init__(self, http: httpx.AsyncClient, posted: list[Posted]) -> None:
        self._http = http
        self._posted = posted

    async def insist(self, body: Message, era: int = 0) -> Message | None:
        """Posts an order until it is accepted or refused for good; without a key, one that may have been accepted is
        not repeated. Answers the 202's body."""
        for _ in range(_TRIES):
            posted = await self.once(body, "accept", era)
            if posted.accepted:
                return posted.answer
            if posted.unclear and (not posted.key or 400 <= posted.status < 500):
                break
            await asyncio.sleep(_PAUSE_SECONDS * random.uniform(1, 3))
        return None

    async def once(self, body: Message, expected: str, era: int = 0) -> Posted:
        """Posts a body, and writes down how it was answered."""
        at = time.time()
        status, answer = 0, ""
        try:
            response = await self._http.post(
                PATH, content=json.dumps(body), headers={"content-type": "application/json"}
            )
            status, answer = response.status_code, response.text
        except httpx.TransportError:
            pass  # no answer is an answer too
        posted = Posted(at, body, expected, status, _object(answer), time.time(), era)
        self._posted.append(posted)
        return posted


def _object(text: str) -> Message:
    try:
        parsed = json.loads(text, parse_float=Decimal)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
