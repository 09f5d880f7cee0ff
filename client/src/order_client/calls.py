"""Requests to the API, repeated where that is safe and may help."""

import asyncio
import json
import logging
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx

from order_client.backoff import Backoff, retry_after
from order_client.errors import OrderEngineError, Refused, UnexpectedAnswer, Unreachable, refusal

logger = logging.getLogger("order_client")

_REPEATED = frozenset({429, 500, 502, 503, 504})
_LEAST_TRY_SECONDS = 0.05
# No other try would help: these are faults of the caller.
_HOPELESS = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)


@dataclass(frozen=True)
class Connector:
    """Where the engine is, and how patient the client is. `limit`: seconds for one try; `deadline`: seconds after which
    no repeat is under way any more (0: none is made).

    With `key` every request is made in its owner's name; no text shows it. Raises ValueError for a URL that can't be
    one of the API, and for a key that no header can have.
    """

    url: str
    key: str | None = field(default=None, repr=False)
    limit: float = 10.0
    deadline: float = 30.0
    backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        if not _is_base(self.url):
            named = "" if "@" in self.url or "?" in self.url else f", not {self.url!r}"  # it may have a secret
            raise ValueError(f"the URL must be such as https://host:8080, without a user name and a query{named}")
        key = self.key or ""
        if not key.isascii() or not key.isprintable() or key.endswith(" "):
            raise ValueError("the key has characters that no HTTP header can have")

    @property
    def headers(self) -> dict[str, str]:
        """Who asks."""
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def open(self) -> httpx.AsyncClient:
        """Return an HTTP client. To this machine there is no proxy, whatever the environment says."""
        return httpx.AsyncClient(
            base_url=self.url, headers=self.headers, timeout=self.limit, trust_env=not is_loopback(self.url)
        )


def _is_base(url: str) -> bool:
    try:
        parts = urlsplit(url)
        httpx.URL(url)
        port = parts.port  # raises ValueError above 65535
    except (ValueError, httpx.InvalidURL):
        return False
    named = parts.scheme in ("http", "https") and parts.hostname and not re.search(r"\s", url)
    return bool(named) and port != 0 and not (parts.username or parts.query)


def is_loopback(url: str) -> bool:
    """Return whether a URL is this machine's."""
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


async def call(
    connector: Connector,
    client: httpx.AsyncClient,
    method: str,
    path: str,
    *,
    expected: int = 200,
    body: Mapping[str, object] | None = None,
    query: Mapping[str, str] | None = None,
) -> httpx.Response:
    """Make a request and return its response, which has the status that is expected.

    Repeats on connection errors, time limits, 429 and 5xx, with back-off and no sooner than Retry-After says, until the
    deadline would be passed. The body is the same each time.

    Raises Refused, Unreachable if the last try had no response, and UnexpectedAnswer for one that is neither as
    expected nor a refusal.
    """
    content = None if body is None else json.dumps(body, default=str)
    headers = {} if body is None else {"Content-Type": "application/json"}
    until, limit = time.monotonic() + connector.deadline, connector.limit
    failure: OrderEngineError | None = None
    for pause in connector.backoff.pauses():
        try:
            async with asyncio.timeout(limit):  # httpx limits each read, not the whole
                response = await client.request(method, path, content=content, params=query, headers=headers)
        except _HOPELESS as error:
            raise Unreachable(f"{connector.url} can't be asked: {type(error).__name__}") from error
        except (httpx.TransportError, TimeoutError) as error:
            if failure is None or limit == connector.limit:  # a try that was cut short tells less than the one before
                failure = Unreachable(f"{connector.url} does not respond: {type(error).__name__}")
                failure.__cause__ = error
        except httpx.DecodingError as error:
            raise UnexpectedAnswer(f"{connector.url} gave what can't be decoded") from error
        else:
            if response.status_code == expected:
                return response
            failure = fault(response.status_code, response.reason_phrase, response.headers, response.text)
            if response.status_code not in _REPEATED:
                raise failure
        wait = max(pause, getattr(failure, "retry_after", None) or 0)
        if time.monotonic() + wait >= until:
            raise failure
        logger.info("%s %s: %s; once more in %.1f s", method, path, type(failure).__name__, wait)
        await asyncio.sleep(wait)
        limit = max(_LEAST_TRY_SECONDS, min(connector.limit, until - time.monotonic()))
    raise AssertionError("pauses have no end")


def fault(status: int, reason: str, headers: Mapping[str, str], text: str) -> Refused | UnexpectedAnswer:
    """Return the error for a response; one without a problem document is told by its status alone.

    One below 400 refuses nothing: it is that of a proxy or of a captive portal, say.
    """
    if status < 400:
        return UnexpectedAnswer(f"a {status} is not what the engine gives here")
    problem: dict[str, Any] = {"status": status, "title": reason, "detail": text[:500]}
    with suppress(ValueError, RecursionError):
        document = json.loads(text)
        if isinstance(document, dict):
            problem = {"title": reason, **document, "status": status}
    return refusal(problem, retry_after(headers.get("Retry-After")))


def document_of(response: httpx.Response) -> dict[str, Any]:
    """Return a response's JSON object. Raises UnexpectedAnswer if it has none."""
    with suppress(ValueError, RecursionError):
        document = json.loads(response.text)
        if isinstance(document, dict):
            return document
    raise UnexpectedAnswer(f"{response.url.host} gave no JSON object with its {response.status_code}")
