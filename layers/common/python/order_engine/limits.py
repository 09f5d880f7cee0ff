"""Time limits: how long each call to the outside may take, and how much of the invocation is left for it.

A limit covers all tries of a call and the pauses between them. No call starts whose limit exceeds what is left, because
Lambda would stop the function in the middle of it. docs/reliability.md adds the limits up.
"""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import ParamSpec, TypeVar

from order_engine.domain.errors import OutOfTime

P = ParamSpec("P")
R = TypeVar("R")

# Seconds. `order_engine.adapters.aws.client` derives its time-outs from them.
DYNAMODB = 5.0
QUEUE = 5.0
INVOKE = 1.5
POST = 1.25
CLOSE = POST  # by the same client, so with the same time-outs
HISTORY = 3.0
QUOTE = 2.0
VENUE = 2.0  # to build, look up or abandon a transaction
CONFIRMATION = 5.0  # for all waiting of one delivery; the call that waits may take VENUE longer

# Seconds for all posts of one status together, then for taking back the subscribers that were not reached, and at the
# very end for closing the sockets of the others.
POSTS = 2.25
TAKE_BACK = 0.75
CLOSES = 0.75

_PAUSE = 2.0  # seconds between the tries of `keep_trying`

_left: ContextVar[Callable[[], float]] = ContextVar("left", default=lambda: math.inf)


@contextmanager
def invocation(seconds_left: Callable[[], float]) -> Iterator[None]:
    """Bound every call made inside by what `seconds_left` returns at that moment."""
    token = _left.set(seconds_left)
    try:
        yield
    finally:
        _left.reset(token)


def seconds_left() -> float:
    """Return the seconds left of this invocation; infinite outside of one."""
    return _left.get()()


def require(service: str, seconds: float) -> None:
    """Raise OutOfTime if a call that may take so long does not fit into what is left of the invocation."""
    left = seconds_left()
    if seconds > left:
        raise OutOfTime(f"{service}: a call may take {seconds:g} s, and {max(left, 0):.1f} s are left")


def keep_trying(call: Callable[[], R], faults: tuple[type[Exception], ...], seconds: float) -> R:
    """Make a call, and repeat it after one of the faults, for so many seconds; the last try may take its own limit
    longer. Raises the last fault. For deploys, where seconds don't matter."""
    ends_at = time.monotonic() + seconds
    while True:
        try:
            return call()
        except faults:
            if time.monotonic() + _PAUSE > ends_at:
                raise
        time.sleep(_PAUSE)


def run_in(pool: Executor, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
    """Run a call on a pool's thread, bounded by this invocation too."""
    return pool.submit(copy_context().run, lambda: call(*args, **kwargs))
