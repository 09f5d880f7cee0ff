"""What an operator does to a stack by its name: `--stack`, with the credentials and the endpoint of AWS' tools."""

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from order_engine.use_cases.pause import CACHE_SECONDS

from local import operate, pause
from local.deploy import STACK
from local.deployment import Deployment
from local.errors import LocalStackError
from tests.e2e.system import FIVE, PATIENCE_SECONDS, System, an_order, statuses, wait_for
from tests.e2e.test_cancelling import ask, shown
from tests.e2e.test_requests import problem_of
from tests.e2e.test_resting_orders import resting
from tests.e2e.test_times_in_force import soon
from tests.support.guides import commands_of, parameters_of
from tests.support.operations import poll

LOCAL = ("cloudformation", "dynamodb", "lambda", "logs", "sqs")


@pytest.fixture
def named(system: System, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    """The system as AWS' tools reach it; it runs at the end."""
    for name, value in {**system.stack.endpoints.aws, "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    yield system
    pause.resume(STACK)
    heard_by_all()


def heard_by_all() -> None:
    """Wait for as long as an environment of submit may not know of a pause, or of its end."""
    until = time.monotonic() + CACHE_SECONDS
    poll(lambda: time.monotonic() > until, PATIENCE_SECONDS)


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """What `status` says of the stack, by its lines' names."""
    capsys.readouterr()
    assert operate.status(STACK) == 0
    lines = capsys.readouterr().out.splitlines()
    return dict(re.split(r" {2,}", line, maxsplit=1) for line in lines if not line.startswith(" "))


def test_a_paused_engine_keeps_what_it_has_and_goes_on_with_it(
    named: System, capsys: pytest.CaptureFixture[str]
) -> None:
    def now(order_id: str) -> str:
        return str(shown(ask(named, "GET", order_id))["status"])

    at_rest = named.submit(resting("limit", expiresAt=soon(4)))["orderId"]
    wait_for(lambda: now(at_rest) == "open", "an order at rest")
    named.consume("route_execute", enabled=False)  # so that nobody has them
    key = str(uuid4())
    queued = [named.submit(an_order(clientOrderId=key))["orderId"], named.submit(an_order())["orderId"]]
    facts = told(capsys)
    assert (facts["paused"], facts["mappings"]) == (
        "no",
        "workers Disabled, dead letters Enabled; `resume` mends that",
    )

    for _ in range(2):  # the second time changes nothing
        assert pause.pause(STACK) == 0
    since = re.search(r"paused since (\S+ \S+) UTC by (\S+): POSTs", capsys.readouterr().out)
    assert since
    facts = told(capsys)
    assert facts["paused"] == f"since {since[1]} UTC by {since[2]}"
    assert facts["mappings"] == "workers Disabled, dead letters Disabled"
    heard_by_all()
    for _ in range(5):
        refusal = named.post(json.dumps(an_order()).encode())
        problem_of(refusal, 503, "PAUSED")
        assert refusal.headers["Retry-After"] == "10"

    assert shown(ask(named, "DELETE", queued[1]))["status"] == "cancelled"
    expired_at = datetime.fromisoformat(shown(ask(named, "GET", at_rest))["expiresAt"])
    waited = max((expired_at - datetime.now(UTC)).total_seconds(), 0) + 8  # the watch ends it in 6 s
    assert not poll(lambda: [now(at_rest), now(queued[0])] != ["open", "pending"], waited, every=0.5)
    assert named.query("SELECT 1 FROM orders WHERE order_id = ANY(%s::uuid[])", queued) == []

    assert pause.resume(STACK) == 0
    facts = told(capsys)
    assert (facts["paused"], facts["mappings"]) == ("no", "workers Enabled, dead letters Enabled")
    assert [named.row_of(order_id)["status"] for order_id in (*queued, at_rest)] == [
        *("confirmed", "cancelled", "expired")
    ]
    heard_by_all()
    assert named.submit(an_order(clientOrderId=key))["orderId"] == queued[0]
    assert statuses(named.life_of(an_order())) == FIVE


def test_a_repeated_resume_changes_nothing(named: System, capsys: pytest.CaptureFixture[str]) -> None:
    assert (pause.resume(STACK), pause.resume(STACK)) == (0, 0)

    assert told(capsys)["paused"] == "no"


def test_status_of_a_stack_by_its_name(named: System, capsys: pytest.CaptureFixture[str]) -> None:
    resting_id = named.submit(resting("stop"))["orderId"]
    named.row_of(named.life_of(an_order())[0]["orderId"])
    wait_for(lambda: shown(ask(named, "GET", resting_id))["status"] == "open", "an order at rest")
    log_lines(named, {"level": "ERROR", "message": "the journal did not respond", "timestamp": "2026-11-23"})

    assert operate.status(STACK) == 0

    said = capsys.readouterr().out
    facts = dict(re.split(r" {2,}", line, maxsplit=1) for line in said.splitlines() if not line.startswith(" "))
    assert facts["HTTP"] == named.stack.endpoints.http + "/api/orders/execute"
    assert re.fullmatch(r"\d+, \d+ open(, .*)?", facts["not closed"])
    assert facts["owed rows"] == "0"
    assert facts["history"].startswith("not looked up: it is reached from inside the VPC alone")
    assert "error: the journal did not respond" in said
    shown(ask(named, "DELETE", resting_id))


def test_the_story_of_an_order_of_a_stack_by_its_name(named: System, capsys: pytest.CaptureFixture[str]) -> None:
    order_id = named.life_of(an_order())[0]["orderId"]
    stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S,%f")[:-3] + "+0000"
    line = {"level": "INFO", "message": "order routed", "timestamp": stamp, "orderId": order_id, "venue": "raydium"}
    log_lines(named, {**line, "function_name": f"{STACK}-RouteExecuteFunction-1A2B"}, {**line, "orderId": "another"})

    assert operate.show(order_id, STACK) == 0

    story = capsys.readouterr().out.splitlines()
    assert story[0].startswith("terms    ")
    assert [text.split("  ")[2].split(":")[0] for text in story if "  journal  " in text] == [
        f"{number} {status}" for number, status in enumerate(FIVE, 1)
    ]
    assert [text.split("  ", 1)[1] for text in story if "  log  " in text] == [
        'log      route_execute: INFO order routed {"venue": "raydium"}'
    ]
    assert story[-1].startswith("row      not looked up: it is reached from inside the VPC alone")


def test_what_is_not_there_is_told_in_one_line(named: System) -> None:
    with pytest.raises(LocalStackError, match="the journal has no order"):
        operate.show(str(uuid4()), STACK)
    for work in (operate.status, pause.pause, pause.resume):
        with pytest.raises(LocalStackError, match="the stack nope can't be looked up"):
            work("nope")
    assert not pause.pauses(Deployment.of(named.stack.endpoints)).read()


def test_the_command_lines_of_the_guide_work(named: System) -> None:
    """Those with a local part, in the guide's order: what one prints the next ones are given. (MiniStack moves no
    messages from queue to queue.)"""
    outputs, order_id = named.stack.outputs, named.life_of(an_order())[0]["orderId"]
    [mapping] = named.functions.list_event_source_mappings(FunctionName=outputs["DeadLettersFunctionName"])[
        "EventSourceMappings"
    ]
    now = int(time.time())
    given = {
        "DEAD_LETTERS_QUEUE_NAME": outputs["DeadLettersQueueName"],
        "DEAD_LETTERS_QUEUE_ARN": named.queue("DeadLettersQueueUrl")["QueueArn"],
        "ORDERS_QUEUE_ARN": named.queue("OrdersQueueUrl")["QueueArn"],
        "JOURNAL_TABLE": outputs["JournalTableName"],
        "ORDER_ID": order_id,
        "UUID_OF_DEAD_LETTERS_MAPPING": mapping["UUID"],
        "FUNCTION": outputs["DeadLettersFunctionName"],
        "URL": outputs["OrdersQueueUrl"],
        "/aws/lambda/order-engine": outputs["FunctionsLogName"],
        "$(date -d '-1 day' +%s)": str(now - 86_400),
        "$(date +%s)": str(now),
    }
    ran = []
    for command in commands_of("operations.md"):
        if command.options and command.service in LOCAL and "message-move-task" not in command.operation:
            given["…"] = given["DEAD_LETTERS_QUEUE_ARN"] if command.service == "sqs" else mapping["UUID"]
            call = getattr(named.stack.gateway.client(command.service), command.operation.replace("-", "_"))
            answer = call(**parameters_of(command, given))
            ran.append(command.operation)
            given |= {"$QUEUE": answer.get("QueueUrl", given.get("$QUEUE", ""))}
            given |= {"$ID": answer.get("queryId", given.get("$ID", ""))}
            if command.operation == "get-item":
                assert answer["Item"]["status"] == {"S": "confirmed"}

    assert {"describe-stacks", "receive-message", "get-item", "get-query-results"} < {*ran}
    assert ran.count("update-event-source-mapping") == 2
    assert named.functions.get_event_source_mapping(UUID=mapping["UUID"])["State"] == "Enabled"


def log_lines(system: System, *lines: dict[str, str]) -> None:
    """Write to the log group of the functions, as Lambda does on AWS; here their lines are in a file."""
    logs, group, stream = system.stack.gateway.client("logs"), system.stack.outputs["FunctionsLogName"], str(uuid4())
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    now = int(datetime.now(UTC).timestamp() * 1000)
    events = [{"timestamp": now, "message": json.dumps(line, separators=(",", ":")) + "\n"} for line in lines]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
