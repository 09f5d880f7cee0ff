"""A summary of what the short simulation reached."""

import pytest

from tests.simulation.tally import Tally

reached: list[Tally] = []


@pytest.fixture
def report() -> list[Tally]:
    """What is put here is told at the end of the run."""
    return reached


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what the simulations came to."""
    for tally in reached:
        terminalreporter.section("simulation", sep="-")
        for line in (tally.summary(), *tally.table()):
            terminalreporter.write_line(line)
