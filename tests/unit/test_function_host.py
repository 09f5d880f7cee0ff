"""What hosts a function on one machine: whom it serves, and what it says of an invocation that goes wrong."""

import json
import sys
from io import BytesIO, StringIO
from typing import Any

import pytest
from gunicorn.config import Config
from order_engine.observability import logger

from local import function_host

UNKNOWN = "what-nobody-else-knows"
HEADERS = {"FUNCTION_ARN": "arn", "REQUEST_ID": "id", "DEADLINE_MS": "0"}


def echo(event: Any, _context: Any) -> Any:
    return event


def no_json(_event: Any, _context: Any) -> Any:
    return object()


def broken(_event: Any, _context: Any) -> Any:
    raise RuntimeError("a bug")


def too_slow(_event: Any, _context: Any) -> Any:
    sys.exit(1)  # as the server does it at the time limit


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    stream = StringIO()
    given = {"HOST_TOKEN": UNKNOWN, "AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(logger.registered_handler, "stream", stream)
    return stream


def invoked(handler: str, monkeypatch: pytest.MonkeyPatch, path: str = f"/{UNKNOWN}") -> tuple[str, Any]:
    """Status and body of an invocation of one of the handlers above."""
    monkeypatch.setenv("_HANDLER", f"{__name__}.{handler}")
    given = {f"HTTP_X_AMZN_LAMBDA_{name}": value for name, value in HEADERS.items()}
    statuses: list[str] = []
    body = function_host.application(
        {"PATH_INFO": path, "wsgi.input": BytesIO(b'{"an": "event"}'), **given},
        lambda status, _headers: statuses.append(status),
    )
    return statuses[0], b"".join(body)


def test_the_events_answer_is_the_response(logged: StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    status, body = invoked("echo", monkeypatch)

    assert (status, json.loads(body)) == ("200 OK", {"an": "event"})


@pytest.mark.parametrize("path", ["/", f"/{UNKNOWN}x", UNKNOWN, "/é"])
def test_nobody_is_served_without_the_path(logged: StringIO, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    assert invoked("echo", monkeypatch, path) == ("404 Not Found", b"")


@pytest.mark.parametrize(
    ("handler", "kind", "said"),
    [
        ("no_json", "TypeError", "the function failed"),
        ("broken", "RuntimeError", "the function failed"),
        ("too_slow", "SystemExit", "the function was stopped at its time limit"),
        ("missing", "AttributeError", "the function failed"),
    ],
)
def test_whatever_goes_wrong_is_logged_and_a_500(
    logged: StringIO, monkeypatch: pytest.MonkeyPatch, handler: str, kind: str, said: str
) -> None:
    status, body = invoked(handler, monkeypatch)

    line = json.loads(logged.getvalue())
    assert (status, json.loads(body)["errorType"]) == ("500 Internal Server Error", kind)
    assert (line["message"], line["level"], line["function_name"]) == (said, "ERROR", "f")
    assert UNKNOWN not in logged.getvalue()
    if handler == "too_slow":
        assert "sys.exit(1)" in line["exception"]


def test_the_servers_log_of_an_exception_has_no_path(capsys: pytest.CaptureFixture[str]) -> None:
    server = function_host.logger_class(Config())

    try:
        raise ValueError("a reason")
    except ValueError:
        server.exception("Error handling request %s %s", "POST", f"/{UNKNOWN}")

    written = capsys.readouterr().err
    assert "ValueError: a reason" in written
    assert UNKNOWN not in written
