"""Reads the template as the tests need it: resources, what an intrinsic function refers to, a function's policies."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]


@cache
def template() -> dict[str, Any]:
    """The template as it is written, with its YAML aliases resolved."""
    parsed: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
    return parsed


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """The resources of a type, by their logical names."""
    return {name: resource for name, resource in template()["Resources"].items() if resource["Type"] == kind}


def functions() -> dict[str, str]:
    """Each function's logical name, by the name of its folder."""
    return {
        Path(function["Properties"]["CodeUri"]).name: name
        for name, function in resources("AWS::Serverless::Function").items()
    }


def variables(function: str) -> dict[str, Any]:
    """The environment of a function, by its logical name."""
    shared: dict[str, Any] = template()["Globals"]["Function"]["Environment"]["Variables"]
    own = template()["Resources"][function]["Properties"].get("Environment", {}).get("Variables", {})
    return {**shared, **own}


def on_aws(value: Any) -> Any:
    """A value with every Fn::If decided as on AWS, with the parameters' defaults; AWS::NoValue is None, and left out of
    lists."""
    if isinstance(value, list):
        return [chosen for item in value if (chosen := on_aws(item)) is not None]
    if not isinstance(value, dict):
        return value
    if value == {"Ref": "AWS::NoValue"}:
        return None
    if "Fn::If" in value:
        condition, then, otherwise = value["Fn::If"]
        return on_aws(then if condition == "IsAws" else otherwise)
    return {key: on_aws(item) for key, item in value.items()}


def referred(value: Any) -> str:
    """The logical name that a Ref or Fn::GetAtt is about; the text of an Fn::Sub; a text itself."""
    match value:
        case {"Ref": str(name)}:
            return name
        case {"Fn::GetAtt": str(path)}:
            return path.partition(".")[0]
        case {"Fn::GetAtt": [str(name), *_]}:
            return name
        case {"Fn::Sub": str(text)} | str(text):
            return text
    raise AssertionError(f"can't tell what this refers to: {value}")


def statements(function: str) -> Iterator[dict[str, Any]]:
    """Every statement of a function's own policies, as on AWS."""
    role = referred(template()["Resources"][function]["Properties"]["Role"])
    for policy in on_aws(template()["Resources"][role]["Properties"]["Policies"]):
        yield from policy["PolicyDocument"]["Statement"]


def allowed(function: str) -> set[tuple[str, str]]:
    """What a function may do, as pairs of an action and what it is allowed on."""
    return {
        (action, referred(resource))
        for statement in statements(function)
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }


def as_list(value: Any) -> list[Any]:
    """A policy's one or many, as many."""
    return value if isinstance(value, list) else [value]
