"""Debian's Chromium, which the page is tested with. `make browser-tools` installs it in CI."""

import os
import shutil
import subprocess
import sys

from playwright.sync_api import Browser, Playwright

MISSING = "there is no Chromium here: apt-get install chromium"


def chromium() -> str | None:
    """Return where Chromium is, or None."""
    return shutil.which("chromium") or shutil.which("/usr/bin/chromium")


def launch(playwright: Playwright) -> Browser:
    """Start Chromium. Raises FileNotFoundError where there is none."""
    path = chromium()
    if path is None:
        raise FileNotFoundError(MISSING)
    # Its sandbox refuses root; /dev/shm is small in containers.
    arguments = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    return playwright.chromium.launch(executable_path=path, args=arguments)


def install() -> None:
    """Install Chromium as root with CI=true; elsewhere say what is missing."""
    if not chromium() and os.geteuid() == 0 and os.environ.get("CI") == "true":
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", *command], check=False, env=environment, stdout=subprocess.DEVNULL)
    if not chromium():
        print(f"the tests of the page will be skipped: {MISSING}", file=sys.stderr)


if __name__ == "__main__":
    install()
