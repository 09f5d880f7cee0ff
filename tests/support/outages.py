"""A PostgreSQL that hangs, limits that are soon over, and a clock that only a test moves."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from order_engine import limits

from local.postgres import EmbeddedPostgres

SLACK_SECONDS = 1.0  # what a busy machine may add to a limit


class Stopwatch:
    """The breaker's clock, which only a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def pass_a_pause(self) -> None:
        """Longer than nothing is ever tried for."""
        self.seconds += 15.001


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether it comes true within ten seconds."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


@contextmanager
def a_short_limit() -> Iterator[float]:
    """A limit that doesn't make tests long; only while something hangs, since a busy machine may need more."""
    assert limits.HISTORY == 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "HISTORY", 0.3)
        yield limits.HISTORY


@contextmanager
def paused(server: EmbeddedPostgres) -> Iterator[None]:
    """The server is suspended meanwhile."""
    server.pause()
    try:
        yield
    finally:
        server.resume()
