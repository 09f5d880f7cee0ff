"""Every metric that the engine counts is listed for operators, every one that is watched is counted, and every function
is watched."""

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.template.reading import ROOT, functions, referred, resources, template

_COUNTED = re.compile(r'\bcount(?:_by)?\(\s*"(\w+)"')
_SOURCES = [*ROOT.glob("functions/*/*.py"), *ROOT.glob("layers/common/python/order_engine/**/*.py")]
NAMESPACE = template()["Globals"]["Function"]["Environment"]["Variables"]["POWERTOOLS_METRICS_NAMESPACE"]


def counted() -> set[str]:
    """The metrics in the engine's source."""
    return {name for path in _SOURCES for name in _COUNTED.findall(path.read_text())}


def dashboard() -> dict[str, Any]:
    """The dashboard's body; what CloudFormation puts in has the name that it is referred to by."""
    text = resources("AWS::CloudWatch::Dashboard")["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    body: dict[str, Any] = json.loads(re.sub(r"\$\{(?!!)([^}]*)\}", r"\1", text).replace("${!", "${"))
    return body


def functions_on_the_dashboard() -> set[tuple[str, str]]:
    """The metrics of functions on the dashboard, each with its function."""
    return {
        (metric[1], metric[3])
        for widget in dashboard()["widgets"]
        for metric in widget["properties"].get("metrics", [])
        if metric[0] == "AWS/Lambda"
    }


def metrics_of_alarms() -> Iterator[dict[str, Any]]:
    """Every metric that an alarm is about, alone or in a sum."""
    for alarm in resources("AWS::CloudWatch::Alarm").values():
        properties = alarm["Properties"]
        yield from (part["MetricStat"]["Metric"] for part in properties.get("Metrics", []) if "MetricStat" in part)
        if "MetricName" in properties:
            yield properties


def watched() -> set[str]:
    """The engine's metrics on the dashboard and in the alarms."""
    text = json.dumps(dashboard())
    plain = set(re.findall(rf'\["{NAMESPACE}", "(\w+)"', text))
    searched = set(re.findall(r'MetricName=\\"(\w+)\\"', text))
    in_alarms = {metric["MetricName"] for metric in metrics_of_alarms() if metric["Namespace"] == NAMESPACE}
    return plain | searched | in_alarms


def test_every_metric_is_on_the_dashboard_and_every_one_there_is_counted() -> None:
    assert watched() == counted()


def test_every_function_has_alarms_and_is_on_the_dashboard() -> None:
    # A custom resource that fails needs neither: the deploy that asked for it fails.
    customs = {**resources("Custom::Migration"), **resources("Custom::Preflight")}.values()
    asked = {referred(custom["Properties"]["ServiceToken"]) for custom in customs}
    expected = {
        (metric, name) for name in functions().values() if name not in asked for metric in ("Errors", "Throttles")
    }
    in_alarms = {
        (metric["MetricName"], referred(metric["Dimensions"][0]["Value"]))
        for metric in metrics_of_alarms()
        if metric["Namespace"] == "AWS/Lambda" and len(metric["Dimensions"]) == 1  # of all its versions
    }

    assert expected - in_alarms == set()
    assert expected - functions_on_the_dashboard() == set()


def test_the_operations_guide_lists_every_metric() -> None:
    guide = (ROOT / "docs/operations.md").read_text()
    listed = set(re.findall(r"^\| `(\w+)` \|", guide, re.MULTILINE))

    assert counted() <= listed


def test_the_costs_have_all_alarms_and_their_metrics() -> None:
    guide = (ROOT / "docs/deploy.md").read_text()

    assert f"{len(resources('AWS::CloudWatch::Alarm'))} alarms over {len(list(metrics_of_alarms()))} metrics" in guide


def test_the_operations_guide_has_every_alarm() -> None:
    guide = (ROOT / "docs/operations.md").read_text()
    names = [alarm["Properties"]["AlarmName"]["Fn::Sub"] for alarm in resources("AWS::CloudWatch::Alarm").values()]

    assert [name for name in names if f"### {name.partition('}-')[2]}\n" not in guide] == []


def test_the_dashboard_has_every_alarm() -> None:
    shown = {name for widget in dashboard()["widgets"] for name in widget["properties"].get("alarms", [])}

    assert shown == {
        f"{name}.Arn"
        for name, resource in template("infrastructure/observability.yaml")["Resources"].items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }


def test_the_dashboards_widgets_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for widget in dashboard()["widgets"]:
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
