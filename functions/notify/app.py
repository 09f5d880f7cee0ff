"""Brings one subscriber up to date: posts the statuses it has not had, then hands it to the live publisher."""

from typing import Any

from order_engine import engine
from order_engine.adapters.catch_ups import wanted_by
from order_engine.entrypoint import entrypoint
from order_engine.errors import UnknownOrder
from order_engine.observability import about, logger


@entrypoint
def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """The event of `order_engine.adapters.catch_ups.event_for`. Raises where a repeated invocation can help."""
    catch_up = engine.catch_up()
    if "warm" in event:
        return event
    wanted = wanted_by(event)
    with about(wanted.order_id):
        try:
            catch_up.bring_up_to_date(wanted)
        except UnknownOrder:
            logger.warning("nothing to send: the journal has no such order")
    return {}
