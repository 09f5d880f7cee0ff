"""docs/deploy.md against the templates: what stays when a stack goes, and what it costs."""

import re
from copy import deepcopy
from typing import Any
from unittest.mock import Mock

import pytest
from samtranslator.translator.transform import transform

from tests.template.reading import ROOT, nested_stacks, template
from tests.template.test_metrics import metrics_of_alarms

GUIDE = (ROOT / "docs/deploy.md").read_text()
COSTS = [
    [cell.strip(" *") for cell in line.strip("|").split("|")]
    for line in GUIDE.partition("**At rest")[2].partition("X-Ray")[0].splitlines()
    if line.startswith("| ") and "---" not in line
]


def section(title: str) -> str:
    return GUIDE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def kept(resources: dict[str, Any]) -> set[str]:
    """What outlives its stack, by the name that an operator finds it under. A function's versions go with it."""
    return {
        resource["Properties"].get("LayerName", name)
        for name, resource in resources.items()
        if resource.get("DeletionPolicy", "Delete") != "Delete" and resource["Type"] != "AWS::Lambda::Version"
    }


def transformed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The engine's resources as CloudFormation gets them from SAM's transform."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    engine = deepcopy(template())
    for resource in engine["Resources"].values():
        for place in {"CodeUri", "ContentUri"} & set(resource["Properties"]):
            resource["Properties"][place] = "s3://artifacts/code"  # where `sam deploy` puts it
    resources: dict[str, Any] = transform(engine, {}, Mock())["Resources"]
    return resources


def test_the_tear_down_names_all_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    nested = [template(stack["Properties"]["TemplateURL"])["Resources"] for stack in nested_stacks().values()]
    stays = set.union(*map(kept, (transformed(monkeypatch), *nested)))

    assert {"EngineLayer", "ApiKeysTable", "Database"} <= stays
    assert [name for name in sorted(stays) if f"`{name}`" not in section("Tear-down")] == []


def test_the_costs_add_up() -> None:
    heads, *rows, (_, *sums) = COSTS
    columns = zip(*([float(cell) for cell in row[1:]] for row in rows), strict=True)

    assert len(rows) > 5
    assert len(sums) == len(heads) - 1
    assert [str(round(sum(column))) for column in columns] == sums


def test_the_costs_count_the_metrics_that_alarms_read() -> None:
    ((name, *amounts),) = [row for row in COSTS if "alarms" in row[0]]
    count = len([*metrics_of_alarms()])

    assert re.search(r"over (\d+) metrics", name)[1] == str(count)  # type: ignore[index]
    assert set(amounts) == {f"{count * 0.10:.2f}"}


def test_the_guide_tells_how_a_protected_stack_goes_whose_first_deploy_failed() -> None:
    protected = {
        resource["Type"]
        for document in (template(), template("infrastructure/database.yaml"))
        for resource in document["Resources"].values()
        if {"Ref": "DeletionProtection"} in resource.get("Properties", {}).values()
        and resource["Type"] != "AWS::CloudFormation::Stack"
    }
    told = GUIDE.partition("### A first deploy that failed\n")[2].partition("\n### ")[0]

    assert protected == {"AWS::DynamoDB::Table", "AWS::RDS::DBInstance"}
    for words in (
        "ROLLBACK_COMPLETE",
        "ROLLBACK_FAILED",
        "--no-deletion-protection-enabled",
        "--no-deletion-protection ",
    ):
        assert words in told
