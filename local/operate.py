"""What an operator does: look at all of a stack or at one order; of the running one, query the history, and stop it."""

import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

import psycopg
from botocore.exceptions import BotoCoreError, ClientError
from order_client.display import say
from order_engine.adapters.journal.item import is_set, key_of, record_of
from order_engine.adapters.journal.live import DynamoLiveOrders
from order_engine.domain.errors import ServiceUnavailable
from order_engine.domain.lifecycle import FINAL
from order_engine.domain.record import OrderRecord
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row

from local.deployment import Deployment
from local.errors import LocalStackError
from local.log import Line, errors_in, function_of, last_errors, lines_in, lines_of
from local.order import parse_order_id
from local.pause import pause_told
from local.postgres import programs
from local.stack import PATH, STATE, Endpoints, holder, running

_STOP_SECONDS = 20
_POLL_SECONDS = 0.05
_LOG = STATE / "stack.log"
# On AWS: so many orders are read to tell what is under way, and so many log lines of one order.
_MOST_ORDERS = 1000
_MOST_LINES = 1000
_ERRORS = '"level":"(ERROR|CRITICAL)"'  # as the functions' log lines have it
_OUT_OF_REACH = "it is reached from inside the VPC alone (docs/deploy.md)"
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
    where = Deployment.of(running())
    try:
        answer = where.client("lambda").invoke(
            FunctionName=where.outputs["LaunchFunctionName"], Payload=json.dumps({"token": token.upper()})
        )
    except (BotoCoreError, ClientError) as error:
        raise LocalStackError(f"MiniStack does not respond: {error}") from error
    said = json.loads(answer["Payload"].read())
    if "opensAt" not in said:
        wrong = [f"{one['field']} {one['message']}" for one in said.get("errors", [])]
        raise LocalStackError("; ".join(wrong) or str(said))
    say(f"{said['token']} can be traded since {said['opensAt']}")
    return 0


def status(stack: str | None) -> int:
    """Print where a stack is reached, what it is at, and the last errors that were logged; of a large journal on AWS
    only what is under way. Raises LocalStackError."""
    where = Deployment.named(stack)
    try:
        waiting, dead = _messages(where, "OrdersQueueUrl"), _messages(where, "DeadLettersQueueUrl")
        facts = {
            **({"process": str(where.local.pid)} if where.local else {}),
            "HTTP": where.outputs["HttpUrl"] + PATH,
            "WebSocket": where.local.websocket if where.local else where.outputs["WebSocketUrl"],
            **pause_told(where),
            **(_orders_of_all_times(where, where.local) if where.local else _orders_under_way(where)),
            "queue": f"{waiting['']} waiting, {waiting['NotVisible']} in flight, {waiting['Delayed']} delayed",
            "dead letters": str(sum(dead.values())),
        }
    except (ServiceUnavailable, BotoCoreError, ClientError) as error:
        raise LocalStackError(f"the stack does not respond: {error}") from error
    errors = last_errors(_LOG, most=3) if where.local else _errors_of_an_hour(where)
    for name, value in {**facts, "last errors": "" if errors else "none"}.items():
        say(f"{name:<13} {value}")
    for one in errors:
        say(f"  {one}")
    return 0


def show(order: str, stack: str | None) -> int:
    """Print an order's whole story: its terms, journal and log in the order of time, and its rows in PostgreSQL, which
    is out of reach on AWS.

    Raises LocalStackError if there is no such order."""
    where = Deployment.named(stack)
    order_id = parse_order_id(order)
    try:
        journal = where.client("dynamodb")
        item = journal.get_item(TableName=where.outputs["JournalTableName"], Key=key_of(order_id)).get("Item")
        rows = _rows(where.local, "SELECT * FROM orders WHERE order_id = %s", order_id) if where.local else []
    except (BotoCoreError, ClientError, psycopg.Error) as error:
        raise LocalStackError(f"the stack does not respond: {error}") from error
    if not item and not rows:
        raise LocalStackError(
            f"neither the journal nor the history has an order {order_id}"
            if where.local
            else f"the journal has no order {order_id}; PostgreSQL may, and {_OUT_OF_REACH}"
        )
    record = record_of(item) if item else None
    story = [*_journaled(record)] if record else []
    told = lines_of(_LOG.read_text(errors="replace")) if where.local else _lines_about(where, order_id, record)
    story += [logged for line in told for logged in _logged(line, str(order_id))]
    if record:
        terms = json.loads(record.order.model_dump_json(by_alias=True, exclude_none=True))
        say("terms    " + ", ".join(f"{name} {value}" for name, value in terms.items()))
    for moment, text in sorted(story):
        say(f"{moment:%H:%M:%S.%f}"[:-3] + f"  {text}")
    for row in rows:
        given = {name: json.dumps(value) if isinstance(value, list) else value for name, value in row.items()}
        say("row      " + ", ".join(f"{name} {value}" for name, value in given.items() if value is not None))
    if not rows:
        say("row      none yet" if where.local else f"row      not looked up: {_OUT_OF_REACH}")
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


def _orders_of_all_times(where: Deployment, stack: Endpoints) -> dict[str, str]:
    """What the journal of one machine has, all of it, and PostgreSQL."""
    scan = where.client("dynamodb").get_paginator("scan")
    pages = scan.paginate(TableName=where.outputs["JournalTableName"], ConsistentRead=True)
    items = [item for page in pages for item in page["Items"]]
    by_status = Counter(item["status"]["S"] for item in items)
    try:
        [counted] = _rows(stack, "SELECT count(*) AS orders FROM orders")
        rows = f"{counted['orders']} rows"
    except psycopg.Error as error:
        rows = f"PostgreSQL does not respond: {error}"
    return {
        "orders": f"{len(items)}" + "".join(f", {number} {one}" for one, number in by_status.most_common()),
        "history": rows,
        "owed rows": str(sum(item["status"]["S"] in FINAL and not is_set(item, "closed") for item in items)),
    }


def _orders_under_way(where: Deployment) -> dict[str, str]:
    """What the index of orders that are not closed has, as far as _MOST_ORDERS go."""
    found = DynamoLiveOrders(where.client("dynamodb"), where.outputs["JournalTableName"]).some(_MOST_ORDERS)
    by_status = Counter(str(record.status) for record in found if not record.is_final)
    more = " or more: what follows is of so many" if len(found) == _MOST_ORDERS else ""
    return {
        "not closed": f"{len(found)}{more}" + "".join(f", {number} {one}" for one, number in by_status.most_common()),
        "history": f"not looked up: {_OUT_OF_REACH}",
        "owed rows": str(sum(record.is_final for record in found)),
    }


def _errors_of_an_hour(where: Deployment) -> list[str]:
    logs, since = where.client("logs"), datetime.now(UTC) - timedelta(hours=1)
    try:
        return errors_in(lines_in(logs, where.outputs["FunctionsLogName"], _ERRORS, since, 3, newest=True))
    except LocalStackError as error:
        return [str(error)]


def _lines_about(where: Deployment, order_id: UUID, record: OrderRecord | None) -> list[Line]:
    since = record.order.created_at if record else datetime.now(UTC)
    try:
        lines = lines_in(where.client("logs"), where.outputs["FunctionsLogName"], str(order_id), since, _MOST_LINES)
    except LocalStackError as error:
        say(f"log      {error}")
        return []
    if len(lines) == _MOST_LINES:
        say(f"log      the first {_MOST_LINES} lines alone")
    return lines


def _messages(where: Deployment, queue: str) -> dict[str, int]:
    """How many messages a queue has, by what they are in: "" (they wait), NotVisible (a worker has them), Delayed."""
    sqs, name = where.client("sqs"), "ApproximateNumberOfMessages"
    given = sqs.get_queue_attributes(QueueUrl=where.outputs[queue], AttributeNames=["All"])["Attributes"]
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
