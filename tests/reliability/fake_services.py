"""The queue, the sockets, notify's invocations and PostgreSQL, in memory."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from order_engine.errors import SocketGone, SocketUnreachable
from order_engine.orders import JournalEntry, Subscriber

from tests.reliability.gate import Gate, Service, outside


class FakeQueue:
    """Implements `ports.OrderQueue`. `put` places a message on the world's queue, to be delivered after a delay."""

    def __init__(self, gate: Gate, put: Callable[[UUID, float], None]) -> None:
        self.gate = gate
        self._put = put

    @outside(Service.QUEUE)
    def send(self, order_id: UUID, delay_seconds: int = 0) -> None:
        """See `ports.OrderQueue`. Refuses what SQS refuses."""
        if not (isinstance(delay_seconds, int) and 0 <= delay_seconds <= 900):
            raise AssertionError(f"SQS takes no delay of {delay_seconds!r} s")
        self._put(order_id, delay_seconds)


@dataclass
class Connection:
    """A socket: open from `opens_at` (virtual seconds; the gateway knows no connection before) until it is closed.

    `deaf`: from when until when a post to it is throttled."""

    opens_at: float
    received: list[str]
    deaf: tuple[float, float] = (0.0, 0.0)
    closed: bool = False


class FakeSockets:
    """Implements `ports.Sockets`."""

    def __init__(self, gate: Gate, connections: dict[str, Connection]) -> None:
        self.gate = gate
        self.connections = connections

    @outside(Service.SOCKETS)
    def post(self, connection_id: str, message: str) -> None:
        """See `ports.Sockets`."""
        there = self.connections.get(connection_id)
        if there is None or there.closed or there.opens_at > self.gate.clock.seconds:
            raise SocketGone(connection_id)
        if there.deaf[0] <= self.gate.clock.seconds < there.deaf[1]:
            raise SocketUnreachable(connection_id)
        there.received.append(message)


class FakeCatchUps:
    """Implements `ports.CatchUps`. `invoke` has the world invoke notify."""

    def __init__(self, gate: Gate, invoke: Callable[[UUID, str, int], None]) -> None:
        self.gate = gate
        self._invoke = invoke

    @outside(Service.NOTIFY)
    def request(self, subscriber: Subscriber) -> None:
        """See `ports.CatchUps`."""
        self._invoke(subscriber.order_id, subscriber.connection_id, subscriber.generation)


@dataclass
class Row:
    """One order's rows in PostgreSQL: the columns that the checker compares, and the events by their sequence."""

    columns: dict[str, object]
    events: dict[int, dict[str, Any]] = field(default_factory=dict)
    written_at: float = 0.0


class FakeHistory:
    """Implements `ports.History` with the adapter's ON CONFLICT DO NOTHING: the first row stays."""

    def __init__(self, gate: Gate, rows: dict[str, Row]) -> None:
        self.gate = gate
        self.rows = rows

    @outside(Service.HISTORY)
    def record(self, entry: JournalEntry) -> None:
        """See `ports.History`."""
        last = json.loads(entry.last.to_json())
        kept = ("status", "venue", "txHash", "executedPrice", "amountOut", "code", "error")
        columns = {name: last.get(name) for name in kept}
        row = self.rows.setdefault(str(entry.order.order_id), Row(columns, written_at=self.gate.clock.seconds))
        for event in entry.events:
            row.events.setdefault(event.sequence, json.loads(event.to_json()))
