"""Python client of the order execution engine: `AsyncClient` for asyncio, `Client` for other code."""

from order_client.async_client import DEFAULT_URL, AsyncClient
from order_client.backoff import Backoff
from order_client.client import Client
from order_client.errors import (
    Conflict,
    FieldError,
    Forbidden,
    InvalidRequest,
    NotFound,
    OrderEngineError,
    Refused,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from order_client.models import (
    FINAL,
    Accepted,
    Attempt,
    NewOrder,
    Order,
    Page,
    Quote,
    Quotes,
    Rejection,
    Status,
    Token,
)

__all__ = [
    "DEFAULT_URL",
    "FINAL",
    "Accepted",
    "AsyncClient",
    "Attempt",
    "Backoff",
    "Client",
    "Conflict",
    "FieldError",
    "Forbidden",
    "InvalidRequest",
    "NewOrder",
    "NotFound",
    "Order",
    "OrderEngineError",
    "Page",
    "Quote",
    "Quotes",
    "Refused",
    "Rejection",
    "Status",
    "Token",
    "TooManyRequests",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
]
