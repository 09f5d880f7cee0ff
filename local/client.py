"""A client of the system, as small as one can be."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
from websockets.sync.client import connect

from local.errors import OrderRefused

PATH = "/api/orders/execute"
_FINAL = frozenset({"confirmed", "failed", "cancelled", "expired"})
_TELL_SECONDS = 2.0

Message = dict[str, Any]


def submit(http_base: str, payload: Mapping[str, object], key: str | None = None) -> Message:
    """Send an order, with an API key where one is needed, and return the body of the 202. Decimals become strings.

    Raises OrderRefused with the problem document for any other response, httpx.TransportError if there is none.
    """
    content = json.dumps(payload, default=str)
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
    with httpx.Client(trust_env=False, timeout=30) as http:
        response = http.post(http_base + PATH, content=content, headers=headers)
    if response.status_code != httpx.codes.ACCEPTED:
        raise OrderRefused(_problem(response))
    return _parse(response.text)


def cancel(http_base: str, order_id: str, key: str | None = None) -> Message:
    """Cancel an order and return it as it is then. Raises OrderRefused and httpx.TransportError, as `submit` does."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(trust_env=False, timeout=30) as http:
        response = http.delete(f"{http_base}/api/orders/{order_id}", headers=headers)
    if response.status_code != httpx.codes.OK:
        raise OrderRefused(_problem(response))
    return _parse(response.text)


def follow(
    websocket_url: str,
    after: int | None = None,
    key: str | None = None,
    while_open: Callable[[Message], str] | None = None,
) -> Iterator[Message]:
    """Yields an order's statuses, with numbers above `after`, as they arrive; ends after the final one. The `key` is of
    use where the URL has no token. While the order is open and nothing comes, what `while_open` makes of that status is
    yielded now and then, as a message without a sequence.

    Raises websockets.exceptions.InvalidStatus if the subscription is refused, ConnectionClosed if it breaks.
    """
    url = websocket_url if after is None else f"{websocket_url}&after={after}"
    headers = {"Authorization": f"Bearer {key}"} if key and "token=" not in url else {}
    with connect(url, proxy=None, additional_headers=headers) as socket:
        last: Message = {}
        while last.get("status") not in _FINAL:
            tell = while_open if last.get("status") == "open" else None
            try:
                last = _parse(socket.recv(timeout=_TELL_SECONDS if tell else None))
            except TimeoutError:
                if tell:
                    yield {"status": "", "timestamp": datetime.now(UTC).isoformat(), "message": tell(last)}
            else:
                yield last


def _problem(response: httpx.Response) -> Message:
    problem: Message = {"status": response.status_code, "title": response.reason_phrase, "detail": response.text[:500]}
    with suppress(json.JSONDecodeError):
        body = _parse(response.text)
        return {**problem, **body} if isinstance(body, dict) else problem
    return problem


def _parse(text: str | bytes) -> Message:
    message: Message = json.loads(text, parse_float=Decimal)
    return message
