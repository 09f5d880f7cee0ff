"""Records the calls to AWS that an order causes, by botocore's events: who makes them, for what, what they consume."""

import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from order_engine.adapters import aws

from tests.cost.units import Item, index_units, read_units, size_of, write_units
from tests.template.calls import ADAPTERS

_PORTS = {adapter: port.lstrip("_") for port, adapter in ADAPTERS.items()}
_READS = ("GetItem", "Query")


@dataclass(frozen=True)
class Call:
    """A call of a function, by way of a port's method (such as `journal.append`); empty if it was made without one."""

    function: str
    method: str
    operation: str
    tables: str = ""  # or what else it is about; empty where the service has only one thing
    write_units: int = 0
    read_units: float = 0.0


@dataclass
class Recorder:
    """Makes clients whose calls it keeps, as those of the `function` that is set.

    Items are looked at before and after each write, so writes to one item must not be made at once."""

    function: str = ""
    calls: list[Call] = field(default_factory=list)
    stored: dict[tuple[str, str], int] = field(default_factory=dict)  # bytes of each item written, by table and key
    _dynamodb: Any = field(default_factory=lambda: aws.client("dynamodb"))
    _keys: dict[str, list[list[str]]] = field(default_factory=dict)

    def client(self, service: str, endpoint_url: str | None = None) -> Any:
        """Return what `adapters.aws.client` does, recorded."""
        made = aws.client(service, endpoint_url)
        made.meta.events.register("before-call", self._before)
        made.meta.events.register("after-call", self._after)
        return made

    def _before(self, model: Any, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context["method"] = _method()
        if model.service_model.service_name == "dynamodb":
            context["body"] = json.loads(params["body"])
            context["before"] = [self._peek(*place) for place in self._written(model.name, context["body"])]

    def _after(self, model: Any, parsed: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        units, tables = (0, 0.0), ""
        if body := context.get("body"):
            units = self._consumed(model.name, body, parsed, context["before"])
            tables = ", ".join(dict.fromkeys(part["TableName"] for part in _parts(body)))
        self.calls.append(Call(self.function, context["method"], model.name, tables, *units))

    def _consumed(
        self, operation: str, body: dict[str, Any], parsed: dict[str, Any], before: list[Item | None]
    ) -> tuple[int, float]:
        """Return the write and read units of a call, and note what is stored since.

        An index's entries are written once, in a transaction too."""
        if operation in _READS:
            items = parsed.get("Items") or [parsed.get("Item", {})]
            return 0, read_units(items, body.get("ConsistentRead", False))
        consumed = 0
        for (table, key), old in zip(self._written(operation, body), before, strict=True):
            new = self._peek(table, key)
            keys, *indexes = self._keys_of(table)
            consumed += write_units(old, new, operation == "TransactWriteItems")
            consumed += sum(index_units(old, new, {*keys, *index}) for index in indexes)
            self.stored[table, json.dumps(key, sort_keys=True)] = size_of(new)
        return consumed, 0.0

    def _written(self, operation: str, body: dict[str, Any]) -> list[tuple[str, Item]]:
        """The tables and keys of the items that a request writes, or checks."""
        if operation in _READS:
            return []
        return [
            (table, part.get("Key") or {name: part["Item"][name] for name in self._keys_of(table)[0]})
            for part in _parts(body)
            if (table := part["TableName"])
        ]

    def _peek(self, table: str, key: Item) -> Item | None:
        item: Item | None = self._dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item")
        return item

    def _keys_of(self, table: str) -> list[list[str]]:
        """The names of a table's keys, and then those of each index, all of which project nothing else."""
        if table not in self._keys:
            described = self._dynamodb.describe_table(TableName=table)["Table"]
            indexes = described.get("GlobalSecondaryIndexes", [])
            assert all(index["Projection"]["ProjectionType"] == "KEYS_ONLY" for index in indexes)
            self._keys[table] = [[key["AttributeName"] for key in one["KeySchema"]] for one in (described, *indexes)]
        return self._keys[table]


def _parts(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The reads or writes of single tables that a request is made of."""
    if "TransactItems" not in body:
        yield body
    for action in body.get("TransactItems", []):
        yield from action.values()


def _method() -> str:
    """Return the port's method that leads to this call. An adapter may go by another one: the innermost counts."""
    found, frame = "", inspect.currentframe()
    while frame:
        owner, _, name = frame.f_code.co_qualname.partition(".")
        if owner in _PORTS and (not found or found.startswith(f"{_PORTS[owner]}.")):
            found = f"{_PORTS[owner]}.{name}"
        frame = frame.f_back
    return found
