"""A WebSocket connection that watches an order."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

# A 410 on a connection younger than this means "not connected yet": API Gateway refuses posts while $connect runs. So
# it is longer than ws_connect may take. On an older one it means "gone".
CONNECTING = timedelta(seconds=20)


@dataclass(frozen=True)
class Subscriber:
    """A connection and its writer: `notify` while `live_after` is None, then the publisher.

    `notify` resumes after event `sent_through`; the publisher posts every event after `live_after`. `generation` rises
    whenever the writer changes back to `notify`, which voids a handover decided before. `page` is where the subscriber
    is stored: 0 is the order's own journal item, others are items of their own, used when page 0 is full.
    """

    order_id: UUID
    connection_id: str
    connected_at: datetime
    sent_through: int = 0
    generation: int = 1
    live_after: int | None = None
    page: int = 0
