"""How long to pause between two tries."""

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True)
class Backoff:
    """Pauses that double from `first` to `most` seconds; of each, a random part between the half and the whole."""

    first: float = 0.5
    most: float = 30.0

    def pauses(self) -> Iterator[float]:
        """Yield pauses in seconds, without end."""
        pause = self.first
        while True:
            yield pause * random.uniform(0.5, 1)
            pause = min(2 * pause, self.most)


def retry_after(header: str | None) -> float | None:
    """Return the seconds that a Retry-After asks to wait: it has either them or a date. None if it has neither."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    with suppress(ValueError, TypeError, OverflowError):
        moment = parsedate_to_datetime(header)
        return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    return None
