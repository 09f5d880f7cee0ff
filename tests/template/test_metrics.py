"""Every metric that the engine counts is listed for operators, and every one that is watched is counted."""

import json
import re

from tests.template.reading import ROOT, resources, template

_COUNTED = re.compile(r'\bcount(?:_by)?\(\s*"(\w+)"')
_SOURCES = [*ROOT.glob("functions/*/*.py"), *ROOT.glob("layers/common/python/order_engine/**/*.py")]
NAMESPACE = template()["Globals"]["Function"]["Environment"]["Variables"]["POWERTOOLS_METRICS_NAMESPACE"]


def counted() -> set[str]:
    """The metrics in the engine's source."""
    return {name for path in _SOURCES for name in _COUNTED.findall(path.read_text())}


def dashboard() -> dict[str, object]:
    """The dashboard's body, with names for what CloudFormation puts in."""
    text = resources("AWS::CloudWatch::Dashboard")["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    body: dict[str, object] = json.loads(re.sub(r"\$\{(?!!)[^}]*\}", "x", text).replace("${!", "${"))
    return body


def watched() -> set[str]:
    """The engine's metrics on the dashboard and in the alarms."""
    text = json.dumps(dashboard())
    plain = set(re.findall(rf'\["{NAMESPACE}", "(\w+)"', text))
    searched = set(re.findall(r'MetricName=\\"(\w+)\\"', text))
    alarms = [alarm["Properties"] for alarm in resources("AWS::CloudWatch::Alarm").values()]
    return plain | searched | {alarm["MetricName"] for alarm in alarms if alarm.get("Namespace") == NAMESPACE}


def test_every_metric_is_on_the_dashboard_and_every_one_there_is_counted() -> None:
    assert watched() == counted()


def test_the_operations_guide_lists_every_metric() -> None:
    guide = (ROOT / "docs/operations.md").read_text()
    listed = set(re.findall(r"^\| `(\w+)` \|", guide, re.MULTILINE))

    assert counted() <= listed


def test_the_operations_guide_has_every_alarm() -> None:
    guide = (ROOT / "docs/operations.md").read_text()
    names = [alarm["Properties"]["AlarmName"]["Fn::Sub"] for alarm in resources("AWS::CloudWatch::Alarm").values()]

    assert [name for name in names if f"### {name.removeprefix('${AWS::StackName}-')}\n" not in guide] == []


def test_the_dashboards_widgets_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for widget in dashboard()["widgets"]:  # type: ignore[attr-defined]
        cells = {
            (x, y)
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells


def test_the_log_lines_that_the_operations_guide_asks_for_are_logged() -> None:
    guide = (ROOT / "docs/operations.md").read_text()
    source = "".join(path.read_text() for path in _SOURCES)
    asked = re.findall(r'message = "([^"]+)"', guide)

    assert asked
    assert [message for message in asked if f'"{message}"' not in source] == []
