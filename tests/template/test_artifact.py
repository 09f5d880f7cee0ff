"""What `sam build` makes: every handler is built from it alone, on the template's Python, and it fits into Lambda.

`make artifact` builds for this machine's processor and sets ARTIFACT; without it there is nothing to look at.
"""

import json
import os
import re
import subprocess
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.template.reading import ROOT, functions, resources, template, variables

ARTIFACT = os.environ.get("ARTIFACT", "")
RUNTIME = template()["Globals"]["Function"]["Runtime"]
PYTHON = os.environ.get("TEMPLATE_PYTHON", RUNTIME)
# Lambda's limits for code that is uploaded, and for a function with its layers unpacked.
ZIPPED_BYTES, UNZIPPED_BYTES = 50_000_000, 250_000_000

pytestmark = pytest.mark.skipif(not ARTIFACT, reason="no build to look at; `make artifact` makes one")

# As in Lambda: the function's folder first, then its layers; nothing of any site-packages.
_START = """
import sys
task, *layers = sys.argv[1:]
sys.path = [task, *layers, *(p for p in sys.path if "site-packages" not in p)]
sys.dont_write_bytecode = True
import app
assert app.__file__ == task + "/app.py"
"""
_BUILD = _START + "print(type(app.handler.use_case).__name__)\n"
_MIGRATE = (
    _START
    + """
from order_engine import migrations
from order_engine.adapters import postgres
assert postgres._ROOTS.exists()
print(app.handler)
"""
)


def run(folder: str, code: str) -> subprocess.CompletedProcess[str]:
    """Runs code on the template's Python with a function's folder and the layer on its path, and its environment."""
    name = functions()[folder]
    numbers = ("VENUE", "MARKET", "RETRY", "ORDER_", "OWNER_", "LONGEST_")
    given = {key: "x" for key in variables(name) if not key.startswith(numbers)}
    environment = given | {
        "LEASE_SECONDS": "25",
        "ACCESS": "keys",
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/nowhere",
        "MANAGEMENT_ENDPOINT": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_DEFAULT_REGION": "us-east-1",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "AWS_USE_DUALSTACK_ENDPOINT": "false",
        "PATH": os.defpath,
    }
    build = Path(ARTIFACT).resolve()
    arguments = [str(build / name), *(str(build / layer / "python") for layer in layers_of(name))]
    return subprocess.run(
        [PYTHON, "-I", "-S", "-c", code, *arguments],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )


def layers_of(function: str) -> list[str]:
    own = template()["Resources"][function]["Properties"].get("Layers", [])
    return [layer["Ref"] for layer in template()["Globals"]["Function"]["Layers"] + own]


def test_the_python_is_the_templates() -> None:
    code = 'import sys; print("python%d.%d" % sys.version_info[:2])'
    answer = subprocess.run([PYTHON, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == RUNTIME


@pytest.mark.parametrize("folder", sorted(set(functions()) - {"migrate", "preflight"}))
def test_a_handlers_use_case_is_built_from_the_artifact_alone(folder: str) -> None:
    answer = run(folder, _BUILD)

    assert answer.returncode == 0, answer.stderr


def test_the_migration_is_loaded_from_the_artifact_alone() -> None:
    answer = run("migrate", _MIGRATE)

    assert answer.returncode == 0, answer.stderr


def test_preflight_is_loaded_from_the_artifact_alone() -> None:
    answer = run("preflight", _START + "from order_engine.adapters.aws import client\nprint(app.handler)\n")

    assert answer.returncode == 0, answer.stderr


def test_every_page_and_asset_is_in_the_artifact() -> None:
    answer = run("site", _START + "assert all(path.exists() for path in app.handler.use_case.files.values())\n")

    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize("folder", sorted(functions()))
def test_a_functions_folder_ships_its_code_and_nothing_else(folder: str) -> None:
    source = {path.name for path in (ROOT / "functions" / folder).iterdir() if path.name != "__pycache__"}
    built = {path.name for path in (Path(ARTIFACT) / functions()[folder]).iterdir() if path.name != "__pycache__"}

    assert built == source


def test_the_bill_of_materials_lists_what_is_in_the_layers() -> None:
    bill = json.loads((Path(ARTIFACT).parent / "bom.json").read_text())
    built = {
        (distribution.name, distribution.version)
        for layer in resources("AWS::Serverless::LayerVersion")
        for distribution in distributions(path=[str(Path(ARTIFACT) / layer / "python")])
    }

    assert bill["bomFormat"] == "CycloneDX"
    assert {(part["name"], part["version"]) for part in bill["components"]} == {
        (re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in built
    }
    for part in bill["components"]:
        assert part["purl"] == f"pkg:pypi/{part['name']}@{part['version']}"
        assert [one["alg"] for one in part["externalReferences"][0]["hashes"]], part["name"]


def test_the_layer_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layer = Path(ARTIFACT) / "EngineLayer"
    files = [path for path in layer.rglob("*") if path.is_file()]
    with zipfile.ZipFile(tmp_path / "layer.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, path.relative_to(layer))
    zipped, unzipped = (tmp_path / "layer.zip").stat().st_size, sum(path.stat().st_size for path in files)
    sizes = {
        name: sum(path.stat().st_size for path in (Path(ARTIFACT) / name).rglob("*") if path.is_file())
        for name in functions().values()
    }
    with capsys.disabled():
        print(
            f"\nlayer: {zipped / 1e6:.1f} MB zipped (limit 50), {unzipped / 1e6:.1f} MB unzipped (limit 250); "
            f"functions, bytes: {json.dumps(sizes)}"
        )

    assert zipped < ZIPPED_BYTES
    assert unzipped + max(sizes.values()) < UNZIPPED_BYTES
