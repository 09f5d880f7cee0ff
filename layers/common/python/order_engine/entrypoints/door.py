"""A use case behind the door: its handler asks there first whose request it is."""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from order_engine.bootstrap import Bootstrap
from order_engine.use_cases.access import Access

UseCase = TypeVar("UseCase")


class Guarded(NamedTuple, Generic[UseCase]):
    """A use case, and who may ask for it."""

    access: Access
    use_case: UseCase


def guarded(make: Callable[[Bootstrap], UseCase]) -> Callable[[Bootstrap], Guarded[UseCase]]:
    """Make what `entrypoint` takes for a handler that is reached from outside."""
    return lambda bootstrap: Guarded(bootstrap.access(), make(bootstrap))


def headers_of(event: dict[str, Any]) -> dict[str, str]:
    """Return the headers of a request or handshake, by their names in lower case."""
    return {name.lower(): value for name, value in (event.get("headers") or {}).items()}
