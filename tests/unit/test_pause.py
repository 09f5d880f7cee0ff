"""Pausing a stack on AWS, where a mapping takes its time to be enabled or disabled."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local import pause
from local.deployment import Deployment
from local.errors import LocalStackError


class Lambda:
    """Mappings that change their state as Lambda's do: asked twice they are still on their way, and can't be changed
    until they have arrived."""

    def __init__(self, *states: str) -> None:
        self.states = dict(enumerate(states))
        self.updated: list[tuple[int, bool]] = []
        self._under_way: dict[int, Iterator[str]] = {}

    def list_event_source_mappings(self, EventSourceArn: str) -> dict[str, Any]:  # noqa: N803 - as in the SDK
        for uuid, coming in self._under_way.items():
            self.states[uuid] = next(coming, self.states[uuid])
        mapped = {"arn of orders": [0], "arn of dead letters": [1]}[EventSourceArn]
        return {"EventSourceMappings": [{"UUID": uuid, "State": self.states[uuid]} for uuid in mapped]}

    def update_event_source_mapping(self, UUID: int, Enabled: bool) -> None:  # noqa: N803
        assert self.states[UUID] in ("Enabled", "Disabled"), "ResourceInUseException"
        self.updated.append((UUID, Enabled))
        on_the_way = ["Enabling", "Enabled"] if Enabled else ["Disabling", "Disabled"]
        self.states[UUID], self._under_way[UUID] = on_the_way[0], iter([on_the_way[0], *on_the_way])

    def invoke(self, **_request: object) -> None:
        """The first watch."""


class Queues:
    def get_queue_attributes(self, QueueUrl: str, AttributeNames: list[str]) -> dict[str, Any]:  # noqa: N803
        return {"Attributes": {AttributeNames[0]: f"arn of {QueueUrl}"}}


class Notes:
    """The table that has the note, with a colleague who does something whenever it was read or changed."""

    def __init__(self, colleague: Callable[["Notes"], None]) -> None:
        self.note: dict[str, Any] | None = None
        self._colleague = colleague

    def update_item(self, **_request: object) -> dict[str, Any]:
        self.note = {"since": {"S": "2026-11-23T12:00:00+00:00"}, "by": {"S": "somebody"}}
        self._colleague(self)
        return {"Attributes": {"since": {"S": "2026-11-23T12:00:00+00:00"}, "by": {"S": "somebody"}}}

    def delete_item(self, **_request: object) -> None:
        self.note = None
        self._colleague(self)

    def get_item(self, **_request: object) -> dict[str, Any]:
        return {"Item": self.note} if self.note else {}


def stack_with(functions: Lambda, notes: Notes | None = None) -> Deployment:
    clients = {"lambda": functions, "sqs": Queues(), "dynamodb": notes}
    outputs = {"OrdersQueueUrl": "orders", "DeadLettersQueueUrl": "dead letters", "WatchTableName": "watched"}
    outputs["WatchMarketFunctionName"] = "watch_market"
    return Deployment(outputs, lambda service: clients[service], "somebody")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pause, "_POLL_SECONDS", 0)


@pytest.mark.parametrize("enabled", [False, True])
@pytest.mark.parametrize("states", [("Enabled", "Disabled"), ("Disabling", "Enabling"), ("Updating", "Enabled")])
def test_it_waits_until_every_mapping_is_as_it_should_be(states: tuple[str, str], enabled: bool) -> None:
    functions = Lambda(*states)
    functions._under_way = {
        uuid: iter([state, state, "Disabled" if state == "Disabling" else "Enabled"])
        for uuid, state in enumerate(states)
        if state.endswith("ing")
    }

    pause._switch(stack_with(functions), enabled)

    assert set(functions.states.values()) == {"Enabled" if enabled else "Disabled"}
    assert len(set(functions.updated)) == len(functions.updated)  # none is changed while it changes


def test_a_mapping_that_does_not_change_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pause, "_SWITCH_SECONDS", 0.05)
    functions = Lambda("Deleting", "Disabled")
    monkeypatch.setattr(functions, "_under_way", NothingArrives())

    with pytest.raises(LocalStackError, match=r"not Enabled after 0\.05 s: 0 Deleting, 1 Enabling; do it again"):
        pause._switch(stack_with(functions), enabled=True)


def test_a_pause_that_somebody_ends_meanwhile_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = Notes(lambda notes: setattr(notes, "note", None))
    monkeypatch.setattr(Deployment, "named", lambda _stack: stack_with(Lambda("Enabled", "Enabled"), notes))

    with pytest.raises(LocalStackError, match="somebody has resumed the engine meanwhile"):
        pause.pause(None)


def test_workers_work_after_resume_though_a_pause_began_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    functions = Lambda("Enabled", "Disabled")
    notes = Notes(lambda _notes: functions.states.update({0: "Disabled"}))
    monkeypatch.setattr(Deployment, "named", lambda _stack: stack_with(functions, notes))

    pause.resume(None)

    assert set(functions.states.values()) == {"Enabled"}


class NothingArrives(dict[int, Iterator[str]]):
    def items(self) -> Any:
        return ()
