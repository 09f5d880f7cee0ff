"""Quiet logs and metrics, and a summary of how much was tried."""

from collections.abc import Iterator

import pytest

from tests.doubles.quiet import quiet
from tests.reliability.tally import tried


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with quiet():
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report how many runs and schedules were tried."""
    if tried:
        terminalreporter.section("reliability: tried", sep="-")
        for name, number in tried.items():
            terminalreporter.write_line(f"{number:7,} {name}")
