"""The queue, the sockets, the requests for notify and PostgreSQL, in memory."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from order_engine import limits
from order_engine.domain.errors import HistoryUnavailable, OutOfTime, SocketGone, SocketUnreachable
from order_engine.domain.events import BuildingStarted
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.record import OrderRecord
from order_engine.domain.subscriber import Subscriber

from tests.doubles.gate import Gate, Service, outside

Message = dict[str, Any]


_decode = json.JSONDecoder(parse_float=Decimal).decode


@lru_cache(maxsize=1024)
def parsed(text: str) -> Message:
    """A message as a client reads it, never by way of a float. The same text gives the same object; nobody edits it."""
    message: Message = _decode(text)
    return message


class MemoryQueue:
    """Implements `ports.OrderQueue`. `put` places a message on somebody's queue, to be delivered after a delay."""

    def __init__(
        self,
        gate: Gate,
        put: Callable[[UUID, float], object] = lambda _order_id, _delay: None,
        waiting: Callable[[], int] = lambda: 0,
    ) -> None:
        self.gate = gate
        self.sent: list[tuple[UUID, int]] = []
        self._put = put
        self._waiting = waiting

    @outside(Service.QUEUE)
    def send(self, order_id: UUID, delay_seconds: int = 0) -> None:
        """See `ports.OrderQueue`. Refuses what SQS refuses."""
        if not (isinstance(delay_seconds, int) and 0 <= delay_seconds <= 900):
            raise AssertionError(f"SQS takes no delay of {delay_seconds!r} s")
        self.sent.append((order_id, delay_seconds))
        self._put(order_id, delay_seconds)

    @outside(Service.QUEUE)
    def waiting(self) -> int:
        """See `ports.OrderQueue`."""
        return self._waiting()


@dataclass
class Socket:
    """A socket: the gateway knows it from `opens_at` (the timeline's seconds) until it is closed.

    `received` has each message with its time. A call is throttled while it is `deaf` (from, until), and does not come
    back in time while it is `stuck`. `dismissed`: the server closed it.
    """

    opens_at: float = 0.0
    deaf: tuple[float, float] = (0.0, 0.0)
    stuck: tuple[float, float] = (0.0, 0.0)
    closed: bool = False
    dismissed: bool = False
    received: list[tuple[float, Message]] = field(default_factory=list)

    @property
    def sequences(self) -> list[int]:
        """The statuses' sequences, in the order in which they came."""
        return [message["sequence"] for _, message in self.received if "sequence" in message]

    @property
    def statuses(self) -> list[str]:
        """The statuses, in the order in which they came."""
        return [message["status"] for _, message in self.received if "sequence" in message]


class MemorySockets:
    """Implements `ports.Sockets`. `dismissed` is told of each connection that is closed."""

    def __init__(
        self,
        gate: Gate,
        connections: dict[str, Socket] | None = None,
        dismissed: Callable[[str], object] = lambda _connection_id: None,
    ) -> None:
        self.gate = gate
        self.connections = {} if connections is None else connections
        self._dismissed = dismissed

    @outside(Service.SOCKETS)
    def post(self, connection_id: str, message: str) -> None:
        there = self._reach(connection_id, limits.POST)
        if there is None:
            raise SocketGone(connection_id)
        there.received.append((self.gate.timeline.seconds, parsed(message)))

    @outside(Service.SOCKETS)
    def close(self, connection_id: str) -> bool:
        there = self._reach(connection_id, limits.CLOSE)
        if there is None:
            return False
        there.closed = there.dismissed = True
        self._dismissed(connection_id)
        return True

    def _reach(self, connection_id: str, limit: float) -> Socket | None:
        now, there = self.gate.timeline.seconds, self.connections.get(connection_id)
        if there is None or there.closed or there.opens_at > now:
            return None
        if there.stuck[0] <= now < there.stuck[1]:
            self.gate.hang(limit)
            raise SocketUnreachable(connection_id)
        if there.deaf[0] <= now < there.deaf[1]:
            raise SocketUnreachable(connection_id)
        return there


class MemoryNotifyRequests:
    """Implements `ports.NotifyRequests`. `invoke` has somebody invoke notify."""

    def __init__(self, gate: Gate, invoke: Callable[[Subscriber], object] = lambda _subscriber: None) -> None:
        self.gate = gate
        self.requested: list[Subscriber] = []
        self._invoke = invoke

    @outside(Service.NOTIFY)
    def send(self, subscriber: Subscriber) -> None:
        self.requested.append(subscriber)
        self._invoke(subscriber)


@dataclass
class Rows:
    """PostgreSQL's tables, with the adapter's ON CONFLICT DO NOTHING: what is there first stays.

    `orders` by id, `events` by id and sequence; `written_at` has the timeline's seconds.
    """

    orders: dict[str, Message] = field(default_factory=dict)
    events: dict[tuple[str, int], Message] = field(default_factory=dict)
    written_at: dict[str, float] = field(default_factory=dict)


class MemoryHistory:
    """Implements `ports.History`."""

    def __init__(self, gate: Gate, rows: Rows) -> None:
        self.gate = gate
        self.rows = rows

    def record(self, record: OrderRecord) -> None:
        try:
            self._write(record)
        except OutOfTime as fault:
            raise HistoryUnavailable(str(fault)) from fault

    @outside(Service.HISTORY)
    def _write(self, record: OrderRecord) -> None:
        order_id = str(record.order.order_id)
        self.rows.orders.setdefault(order_id, row_of(record))
        self.rows.written_at.setdefault(order_id, self.gate.timeline.seconds)
        for event in record.events:
            details = parsed(event.to_json())
            row = {"order_id": order_id, "sequence": event.sequence, "details": details}
            self.rows.events.setdefault((order_id, event.sequence), row)


def row_of(record: OrderRecord) -> Message:
    """An order's row, by the columns of PostgreSQL."""
    order, last = record.order, record.last.model_dump()
    building = next((event for event in reversed(record.events) if isinstance(event, BuildingStarted)), None)
    confirmed = record.status is OrderStatus.CONFIRMED
    return {
        **order.model_dump(),
        "order_id": str(order.order_id),
        "min_amount_out": building.min_amount_out if building else order.min_amount_out,
        "min_amount_out_asked": order.min_amount_out,
        "status": record.status.value,
        "venue": building.venue if building else None,
        "tx_hash": last.get("tx_hash"),
        "executed_price": last.get("executed_price"),
        "amount_out": last.get("amount_out"),
        "fee": record.transaction.fee if confirmed and record.transaction else None,
        "attempts": record.attempt,
        "last_sequence": record.sequence,
        "failure_code": last.get("code"),
        "failure_reason": last.get("error"),
        "quotes": parsed(building.to_json()).get("quotes") if building else None,
        "completed_at": record.last.timestamp,
    }
