"""The workflow for a public forge runs `.ci/run` on the Pythons that the project names, and may change nothing."""

import re
import tomllib
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from tests.template.reading import ROOT, template

WORKFLOW: dict[str, Any] = yaml_parse((ROOT / ".github/workflows/ci.yml").read_text())
(JOB,) = WORKFLOW["jobs"].values()
USED = {step["uses"].partition("@")[0]: step for step in JOB["steps"] if "uses" in step}


def test_it_runs_the_checks_and_ends() -> None:
    assert JOB["steps"][-1] == {"run": ".ci/run"}
    assert 0 < JOB["timeout-minutes"] <= 120


def test_it_may_only_read() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert "permissions" not in JOB
    assert USED["actions/checkout"]["with"] == {"persist-credentials": False}


def test_its_actions_are_pinned() -> None:
    for step in USED.values():
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", step["uses"])


def test_it_has_the_oldest_python_and_the_templates() -> None:
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    runtime = template()["Globals"]["Function"]["Runtime"].removeprefix("python")

    assert JOB["env"]["PYTHON"] == f"python{oldest}"
    assert USED["actions/setup-python"]["with"]["python-version"].split() == [oldest, runtime]
