"""Runs one Lambda function as a WSGI application: each worker process of the server is one execution environment.

Started by `local.hosts`, as `gunicorn --config python:local.function_host local.function_host:application`: this
module is both the configuration (by its lower-case names that are settings of gunicorn) and the application.
"""

import hmac
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import Any

from gunicorn.glogging import Logger
from order_engine.observability import logger

reload = os.environ.get("RELOAD") == "1"  # a worker that finds its code changed is replaced
preload_app = not reload  # the function is imported once, and its workers are forked from that
worker_class = "sync"  # one invocation at a time in a worker; more wait in the socket's backlog
graceful_timeout = 1
control_socket_disable = True  # all hosts would share one
loglevel = "warning"


class logger_class(Logger):  # type: ignore[misc]  # noqa: N801 - gunicorn's setting of that name
    """Says whose line it is, and leaves out what gunicorn would add to an exception: the path of the request."""

    error_fmt = f"[%(asctime)s] [%(process)d] [%(levelname)s] {os.environ.get('AWS_LAMBDA_FUNCTION_NAME')}: %(message)s"

    def exception(self, _msg: str, *_arguments: object, **named: Any) -> None:
        """Log an exception without what was asked for."""
        super().exception("a request failed", **named)


@dataclass(frozen=True)
class Context:
    """What the function is told about its invocation, as by Lambda."""

    function_name: str
    memory_limit_in_mb: int
    invoked_function_arn: str
    aws_request_id: str
    deadline_ms: int

    def get_remaining_time_in_millis(self) -> int:
        """Until Lambda would stop the function."""
        return max(0, self.deadline_ms - int(time.time() * 1000))


def _handler() -> Callable[[Any, Context], Any]:
    module, _, name = os.environ["_HANDLER"].rpartition(".")
    handler: Callable[[Any, Context], Any] = getattr(import_module(module), name)
    return handler


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """One invocation: the event is the request's body, the result the response's. A raised error is logged, and a 500.

    Only whoever knows the path is served: every user of this machine reaches the port, and so does a web page.
    """
    if not hmac.compare_digest(environ["PATH_INFO"].encode("latin-1"), f"/{os.environ['HOST_TOKEN']}".encode()):
        start_response("404 Not Found", [])
        return []
    status, result = _invoke(environ)
    start_response(status, [("Content-Type", "application/json")])
    return [result.encode()]


def _invoke(environ: dict[str, Any]) -> tuple[str, str]:
    """Status and body of the response. Whatever is raised is logged here: gunicorn would log the path too."""
    function = {"function_name": os.environ["AWS_LAMBDA_FUNCTION_NAME"]}
    try:
        return "200 OK", json.dumps(_handler()(json.loads(environ["wsgi.input"].read()), _context(environ)))
    except SystemExit as stopped:  # raised where the handler is, when its time limit is over
        logger.error("the function was stopped at its time limit", extra=function, exc_info=_in_ours(stopped))
        error: BaseException = stopped
    except BaseException as raised:  # noqa: BLE001 - as Lambda does
        logger.exception("the function failed", extra=function)
        error = raised
    return "500 Internal Server Error", json.dumps({"errorType": type(error).__name__, "errorMessage": str(error)})


def _in_ours(stopped: SystemExit) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    """What to log of a stop: where the handler was, without the server's signal handler."""
    frames = list(_frames(stopped.__traceback__))
    while len(frames) > 1 and "gunicorn" in frames[-1].tb_frame.f_code.co_filename:
        frames.pop()
        frames[-1].tb_next = None
    return TimeoutError, TimeoutError("the time limit is over"), frames[0] if frames else None


def _frames(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace:
        yield trace
        trace = trace.tb_next


def _context(environ: dict[str, Any]) -> Context:
    return Context(
        function_name=os.environ["AWS_LAMBDA_FUNCTION_NAME"],
        memory_limit_in_mb=int(os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]),
        invoked_function_arn=environ["HTTP_X_AMZN_LAMBDA_FUNCTION_ARN"],
        aws_request_id=environ["HTTP_X_AMZN_LAMBDA_REQUEST_ID"],
        deadline_ms=int(environ["HTTP_X_AMZN_LAMBDA_DEADLINE_MS"]),
    )


def on_starting(_server: object) -> None:
    """gunicorn's hook, before it forks: import the function and build its use case, once for all workers."""
    if preload_app:
        getattr(_handler(), "use_case", None)
