"""The API, for asyncio."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, urlsplit
from uuid import UUID, uuid4

from order_client.backoff import Backoff
from order_client.calls import Connector, call, document_of
from order_client.errors import OrderEngineError, UnexpectedAnswer
from order_client.models import Accepted, NewOrder, Order, Page, Quotes, Status, Token
from order_client.progress import Progress
from order_client.streams import MOST_ORDERS, follow
from order_client.wire import camel, plain, read

ORDERS = "/api/orders"
DEFAULT_URL = "http://127.0.0.1:4566"

Watchable = Accepted | UUID | str
Amount = Decimal | int | str


class AsyncClient:
    """The engine at `url`, with an API key where it needs one. To be used as a context, or closed with `aclose`.

    Every method may raise Refused (see its subclasses), Unreachable and UnexpectedAnswer. Requests are repeated on
    connection errors, time limits, 429 and 5xx, for up to `deadline` seconds (0: never), and each try may take `limit`;
    a repeat never places or cancels anything twice. `patience`: how many seconds a stream that broke may take to
    connect again; None is for ever.
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
        self._connector = Connector(url.rstrip("/"), key or None, limit, deadline, backoff or Backoff())
        self._patience = patience
        self._http = self._connector.open()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connector.url!r})"

    async def aclose(self) -> None:
        """Close the connections that are kept for further requests."""
        await self._http.aclose()

    async def submit(self, order: NewOrder | Mapping[str, object]) -> Accepted:
        """Submit an order, or the fields of one by their names on the wire, and return once the engine has it.

        It is executed once, however often the request is repeated: it gets a clientOrderId, if it has none. An error
        has it as `client_order_id`; with it the same order can be submitted again later.
        """
        body = order.to_wire() if isinstance(order, NewOrder) else dict(order)
        if body.get("clientOrderId") is None:
            body["clientOrderId"] = str(uuid4())
        client_order_id = str(body["clientOrderId"])
        try:
            answer = await call(self._connector, self._http, "POST", f"{ORDERS}/execute", expected=202, body=body)
            return replace(read(Accepted, document_of(answer)), client_order_id=client_order_id)
        except OrderEngineError as error:
            error.client_order_id = client_order_id
            raise

    def watch(self, order: Watchable, after: int = 0) -> AsyncGenerator[Status, None]:
        """Yield an order's statuses with a sequence above `after`, as they come, each once and in order, and end after
        the final one.

        The order is what `submit` returned, an orderId or a streamUrl. A connection that breaks is opened again, and
        misses nothing. To leave early, close the iterator (`contextlib.aclosing`). Raises ValueError for an orderId
        that is no UUID, and for a streamUrl that is none.
        """
        if isinstance(order, UUID) or (isinstance(order, str) and "://" not in order):
            return self.stream(order, after={str(order): after})
        url = order.stream_url if isinstance(order, Accepted) else order
        order_id = order_id_of(url)

        async def opener(waiting: Iterable[Progress]) -> str:
            [one] = waiting
            return f"{url}&after={one.seen}" if one.seen else url

        only = Progress(order_id, floor=after)
        return follow(self._connector, [only], opener, subscribing=False, patience=self._patience)

    def stream(self, *orders: Watchable, after: Mapping[str, int] | None = None) -> AsyncGenerator[Status, None]:
        """Yield the statuses of up to a hundred orders on one connection, as `watch` does, until all have ended.

        `after`: sequences by orderId. An order that can't be watched ends all with Refused. Raises ValueError for too
        many, and for an orderId that is no UUID.
        """
        ids = dict.fromkeys(_id(one.order_id if isinstance(one, Accepted) else one) for one in orders)
        if len(ids) > MOST_ORDERS:
            raise ValueError(f"one connection watches at most {MOST_ORDERS} orders, not {len(ids)}")
        floors = {_id(order_id): sequence for order_id, sequence in (after or {}).items()}
        progress = [Progress(order_id, floor=floors.get(order_id, 0)) for order_id in ids]

        async def opener(_waiting: Iterable[Progress]) -> str:
            answer = document_of(await call(self._connector, self._http, "POST", "/api/streams"))
            return str(answer.get("streamUrl"))

        return follow(self._connector, progress, opener, subscribing=True, patience=self._patience)

    async def cancel(self, order_id: UUID | str) -> Order:
        """Cancel an order and return it. Raises Conflict if it is too late; twice is the same as once."""
        answer = await call(self._connector, self._http, "DELETE", f"{ORDERS}/{_id(order_id)}")
        return read(Order, document_of(answer))

    async def get(self, order_id: UUID | str) -> Order:
        """Return an order with its statuses so far. Raises NotFound."""
        answer = await call(self._connector, self._http, "GET", f"{ORDERS}/{_id(order_id)}")
        return read(Order, document_of(answer))

    async def page(
        self,
        *,
        status: str | None = None,
        order_type: str | None = None,
        venue: str | None = None,
        token_in: str | None = None,
        token_out: str | None = None,
        code: str | None = None,
        created_from: datetime | None = None,
        created_before: datetime | None = None,
        client_order_id: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page:
        """Return one page of the orders that have all that is given, newest first, `limit` (1 to 200) at the most.

        A page may have fewer orders, even none, and still a `cursor`, which asks for the next one with the same
        filters. `client_order_id` goes with nothing else.
        """
        given = {
            "status": status,
            "order_type": order_type,
            "venue": venue,
            "token_in": token_in,
            "token_out": token_out,
            "code": code,
            "from": _time(created_from),
            "to": _time(created_before),
            "client_order_id": client_order_id,
            "limit": limit,
            "cursor": cursor,
        }
        answer = await call(self._connector, self._http, "GET", ORDERS, query=_query(given))
        page = read(Page, document_of(answer))
        following = urlsplit(answer.links.get("next", {}).get("url", "")).query
        return replace(page, cursor=dict(parse_qsl(following)).get("cursor"))

    async def list(self, **filters: Any) -> AsyncGenerator[Order, None]:
        """Yield every order that has all that is given, newest first, page after page; the filters are those of
        `page`, whose `limit` is that of one request."""
        while True:
            page = await self.page(**filters)
            for order in page.orders:
                yield order
            if page.cursor is None:
                return
            filters["cursor"] = page.cursor

    async def quote(
        self,
        token_in: str,
        token_out: str,
        amount_in: Amount,
        *,
        slippage_bps: int | None = None,
        max_price_impact_bps: int | None = None,
    ) -> Quotes:
        """Return what each venue gives for an amount now. Nothing is placed."""
        given = {
            "token_in": token_in,
            "token_out": token_out,
            "amount_in": amount_in,
            "slippage_bps": slippage_bps,
            "max_price_impact_bps": max_price_impact_bps,
        }
        answer = await call(self._connector, self._http, "GET", "/api/quotes", query=_query(given))
        return read(Quotes, document_of(answer))

    async def tokens(self) -> tuple[Token, ...]:
        """Return the tokens that can be traded."""
        tokens = document_of(await call(self._connector, self._http, "GET", "/api/tokens")).get("tokens")
        if not isinstance(tokens, list):
            raise UnexpectedAnswer("an answer without a list of tokens")
        return tuple(read(Token, one) for one in tokens)


def order_id_of(order: str) -> str:
    """Return the orderId that is given, or that a streamUrl names. Raises ValueError if it is neither."""
    if "://" not in order:
        return _id(order)
    parts = urlsplit(order)
    _ = parts.port  # raises ValueError above 65535
    return _id(parse_qs(parts.query).get("orderId", [""])[0])


def _id(order_id: UUID | str) -> str:
    """Return an orderId as the engine writes it. Raises ValueError if it is none."""
    try:
        return str(order_id if isinstance(order_id, UUID) else UUID(order_id))
    except ValueError as error:
        raise ValueError(f"{order_id!r} is no orderId") from error


def _time(moment: datetime | None) -> str | None:
    if moment is not None and moment.tzinfo is None:
        raise ValueError("a time needs a time zone")
    return moment.isoformat() if moment else None


def _query(given: Mapping[str, object]) -> dict[str, str]:
    return {camel(name): plain(value) for name, value in given.items() if value is not None}
