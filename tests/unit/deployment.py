"""What the tests of the use cases have in common: the engine over services in memory, with one order in the journal."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from order_engine.domain.record import OrderRecord
from order_engine.domain.subscriber import Subscriber

from tests.doubles.gate import Gate, Troubles
from tests.doubles.platform import Platform
from tests.doubles.services import Socket
from tests.doubles.tables import OrderItem, Page, Tables
from tests.doubles.timeline import Timeline
from tests.support.builders import a_record, a_subscriber

R = TypeVar("R")


class Deployment:
    """Messages and requests for notify are only kept."""

    def __init__(self, record: OrderRecord | None = None, tables: Tables | None = None, **platform: Any) -> None:
        record, self.troubles = record or a_record(), Troubles()
        gate = Gate(Timeline(record.last.timestamp), self.troubles)
        self.platform = Platform(gate, tables=tables or Tables(), by_hand=True, **platform)
        self.timeline, self.order_id = gate.timeline, record.order.order_id
        self.item = self.platform.tables.orders[self.order_id] = OrderItem(record)

    def run(self, work: Callable[[], R], function: str = "notify") -> R:
        """Do something in an invocation of a function; return what it returns, or raise what it raises."""
        ended: list[R | BaseException | None] = []
        self.platform.invoke(function, lambda: ended.append(work()), ended.append)
        self.timeline.run()
        if isinstance(ended[0], BaseException):
            raise ended[0]
        return cast(R, ended[0])

    def watch(self, name: str, page: int = 0, **changes: Any) -> Socket:
        """Keep a subscriber, as `changes` say, and open its socket."""
        one = a_subscriber(self.order_id, name, **{"connected_at": self.timeline(), "page": page, **changes})
        self.item.crowded |= page > 0
        further = self.platform.tables.further.setdefault(self.order_id, {})
        (further.setdefault(page, Page()) if page else self.item).subscribers[name] = one
        socket = self.platform.sockets[name] = Socket()
        return socket

    @property
    def kept(self) -> dict[str, Subscriber]:
        """Whoever watches, by connection."""
        return self.platform.tables.watching(self.order_id)

    @property
    def requested(self) -> list[str]:
        """For whom notify was requested."""
        return [one.connection_id for one in self.platform.notify_requests.requested]
