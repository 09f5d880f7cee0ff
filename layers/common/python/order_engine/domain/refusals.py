"""What a client's request is refused with, over HTTP or on a socket. `code` is for programs, the message for people.

RequestRefused
├── InvalidRequest · Unauthorized · MissingScope · TooManyRequests · NotNowAvailable
├── orders                ClientOrderIdReused · EnginePaused · NothingAccepted · AcceptanceUnknown · TooLateToCancel
└── streams               TooManySubscribers · TooManyStreams; on an open socket: TooManyMessages ·
                          TooManySubscriptions · NotSubscribed · ReplayUnderWay · UnknownConnection
"""

from dataclasses import dataclass
from typing import Self

from order_engine.domain.errors import OrderEngineError
from order_engine.domain.quota import WINDOW_SECONDS, Allowance


@dataclass(frozen=True)
class FieldError:
    """A wrong field of a request, and what would be right; `field` is empty for the body as a whole."""

    field: str
    message: str


class RequestRefused(OrderEngineError):
    """A client does not get what it asked for. `code` is for programs, the message for people."""

    code: str
    errors: tuple[FieldError, ...] = ()


class InvalidRequest(RequestRefused):
    """The request is malformed, or about something that does not exist. Nothing was stored, queued or quoted."""

    def __init__(self, code: str, detail: str, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.errors = errors

    @classmethod
    def of(cls, *errors: FieldError) -> Self:
        """Return the refusal of fields that are wrong."""
        return cls("INVALID_FIELD", "; ".join(f"{error.field} {error.message}" for error in errors), errors)


class Unauthorized(RequestRefused):
    """There is no valid credential with the request: none, a malformed, unknown, wrong or revoked one, which is not
    said."""

    code = "UNAUTHORIZED"


class MissingScope(RequestRefused):
    """The key is valid, and does not allow this."""

    code = "MISSING_SCOPE"

    def __init__(self, scope: str) -> None:
        super().__init__(f"this needs a key with the scope {str(scope)!r}")


class TooManyRequests(RequestRefused):
    """The owner has placed as many orders as it may for now. Nothing was stored, queued or quoted."""

    code = "TOO_MANY_REQUESTS"

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        most = f"{allowance.limit} orders in {WINDOW_SECONDS} s are the owner's limit"
        super().__init__(f"{most}; the next one can be placed in {allowance.retry_seconds} s")


class ClientOrderIdReused(RequestRefused):
    """The clientOrderId belongs to an order with another body. Nothing was stored, queued or quoted."""

    code = "CLIENT_ORDER_ID_REUSED"

    def __init__(self, client_order_id: str) -> None:
        message = f"{client_order_id!r} belongs to an order with another body; a new order needs a new one"
        super().__init__(f"clientOrderId {message}")
        self.errors = (FieldError("clientOrderId", message),)


class EnginePaused(RequestRefused):
    """An operator has paused the engine. Nothing was stored or queued; an order that an earlier request with the same
    clientOrderId has placed is not touched by that."""

    code = "PAUSED"

    def __init__(self) -> None:
        super().__init__("the engine is paused, and takes no orders; please send it again later")


class NothingAccepted(RequestRefused):
    """The order was not accepted and never will be executed; the client may send it again."""

    code = "NOTHING_ACCEPTED"

    def __init__(self, detail: str) -> None:
        super().__init__(f"{detail}; it will not be executed, please send it again")


class AcceptanceUnknown(RequestRefused):
    """A service did not say whether it took the order, now or at an earlier request with the same clientOrderId."""

    code = "ACCEPTANCE_UNKNOWN"

    def __init__(self, detail: str, client_order_id: str | None) -> None:
        advice = "watch your balance before you send it again"
        if client_order_id:
            advice = "send it again with the same clientOrderId, and it is executed once"
        super().__init__(f"{detail}; whether it is executed is not known: {advice}")


class TooLateToCancel(RequestRefused):
    """The order has ended, or a transaction that may land was journaled. Nothing has changed."""

    code = "TOO_LATE_TO_CANCEL"

    def __init__(self, status: str, ended: bool) -> None:
        why = "it has ended" if ended else "a transaction was sent for it, and can't be called back"
        super().__init__(f"the order is {status}: {why}")
        self.status = status


class TooManySubscribers(RequestRefused):
    """The order has as many subscribers as it can have. Nothing was stored."""

    code = "TOO_MANY_SUBSCRIBERS"

    def __init__(self) -> None:
        super().__init__("the order has as many subscribers as it can have")


class NotNowAvailable(RequestRefused):
    """A service that is needed did not respond. Nothing was changed."""

    code = "SERVICE_UNAVAILABLE"

    def __init__(self, detail: str) -> None:
        super().__init__(f"{detail}; please ask again")


class TooManyStreams(RequestRefused):
    """The owner has as many WebSocket connections open as it may have. Nothing was stored."""

    code = "TOO_MANY_STREAMS"

    def __init__(self, most: int) -> None:
        super().__init__(f"the owner has {most} connections open, and may have no more; one can watch 100 orders")


class TooManyMessages(RequestRefused):
    """A connection has sent more messages than it may. `told`: it was told before, and has not waited."""

    code = "TOO_MANY_MESSAGES"

    def __init__(self, retry_seconds: int, told: bool) -> None:
        super().__init__(f"too many messages on this connection; until {retry_seconds} s from now they are ignored")
        self.told = told


class TooManySubscriptions(RequestRefused):
    """The connection watches as many orders as it can."""

    code = "TOO_MANY_SUBSCRIPTIONS"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"a connection watches at most {most} orders; unsubscribe from one, or open another connection"
        )


class NotSubscribed(RequestRefused):
    """The connection does not watch this order."""

    code = "NOT_SUBSCRIBED"

    def __init__(self) -> None:
        super().__init__("this connection does not watch the order, or no longer: its final status ends that")


class ReplayUnderWay(RequestRefused):
    """The subscriber is being sent what it lacks."""

    code = "REPLAY_UNDER_WAY"

    def __init__(self) -> None:
        super().__init__("statuses are being sent to this connection; ask again when they have come")


class UnknownConnection(RequestRefused):
    """The connection is not kept: it is being closed, or was never accepted."""

    code = "UNKNOWN_CONNECTION"

    def __init__(self) -> None:
        super().__init__("this connection watches nothing any more; please connect again")
