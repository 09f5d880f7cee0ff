"""What the running system logs, as far as a person who watches it should see it."""

import json
import re
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from order_client.display import say
from rich.console import Console

from local.errors import LocalStackError

_ENDED = ("order confirmed", "order failed", "order cancelled", "order expired")
_LAST_LINES = 3  # of a traceback: where, the code, the exception
_MARKS = re.compile(r"[ ~^]*")  # below the code, since Python 3.11
_FUNCTION = re.compile(r"-(\w+)Function-")
# What servers say before anything of ours can log: gunicorn's own lines.
_SERVERS = re.compile(r"\[(ERROR|CRITICAL)\]|^(ERROR|CRITICAL):")
_POLL_SECONDS = 0.1
# Of CloudWatch Logs Insights: how long a query may take, and how often it is asked for what it has found.
_QUERY_SECONDS = 60.0
_LOOK_SECONDS = 0.5

Line = dict[str, Any]


def lines_of(text: str) -> Iterator[Line]:
    """The JSON lines of a log; of any other line, its text as `message`."""
    for line in text.splitlines():
        try:
            parsed = json.loads(line)
        except ValueError:
            parsed = None
        yield parsed if isinstance(parsed, dict) else {"message": line}


def told_error(line: Line) -> str | None:
    """An error as a person reads it: function, order, message, and the end of its traceback. None for other lines."""
    if line.get("level") not in ("ERROR", "CRITICAL"):
        return line["message"] if _SERVERS.search(str(line.get("message"))) and "level" not in line else None
    where = f" in {function_of(line)}" if line.get("function_name") else ""
    order = f", order {line['orderId']}" if line.get("orderId") else ""
    trace = [one for one in str(line.get("exception", "")).strip().splitlines() if not _MARKS.fullmatch(one)]
    return "\n  ".join([f"error{where}{order}: {line['message']}", *trace[-_LAST_LINES:]])


def told_order(line: Line) -> str | None:
    """An order that ended, in one line. None for other lines."""
    if line.get("message") not in _ENDED or "pair" not in line:
        return None
    sold, _, bought = line["pair"].partition("/")
    if line["message"] == "order confirmed":
        outcome = f"{line['amountOut']} {bought} on {line['venue']} at {line['executedPrice']}"
    elif line["message"] == "order cancelled":
        outcome = bought
    else:
        outcome = f"{bought}: {line['code']}, {line['error']}"
    status = line["message"].removeprefix("order ")
    return f"{status:<9}  {line['orderId']}  {line['amountIn']} {sold} for {outcome}  ({line['seconds']:.1f} s)"


def function_of(line: Line) -> str:
    """The folder of the function that logged a line."""
    found = _FUNCTION.search(str(line.get("function_name")))
    return re.sub(r"(?<!^)(?=[A-Z])", "_", found[1]).lower() if found else str(line.get("function_name"))


def lines_in(logs: Any, group: str, expression: str, since: datetime, most: int, newest: bool = False) -> list[Line]:
    """The lines of a log group of CloudWatch that a regular expression fits, in the order of time: the first ones since
    a moment, or the newest. `logs` is a client. Raises LocalStackError, after a minute too."""
    query = f"fields @message | filter @message like /{expression}/ | sort @timestamp {'desc' if newest else 'asc'}"
    span = {"startTime": int(since.timestamp()), "endTime": int(datetime.now(UTC).timestamp()) + 1}
    try:
        query_id = logs.start_query(logGroupName=group, queryString=query, limit=most, **span)["queryId"]
        deadline = time.monotonic() + _QUERY_SECONDS
        while (found := logs.get_query_results(queryId=query_id))["status"] in ("Scheduled", "Running"):
            if time.monotonic() > deadline:
                logs.stop_query(queryId=query_id)
                raise LocalStackError(f"the log group {group} was not searched in {_QUERY_SECONDS:g} s")
            time.sleep(_LOOK_SECONDS)
    except (BotoCoreError, ClientError) as error:
        raise LocalStackError(f"the log group {group} can't be searched: {error}") from error
    if found["status"] != "Complete":
        raise LocalStackError(f"the search of the log group {group} ended as {found['status']}")
    rows = [{one["field"]: one["value"] for one in row} for row in found["results"]]
    texts = [row["@message"].strip() for row in (reversed(rows) if newest else rows)]
    return [line for text in texts for line in lines_of(text)]


def errors_in(lines: Iterable[Line]) -> list[str]:
    """The errors among lines, each with its time."""
    return [f"{line.get('timestamp', '')}  {told}".strip() for line in lines if (told := told_error(line))]


def last_errors(log: Path, most: int) -> list[str]:
    """The errors at the end of a log, oldest first, each with its time."""
    return errors_in(lines_of(log.read_text(errors="replace")) if log.exists() else ())[-most:]


class Echo:
    """Prints errors, and each order that ended, as they are logged, for as long as the context lasts.

    Orders only from when `besides` is set: the id of one that is displayed otherwise, or "".
    """

    def __init__(self, log: Path, console: Console) -> None:
        self.besides: str | None = None
        self._log = log
        self._console = console
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="echo", daemon=True)

    def __enter__(self) -> "Echo":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _follow(self) -> None:
        with self._log.open(errors="replace") as stream:
            partial = ""
            while not self._ended.wait(_POLL_SECONDS):
                whole, _, partial = (partial + stream.read()).rpartition("\n")
                for line in lines_of(whole):
                    self._print(line)

    def _print(self, line: Line) -> None:
        told = told_error(line)
        if not told and self.besides is not None and line.get("orderId") != self.besides:
            told = told_order(line)
        if told:
            say(told, self._console)
