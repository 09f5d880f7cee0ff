"""Sizes of DynamoDB items, and the units that calls consume, by the rules of its developer guide
(CapacityUnitCalculations, read-write-operations; both read on 2026-11-24).

Items are as the API has them: `{"orderId": {"S": "…"}}`; None is an item that is not there.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

Item = Mapping[str, Any]
_WRITE, _READ = 1024, 4096  # bytes of a unit


def size_of(item: Item | None) -> int:
    """Return an item's size in bytes: its attributes' names and values; 0 for one that is not there."""
    return sum(len(name.encode()) + _value_size(value) for name, value in (item or {}).items())


def write_units(before: Item | None, after: Item | None, transacted: bool = False) -> int:
    """Return what a write of one item consumes: by the larger of both sizes, one at the least.

    As much for a write whose condition did not hold, or that only checks one; twice as much in a transaction."""
    return max(_blocks(max(size_of(before), size_of(after)), _WRITE), 1) * (2 if transacted else 1)


def index_units(before: Item | None, after: Item | None, keys: Iterable[str]) -> int:
    """Return what a write consumes on an index that has nothing but its `keys` and the table's: one to put an entry, or
    to delete it, two for one that moves. An item that lacks one of the keys is not in the index."""
    names = tuple(keys)
    entries = [_entry(item, names) for item in (before, after)]
    if entries[0] == entries[1]:
        return 0
    return sum(max(_blocks(size_of(entry), _WRITE), 1) for entry in entries if entry)


def read_units(items: Iterable[Item], consistent: bool) -> float:
    """Return what reading items at once consumes, one unit's worth at the least; half if eventually consistent."""
    blocks = max(_blocks(sum(map(size_of, items)), _READ), 1)
    return float(blocks) if consistent else blocks / 2


def _entry(item: Item | None, keys: tuple[str, ...]) -> Item | None:
    return {key: item[key] for key in keys} if item and all(key in item for key in keys) else None


def _blocks(size: int, block: int) -> int:
    return math.ceil(size / block)


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "N":
            return math.ceil(len(content.lstrip("-").replace(".", "").strip("0")) / 2) + 1
        case "BOOL" | "NULL":
            return 1
        case "SS":
            return sum(len(one.encode()) for one in content)
        case "L":
            return 3 + sum(1 + _value_size(one) for one in content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _value_size(one) for name, one in content.items())
    raise ValueError(f"no size is known for {kind}")
