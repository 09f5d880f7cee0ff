"""The decorator of every handler."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, TypeVar

from order_engine import limits
from order_engine.bootstrap import Bootstrap
from order_engine.observability import logger, metrics

UseCase = TypeVar("UseCase")
Json = dict[str, Any]

# Kept for writing metrics and returning the response.
_LAST_SECONDS = 0.3


class Handler(Generic[UseCase]):
    """A Lambda handler: logs with the invocation's context, writes its metrics, and starts no call to the outside that
    could outlast the function's time limit.

    `use_case` is built once in each execution environment, at the first invocation or when it is first asked for.
    """

    def __init__(
        self, make: Callable[[Bootstrap], UseCase], handle: Callable[[UseCase, Json, Any], Json], bootstrap: Bootstrap
    ) -> None:
        self._make = make
        self._handle = handle
        self._bootstrap = bootstrap
        self._invoke: Callable[[Json, Any], Json] = metrics.log_metrics(self._bounded)

    @cached_property
    def use_case(self) -> UseCase:
        """What the handler translates to."""
        return self._make(self._bootstrap)

    def __call__(self, event: Json, context: Any) -> Json:
        """Handle one invocation."""
        # Powertools' `inject_lambda_context` adds ARN, memory and cold start: a third of a line, and read by nobody.
        logger.clear_state()
        logger.append_keys(function_name=context.function_name, function_request_id=context.aws_request_id)
        return self._invoke(event, context)

    def on(self, bootstrap: Bootstrap) -> "Handler[UseCase]":
        """Return the same handler over other parts."""
        return Handler(self._make, self._handle, bootstrap)

    def _bounded(self, event: Json, context: Any) -> Json:
        with limits.invocation(lambda: context.get_remaining_time_in_millis() / 1000 - _LAST_SECONDS):
            return self._handle(self.use_case, event, context)


def entrypoint(
    make: Callable[[Bootstrap], UseCase],
) -> Callable[[Callable[[UseCase, Json, Any], Json]], Handler[UseCase]]:
    """Make a handler of a function that is given its use case, the event and the context."""
    return lambda handle: Handler(make, handle, Bootstrap())
