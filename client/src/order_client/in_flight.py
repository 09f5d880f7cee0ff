"""The orders that the command has submitted and whose end it has not seen: what it leaves behind when it is stopped."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from order_client.errors import OrderEngineError

_MOST_NAMED = 10


class InFlight:
    """Orders in flight by clientOrderId, with their orderIds where these are known."""

    def __init__(self) -> None:
        self._order_ids: dict[str, str | None] = {}

    @contextmanager
    def order(self, client_order_id: str) -> Iterator[None]:
        """An order that is in flight within this context. It stays so if the context is left by an interruption; an
        error of the engine tells what there is to know."""
        self._order_ids[client_order_id] = None
        try:
            yield
        except OrderEngineError:
            del self._order_ids[client_order_id]
            raise
        del self._order_ids[client_order_id]

    def accepted(self, client_order_id: str, order_id: str) -> None:
        """Keep the orderId of an order in flight."""
        self._order_ids[client_order_id] = order_id

    def lines(self) -> list[str]:
        """What to tell people of them: nothing, a line, or a line for each of the first ten below their number."""
        match [*self._order_ids.items()]:
            case []:
                return []
            case [(client_order_id, None)]:
                return [f"the order with clientOrderId {client_order_id} may have been placed, and may be executed"]
            case [(client_order_id, order_id)]:
                return [f"order {order_id} (clientOrderId {client_order_id}) may still be executed"]
        lines = [f"{len(self._order_ids)} orders were in flight and may be executed:"]
        for client_order_id, order_id in islice(self._order_ids.items(), _MOST_NAMED):
            lines.append(f"  clientOrderId {client_order_id}" + (f", order {order_id}" if order_id else ""))
        others = len(self._order_ids) - _MOST_NAMED
        return lines + ([f"  and {others} more"] if others > 0 else [])
