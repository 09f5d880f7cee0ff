"""What clients in JavaScript are given: the Postman collection, and the example of docs/client.md."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from local.keys import KeyRing
from local.stack import ROOT
from tests.e2e.system import PATIENCE_SECONDS, System

NODE = ROOT / ".node"
COLLECTION = ROOT / "docs/order-engine.postman_collection.json"
ENVIRONMENT = ROOT / "docs/order-engine.postman_environment.json"
CLIENT = ROOT / "docs/client.md"
FIRST_LINE = "// Node: npm install ws"

pytestmark = pytest.mark.skipif(
    not (NODE / "ready").exists() or not shutil.which("node"),
    reason="Newman and ws are not here; `make .node/ready` installs them, and needs Node.js with npm",
)


def node(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["node", *arguments], capture_output=True, text=True, timeout=PATIENCE_SECONDS, cwd=NODE, check=False
    )


def send_collection(folder: Path, url: str, key: str = "") -> str:
    """Send the collection's requests in their order, and return how many there were, of requests and assertions."""
    report = folder / "report.json"
    newman: list[str | Path] = [
        NODE / "node_modules/newman/bin/newman.js",
        "run",
        COLLECTION,
        "--environment",
        ENVIRONMENT,
    ]
    newman += ["--env-var", f"baseUrl={url}", "--env-var", f"key={key}", "--color", "off"]
    newman += ["--reporters", "cli,json", "--reporter-json-export", report]
    done = node(*newman)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    stats = json.loads(report.read_text())["run"]["stats"]
    assert stats["requests"]["total"] > 20
    assert stats["assertions"]["total"] >= 2 * stats["requests"]["total"] - 5
    return f"{stats['requests']['total']} requests, {stats['assertions']['total']} assertions"


def test_the_postman_collection_passes_without_keys(
    system: System, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    record_property("told", ["Postman: without keys", send_collection(tmp_path, system.stack.endpoints.http)])


def test_the_postman_collection_passes_with_keys(
    with_keys: tuple[str, KeyRing], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    url, operator = with_keys
    key = operator.create("postman", ["trade", "read"])

    record_property("told", ["Postman: with keys", send_collection(tmp_path, url, key.text)])


def test_the_example_for_node_follows_an_order_to_its_end(system: System) -> None:
    """It is the one block of JavaScript in docs/client.md that says what it needs. Node finds ws above the file."""
    blocks = re.findall(r"^```js\n(.*?)^```", CLIENT.read_text(), re.MULTILINE | re.DOTALL)
    (example,) = [block for block in blocks if block.startswith(FIRST_LINE)]
    modules = "import " in example and "require(" not in example
    script = NODE / f"example.{'mjs' if modules else 'cjs'}"
    script.write_text(example)

    done = node(script, system.stack.endpoints.http)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "confirmed" in done.stdout
