"""A use case behind the door: its handler asks there first whose request it is."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Generic, NamedTuple, TypeVar

from order_engine.bootstrap import Bootstrap
from order_engine.domain.access import Caller, Scope
from order_engine.domain.errors import ServiceUnavailable
from order_engine.domain.refusals import NotNowAvailable
from order_engine.use_cases.access import Access

UseCase = TypeVar("UseCase")


class Guarded(NamedTuple, Generic[UseCase]):
    """A use case, and who may ask for it."""

    access: Access
    use_case: UseCase

    def caller(self, event: dict[str, Any], scope: Scope) -> Caller:
        """Return whose request it is. Raises Unauthorized, MissingScope, or NotNowAvailable if nobody can tell."""
        with keys_needed():
            return self.access.caller(headers_of(event).get("authorization"), scope)


def guarded(make: Callable[[Bootstrap], UseCase]) -> Callable[[Bootstrap], Guarded[UseCase]]:
    """Make what `entrypoint` takes for a handler that is reached from outside."""
    return lambda bootstrap: Guarded(bootstrap.access(), make(bootstrap))


@contextmanager
def keys_needed() -> Iterator[None]:
    """Have a client told to ask again where the keys can't be looked up: raises NotNowAvailable."""
    try:
        yield
    except ServiceUnavailable as fault:
        raise NotNowAvailable("the API keys could not be looked up") from fault


def private(body: dict[str, Any]) -> dict[str, Any]:
    """Return a 200 that is nobody else's business, as a Lambda proxy response."""
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return {"statusCode": int(HTTPStatus.OK), "headers": headers, "body": json.dumps(body)}


def headers_of(event: dict[str, Any]) -> dict[str, str]:
    """Return the headers of a request or handshake, by their names in lower case."""
    return {name.lower(): value for name, value in (event.get("headers") or {}).items()}
