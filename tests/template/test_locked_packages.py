"""Everything that ships is locked: each package at the dev environment's version, with its files' hashes."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.template.reading import ROOT, resources

# By the extra of pyproject.toml that it is made of; a layer's folder is where `sam build` looks for it.
LOCKS = {"layer": "layers/common/python/requirements.txt", "docs": "layers/docs/requirements.txt"}


def locked(path: Path) -> dict[str, tuple[str, list[str]]]:
    """The packages of a lock: each one's specifier, and the hashes it may have."""
    lines = re.sub(r"\s*\\\n\s*", " ", path.read_text()).splitlines()
    found = {}
    for line in lines:
        if line and not line.startswith("#"):
            text, *hashes = line.split(" --hash=")
            requirement = Requirement(text)
            found[requirement.name] = (str(requirement.specifier), hashes)
    return found


def test_every_layer_has_a_lock() -> None:
    layers = resources("AWS::Serverless::LayerVersion").values()

    assert {f"{layer['Properties']['ContentUri']}requirements.txt" for layer in layers} == set(LOCKS.values())


@pytest.mark.parametrize("lock", LOCKS.values())
def test_what_ships_is_pinned_with_hashes_and_is_what_the_tests_run_on(lock: str) -> None:
    everything = locked(ROOT / "requirements.lock")

    for name, (specifier, hashes) in locked(ROOT / lock).items():
        assert re.fullmatch(r"==[\w.]+", specifier), name
        assert everything[name][0] == specifier, name
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), name


@pytest.mark.parametrize("extra", LOCKS)
def test_a_lock_has_what_the_project_asks_for(extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [Requirement(text) for text in project["optional-dependencies"][extra]]
    pins = locked(ROOT / LOCKS[extra])

    assert {one.name: str(one.specifier) for one in asked} == {one.name: pins[one.name][0] for one in asked}
