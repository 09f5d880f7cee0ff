"""How many requests somebody may make: the generic cell rate algorithm (GCRA, ITU-T I.371), pure.

All that is kept is one moment, the theoretical arrival time: when the next request would come of somebody who uses
exactly the whole rate. It may lie ahead of now by the window: so a whole window's worth may come at once.
"""

import math
from dataclasses import dataclass

WINDOW_SECONDS = 60


@dataclass(frozen=True)
class Allowance:
    """What a request was told. Of `limit` requests in WINDOW_SECONDS so many `remain`, and in `reset_seconds` all do.
    `retry_seconds` is 0 for one that was let through, else how long to wait."""

    limit: int
    remaining: int
    reset_seconds: int
    retry_seconds: int = 0


@dataclass(frozen=True)
class Quota:
    """So many requests in WINDOW_SECONDS. Moments are epoch milliseconds."""

    limit: int

    @property
    def interval(self) -> int:
        """Milliseconds between two requests at exactly this rate."""
        return math.ceil(WINDOW_SECONDS * 1000 / self.limit)

    def latest(self, now: int, cost: int = 1) -> int:
        """Return up to which arrival time a request that counts as so many is let through now."""
        return now + WINDOW_SECONDS * 1000 - cost * self.interval

    def allowed(self, now: int, arrival: int) -> Allowance:
        """Return what one is told that was let through, and has moved the arrival time to `arrival`."""
        used = max(0, arrival - now)
        remaining = max(0, (WINDOW_SECONDS * 1000 - used) // self.interval)
        return Allowance(self.limit, remaining, math.ceil(used / 1000))

    def denied(self, now: int, arrival: int, cost: int = 1) -> Allowance:
        """Return what one is told that was not let through at this arrival time."""
        wait = math.ceil((arrival - self.latest(now, cost)) / 1000)
        return Allowance(self.limit, 0, math.ceil((arrival - now) / 1000), max(1, wait))
