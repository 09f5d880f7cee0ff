"""The release before this one, as it was: its code runs beside ours, as during an update."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from local.stack import ROOT

BEFORE = "4621d28"  # what main was on 2026-11-23, before functions had versions


def release_before(folder: Path) -> Path:
    """Put that release's files into a folder, and return it. Skips the test where the repository does not have it."""
    archive = subprocess.run(["git", "archive", BEFORE], cwd=ROOT, capture_output=True)
    if archive.returncode:
        pytest.skip(f"the release before, {BEFORE}, is not in this copy of the repository")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder
