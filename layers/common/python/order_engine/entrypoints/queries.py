"""The query strings of GET /api/orders and GET /api/quotes, checked parameter by parameter."""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from order_engine.domain.errors import FailureCode
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.order import OrderTerms, OrderTypeName
from order_engine.domain.refusals import FieldError, InvalidRequest
from order_engine.domain.summary import OrderFilter, Position
from order_engine.domain.swaps import VenueName
from order_engine.entrypoints.fields import (
    MOST_OF_A_NAME,
    ClientOrderId,
    Moment,
    TokenSymbol,
    WrongField,
    invalid_fields,
)
from order_engine.entrypoints.order_body import check_terms

MOST_ORDERS = 200  # of a page
_USUAL_ORDERS = 50
_QUOTED = ("tokenIn", "tokenOut", "amountIn", "slippageBps", "maxPriceImpactBps")
_CHECK_BYTES = 6


@dataclass(frozen=True)
class ListQuery:
    """Which part of which list: at most `limit` orders after a position; or the order of a clientOrderId."""

    wanted: OrderFilter
    after: Position | None
    limit: int
    client_order_id: str | None
    given: dict[str, str]

    def link_to(self, end: Position) -> str:
        """Return the Link header that leads to the page which begins there (RFC 8288)."""
        following = {**self.given, "cursor": _cursor(end, self.wanted)}
        return f'</api/orders?{urlencode(following)}>; rel="next"'


def parse_list_query(raw: str) -> ListQuery:
    """Parse the query of GET /api/orders. Raises InvalidRequest with every parameter that is wrong."""
    given = _given(raw, [field.alias or name for name, field in _ListQuery.model_fields.items()])
    try:
        asked = _ListQuery.model_validate(given)
    except ValidationError as refusal:
        raise invalid_fields(refusal, "this query") from refusal
    wanted = OrderFilter(
        status=asked.status,
        order_type=asked.order_type,
        venue=asked.venue,
        token_in=asked.token_in,
        token_out=asked.token_out,
        code=asked.code,
        created_from=asked.created_from,
        created_before=asked.created_before,
    )
    after = _position(asked.cursor, wanted) if asked.cursor is not None else None
    return ListQuery(wanted, after, asked.limit, asked.client_order_id, given)


def parse_quote_query(raw: str) -> OrderTerms:
    """Parse the query of GET /api/quotes: the terms of a market order. Raises InvalidRequest, as for an order."""
    fields: dict[str, Any] = dict(_given(raw, _QUOTED))
    for name in ("slippageBps", "maxPriceImpactBps"):
        if _is_whole_number(given := fields.get(name, "")):
            fields[name] = int(given)
    return check_terms(fields)


def _given(raw: str, known: Collection[str]) -> dict[str, str]:
    """Return the parameters by name. Raises InvalidRequest for one that is not known, or given twice."""
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as fault:
        raise InvalidRequest.of(FieldError("", "the query must be UTF-8, percent-encoded")) from fault
    wrong = [
        FieldError(name[:MOST_OF_A_NAME], "must be given once" if name in known else f"is not one of {_listed(known)}")
        for name, times in Counter(name for name, _ in pairs).items()
        if times > 1 or name not in known
    ]
    if wrong:
        raise InvalidRequest.of(*wrong[:10])
    return dict(pairs)


def _listed(names: Collection[str]) -> str:
    return ", ".join(names)


def _is_whole_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def _limit(value: object) -> int:
    if not (isinstance(value, str) and _is_whole_number(value) and 1 <= int(value) <= MOST_ORDERS):
        raise ValueError(f"must be a whole number from 1 to {MOST_ORDERS}")
    return int(value)


def _unescaped(value: object) -> object:
    # A + of a time's offset that was not escaped has come as a blank, which is in no time.
    return value.replace(" ", "+") if isinstance(value, str) else value


_QueryMoment = Annotated[Moment, BeforeValidator(_unescaped)]


class _ListQuery(BaseModel):
    """What may be asked of the list. Raises ValidationError."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    status: OrderStatus | None = None
    order_type: OrderTypeName | None = None
    venue: VenueName | None = None
    token_in: TokenSymbol | None = None
    token_out: TokenSymbol | None = None
    code: FailureCode | None = None
    created_from: _QueryMoment | None = Field(None, alias="from")
    created_before: _QueryMoment | None = Field(None, alias="to")
    limit: Annotated[int, BeforeValidator(_limit)] = _USUAL_ORDERS
    cursor: str | None = None
    client_order_id: ClientOrderId | None = None

    @model_validator(mode="after")
    def _fits(self) -> "_ListQuery":
        if (self.token_in is None) != (self.token_out is None):
            missing = "tokenIn" if self.token_in is None else "tokenOut"
            raise WrongField(missing, "is required with the other one of tokenIn and tokenOut")
        if self.created_from and self.created_before and self.created_from >= self.created_before:
            raise WrongField("to", "must be later than from")
        if self.client_order_id is not None and len(self.model_fields_set) > 1:
            raise WrongField("clientOrderId", "can't be combined with another parameter: there is one order at most")
        return self


def _cursor(position: Position, wanted: OrderFilter) -> str:
    """Return a position as text that fits one list alone. It holds nothing that its reader may not see; the check is
    against mistakes, and against use with other filters."""
    content = _microseconds(position.created_at).to_bytes(8, "big") + position.order_id.bytes
    return urlsafe_b64encode(content + _check(content, wanted)).decode()


def _position(cursor: str, wanted: OrderFilter) -> Position:
    try:
        content = urlsafe_b64decode(cursor.encode("ascii"))[:-_CHECK_BYTES]
        position = Position(_moment(int.from_bytes(content[:8], "big")), UUID(bytes=content[8:]))
    except (NotBase64, ValueError, OverflowError):
        position = None
    if position is None or _cursor(position, wanted) != cursor:
        message = "must be taken from the Link header of a page with the same filters, as it stands there"
        raise InvalidRequest.of(FieldError("cursor", message))
    return position


def _check(content: bytes, wanted: OrderFilter) -> bytes:
    return hashlib.sha256(content + repr(wanted).encode()).digest()[:_CHECK_BYTES]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _microseconds(moment: datetime) -> int:
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
