"""Reads the templates as the tests need them: resources, what an intrinsic function refers to, a role's policies."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]


@cache
def template(path: str = "template.yaml") -> dict[str, Any]:
    """A template as it is written, with its YAML aliases resolved; without a path, the engine's."""
    parsed: dict[str, Any] = yaml_parse((ROOT / path).read_text())
    return parsed


def nested_stacks() -> dict[str, dict[str, Any]]:
    """The stacks nested in the engine's, as it declares them, by their logical names."""
    declared: dict[str, dict[str, Any]] = template()["Resources"]
    return {name: stack for name, stack in declared.items() if stack["Type"] == "AWS::CloudFormation::Stack"}


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """The resources of a type, of the engine's template and the ones nested in it, by their logical names."""
    nested = [template(stack["Properties"]["TemplateURL"]) for stack in nested_stacks().values()]
    return {
        name: resource
        for document in (template(), *nested)
        for name, resource in document["Resources"].items()
        if resource["Type"] == kind
    }


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
        return on_aws(then if condition in ("IsAws", "ReservesConcurrency") else otherwise)
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


def denials(function: str) -> list[dict[str, Any]]:
    """The statements of a function's own policies that deny."""
    return [statement for statement in statements(function) if statement["Effect"] == "Deny"]


def allowed(function: str) -> set[tuple[str, str]]:
    """What a function may do, as pairs of an action and what it is allowed on."""
    return {
        (action, referred(resource))
        for statement in statements(function)
        if statement["Effect"] != "Deny"
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }


def as_list(value: Any) -> list[Any]:
    """A policy's one or many, as many."""
    return value if isinstance(value, list) else [value]
