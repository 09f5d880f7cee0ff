"""What every function's handler has around it."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from order_engine import limits
from order_engine.observability import logger, metrics

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

# Kept for writing metrics and returning the response.
_LAST_SECONDS = 0.3


def entrypoint(handle: Handler) -> Handler:
    """Logs with the invocation's context, writes its metrics, and lets no call to the outside begin which could outlast
    the function's time limit."""

    @logger.inject_lambda_context(clear_state=True)
    @metrics.log_metrics
    @wraps(handle)
    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        with limits.invocation(lambda: context.get_remaining_time_in_millis() / 1000 - _LAST_SECONDS):
            return handle(event, context)

    return handler
