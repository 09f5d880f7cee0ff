"""What every test gets, and what a run reports."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain

import pytest
from hypothesis import settings
from order_engine.observability import metrics

# Examples are derived from the test, not drawn: a run that was green stays green. There is no clock to beat.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

# Tests of one group run one after the other, in one process: they start servers, or share them.
_GROUPS = {"e2e": "stacks", "chaos": "stacks", "sam_local": "stacks", "integration": "services"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of a group together, and the groups first: they take longest."""
    for item in items:
        folder = item.path.relative_to(item.config.rootpath / "tests").parts[0]
        if folder in _GROUPS:
            item.add_marker(pytest.mark.xdist_group(_GROUPS[folder]))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


@pytest.fixture(autouse=True)
def own_metrics() -> Iterator[None]:
    """What a test counts is nobody else's."""
    metrics.clear_metrics()
    yield
    metrics.clear_metrics()


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
