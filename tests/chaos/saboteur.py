"""Carries out the plan's faults on a running stack. All of it in the main thread: PostgreSQL ends with the thread that
starts it."""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

import psutil

from local.stack import LocalStack
from tests.chaos import hosting
from tests.chaos.faults import Fault
from tests.chaos.relay import MODES, Relay

_FUNCTIONS = {
    "route_execute": "RouteExecuteFunctionName",
    "notify": "NotifyFunctionName",
    "submit": "SubmitFunctionName",
    "ws_connect": "WsConnectFunctionName",
}
_RECENT = 30  # among so many of the newest orders duplicates choose


class Saboteur:
    """Does harm, and counts it: `done` by the fault's name, `poison` the bodies that no worker can use."""

    def __init__(self, stack: LocalStack, relay: Relay, accepted: Sequence[str]) -> None:
        self.done: Counter[str] = Counter()
        self.poison: list[str] = []
        self._stack = stack
        self._relay = relay
        self._accepted = accepted
        self._sqs = stack.gateway.client("sqs")
        self._actions: dict[str, Callable[[Fault], None]] = {
            "kill": self._kill,
            "stop": self._stop_postgres,
            "start": lambda _: stack.postgres.start(),
            "pause": self._pause_postgres,
            "resume": lambda _: stack.postgres.resume(),
            "duplicate": self._duplicate,
            "poison": self._poison,
            "dead-letter": self._dead_letter,
            **dict.fromkeys(MODES, self._disturb),
        }

    def run(self, faults: Sequence[Fault], begun: float, show: Callable[[str], None]) -> None:
        """Does each fault at its time after `begun` (monotonic)."""
        for fault in faults:
            time.sleep(max(0.0, fault.at - (time.monotonic() - begun)))
            self._actions[fault.kind](fault)
            show(f"{sum(self.done.values())} faults")

    def _kill(self, fault: Fault) -> None:
        victims = sorted(hosting.workers(self._stack.outputs[_FUNCTIONS[fault.target]]), key=lambda one: one.pid)
        first = int(fault.choice * len(victims))
        for victim in (victims * 2)[first : first + min(fault.many, len(victims))]:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
                self.done[f"{fault.target} workers killed"] += 1

    def _stop_postgres(self, _fault: Fault) -> None:
        self._stack.postgres.stop()
        self.done["PostgreSQL stopped and started"] += 1

    def _pause_postgres(self, _fault: Fault) -> None:
        self._stack.postgres.pause()
        self.done["PostgreSQL suspended and resumed"] += 1

    def _disturb(self, fault: Fault) -> None:
        self._relay.disturb(fault.target, fault.kind, fault.choice, fault.seconds)

    def _duplicate(self, fault: Fault) -> None:
        if order_id := self._recent(fault.choice):
            self._send("OrdersQueueUrl", json.dumps({"orderId": order_id}))
            self.done["messages delivered twice"] += 1

    def _poison(self, fault: Fault) -> None:
        self._send("OrdersQueueUrl", fault.target)
        self.poison.append(fault.target)
        self.done["poison messages"] += 1

    def _dead_letter(self, fault: Fault) -> None:
        """As if the order's message had been received once too often, while another one is under way."""
        if order_id := self._recent(fault.choice):
            self._send("DeadLettersQueueUrl", json.dumps({"orderId": order_id}))
            self.done["dead letters of real orders"] += 1

    def _recent(self, choice: float) -> str | None:
        recent = list(self._accepted[-_RECENT:])
        return recent[int(choice * len(recent))] if recent else None

    def _send(self, queue: str, body: str) -> None:
        self._sqs.send_message(QueueUrl=self._stack.outputs[queue], MessageBody=body)
