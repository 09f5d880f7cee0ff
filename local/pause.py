"""An operator halts the engine and has it go on: on the running stack, or on a deployed one by its name.

While it is paused, POSTs are refused and nobody looks at the market, because both read the pause; the workers rest,
because their queues' mappings are disabled. What is queued stays queued.
"""

import time
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from order_client.display import say
from order_engine.adapters.pause import DynamoPauses
from order_engine.domain.errors import ServiceUnavailable
from order_engine.ports import Pause

from local.deployment import Deployment
from local.errors import LocalStackError

# By the output that has its URL, whose messages a queue has.
_QUEUES = {"workers": "OrdersQueueUrl", "dead letters": "DeadLettersQueueUrl"}
_SWITCH_SECONDS = 180  # Lambda takes up to a minute or so
_POLL_SECONDS = 0.5


def pause(stack: str | None) -> int:
    """Halt the engine; return when the workers' mappings are disabled. Repeated, it does what is left to do.

    Raises LocalStackError."""
    try:
        where = Deployment.named(stack)
        paused = pauses(where).pause(datetime.now(UTC), where.operator)
        say(f"paused {_told(paused)}: POSTs are refused in 2 s")
        _switch(where, enabled=False)
        if pauses(where).read() is None:
            raise LocalStackError("somebody has resumed the engine meanwhile: `status` says what it is at")
    except (ServiceUnavailable, BotoCoreError, ClientError) as error:
        raise LocalStackError(f"the engine is not paused, or by halves; do it again: {error}") from error
    say("the workers rest once they have done what they have begun, which takes them 20 s at the most")
    return 0


def resume(stack: str | None) -> int:
    """Have the engine go on: the workers first, then POSTs are accepted again. Raises LocalStackError."""
    try:
        where = Deployment.named(stack)
        _switch(where, enabled=True)
        pauses(where).resume()
        _switch(where, enabled=True)  # a pause that began meanwhile may have disabled them
        # The first watch; the schedule's next one comes within a minute.
        name = where.outputs["WatchMarketFunctionName"]
        where.client("lambda").invoke(FunctionName=name, Qualifier="live", InvocationType="Event", Payload=b"{}")
    except (ServiceUnavailable, BotoCoreError, ClientError) as error:
        raise LocalStackError(f"the engine is paused, or by halves; do it again: {error}") from error
    say("resumed: the workers go on, the market is watched, and POSTs are accepted in 2 s")
    return 0


def pauses(where: Deployment) -> DynamoPauses:
    """Where it is kept that the engine is paused."""
    return DynamoPauses(where.client("dynamodb"), where.outputs["WatchTableName"])


def pause_told(where: Deployment) -> dict[str, str]:
    """Whether the engine is paused, since when and by whom, and what the workers' mappings are."""
    paused, states = pauses(where).read(), {whose: mapping["State"] for whose, mapping in _mappings(where)}
    resting = {state in ("Disabled", "Disabling") for state in states.values()}
    return {
        "paused": _told(paused) if paused else "no",
        "mappings": ", ".join(f"{whose} {state}" for whose, state in states.items())
        + ("" if resting == {paused is not None} else f"; `{'pause' if paused else 'resume'}` mends that"),
    }


def _told(paused: Pause) -> str:
    return f"since {paused.since:%Y-%m-%d %H:%M:%S} UTC by {paused.by}"


def _switch(where: Deployment, enabled: bool) -> None:
    """Enable or disable each mapping, and wait until it is. Raises LocalStackError."""
    functions, wanted = where.client("lambda"), "Enabled" if enabled else "Disabled"
    deadline = time.monotonic() + _SWITCH_SECONDS
    while lacking := [mapping for _, mapping in _mappings(where) if mapping["State"] != wanted]:
        for mapping in lacking:
            if mapping["State"] in ("Enabled", "Disabled"):  # in any other state it can't be changed
                functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=enabled)
        if time.monotonic() > deadline:
            states = ", ".join(f"{mapping['UUID']} {mapping['State']}" for mapping in lacking)
            raise LocalStackError(f"not {wanted} after {_SWITCH_SECONDS} s: {states}; do it again")
        time.sleep(_POLL_SECONDS)


def _mappings(where: Deployment) -> list[tuple[str, dict[str, Any]]]:
    """The mappings by which workers get messages, each with whose it is."""
    sqs, functions, found = where.client("sqs"), where.client("lambda"), []
    for whose, output in _QUEUES.items():
        url = where.outputs[output]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        listed = functions.list_event_source_mappings(EventSourceArn=arn)["EventSourceMappings"]
        found += [(whose, mapping) for mapping in listed]
    return found
