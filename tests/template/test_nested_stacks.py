"""The stacks nested in the engine's: none of them on one machine, each with what it asks for, wired as it is named."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.template.reading import ROOT, nested_stacks, referred, template


def outputs_read(value: Any) -> Iterator[tuple[str, str]]:
    """Every output of a nested stack that a part of the engine's template reads, with the stack's logical name."""
    match value:
        case {"Fn::GetAtt": [str(stack), str(attribute)]} if stack in nested_stacks():
            yield stack, attribute.removeprefix("Outputs.")
        case {"Fn::Sub": str(text)}:
            for stack in nested_stacks():
                yield from ((stack, part.partition("}")[0]) for part in text.split(f"${{{stack}.Outputs.")[1:])
        case dict():
            for part in value.values():
                yield from outputs_read(part)
        case list():
            for part in value:
                yield from outputs_read(part)


def test_every_template_in_the_folder_is_nested() -> None:
    files = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("infrastructure/*")}

    assert {stack["Properties"]["TemplateURL"] for stack in nested_stacks().values()} == files


@pytest.mark.parametrize("name", nested_stacks())
def test_a_nested_stack_is_for_aws_alone(name: str) -> None:
    assert nested_stacks()[name]["Condition"] == "IsAws"


@pytest.mark.parametrize("name", nested_stacks())
def test_a_nested_stack_is_given_what_it_asks_for(name: str) -> None:
    stack = nested_stacks()[name]["Properties"]

    assert set(stack["Parameters"]) == set(template(stack["TemplateURL"])["Parameters"])


def test_the_outputs_that_are_read_are_those_that_there_are() -> None:
    declared = {
        (name, output)
        for name, stack in nested_stacks().items()
        for output in template(stack["Properties"]["TemplateURL"])["Outputs"]
    }

    assert set(outputs_read([template()["Resources"], template()["Outputs"]])) == declared


def test_alarms_and_dashboard_are_given_what_has_the_parameters_name() -> None:
    stack = nested_stacks()["ObservabilityStack"]["Properties"]
    parameters = template(stack["TemplateURL"])["Parameters"]
    named_alike = {name for name in parameters if name in template()["Resources"]}

    assert {name for name, parameter in parameters.items() if "Description" not in parameter} <= named_alike
    assert {name: referred(stack["Parameters"][name]) for name in named_alike} == {name: name for name in named_alike}
