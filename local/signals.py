"""Stopping cleanly, however often and whenever somebody presses Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt_once() -> None:
    """Makes the first SIGINT, SIGTERM or SIGHUP raise KeyboardInterrupt, and ignores those that follow.

    A SIGHUP that is ignored already (nohup) stays ignored.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in _STOPPING:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in _STOPPING:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)


@contextmanager
def held_back() -> Iterator[None]:
    """Holds SIGINT, SIGTERM and SIGHUP back until the block is left, and delivers them then.

    For the few lines between starting a process and knowing it, and for cleaning up. Signals only ever interrupt the
    main thread, so elsewhere it has nothing to do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    previous = {
        number: signal.signal(number, lambda caught, _frame: received.append(caught))
        for number in _STOPPING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for caught in received[:1]:
            signal.raise_signal(caught)
