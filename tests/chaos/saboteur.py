"""Injects a plan's faults into a running stack. In the main thread: PostgreSQL ends with the thread that starts it."""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

import psutil

from tests.chaos.plan import Fault
from tests.chaos.relay import Relay
from tests.chaos.stores import Stores

_RECENT = 30  # duplicates are of one of so many newest orders


class Saboteur:
    """Counts what it does: `done` by the fault's name, `poison` are the bodies that no worker can use."""

    def __init__(self, stores: Stores, relay: Relay, accepted: Sequence[str]) -> None:
        self.done: Counter[str] = Counter()
        self.poison: list[str] = []
        self._stores, self._relay, self._accepted = stores, relay, accepted

    def run(self, faults: Sequence[Fault], begun: float, show: Callable[[str], None]) -> None:
        """Inject each fault at its time after `begun` (monotonic)."""
        for fault in faults:
            time.sleep(max(0.0, fault.at - (time.monotonic() - begun)))
            self._inject(fault)
            show(f"{sum(self.done.values())} faults")

    def _inject(self, fault: Fault) -> None:
        postgres = self._stores.stack.postgres
        match fault.kind:
            case "kill":
                self._kill(fault)
            case "stop":
                postgres.stop()
                self.done["PostgreSQL stopped and started"] += 1
            case "start" | "resume":
                (postgres.start if fault.kind == "start" else postgres.resume)()
            case "pause":
                postgres.pause()
                self.done["PostgreSQL suspended and resumed"] += 1
            case "poison":
                self._stores.send("OrdersQueueUrl", fault.target)
                self.poison.append(fault.target)
                self.done["poison messages"] += 1
            case "duplicate":
                self._send_anew("OrdersQueueUrl", fault, "messages delivered twice")
            case "dead-letter":  # as if the message had been received once too often, while another one is under way
                self._send_anew("DeadLettersQueueUrl", fault, "dead letters of real orders")
            case _:
                self._relay.disturb(fault.target, fault.kind, fault.choice, fault.seconds)

    def _kill(self, fault: Fault) -> None:
        victims = sorted(self._stores.workers(fault.target), key=lambda one: one.pid)
        first = int(fault.choice * len(victims))
        for victim in (victims * 2)[first : first + min(fault.many, len(victims))]:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
                self.done[f"{fault.target} workers killed"] += 1

    def _send_anew(self, queue: str, fault: Fault, what: str) -> None:
        recent = list(self._accepted[-_RECENT:])
        if recent:
            self._stores.send(queue, json.dumps({"orderId": recent[int(fault.choice * len(recent))]}))
            self.done[what] += 1
