"""Brings one subscriber up to date: posts the statuses it has not had, then hands it over to the publisher."""

from typing import Any

from order_engine.adapters.notify_requests import subscriber_of
from order_engine.bootstrap import Bootstrap
from order_engine.domain.errors import UnknownOrder
from order_engine.entrypoints.handler import entrypoint
from order_engine.observability import log_context, logger
from order_engine.use_cases.notify import Notifier


@entrypoint(Bootstrap.notifier)
def handler(notifier: Notifier, event: dict[str, Any], _context: object) -> dict[str, Any]:
    """The event of `adapters.notify_requests.event_for`. Raises where a repeated invocation can help."""
    subscriber = subscriber_of(event)
    with log_context(subscriber.order_id):
        try:
            notifier.notify(subscriber)
        except UnknownOrder:
            logger.warning("nothing to send: the journal has no such order")
    return {}
