"""The client is a package of its own."""

import ast
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3] / "client"
FILES = sorted((ROOT / "src/order_client").glob("**/*.py"))


def test_it_imports_only_what_it_is_installed_with() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {one.partition(">=")[0] for one in project["dependencies"]}
    imported = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).partition(".")[0])

    assert imported - sys.stdlib_module_names == {"order_client"} | declared


def test_no_module_is_long() -> None:
    assert FILES
    assert [path.name for path in FILES if path.read_text().count("\n") > 330] == []
