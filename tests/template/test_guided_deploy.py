"""`sam deploy --guided` for each environment of samconfig.toml: Enter is an answer to everything that it asks."""

import os
import pty
import re
import select
import shutil
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

from tests.template.reading import ROOT, template

SAM = os.environ.get("SAM", "")
ENVIRONMENTS = sorted(tomllib.loads((ROOT / "samconfig.toml").read_text()).keys() - {"version"})
PATIENCE_SECONDS = 120.0
PROMPT = re.compile(r": $")
GUIDE = (ROOT / "docs/deploy.md").read_text()
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")

pytestmark = pytest.mark.skipif(not SAM, reason="`make validate` runs these; they need the SAM CLI")


def guided(environment: str, folder: Path) -> str:
    """What the command prints to somebody who only presses Enter, and who has no credentials."""
    config = shutil.copy(ROOT / "samconfig.toml", folder / "samconfig.toml")
    command = [
        str(Path(SAM).resolve()),
        "deploy",
        "--guided",
        "--config-env",
        environment,
        "--config-file",
        str(config),
    ]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nobody = {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        env={**clean, **nobody, "AWS_DEFAULT_REGION": "us-east-1", "SAM_CLI_TELEMETRY": "0"},
        start_new_session=True,
    )
    os.close(theirs)
    printed, answered, deadline = "", 0, time.monotonic() + PATIENCE_SECONDS
    try:
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    printed += os.read(ours, 65536).decode(errors="replace")
                except OSError:  # it has ended
                    break
            elif len(printed) > answered and PROMPT.search(ESCAPES.sub("", printed)):
                answered = len(printed)
                os.write(ours, b"\n")
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return ESCAPES.sub("", printed)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_enter_answers_every_question_up_to_the_first_call_to_aws(environment: str, tmp_path: Path) -> None:
    printed = guided(environment, tmp_path)

    asked = re.findall(r"Parameter (\w+) ", printed)
    assert "Looking for resources needed for deployment" in printed, printed
    assert "Unable to locate credentials" in printed
    assert "no authentication" not in printed
    assert asked == [*template()["Parameters"]]
    others = set(re.findall(r"^\t([A-Z][^\[\n]*?) \[.*\]: ", printed, re.MULTILINE)) - {
        f"Parameter {one}" for one in asked
    }
    assert len(others) == 8
    assert [question for question in others if f"`{question}`" not in GUIDE] == []


def test_the_guide_mentions_every_parameter() -> None:
    assert [name for name in template()["Parameters"] if f"`{name}`" not in GUIDE] == []
