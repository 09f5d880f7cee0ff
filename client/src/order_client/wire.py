"""Reads the API's JSON into frozen dataclasses, by their annotations."""

import types
from collections.abc import Hashable
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from order_client.errors import UnexpectedAnswer

T = TypeVar("T")


def camel(name: str) -> str:
    """Return a field's name on the wire: amount_in is amountIn."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def read(kind: type[T], document: object) -> T:
    """Return a dataclass made of a JSON object. Fields that it does not know are left out, null is as good as absent,
    and a field `raw` gets the whole object.

    Raises UnexpectedAnswer if it is no object, or a field that is required is missing or of another type.
    """
    if not isinstance(document, dict):
        raise UnexpectedAnswer(f"a JSON object for {kind.__name__} was expected, not {type(document).__name__}")
    values: dict[str, Any] = {}
    for name, annotation, required in _plan(cast(Hashable, kind)):
        given = document if name == "raw" else document.get(camel(name))
        if given is not None:
            try:
                values[name] = _convert(annotation, given)
            except (ValueError, TypeError, OverflowError, InvalidOperation) as error:
                raise UnexpectedAnswer(f"{camel(name)} of {kind.__name__} can't be {given!r}") from error
        elif required:
            raise UnexpectedAnswer(f"{kind.__name__} without {camel(name)}")
    return kind(**values)


@cache
def _plan(kind: Any) -> tuple[tuple[str, Any, bool], ...]:
    hints = get_type_hints(kind)
    return tuple(
        (one.name, hints[one.name], one.default is MISSING and one.default_factory is MISSING) for one in fields(kind)
    )


def _convert(annotation: Any, given: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):  # X | None
        return _convert(next(one for one in get_args(annotation) if one is not types.NoneType), given)
    if get_origin(annotation) is tuple:
        if not isinstance(given, list):
            raise TypeError(given)
        return tuple(_convert(get_args(annotation)[0], one) for one in given)
    if annotation is Decimal:
        return Decimal(str(given))
    if annotation is datetime:
        return aware(given)
    if annotation in (int, str, bool):
        if not isinstance(given, annotation):
            raise TypeError(given)
        return given
    return read(annotation, given) if hasattr(annotation, "__dataclass_fields__") else given


def aware(text: str) -> datetime:
    """Return a time of the wire, in UTC. Raises ValueError if it has no offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset")
    return moment.astimezone(UTC)


def plain(value: object) -> str:
    """Return a value as text; a Decimal without an exponent, None as nothing."""
    return f"{value:f}" if isinstance(value, Decimal) else "" if value is None else str(value)
