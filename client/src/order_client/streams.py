"""Statuses as they come: one connection after the other, until every order that is watched has ended."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Literal

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from order_client.calls import Connector, fault, is_loopback
from order_client.conversation import Conversation, Stale
from order_client.errors import OrderEngineError, TooManyRequests, Unavailable, Unreachable
from order_client.models import Status
from order_client.progress import Progress

logger = logging.getLogger("order_client")
# websockets tells headers and queries at DEBUG, and with them the key and tokens: this logger has a level of its own.
_quiet = logging.getLogger("order_client.websocket")
_quiet.setLevel(logging.INFO)

MOST_ORDERS = 100  # that one connection can watch
_CLOSE_SECONDS = 2.0

# Says where to connect, given the orders that have not ended.
Opener = Callable[[Iterable[Progress]], Awaitable[str]]


async def follow(
    connector: Connector, orders: Iterable[Progress], opener: Opener, *, subscribing: bool, patience: float | None
) -> AsyncGenerator[Status, None]:
    """Yield the statuses of orders, each once and those of one order in order, until all have ended.

    `opener` is asked for a URL before each connection; with `subscribing` the connection is for many orders, and each
    is subscribed to. One that breaks is followed by another, after a pause. Raises Unreachable if there is none for
    `patience` seconds (None: tries for ever), at first for the connector's deadline; Refused for what does not get
    better; UnexpectedAnswer.
    """
    waiting = {order.order_id: order for order in orders}
    pauses, since, allowed = connector.backoff.pauses(), time.monotonic(), connector.deadline
    forever = False
    while waiting:
        opened_at: float | None = None
        try:
            url = await opener(waiting.values())
            socket = await _open(connector, url)
            opened_at = time.monotonic()
            try:
                talk = Conversation(socket, waiting, subscribing)
                while waiting:
                    for status in await talk.next():
                        pauses = connector.backoff.pauses()
                        yield status
            finally:
                await socket.close()  # as a context, it would call a caller that leaves early an error
            return
        except InvalidURI as error:
            raise Unreachable("the stream's URL is not that of a WebSocket") from error
        except InvalidStatus as error:
            body = (error.response.body or b"").decode(errors="replace")
            answer = error.response
            failure: Exception = fault(answer.status_code, answer.reason_phrase, answer.headers, body)
            if not isinstance(failure, TooManyRequests | Unavailable):
                raise failure from error
        # A TimeoutError is an OSError, too.
        except (ConnectionClosed, InvalidHandshake, OSError, EOFError, Stale, Unreachable, Unavailable) as error:
            failure = error
        if opened_at is not None:
            since, forever, allowed = time.monotonic(), patience is None, patience or 0.0
            if since - opened_at > connector.backoff.most:
                pauses = connector.backoff.pauses()
        wait = max(next(pauses), getattr(failure, "retry_after", None) or 0.0)
        if not forever and time.monotonic() + wait >= since + allowed:
            if isinstance(failure, OrderEngineError):
                raise failure
            raise Unreachable(f"the stream at {connector.url} does not open: {type(failure).__name__}") from failure
        logger.info("the stream broke (%s); connecting again in %.1f s", type(failure).__name__, wait)
        await asyncio.sleep(wait)


def _open(connector: Connector, url: str) -> connect:
    """A connection; with the key where the URL has no token of its own. To this machine there is no proxy."""
    proxy: Literal[True] | None = None if is_loopback(url) else True
    return connect(
        url,
        additional_headers={} if "token=" in url else connector.headers,
        proxy=proxy,
        open_timeout=connector.limit,
        close_timeout=_CLOSE_SECONDS,
        logger=_quiet,
    )
