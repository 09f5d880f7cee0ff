"""Promises about the code's own structure: arrows point down only, and a function loads only what it uses."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "layers/common/python/order_engine"

DOMAIN = {"errors", "amounts", "tokens", "status", "orders", "routing", "ports", "limits"}
USE_CASES = {"submission", "execution", "delivery", "subscription"}
# What use cases may use besides the domain.
BESIDE = {"observability"}
ADAPTERS = {f"adapters.{path.stem}" for path in (PACKAGE / "adapters").glob("[!_]*.py")}
# Modules of the engine that speak to an outside system.
OUTSIDE = {"aws", "postgres"}
# What puts the parts together or stands between a function and a use case.
DRIVERS = {"engine", "entrypoint", "batches", "problems"}
SDKS = {"boto3", "botocore", "psycopg"}
# Two adapters that share one system: an item of the journal, the mock chain.
SHARED = {
    ("adapters.journal", "adapters.journal_item"),
    ("adapters.subscribers", "adapters.journal_item"),
    ("adapters.mock_venues", "adapters.mock_chain"),
}


def imports_of(path: Path, for_types: bool = True) -> set[str]:
    """Every module that a file imports, also inside functions; those for type checking only if `for_types`."""
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree))
    if not for_types:
        guarded = [node for node in nodes if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
        unloaded = {inner for node in guarded for inner in ast.walk(node)}
        nodes = [node for node in nodes if node not in unloaded]
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
    if path.parent != PACKAGE or path.stem != "__init__"
}
FUNCTIONS = sorted(ROOT.glob("functions/*/app.py"))


def own_imports(path: Path) -> set[str]:
    """The engine's modules that a file imports, without the package's name."""
    prefix = "order_engine."
    names = {name.removeprefix(prefix) for name in imports_of(path) if name.startswith(prefix)}
    return {name for name in names if name in MODULES and name != "adapters"}


def outside_imports(path: Path) -> set[str]:
    """What else a file loads, by the name of the package."""
    return {name.partition(".")[0] for name in imports_of(path, for_types=False)} - {"order_engine"}


def test_every_module_has_its_place() -> None:
    placed = DOMAIN | USE_CASES | BESIDE | ADAPTERS | OUTSIDE | DRIVERS | {"settings", "migrations", "adapters"}

    assert set(MODULES) == placed


@pytest.mark.parametrize("module", sorted(DOMAIN))
def test_the_domain_knows_the_standard_library_and_pydantic_only(module: str) -> None:
    assert own_imports(MODULES[module]) <= DOMAIN
    assert outside_imports(MODULES[module]) <= sys.stdlib_module_names | {"pydantic"}


@pytest.mark.parametrize("module", sorted(USE_CASES))
def test_a_use_case_knows_the_domain_and_other_use_cases_only(module: str) -> None:
    assert own_imports(MODULES[module]) <= DOMAIN | USE_CASES | BESIDE
    assert outside_imports(MODULES[module]) <= sys.stdlib_module_names | {"pydantic"}


@pytest.mark.parametrize("module", sorted(ADAPTERS))
def test_an_adapter_knows_the_domain_and_one_way_out_and_no_other_adapter(module: str) -> None:
    own = own_imports(MODULES[module])
    others = {other for other in own & ADAPTERS if (module, other) not in SHARED}

    assert others == set()
    assert own - ADAPTERS <= DOMAIN | OUTSIDE
    assert len({"psycopg" if name == "psycopg" else "aws" for name in outside_imports(MODULES[module]) & SDKS}) <= 1


@pytest.mark.parametrize("module", sorted(set(MODULES) - ADAPTERS - OUTSIDE - {"migrations"}))
def test_only_adapters_and_what_they_stand_on_know_an_sdk(module: str) -> None:
    assert outside_imports(MODULES[module]) & SDKS == set()


@pytest.mark.parametrize("module", sorted(DOMAIN | USE_CASES | BESIDE | ADAPTERS | OUTSIDE | {"settings"}))
def test_nothing_below_knows_how_the_engine_is_put_together(module: str) -> None:
    assert own_imports(MODULES[module]) & DRIVERS == set()


@pytest.mark.parametrize("path", FUNCTIONS, ids=lambda path: path.parent.name)
def test_a_function_is_one_file_that_knows_no_other_function(path: Path) -> None:
    code = [other.name for other in path.parent.rglob("*.py")]

    assert code == ["app.py"]
    assert outside_imports(path) <= sys.stdlib_module_names | SDKS
    assert not list(path.parent.rglob("requirements*.txt"))


@pytest.mark.parametrize("path", FUNCTIONS, ids=lambda path: path.parent.name)
def test_a_function_that_serves_is_a_translation_without_an_sdk(path: Path) -> None:
    if path.parent.name != "migrate":  # it serves nobody: the database is its one job
        assert outside_imports(path) & SDKS == set()


@pytest.mark.parametrize("path", [*FUNCTIONS, *MODULES.values()], ids=lambda path: path.parent.name + "." + path.stem)
def test_what_ships_knows_nothing_of_the_local_stack(path: Path) -> None:
    assert outside_imports(path) & {"local", "tests", "functions", "moto", "ministack"} == set()


@pytest.mark.parametrize(
    ("function", "use_case", "needless"),
    [
        (
            "submit",
            "submission",
            {"psycopg", "order_engine.adapters.mock_market.venue", "order_engine.use_cases.execute"},
        ),
        (
            "ws_connect",
            "subscription",
            {"psycopg", "order_engine.adapters.mock_market.venue", "order_engine.use_cases.execute"},
        ),
        (
            "notify",
            "notifier",
            {"psycopg", "order_engine.adapters.mock_market.venue", "order_engine.use_cases.execute"},
        ),
    ],
)
def test_a_function_loads_only_what_it_uses_also_once_it_is_put_together(
    function: str, use_case: str, needless: set[str]
) -> None:
    script = (
        f"import sys, functions.{function}.app as app; app.engine.{use_case}(); "
        f"print(sorted({needless!r} & set(sys.modules)))"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'layers/common/python'}",
        "PYTHONWARNINGS": "error",
        "AWS_DEFAULT_REGION": "eu-central-1",
        **dict.fromkeys(
            ("JOURNAL_TABLE", "CLIENT_ORDER_IDS_TABLE", "CONNECTIONS_TABLE", "SUBSCRIBER_PAGES_TABLE"), "name"
        ),
        **dict.fromkeys(("ORDERS_QUEUE_URL", "NOTIFY_FUNCTION"), "name"),
        "MANAGEMENT_ENDPOINT": "http://localhost",
    }

    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.stdout.strip(), done.stderr) == ("[]", "")
