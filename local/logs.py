"""Brings the logs that MiniStack keeps to itself into the one log file.

It prints what queue consumers and asynchronously invoked functions log, but what the functions behind its HTTP and
WebSocket APIs log is only to be had from its CloudWatch Logs.
"""

import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.gateway import Gateway

_INTERVAL_SECONDS = 1.0
# An event may become visible this much after one with a later timestamp.
_OVERLAP_MS = 3000
_PLATFORM_LINES = ("START RequestId:", "END RequestId:", "REPORT RequestId:")


class LogFollower:
    """Appends the log lines of some functions to a file, about a second after they were written."""

    def __init__(self, gateway: Gateway, functions: Collection[str], log: Path) -> None:
        self._client = gateway.client("logs")
        self._groups = [f"/aws/lambda/{function}" for function in functions]
        self._log = log
        self._since_ms = _now_ms()
        self._seen: set[str] = set()  # the log streams in the last window; MiniStack has one for each invocation
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="log follower", daemon=True)

    def start(self) -> None:
        """Begins with what is logged from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Ends once everything that has been logged is in the file."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _follow(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stopping.wait(_INTERVAL_SECONDS)
            try:
                lines = self._new_lines()
            except (BotoCoreError, ClientError) as error:
                lines = [f"can't read the functions' logs from MiniStack: {error}"]
            if lines:
                with self._log.open("a") as output:
                    output.writelines(f"{line}\n" for line in lines)

    def _new_lines(self) -> list[str]:
        window_ms = self._since_ms - _OVERLAP_MS
        self._since_ms = _now_ms()
        events = [event for group in self._groups for event in self._events(group, window_ms)]
        new = [event["message"] for event in events if event["logStreamName"] not in self._seen]
        # Windows only move forward: what was seen and may come again is in this one, too.
        self._seen = {event["logStreamName"] for event in events}
        return [line for line in new if not line.startswith(_PLATFORM_LINES)]

    def _events(self, group: str, since_ms: int) -> list[dict[str, Any]]:
        try:
            answer = self._client.filter_log_events(logGroupName=group, startTime=since_ms)
        except self._client.exceptions.ResourceNotFoundException:
            return []  # the function has not been invoked yet
        events: list[dict[str, Any]] = answer["events"]
        return events


def _now_ms() -> int:
    return int(time.time() * 1000)
