"""Quiet logs and metrics, and a summary of how much was tried."""

import io
from collections.abc import Iterator
from contextlib import redirect_stdout

import pytest
from order_engine.observability import logger, metrics

from tests.reliability.tally import tried


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Thousands of runs say nothing: neither logs nor metrics."""
    level = logger.log_level
    logger.setLevel("CRITICAL")
    monkeypatch.setattr(metrics, "add_metric", lambda **_metric: None)
    with redirect_stdout(_Nowhere()):
        yield
    logger.setLevel(level)


class _Nowhere(io.StringIO):
    def write(self, text: str, /) -> int:
        return len(text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many points and schedules were tried."""
    if tried:
        terminalreporter.section("reliability: tried", sep="-")
        for name, number in tried.items():
            terminalreporter.write_line(f"{number:7,} {name}")
