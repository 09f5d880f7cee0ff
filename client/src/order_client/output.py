"""What the command prints, and how it ends: exit codes, errors, output that nobody can read."""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

from rich.console import Console

from order_client.errors import OrderEngineError, Refused, Unavailable
from order_client.in_flight import InFlight

OK, ENDED_OTHERWISE, USAGE, REFUSED, UNREACHABLE, UNWRITABLE, INTERRUPTED, READER_LEFT = 0, 1, 2, 3, 4, 5, 130, 141
EXIT_CODES = (
    "Exit codes: 0 confirmed, or done; 1 an order ended otherwise; 2 wrong usage; 3 refused; 4 unreachable or "
    "unavailable; 5 the output can't be written; 130 interrupted."
)


class OutputLost(Exception):
    """Standard output can't be written. `code`: exit code of the command; what there is to say has been said."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)


class Guarded:
    """A standard stream that calls `lost` with the error when it can't be written, and swallows what comes then."""

    def __init__(self, stream: TextIO, lost: Callable[[OSError], None]) -> None:
        self._stream, self._lost = stream, lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text."""
        if text != "":  # click writes nothing to find out what a stream takes, and minds no error
            self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        self._attempt(self._stream.flush)

    def _attempt(self, work: Callable[[], object]) -> None:
        try:
            work()
        except OSError as error:
            # What is still buffered would fail again at the interpreter's exit, and change the exit code.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self._lost(error)


def guard() -> None:
    """Make the standard streams raise OutputLost when standard output can't be written, and do without a standard error
    that can't. Raises OutputLost at once if standard output is closed."""
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - until the process ends
    if sys.stdout is None:
        complain("error: standard output is closed")
        raise OutputLost(UNWRITABLE)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # where the terminal knows only ASCII
    sys.stdout = cast(TextIO, Guarded(sys.stdout, _output_lost))
    sys.stderr = cast(TextIO, Guarded(sys.stderr, lambda _: None))


def _output_lost(error: OSError) -> None:
    if isinstance(error, BrokenPipeError):  # its reader has left (`orders list | head`), and needs no word
        raise OutputLost(READER_LEFT) from error
    complain(f"error: standard output can't be written: {error.strerror}")
    raise OutputLost(UNWRITABLE) from error


class Output(Console):
    """Standard output, for people or for programs."""

    def json(self, document: Mapping[str, Any]) -> None:
        """Print a JSON object in one line, at once."""
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()


def complain(text: str) -> None:
    """Print a line for people on standard error."""
    sys.stderr.write(f"{text}\n")


def code_of(error: OrderEngineError) -> int:
    """Return the exit code for an error."""
    return REFUSED if isinstance(error, Refused) and not isinstance(error, Unavailable) else UNREACHABLE


def run(work: Coroutine[Any, Any, int], in_flight: InFlight | None = None) -> int:
    """Run a verb to its end and return the exit code; an error is told in one line. If it is interrupted, or its output
    is lost, the orders that it leaves in flight are told."""
    try:
        return asyncio.run(work)
    except OrderEngineError as error:
        complain(f"error: {error}")
        return code_of(error)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OutputLost as lost:
        code = lost.code
    for line in in_flight.lines() if in_flight else ():
        complain(line)
    return code
