"""Promises about the code's own structure: imports point inwards, and a function loads only what it uses."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYER = ROOT / "layers/common/python"
ENGINE = {
    ".".join(path.relative_to(LAYER / "order_engine").with_suffix("").parts).removesuffix(".__init__"): path
    for path in LAYER.glob("order_engine/**/*.py")
}
FUNCTIONS = {f"functions.{path.parent.name}": path for path in sorted(ROOT.glob("functions/*/app.py"))}
FILES = ENGINE | FUNCTIONS

# The adapters that write what a function reads: the message of the queue, the event of notify.
ENVELOPES = {"adapters.queue", "adapters.notify_requests"}
CORE = {"domain", "ports", "limits"}
POWERTOOLS, AWS, POSTGRES = {"aws_lambda_powertools"}, {"boto3", "botocore"}, {"psycopg"}

# What a folder or a module may import: of the engine, and of what is not the standard library.
RULES: dict[str, tuple[set[str], set[str]]] = {
    "__init__": (set(), set()),
    "domain": ({"domain"}, {"pydantic"}),
    "ports": ({"domain"}, set()),
    "limits": ({"domain"}, set()),
    "observability": ({"domain"}, POWERTOOLS),
    "settings": (set(), set()),
    "use_cases": (CORE | {"observability", "use_cases"}, set()),
    "adapters": (CORE | {"adapters"}, AWS | POSTGRES),
    "migrations": (CORE | {"adapters", "settings"}, POSTGRES),
    "bootstrap": (CORE | {"adapters", "settings", "use_cases"}, set()),
    "entrypoints": (
        CORE | {"observability", "use_cases", "bootstrap", "entrypoints"} | ENVELOPES,
        POWERTOOLS | {"pydantic"},
    ),
    "entrypoints.custom_resource": (set(), set()),
    "functions": (CORE | {"observability", "use_cases", "bootstrap", "entrypoints"} | ENVELOPES, set()),
    "functions.migrate": ({"entrypoints", "migrations", "settings"}, set()),
    "functions.preflight": (CORE | {"adapters", "entrypoints"}, set()),
}
# Of CloudFormation's; they have no use case.
CUSTOM_RESOURCES = {"functions.migrate", "functions.preflight"}
# All that adapters of different folders may have in common.
WAYS_OUT = {"adapters.aws", "adapters.postgres"}
SHARED = WAYS_OUT | {"adapters.buckets"}


def imports_of(path: Path, for_types: bool = True) -> set[str]:
    """Every module that a file imports, also inside functions; those for type checking only if `for_types`."""
    nodes = set(ast.walk(ast.parse(path.read_text())))
    guards = [node for node in nodes if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    found = set()
    for node in nodes - {inner for guard in guards if not for_types for inner in ast.walk(guard)}:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def of_the_engine(path: Path) -> set[str]:
    """The engine's modules that a file imports, without the package's name."""
    return {name.removeprefix("order_engine.") for name in imports_of(path)} & set(ENGINE)


def of_others(path: Path) -> set[str]:
    """The packages that a file loads, but for the engine and the standard library."""
    return {head(name) for name in imports_of(path, for_types=False)} - {"order_engine"} - sys.stdlib_module_names


def head(name: str) -> str:
    return name.partition(".")[0]


@pytest.mark.parametrize("name", FILES)
def test_a_module_imports_only_what_its_layer_may(name: str) -> None:
    engine, others = RULES.get(name) or RULES[head(name)]

    assert {one for one in of_the_engine(FILES[name]) if not {one, head(one)} & engine} == set()
    assert of_others(FILES[name]) - others == set()


@pytest.mark.parametrize("name", [name for name in ENGINE if name.startswith("adapters.")])
def test_an_adapter_knows_one_sdk_and_no_adapter_of_another_folder(name: str) -> None:
    folder = name.rpartition(".")[0] + "."
    imported = {one for one in of_the_engine(ENGINE[name]) if one.startswith("adapters.")} | of_others(ENGINE[name])
    known = imported - AWS - POSTGRES - (set() if name in WAYS_OUT else SHARED)

    assert not [one for one in known if folder == "adapters." or not one.startswith(folder)]
    assert not (imported & (AWS | {"adapters.aws"}) and imported & (POSTGRES | {"adapters.postgres"}))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_one_file_without_requirements_of_its_own(name: str) -> None:
    folder = FUNCTIONS[name].parent
    shipped = {path.name for path in folder.iterdir()} - {"__pycache__"}

    assert shipped == {"app.py"} | ({"files"} if name == "functions.site" else set())
    assert [path.name for path in folder.rglob("*.py")] == ["app.py"]


def test_no_module_is_long() -> None:
    assert [name for name, path in FILES.items() if path.read_text().count("\n") > 330] == []


def loaded_by(code: str) -> set[str]:
    """The modules that code loads in a process of its own; the engine's without the package's name."""
    script = f"import json, sys; before = set(sys.modules); {code}; print(json.dumps([*set(sys.modules) - before]))"
    tables = ("JOURNAL", "CLIENT_ORDER_IDS", "CONNECTIONS", "SUBSCRIBER_PAGES", "CHAIN", "API_KEYS", "WATCH")
    settings = [*(f"{table}_TABLE" for table in tables), "ORDERS_QUEUE_URL", "NOTIFY_FUNCTION", "STREAM_URL"]
    environment = {
        **os.environ,
        **dict.fromkeys([*settings, "MANAGEMENT_ENDPOINT", "DATABASE_URL"], "http://localhost"),
        "ACCESS": "keys",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "PYTHONPATH": f"{ROOT}:{LAYER}",
        "PYTHONWARNINGS": "error",
    }
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return {name.removeprefix("order_engine.") for name in json.loads(done.stdout)}


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - CUSTOM_RESOURCES))
def test_a_function_loads_only_what_it_uses(name: str) -> None:
    imported = of_the_engine(FUNCTIONS[name])
    entrypoints = {other for one in imported if head(one) == "entrypoints" for other in of_the_engine(ENGINE[one])}
    used = {one for one in imported | entrypoints if head(one) == "use_cases"}
    for _ in range(2):
        used |= {other for one in used for other in of_the_engine(ENGINE[one]) if head(other) == "use_cases"}

    loaded = loaded_by(f"import {name}.app as app; app.handler.use_case")

    assert {one for one in loaded if one.startswith("use_cases.")} == used
    writes, reads = "use_cases.execute" in used, "use_cases.orders" in used
    for needless, needed in {"psycopg": writes or reads, "adapters.history": writes, "adapters.archive": reads}.items():
        assert (needless in loaded) == needed
    assert ("adapters.mock_market.venue" in loaded) == ("use_cases.venue_calls" in used)


@pytest.mark.parametrize("name", sorted(CUSTOM_RESOURCES))
def test_a_custom_resource_loads_the_standard_library_alone_before_it_can_respond(name: str) -> None:
    loaded = loaded_by(f"import {name}.app")

    own = {"functions", name, f"{name}.app", "order_engine", "entrypoints"}
    assert {one for one in loaded if head(one) not in sys.stdlib_module_names} - own == {"entrypoints.custom_resource"}
