"""The events of an order: one class for each status, in the form in which subscribers receive them."""

from datetime import datetime
from typing import Annotated, Literal, TypedDict
from uuid import UUID

from pydantic import Field, TypeAdapter

from order_engine.domain.amounts import Amount
from order_engine.domain.errors import FailureCode
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.swaps import Quote, Rejection, VenueName
from order_engine.domain.wire import WireModel


class AttemptError(WireModel):
    """How a failed attempt ended."""

    attempt: int
    code: FailureCode
    error: str
    timestamp: datetime


class Header(TypedDict):
    """What the next event of an order starts with; see `OrderRecord.header`."""

    order_id: UUID
    sequence: int
    attempt: int
    timestamp: datetime


class _Event(WireModel):
    """What every event has. Events are numbered 1, 2, 3 …; `attempt` is 0 before the first one."""

    order_id: UUID
    sequence: int
    status: OrderStatus
    attempt: int
    timestamp: datetime
    message: str

    def to_json(self) -> str:
        """Serialize without the fields that do not apply."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class Accepted(_Event):
    """The order is in the journal and will be executed."""

    status: Literal[OrderStatus.PENDING] = OrderStatus.PENDING


class Opened(_Event):
    """The order rests: it waits until the market price has come to `reference_price`, and its own quote to what it asks
    for. Not only the first time: also when the market did not give any more what the order was triggered for."""

    status: Literal[OrderStatus.OPEN] = OrderStatus.OPEN
    reference_price: Amount


class Triggered(_Event):
    """The condition of a resting order is true: `price` is what its best quote nets, in tokenOut for one tokenIn."""

    status: Literal[OrderStatus.TRIGGERED] = OrderStatus.TRIGGERED
    venue: VenueName
    price: Amount


class RoutingStarted(_Event):
    """An attempt began: the venues are asked for quotes."""

    status: Literal[OrderStatus.ROUTING] = OrderStatus.ROUTING


class BuildingStarted(_Event):
    """The order was routed to `venue`, which swaps for no less than `min_amount_out`."""

    status: Literal[OrderStatus.BUILDING] = OrderStatus.BUILDING
    venue: VenueName
    quotes: tuple[Quote, ...]
    rejected: tuple[Rejection, ...] | None = None
    min_amount_out: Amount


class Submitted(_Event):
    """The transaction is about to be sent; from here on it may land."""

    status: Literal[OrderStatus.SUBMITTED] = OrderStatus.SUBMITTED
    venue: VenueName
    tx_hash: str


class Confirmed(_Event):
    """The swap landed."""

    status: Literal[OrderStatus.CONFIRMED] = OrderStatus.CONFIRMED
    venue: VenueName
    tx_hash: str
    executed_price: Amount
    amount_out: Amount


class Failed(_Event):
    """The order ended without a swap. `attempts` has every attempt's error."""

    status: Literal[OrderStatus.FAILED] = OrderStatus.FAILED
    code: FailureCode
    error: str
    attempts: tuple[AttemptError, ...]


class Cancelled(_Event):
    """The order ended because its owner asked for that, before any transaction was sent; none will be."""

    status: Literal[OrderStatus.CANCELLED] = OrderStatus.CANCELLED


class Expired(_Event):
    """The order ended without a swap because its time was over. `code` and `error` say why it was not executed in it,
    `attempts` has every attempt's error."""

    status: Literal[OrderStatus.EXPIRED] = OrderStatus.EXPIRED
    code: FailureCode
    error: str
    attempts: tuple[AttemptError, ...]


StatusEvent = (
    Accepted
    | Opened
    | Triggered
    | RoutingStarted
    | BuildingStarted
    | Submitted
    | Confirmed
    | Failed
    | Cancelled
    | Expired
)

_ADAPTER: TypeAdapter[StatusEvent] = TypeAdapter(Annotated[StatusEvent, Field(discriminator="status")])


def parse_event(text: str) -> StatusEvent:
    """Read what `to_json` wrote. Raises pydantic's ValidationError."""
    return _ADAPTER.validate_json(text)
