"""The execution environment of a worker, with pools like those that the use cases make for themselves."""

import math
from dataclasses import fields
from typing import Any

from order_engine.domain.swaps import VenueName
from order_engine.use_cases.publish import Publisher
from order_engine.use_cases.venue_calls import VenueCalls

from tests.doubles.pool import VirtualPool
from tests.doubles.timeline import Environment, Timeline


def _size(pool: object) -> float:
    """How many threads a pool of the engine's own has."""
    return float(getattr(pool, "_max_workers", math.inf))


def _own(use_case: type[VenueCalls] | type[Publisher], name: str) -> Any:
    """What a use case has in a field by default."""
    (make,) = (one.default_factory for one in fields(use_case) if one.name == name)
    return make() if callable(make) else None


POSTING_THREADS = _size(_own(Publisher, "pool"))
VENUE_THREADS = min(_size(pool) for pool in _own(VenueCalls, "pools").values())


class Warm(Environment):
    """An environment of a worker, with its pools."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self.posts = VirtualPool(timeline, POSTING_THREADS)
        self.venues = {name: VirtualPool(timeline, VENUE_THREADS) for name in VenueName}
