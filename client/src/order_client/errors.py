"""What a call of the client raises. Catch by class; the text is for people, and never has a key in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class OrderEngineError(Exception):
    """Root of everything that the client raises on purpose.

    `client_order_id`: of the order that was being submitted, if one was. Submitting the same order with it again is
    safe, whatever became of it.
    """

    client_order_id: str | None = None

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text} (clientOrderId {self.client_order_id})" if self.client_order_id else text


class Unreachable(OrderEngineError):
    """Nobody responded in time: no connection, a connection that broke, a time limit. What became of the request is
    unknown."""


class UnexpectedAnswer(OrderEngineError):
    """A response that is not this API's: perhaps that of a proxy, or the URL is that of something else. What became of
    the request is unknown."""


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field, by its name on the wire."""

    field: str
    message: str


class Refused(OrderEngineError):
    """The engine refused the request; `problem` is its problem document (RFC 9457).

    `status`: HTTP status, 0 for a refusal on an open WebSocket; `code`: such as INVALID_FIELD, empty where a gateway
    responded in the engine's place; `retry_after`: seconds that the engine asks to wait, None if it names none.
    """

    def __init__(self, problem: Mapping[str, Any], retry_after: float | None = None) -> None:
        self.problem = dict(problem)
        self.status = _status(problem)
        self.code = str(problem.get("code") or "")
        self.title = str(problem.get("title") or "")
        self.detail = str(problem.get("detail") or problem.get("message") or "")
        errors = problem.get("errors")
        self.errors = tuple(
            FieldError(str(one.get("field", "")), str(one.get("message", "")))
            for one in (errors if isinstance(errors, list) else [])
            if isinstance(one, Mapping)
        )
        self.retry_after = retry_after
        super().__init__(self.problem)

    def __str__(self) -> str:
        wrong = "; ".join(f"{one.field} {one.message}" for one in self.errors)
        what = " ".join(str(one) for one in (self.status or "", self.code or self.title) if one)
        # What came on a WebSocket has no status.
        text = f"refused ({what}): {wrong or self.detail or 'without a reason'}"
        return f"{text} (clientOrderId {self.client_order_id})" if self.client_order_id else text


class InvalidRequest(Refused):
    """400, 413, 415, 422: the request itself is wrong. `errors` names the fields."""


class Unauthorized(Refused):
    """401: no key, or none that is valid."""


class Forbidden(Refused):
    """403: the key lacks the scope that is needed."""


class NotFound(Refused):
    """404: there is no such order, or it is another owner's."""


class Conflict(Refused):
    """409: it is too late to cancel, or the clientOrderId belongs to another order."""

    @property
    def order_status(self) -> str | None:
        """The order's present status, where it is too late to cancel."""
        status = self.problem.get("orderStatus")
        return status if isinstance(status, str) else None


class TooManyRequests(Refused):
    """429: over a limit or a quota."""


class Unavailable(Refused):
    """5xx: the engine, or a service that it needs, failed or is unavailable. It may get better by itself."""


_BY_STATUS: dict[int, type[Refused]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
    429: TooManyRequests,
}
_BY_CODE: dict[str, type[Refused]] = {
    "INVALID_JSON": InvalidRequest,
    "UNKNOWN_ACTION": InvalidRequest,
    "INVALID_FIELD": InvalidRequest,
    "UNAUTHORIZED": Unauthorized,
    "MISSING_SCOPE": Forbidden,
    "UNKNOWN_ORDER": NotFound,
    "TOO_MANY_SUBSCRIPTIONS": TooManyRequests,
}


def refusal(problem: Mapping[str, Any], retry_after: float | None = None) -> Refused:
    """Return the error for a problem document, or for an error message of the WebSocket, which has no status."""
    status = _status(problem)
    if not status:
        kind = _BY_CODE.get(str(problem.get("code")), Refused)
    else:
        kind = Unavailable if status >= 500 else _BY_STATUS.get(status, Refused)
    return kind(problem, retry_after)


def _status(problem: Mapping[str, Any]) -> int:
    """The status of a problem document, which anyone may have written: 0 unless it is a number."""
    status = problem.get("status")
    return status if isinstance(status, int) else 0
