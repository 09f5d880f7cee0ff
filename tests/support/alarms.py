"""CloudWatch's alarms, as far as the templates use them: metrics in, states out.

Windows slide by the minute. Metric math is worked out for one window: an operation on a value that is missing has none,
a function of several metrics ignores what is missing. CloudWatch looks further back before it takes a period for
missing, so its own alarms come, and go, a little later.
"""

import ast
import json
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Properties = Mapping[str, Any]
Number = float | bool | None

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "Sum": sum,
    "Average": lambda values: sum(values) / len(values),
    "Minimum": min,
    "Maximum": max,
    "SampleCount": len,
}
_OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
}


class Point(NamedTuple):
    """A value of a metric; `at` is in seconds."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]
    at: float
    value: float


@dataclass
class Metrics:
    """What CloudWatch was told. `parameters` are the values of the template's; all else goes by its logical name."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)

    def put(self, namespace: str, name: str, dimensions: Mapping[str, str], at: float, *values: float) -> None:
        """Keep values of one moment."""
        told = frozenset(dimensions.items())
        self.points += [Point(namespace, name, told, at, value) for value in values]

    def read(self, log: str, at: float) -> None:
        """Keep the metrics of log lines in the embedded metric format; other lines are left out.

        https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
        """
        for line in log.splitlines():
            fields = json.loads(line) if line.startswith("{") else {}
            for directive in fields.get("_aws", {}).get("CloudWatchMetrics", []):
                for names in directive["Dimensions"]:
                    dimensions = {name: fields[name] for name in names}
                    for metric in directive["Metrics"]:
                        values = fields[metric["Name"]]
                        values = values if isinstance(values, list) else [values]
                        self.put(directive["Namespace"], metric["Name"], dimensions, at, *values)

    def statistic(self, metric: Properties, statistic: str, since: float, until: float) -> float | None:
        """Return a statistic of a metric over a window; None without a value in it."""
        dimensions = frozenset((one["Name"], self._resolved(one["Value"])) for one in metric["Dimensions"])
        asked = (metric["Namespace"], metric["MetricName"], dimensions)
        values = [point.value for point in self.points if point[:3] == asked and since <= point.at < until]
        if not values:
            return None
        if percentile := re.fullmatch(r"p(\d+)", statistic):
            return sorted(values)[math.ceil(int(percentile[1]) / 100 * len(values)) - 1]
        return _STATISTICS[statistic](values)

    def _resolved(self, value: Any) -> str:
        match value:
            case {"Ref": str(name)}:
                return self.parameters.get(name, name)
            case {"Fn::GetAtt": [*path]}:
                return self.parameters.get(".".join(path), ".".join(path))
            case {"Fn::Sub": str(text)} | str(text):
                return text
        raise AssertionError(f"no value of a dimension: {value}")


@dataclass(frozen=True)
class Alarm:
    """An alarm, by its properties in the template."""

    properties: Properties

    @property
    def period(self) -> int:
        """Seconds of a window."""
        parts = self.properties.get("Metrics", [])
        (period,) = {part["MetricStat"]["Period"] for part in parts if "MetricStat" in part} or {
            self.properties["Period"]
        }
        return int(period)

    def is_on(self, metrics: Metrics, now: float) -> bool:
        """Whether the alarm is on at a moment."""
        periods = self.properties["EvaluationPeriods"]
        needed = self.properties.get("DatapointsToAlarm", periods)
        ends = [now - number * self.period for number in range(periods)]
        return [self._breaches(self.value(metrics, end)) for end in ends].count(True) >= int(needed)

    def value(self, metrics: Metrics, until: float) -> float | None:
        """Return what is held against the threshold, of the window that ends then."""
        since, own = until - self.period, self.properties
        if "Metrics" not in own:
            return metrics.statistic(own, own.get("Statistic") or own["ExtendedStatistic"], since, until)
        values: dict[str, Number] = {}
        for part in own["Metrics"]:
            if stat := part.get("MetricStat"):
                values[part["Id"]] = metrics.statistic(stat["Metric"], stat["Stat"], since, until)
        (returned,) = (part for part in own["Metrics"] if part.get("ReturnData", True))
        return _worked_out(ast.parse(returned["Expression"], mode="eval").body, values)

    def _breaches(self, value: float | None) -> bool:
        if value is None:
            return {"breaching": True, "notBreaching": False}[self.properties["TreatMissingData"]]
        return _COMPARISONS[self.properties["ComparisonOperator"]](value, self.properties["Threshold"])


def minutes_on(alarm: Alarm, metrics: Metrics, minutes: int) -> list[int]:
    """Return the minutes, counted from 1, at whose end the alarm is on."""
    return [minute for minute in range(1, minutes + 1) if alarm.is_on(metrics, minute * 60)]


def _worked_out(node: ast.expr, values: Mapping[str, Number]) -> Number:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name):
            return values[name]
        case ast.BinOp(left=left, op=sign, right=right) | ast.Compare(left=left, ops=[sign], comparators=[right]):
            both = _worked_out(left, values), _worked_out(right, values)
            return None if None in both else _OPERATORS[type(sign)](*both)
        case ast.Call(func=ast.Name(id="IF"), args=[condition, then, otherwise]):
            met = _worked_out(condition, values)
            return None if met is None else _worked_out(then if met else otherwise, values)
        case ast.Call(func=ast.Name(id="SUM"), args=[ast.Call(func=ast.Name(id="METRICS"), args=[])]):
            there = [value for value in values.values() if value is not None]
            return sum(there) if there else None
    raise AssertionError(f"this metric math is not known here: {ast.unparse(node)}")
