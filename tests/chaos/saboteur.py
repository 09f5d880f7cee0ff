"""Injects a plan's faults into a running stack. In the main thread: PostgreSQL ends with the thread that starts it."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from os import SEEK_END

import psutil

from tests.chaos.plan import Fault
from tests.chaos.relay import Relay
from tests.chaos.stores import Stores
from tests.support.operations import FUNCTIONS, poll

_TRIGGERED = b'"message":"order triggered"'
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
            case "ambush":
                threading.Thread(target=self._ambush, args=(fault.seconds,), name="ambush", daemon=True).start()
            case "watch":
                for _ in range(fault.many):
                    self._stores.watch()
                self.done["further watchers of the market"] += fault.many
            case "launch":
                self._stores.launch(fault.target)
                self.done["launches"] += 1
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

    def _ambush(self, seconds: float) -> None:
        """Kill everybody who executes orders when one was just triggered: whoever resumes it quotes it anew."""
        with self._stores.stack.log.open("rb") as lines:
            lines.seek(0, SEEK_END)
            if poll(lambda: _TRIGGERED in lines.read(), seconds, every=0.01):
                self._kill(Fault(0.0, "kill", "route_execute", many=FUNCTIONS["route_execute"]))
                self.done["ambushes of triggered orders"] += 1

    def _send_anew(self, queue: str, fault: Fault, what: str) -> None:
        recent = list(self._accepted[-_RECENT:])
        if recent:
            self._stores.send(queue, json.dumps({"orderId": recent[int(fault.choice * len(recent))]}))
            self.done[what] += 1
