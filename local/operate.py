"""What an operator of the running stack does: look at all of it or at one order, query the history, stop it."""

import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NoReturn

import psycopg
from botocore.exceptions import BotoCoreError, ClientError
from order_engine.adapters.journal.item import is_set, key_of, record_of
from order_engine.domain.lifecycle import FINAL
from order_engine.domain.record import OrderRecord
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from local.client import PATH
from local.display import say
from local.errors import LocalStackError
from local.gateway import client
from local.log import Line, function_of, last_errors, lines_of
from local.order import parse_order_id
from local.postgres import programs
from local.stack import STATE, Endpoints, holder, running

_STOP_SECONDS = 20
_POLL_SECONDS = 0.05
_LOG = STATE / "stack.log"
# Of a log line, what is not the line's own matter.
_COMMON = {"level", "location", "message", "timestamp", "service", "orderId", "exception_name", "stack_trace"}
_COMMON |= {
    "cold_start",
    "function_name",
    "function_memory_size",
    "function_arn",
    "function_request_id",
    "xray_trace_id",
}


def stop() -> int:
    """Stop the stack that runs in the state folder, whoever started it; if there is none, there is nothing to do."""
    pid = holder(STATE)
    if pid is None:
        say("no local stack is running")
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while holder(STATE) == pid:
        if time.monotonic() > deadline:
            raise LocalStackError(f"process {pid} has not ended after {_STOP_SECONDS} s; 'kill -KILL {pid}' ends it")
        time.sleep(_POLL_SECONDS)
    say(f"stopped (process {pid})")
    return 0


def launch(token: str) -> int:
    """Launch a token on the mock market. Return 0 if it is launched. Raises LocalStackError if no stack responds."""
    stack = running()
    try:
        answer = client("lambda", stack.aws["AWS_ENDPOINT_URL"], stack.aws).invoke(
            FunctionName=stack.outputs["LaunchFunctionName"], Payload=json.dumps({"token": token.upper()})
        )
    except (BotoCoreError, ClientError) as error:
        raise LocalStackError(f"MiniStack does not respond: {error}") from error
    said = json.loads(answer["Payload"].read())
    if "opensAt" not in said:
        wrong = [f"{one['field']} {one['message']}" for one in said.get("errors", [])]
        raise LocalStackError("; ".join(wrong) or str(said))
    say(f"{said['token']} can be traded since {said['opensAt']}")
    return 0


def status() -> int:
    """Print where the stack is reached, what it is at, and the last errors that were logged."""
    stack = running()
    try:
        items = list(_journal(stack))
        waiting, dead = _messages(stack, "OrdersQueueUrl"), _messages(stack, "DeadLettersQueueUrl")
    except (BotoCoreError, ClientError) as error:
        raise LocalStackError(f"MiniStack does not respond: {error}") from error
    by_status = Counter(item["status"]["S"] for item in items)
    owed = sum(item["status"]["S"] in FINAL and not is_set(item, "closed") for item in items)
    try:
        [counted] = _rows(stack, "SELECT count(*) AS orders FROM orders")
        rows = f"{counted['orders']} rows"
    except psycopg.Error as error:
        rows = f"PostgreSQL does not respond: {error}"
    for name, value in {
        "process": stack.pid,
        "HTTP": stack.http + PATH,
        "WebSocket": stack.websocket,
        "orders": f"{len(items)}" + "".join(f", {number} {one}" for one, number in by_status.most_common()),
        "queue": f"{waiting['']} waiting, {waiting['NotVisible']} in flight, {waiting['Delayed']} delayed",
        "dead letters": sum(dead.values()),
        "history": rows,
        "owed rows": owed,
        "last errors": "" if (errors := last_errors(_LOG, most=3)) else "none",
    }.items():
        say(f"{name:<13} {value}")
    for one in errors:
        say(f"  {one}")
    return 0


def show(order: str) -> int:
    """Print an order's whole story: its terms, journal and log in the order of time, and its rows in PostgreSQL.

    Raises LocalStackError if there is no such order."""
    stack = running()
    order_id = parse_order_id(order)
    try:
        journal = client("dynamodb", stack.aws["AWS_ENDPOINT_URL"], stack.aws)
        item = journal.get_item(TableName=stack.outputs["JournalTableName"], Key=key_of(order_id)).get("Item")
        rows = _rows(stack, "SELECT * FROM orders WHERE order_id = %s", order_id)
    except (BotoCoreError, ClientError, psycopg.Error) as error:
        raise LocalStackError(f"the stack does not respond: {error}") from error
    if not item and not rows:
        raise LocalStackError(f"neither the journal nor the history has an order {order_id}")
    record = record_of(item) if item else None
    story = [*_journaled(record)] if record else []
    story += [told for line in lines_of(_LOG.read_text(errors="replace")) for told in _logged(line, str(order_id))]
    if record:
        terms = json.loads(record.order.model_dump_json(by_alias=True, exclude_none=True))
        say("terms    " + ", ".join(f"{name} {value}" for name, value in terms.items()))
    for moment, text in sorted(story):
        say(f"{moment:%H:%M:%S.%f}"[:-3] + f"  {text}")
    for row in rows:
        given = {name: json.dumps(value) if isinstance(value, list) else value for name, value in row.items()}
        say("row      " + ", ".join(f"{name} {value}" for name, value in given.items() if value is not None))
    if not rows:
        say("row      none yet")
    return 0


def psql(arguments: list[str]) -> NoReturn:
    """Become psql on the order history. Raises LocalStackError if there is none to run."""
    given = conninfo_to_dict(running().database)
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password", "PGDATABASE": "dbname"}
    environment = {**os.environ, **{name: str(given[key]) for name, key in names.items()}}
    bundled = programs() / "psql"
    program = str(bundled) if bundled.exists() else shutil.which("psql")
    if not program:
        raise LocalStackError("there is no psql here; the database's URL is `database` in .local/endpoints.json")
    os.execve(program, [program, "--pset=expanded=auto", *arguments], environment)


def _journal(stack: Endpoints) -> Iterator[dict[str, Any]]:
    scan = client("dynamodb", stack.aws["AWS_ENDPOINT_URL"], stack.aws).get_paginator("scan")
    for page in scan.paginate(TableName=stack.outputs["JournalTableName"], ConsistentRead=True):
        yield from page["Items"]


def _messages(stack: Endpoints, queue: str) -> dict[str, int]:
    """How many messages a queue has, by what they are in: "" (they wait), NotVisible (a worker has them), Delayed."""
    sqs, name = client("sqs", stack.aws["AWS_ENDPOINT_URL"], stack.aws), "ApproximateNumberOfMessages"
    given = sqs.get_queue_attributes(QueueUrl=stack.outputs[queue], AttributeNames=["All"])["Attributes"]
    return {state: int(given[name + state]) for state in ("", "NotVisible", "Delayed")}


def _rows(stack: Endpoints, statement: str, *arguments: object) -> list[dict[str, Any]]:
    with psycopg.connect(stack.database, connect_timeout=5, row_factory=dict_row) as connection:
        return connection.execute(statement.encode(), arguments).fetchall()


def _journaled(record: OrderRecord) -> Iterator[tuple[datetime, str]]:
    for event in record.events:
        yield event.timestamp, f"journal  {event.sequence} {event.status}: {event.message}"


def _logged(line: Line, order_id: str) -> Iterator[tuple[datetime, str]]:
    if line.get("orderId") == order_id and "timestamp" in line:
        moment = datetime.strptime(line["timestamp"], "%Y-%m-%d %H:%M:%S,%f%z").astimezone(UTC)
        extras = {name: value for name, value in line.items() if name not in _COMMON}
        yield moment, f"log      {function_of(line)}: {line['level']} {line['message']} {json.dumps(extras)}"
