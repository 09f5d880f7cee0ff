"""Many orders of the same kind: submit them, follow each, and sum up what became of them."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from order_client.async_client import AsyncClient
from order_client.errors import OrderEngineError
from order_client.in_flight import InFlight
from order_client.models import NewOrder
from order_client.output import ENDED_OTHERWISE, OK, code_of

Tell = Callable[[Mapping[str, Any]], None]


@dataclass
class Summary:
    """What became of the orders so far. `seconds`: from each submit to its final status, of those that ended."""

    orders: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    venues: Counter[str] = field(default_factory=Counter)
    errors: list[OrderEngineError] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)

    @property
    def exit_code(self) -> int:
        """The worst of all: unreachable, refused, ended otherwise."""
        ended = OK if set(self.orders) <= {"confirmed", "accepted"} else ENDED_OTHERWISE
        return max([ended, *(code_of(error) for error in self.errors)])

    def lines(self) -> list[str]:
        """The summary, for people."""
        total, elapsed = sum(self.orders.values()), time.monotonic() - self._started
        counted = ", ".join(f"{number} {status}" for status, number in self.orders.most_common())
        lines = [f"{total} orders in {elapsed:.1f} s: {counted or 'none'}"]
        if self.seconds:
            median, late = (_percentile(self.seconds, share) for share in (0.5, 0.99))
            lines.append(f"time to final: p50 {median:.3f} s, p99 {late:.3f} s")
        if swapped := sum(self.venues.values()):
            shares = (f"{venue} {number / swapped:.0%}" for venue, number in self.venues.most_common())
            lines.append(f"venues: {', '.join(shares)}")
        reasons = Counter(_without_key(error) for error in self.errors)
        return lines + [f"{number} x {reason}" for reason, number in reasons.most_common(5)]


async def submit_many(
    client: AsyncClient,
    order: NewOrder,
    count: int,
    concurrency: int,
    summary: Summary,
    *,
    watch: bool,
    tell: Tell,
    done: Callable[[], None],
    in_flight: InFlight,
) -> None:
    """Submit an order `count` times, each as one of its own, `concurrency` at once, and follow each to its end if
    `watch`. `tell` gets each message as it is on the wire, `done` is called after each order. Errors are summed up;
    what `tell` raises ends all."""
    numbers = iter(range(count))

    async def work() -> None:
        for _ in numbers:
            began = time.monotonic()
            try:
                client_order_id = str(uuid4())
                with in_flight.order(client_order_id):
                    accepted = await client.submit(replace(order, client_order_id=client_order_id))
                    in_flight.accepted(client_order_id, accepted.order_id)
                    tell(accepted.raw)
                    status, venue = "accepted", None
                    if watch:
                        async with aclosing(client.watch(accepted)) as statuses:
                            async for one in statuses:
                                tell(one.raw)
                                status, venue = one.status, one.venue or venue
                        summary.seconds.append(time.monotonic() - began)
                summary.orders[status] += 1
                if status == "confirmed" and venue:
                    summary.venues[venue] += 1
            except OrderEngineError as error:
                summary.orders[type(error).__name__] += 1
                summary.errors.append(error)
            done()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(count, concurrency)):
                group.create_task(work())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None  # what ended the others


def _percentile(values: list[float], share: float) -> float:
    """The least value that at least this share of all does not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _without_key(error: OrderEngineError) -> str:
    """An error's text without its clientOrderId, so that those of the same kind are counted together."""
    return str(error).partition(" (clientOrderId ")[0]
