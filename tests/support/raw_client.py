"""A client that hides nothing: it repeats no request and opens no connection again. For whoever measures or judges."""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import httpx
from websockets.sync.client import connect

from local.stack import PATH

FINAL = frozenset({"confirmed", "failed", "cancelled", "expired"})

Message = dict[str, Any]


def submit(http_base: str, payload: Mapping[str, object]) -> Message:
    """Send an order and return the body of the 202. Raises httpx.HTTPStatusError for 4xx and 5xx, and
    httpx.TransportError."""
    with httpx.Client(trust_env=False, timeout=30) as http:
        response = http.post(http_base + PATH, json=dict(payload))
    answer: Message = response.raise_for_status().json()
    return answer


def follow(websocket_url: str) -> Iterator[Message]:
    """Yield an order's statuses as they arrive; end after the final one. Raises websockets' InvalidStatus if the
    subscription is refused, ConnectionClosed if it breaks."""
    with connect(websocket_url, proxy=None) as socket:
        last: Message = {}
        while last.get("status") not in FINAL:
            last = json.loads(socket.recv(), parse_float=Decimal)
            yield last
