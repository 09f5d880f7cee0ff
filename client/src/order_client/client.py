"""The API, for code without an event loop: each call runs the asynchronous client's, in a thread of its own."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar
from uuid import UUID
from weakref import finalize

from anyio.from_thread import start_blocking_portal

from order_client.async_client import DEFAULT_URL, Amount, AsyncClient, Watchable
from order_client.backoff import Backoff
from order_client.models import Accepted, NewOrder, Order, Page, Quotes, Status, Token

T = TypeVar("T")
P = ParamSpec("P")


class Client:
    """As AsyncClient, with the same verbs and errors; iterators are plain ones. To be used as a context, or closed.

    Any thread may use it.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        key: str | None = None,
        *,
        limit: float = 10.0,
        deadline: float = 30.0,
        patience: float | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._client = AsyncClient(url, key, limit=limit, deadline=deadline, patience=patience, backoff=backoff)
        stack = ExitStack()
        self._portal = stack.enter_context(start_blocking_portal(name="order-client"))
        stack.callback(self._portal.call, self._client.aclose)
        self._iterating: set[Callable[[], Awaitable[None]]] = set()  # what closes the iterators that are not exhausted
        stack.callback(self._portal.call, _close, self._iterating)
        self._closed = finalize(self, stack.close)  # also at the interpreter's exit, which an open portal would hang

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._client).replace("Async", "", 1)

    def close(self) -> None:
        """Close the connections and end the thread. Twice is the same as once."""
        self._closed()

    def submit(self, order: NewOrder | Mapping[str, object]) -> Accepted:
        """See AsyncClient.submit."""
        return self._run(self._client.submit, order)

    def watch(self, order: Watchable, after: int = 0) -> Iterator[Status]:
        """See AsyncClient.watch. The connection is closed with the iterator."""
        return self._iterate(self._client.watch(order, after))

    def stream(self, *orders: Watchable, after: Mapping[str, int] | None = None) -> Iterator[Status]:
        """See AsyncClient.stream. The connection is closed with the iterator."""
        return self._iterate(self._client.stream(*orders, after=after))

    def cancel(self, order_id: UUID | str) -> Order:
        """See AsyncClient.cancel."""
        return self._run(self._client.cancel, order_id)

    def get(self, order_id: UUID | str) -> Order:
        """See AsyncClient.get."""
        return self._run(self._client.get, order_id)

    def page(self, **filters: Any) -> Page:
        """See AsyncClient.page."""
        return self._run(self._client.page, **filters)

    def list(self, **filters: Any) -> Iterator[Order]:
        """See AsyncClient.list."""
        return self._iterate(self._client.list(**filters))

    def quote(
        self,
        token_in: str,
        token_out: str,
        amount_in: Amount,
        *,
        slippage_bps: int | None = None,
        max_price_impact_bps: int | None = None,
    ) -> Quotes:
        """See AsyncClient.quote."""
        return self._run(
            self._client.quote,
            token_in,
            token_out,
            amount_in,
            slippage_bps=slippage_bps,
            max_price_impact_bps=max_price_impact_bps,
        )

    def tokens(self) -> tuple[Token, ...]:
        """See AsyncClient.tokens."""
        return self._run(self._client.tokens)

    def _run(self, verb: Callable[P, Awaitable[T]], *arguments: P.args, **options: P.kwargs) -> T:
        async def called() -> T:
            return await verb(*arguments, **options)

        future = self._portal.start_task_soon(called)
        try:
            return future.result()
        except BaseException:  # Ctrl-C too: the call must not go on behind the caller's back
            future.cancel()
            raise

    def _iterate(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        lock = asyncio.Lock()  # a step that was cancelled has ended before the generator is closed

        async def step() -> T:
            async with lock:
                return await anext(items)

        async def close() -> None:
            async with lock:
                await items.aclose()

        self._iterating.add(close)
        try:
            while True:
                try:
                    item = self._run(step)
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if self._closed.alive:
                self._iterating.discard(close)
                self._portal.call(close)


async def _close(iterating: set[Callable[[], Awaitable[None]]]) -> None:
    for close in iterating:
        await close()
