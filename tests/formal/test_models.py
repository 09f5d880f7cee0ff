"""The models hold, and spin finds every wrong line in them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

FORMAL = Path(__file__).parents[2] / "formal"


def test_every_wrong_line_of_the_models_is_tried() -> None:
    wrong = re.compile(r"\bWRONG_[A-Z_]+\b(?!\.)")
    in_models = {name for model in FORMAL.glob("*.pml") for name in wrong.findall(model.read_text())}
    tried = set(re.findall(r'"(WRONG_[A-Z_]+)[ "]', (FORMAL / "check").read_text()))

    assert len(in_models) > 10
    assert tried == in_models


@pytest.mark.skipif(not (shutil.which("spin") and shutil.which("gcc")), reason="spin or gcc is not installed")
def test_formal_check_finds_what_it_should() -> None:
    checked = subprocess.run([FORMAL / "check"], capture_output=True, text=True, timeout=1800, check=False)

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "nothing unexpected" in checked.stdout
