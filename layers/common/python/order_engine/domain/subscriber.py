"""WebSocket connections, and how each watches its orders."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from order_engine.domain.access import PUBLIC

# A 410 on a connection younger than this means "not connected yet": API Gateway refuses posts while $connect runs. So
# it is longer than ws_connect may take. On an older one it means "gone".
CONNECTING = timedelta(seconds=20)

# A subscriber that was not handed over for so long is overdue: its invocation of `notify` may have been lost.
OVERDUE_AFTER = timedelta(seconds=10)


@dataclass(frozen=True)
class Subscriber:
    """A connection and its writer: `notify` while `live_after` is None, then the publisher.

    `notify` resumes after event `sent_through`; the publisher posts every event after `live_after`. `generation` rises
    whenever the writer changes back to `notify`, which voids a handover decided before. `page` is where the subscriber
    is stored: 0 is the order's own journal item, others are items of their own, used when page 0 is full.
    `replayed_at`: when the client last asked for a replay.
    """

    order_id: UUID
    connection_id: str
    connected_at: datetime
    sent_through: int = 0
    generation: int = 1
    live_after: int | None = None
    page: int = 0
    replayed_at: datetime | None = None


@dataclass(frozen=True)
class Connection:
    """A socket that is open, with the orders that it watches, and the page on which it is kept for each.

    `owner` is whose it is, `key_id` the API key that it was opened with, if one was. One that is not `lasting` was
    opened for an order and has watched no other; the engine closes it when that order is over.
    """

    connection_id: str
    opened_at: datetime
    orders: Mapping[UUID, int] = field(default_factory=dict)
    owner: str = PUBLIC
    key_id: str = ""
    lasting: bool = False

    def subscriber(self, order_id: UUID) -> Subscriber:
        """Return who watches the order, of which only order, page and connection are valid."""
        return Subscriber(order_id, self.connection_id, self.opened_at, page=self.orders.get(order_id, 0))
