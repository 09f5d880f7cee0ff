"""What every test gets, and what a run reports."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain

import boto3
import pytest
from hypothesis import settings
from order_engine.observability import metrics

# Examples are derived from the test, not drawn: a run that was green stays green. There is no clock to beat.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

# Their tests start servers, and those of a file share them. They take longest.
_WITH_SERVERS = ("e2e", "chaos", "sam_local", "integration")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put those first that take longest, so that both processes end together."""
    items.sort(key=lambda item: item.path.relative_to(item.config.rootpath / "tests").parts[0] not in _WITH_SERVERS)


@pytest.fixture(autouse=True)
def own_metrics() -> Iterator[None]:
    """What a test counts is nobody else's."""
    metrics.clear_metrics()
    yield
    metrics.clear_metrics()


@pytest.fixture(autouse=True)
def own_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 keeps its first session, with the credentials and the region that were there then: another test's."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report how many runs and schedules were tried, and what the simulation came to; also for tests that ran in other
    processes."""
    reports = chain.from_iterable(terminalreporter.stats.values())
    ended = [report for report in reports if getattr(report, "when", "") == "teardown"]
    properties = [one for report in ended for one in report.user_properties]
    tried: Counter[str] = Counter()
    for name, value in properties:
        if name == "tried":
            tried.update(value)
        if name == "told":
            terminalreporter.section(value[0], sep="-")
            for line in value[1:]:
                terminalreporter.write_line(line)
    if tried:
        terminalreporter.section("reliability: tried", sep="-")
        for name, number in tried.items():
            terminalreporter.write_line(f"{number:7,} {name}")
