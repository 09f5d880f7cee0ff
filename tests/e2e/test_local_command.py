"""`python -m local`, as one types it: in a copy of the project, so that nothing that runs here is disturbed."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest

from local.client import follow, submit
from local.stack import ROOT
from tests.e2e.system import FIVE, PATIENCE_SECONDS, an_order, statuses, wait_for

SHIPPED = ("local", "functions", "layers", "template.yaml")
SETTINGS = {"PORT": "0", "SAMPLE": "0", "VENUE_QUOTE_LATENCY_MS": "20-50", "VENUE_SWAP_LATENCY_MS": "150-300"}


@dataclass(frozen=True)
class Project:
    """A copy of the project, in which the command is run."""

    folder: Path

    def environment(self, **settings: str) -> dict[str, str]:
        """A user's environment, with these settings."""
        path = os.pathsep.join([str(self.folder), str(self.folder / "layers/common/python")])
        clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        return {**clean, **SETTINGS, **settings, "PYTHONPATH": path}

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Runs the command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "local", *arguments],
            cwd=self.folder,
            env=self.environment(**settings),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    @contextmanager
    def started(self, **settings: str) -> Iterator["Run"]:
        """Starts the command, and interrupts it at the end, should it still run."""
        output = self.folder / "output.txt"
        with output.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-u", "-m", "local"],
                cwd=self.folder,
                env=self.environment(**settings),
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        run = Run(process, output)
        try:
            yield run
        finally:
            if process.poll() is None:
                run.interrupt()

    @property
    def endpoints(self) -> Path:
        """The file that says where the system is reached."""
        return self.folder / ".local" / "endpoints.json"

    def processes(self) -> list[psutil.Process]:
        """Every process that has to do with this copy."""
        return [process for process in psutil.process_iter() if _mentions(process, str(self.folder))]


def _mentions(process: psutil.Process, folder: str) -> bool:
    try:
        known = [*process.cmdline(), process.cwd(), *process.environ().values()]
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    return any(folder in text for text in known)


@dataclass(frozen=True)
class Run:
    """A running command."""

    process: subprocess.Popen[bytes]
    output: Path

    def says(self, text: str) -> str:
        """Waits until it has printed the text; answers all that it printed."""

        def look() -> str | None:
            printed = self.output.read_text()
            assert text in printed or self.process.poll() is None, f"it ended without saying {text!r}:\n{printed}"
            return printed if text in printed else None

        return wait_for(look, f"the command says {text!r}")

    def interrupt(self) -> int:
        """Presses Ctrl-C; answers the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=PATIENCE_SECONDS)


def a_copy(folder: Path) -> Project:
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return Project(folder)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A copy of the project, in which nothing runs yet."""
    return a_copy(tmp_path)


@dataclass(frozen=True)
class Serving:
    """A project whose system is up, and what the command printed until then."""

    project: Project
    printed: str
    endpoints: Mapping[str, str]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The command, run with a sample order."""
    project = a_copy(tmp_path_factory.mktemp("project"))
    with project.started(SAMPLE="1") as run:
        printed = run.says("Serving")
        yield Serving(project, printed, json.loads(project.endpoints.read_text()))


def test_it_shows_the_life_of_a_sample_order(serving: Serving) -> None:
    shown = re.findall(r"^ +[0-9]+\.[0-9]{3} s  (\w+)", serving.printed, re.MULTILINE)

    assert shown == FIVE
    assert re.search(r"raydium: price [0-9.]+, fee 0.003, you get [0-9.]+", serving.printed)
    assert re.search(r"meteora: price [0-9.]+, fee 0.002, you get [0-9.]+", serving.printed)
    assert re.search(r"received [0-9.]+ at [0-9.]+ on (raydium|meteora)", serving.printed)


def test_it_writes_where_the_system_is_reached(serving: Serving) -> None:
    assert set(serving.endpoints) == {"http", "websocket", "database"}

    answer = submit(serving.endpoints["http"], an_order())
    life = list(follow(serving.endpoints["websocket"].replace("{orderId}", answer["orderId"])))

    assert statuses(life) == FIVE
    with psycopg.connect(serving.endpoints["database"]) as connection:
        wait_for(
            lambda: connection.execute("SELECT 1 FROM orders WHERE order_id = %s", [answer["orderId"]]).fetchone(),
            "the order's row",
        )


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl on this machine")
def test_the_curl_line_that_it_prints_sends_an_order(serving: Serving) -> None:
    [line] = re.findall(r"^  (curl .*)$", serving.printed, re.MULTILINE)

    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)

    assert json.loads(done.stdout)["status"] == "pending"


def test_the_websocket_line_that_it_prints_shows_the_sample_order(serving: Serving, tmp_path: Path) -> None:
    [line] = re.findall(r"^  (.* -m websockets .*)$", serving.printed, re.MULTILINE)
    output = tmp_path / "output.txt"

    with (
        output.open("w") as stream,
        subprocess.Popen(["sh", "-c", f"exec {line}"], stdin=subprocess.PIPE, stdout=stream) as process,
    ):
        printed = Run(process, output).says('"status":"confirmed"')
        process.kill()

    assert all(f'"status":"{status}"' in printed for status in FIVE)


def test_an_order_by_hand_succeeds_when_it_is_confirmed(serving: Serving) -> None:
    done = serving.project.run("order", "SOL", "USDC", "1")

    assert done.returncode == 0, done.stderr
    assert "confirmed" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (("SOL", "USDC", "1000000"), "INSUFFICIENT_LIQUIDITY"),
        (("SOL", "SOL", "1"), "tokenOut"),
        (("SOL", "USDC", "-1"), "amountIn"),
    ],
    ids=["failed", "refused", "a negative amount"],
)
def test_an_order_by_hand_fails_when_it_is_not(serving: Serving, tokens: tuple[str, ...], said: str) -> None:
    done = serving.project.run("order", "--", *tokens)

    assert done.returncode == 1
    assert said in done.stdout
    assert "Traceback" not in done.stderr


def test_a_second_one_in_the_same_folder_is_refused_in_one_line(serving: Serving) -> None:
    done = serving.project.run()

    assert done.returncode == 1
    assert re.fullmatch(r"error: .* is running already; stop it first\n", done.stderr)


def test_an_order_by_hand_without_a_running_system_says_so_in_one_line(project: Project) -> None:
    done = project.run("order", "SOL", "USDC", "1")

    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"error: no local stack is running; .*\n", done.stderr)


def test_a_port_that_is_taken_is_told_in_one_line(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        done = project.run(PORT=str(port))

    assert done.returncode == 1
    assert re.fullmatch(rf"error: can't listen on port {port}: it is in use; .*\n", done.stderr)
    assert project.processes() == []


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "http"), ("VENUE_ERROR_RATE", "2"), ("VENUE_QUOTE_LATENCY_MS", "fast")]
)
def test_a_setting_that_cannot_be_right_is_named_in_one_line(project: Project, name: str, value: str) -> None:
    done = project.run(**{name: value})

    assert done.returncode == 1
    assert re.fullmatch(rf"error: {name} must be .*\n", done.stderr)


@pytest.mark.parametrize("moment", ["starting PostgreSQL", "deploying template.yaml", "Serving"])
def test_ctrl_c_ends_it_cleanly_at_any_moment(project: Project, moment: str) -> None:
    with project.started() as run:
        printed = run.says(moment)
        assert project.processes()

        exit_code = run.interrupt()

    assert exit_code == 0
    assert "Traceback" not in printed + run.output.read_text()
    assert project.processes() == []
    assert [path.name for path in project.endpoints.parent.iterdir()] == ["stack.log"]
