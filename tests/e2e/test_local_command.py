"""`python -m local`, as one types it: in a folder of its own, so that nothing that runs here is disturbed."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from order_client import Client

from local.errors import LocalStackError
from local.settings import read_settings
from local.stack import ROOT
from tests.e2e.system import FIVE, PATIENCE_SECONDS, an_order, statuses, wait_for
from tests.support.operations import poll

PASSWORD = re.compile(r"postgresql://\w+:[\w-]+@")
SETTINGS = {"PORT": "0", "SAMPLE": "0", "VENUE_QUOTE_LATENCY_MS": "20-50", "VENUE_SWAP_LATENCY_MS": "150-300"}


@dataclass(frozen=True)
class Project:
    """A copy of the project, in which the command is run."""

    folder: Path

    @classmethod
    def below(cls, folder: Path) -> "Project":
        shutil.copytree(ROOT / "local", folder / "local")
        for name in ("functions", "layers", "template.yaml"):
            (folder / name).symlink_to(ROOT / name)
        return cls(folder)

    @property
    def state(self) -> Path:
        return self.folder / ".local"

    def environment(self, settings: dict[str, str]) -> dict[str, str]:
        path = f"{self.folder}{os.pathsep}{self.folder / 'layers/common/python'}"
        clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        return {**clean, **SETTINGS, **settings, "PYTHONPATH": path}

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        command, environment = [sys.executable, "-m", "local", *arguments], self.environment(settings)
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS
        )

    @contextmanager
    def started(self, **settings: str) -> Iterator["Run"]:
        """Start the command, and interrupt it at the end, should it still run."""
        output, command = self.folder / "output.txt", [sys.executable, "-u", "-m", "local"]
        with output.open("w") as stream:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment(settings), stdout=stream, stderr=subprocess.STDOUT
            )
        run = Run(self, process, output)
        try:
            yield run
        finally:
            if process.poll() is None:
                run.interrupt()

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
    project: Project
    process: subprocess.Popen[bytes]
    output: Path

    @property
    def printed(self) -> str:
        return self.output.read_text()

    def says(self, text: str) -> None:

        def look() -> bool:
            ended = self.process.poll() is not None
            assert text in self.printed or not ended, f"it ended without saying {text!r}:\n{self.printed}"
            return text in self.printed

        wait_for(look, f"the command says {text!r}")

    def interrupt(self) -> int:
        """Press Ctrl-C; return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=PATIENCE_SECONDS)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project in which nothing runs yet."""
    return Project.below(tmp_path)


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The command, run with a sample order, when its system is up. The last test of this module ends it."""
    with Project.below(tmp_path_factory.mktemp("project")).started(SAMPLE="1") as run:
        run.says("Serving")
        yield run


def test_it_shows_the_lives_of_two_sample_orders(serving: Run) -> None:
    def lives() -> list[list[str]]:
        told = re.split(r"^order ", serving.printed, flags=re.MULTILINE)[1:]
        return [re.findall(r"^ +[0-9]+\.[0-9]{3} s  (\w+)", one, re.MULTILINE) for one in told]

    assert poll(lambda: len(lives()) == 2 and lives()[1][-1:] in (["confirmed"], ["expired"]), 120)
    market, limit = lives()
    assert market == FIVE
    assert limit in (["pending", "open", "triggered", *FIVE[1:]], ["pending", "open", "expired"])
    assert re.search(r"raydium: price [0-9.]+, fee 0.003, you get [0-9.]+", serving.printed)
    assert re.search(r"meteora: price [0-9.]+, fee 0.002, you get [0-9.]+", serving.printed)
    assert re.search(r"received [0-9.]+ at [0-9.]+ on (raydium|meteora)", serving.printed)


def test_it_writes_where_the_system_is_reached(serving: Run) -> None:
    file = serving.project.state / "endpoints.json"
    endpoints = json.loads(file.read_text())
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file, file.parent)] == [0o600, 0o700]
    assert endpoints["pid"] == serving.process.pid
    assert {"http", "websocket", "database", "aws", "outputs"} < set(endpoints)
    assert urlsplit(endpoints["websocket"].format(orderId="x"))[2:] == ("/live", "orderId=x", "")
    assert PASSWORD.search(endpoints["database"])
    assert not PASSWORD.search(serving.printed)

    with Client(endpoints["http"]) as client:
        order_id = client.submit(an_order()).order_id
        life = list(client.watch(endpoints["websocket"].replace("{orderId}", order_id)))

    assert [one.status for one in life] == FIVE
    with psycopg.connect(endpoints["database"]) as database:
        query = "SELECT 1 FROM orders WHERE order_id = %s"
        wait_for(lambda: database.execute(query, [order_id]).fetchone(), "the order's row")


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl on this machine")
def test_the_curl_line_that_it_prints_sends_an_order(serving: Run) -> None:
    [line] = re.findall(r"^  (curl .*)$", serving.printed, re.MULTILINE)

    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)

    assert json.loads(done.stdout)["status"] == "pending"


def test_the_line_that_it_prints_to_watch_shows_the_sample_order(serving: Run) -> None:
    [line] = re.findall(r"^  (.* watch --json .*)$", serving.printed, re.MULTILINE)
    project = serving.project
    shell = ["sh", "-c", line]

    done = subprocess.run(
        shell, cwd=project.folder, env=project.environment({}), capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert statuses([json.loads(message) for message in done.stdout.splitlines()]) == FIVE
    assert project.run("watch", json.loads(done.stdout.splitlines()[0])["orderId"]).stdout.count("confirmed") == 1


def test_an_order_that_can_not_be_watched_is_told_with_the_problem(serving: Run) -> None:
    done = serving.project.run("watch", "5a3b0000-0000-4000-8000-000000000000")

    assert done.returncode == 1
    assert re.fullmatch(r"error: the socket is refused \(404\): there is no order .*\n", done.stderr)


@pytest.mark.parametrize(
    ("amount", "said", "code"), [("1", "confirmed", 0), ("1000000", "INSUFFICIENT_LIQUIDITY", 1), ("-1", "amountIn", 1)]
)
def test_an_order_by_hand_succeeds_if_it_is_confirmed(serving: Run, amount: str, said: str, code: int) -> None:
    done = serving.project.run("order", "--", "SOL", "USDC", amount)

    assert (done.returncode, done.stderr) == (code, "")
    assert said in done.stdout


def test_a_second_one_in_the_same_folder_is_refused_in_one_line_that_names_the_first(serving: Run) -> None:
    done = serving.project.run()

    assert done.returncode == 1
    assert re.fullmatch(rf"error: .* is running already \(process {serving.process.pid}\); .*\n", done.stderr)


def test_an_order_that_is_sent_is_told_in_one_line_and_its_story_shown(serving: Run) -> None:
    endpoints = json.loads((serving.project.state / "endpoints.json").read_text())
    with Client(endpoints["http"]) as client:
        order_id = client.submit(an_order()).order_id

    serving.says(f"confirmed  {order_id}  10 SOL for ")
    wait_for(lambda: "status confirmed" in serving.project.run("show", order_id).stdout, "the order's row")
    story = serving.project.run("show", order_id).stdout
    journaled = re.findall(r"^[0-9:.]+  journal  \d (\w+)", story, re.MULTILINE)
    logged = re.findall(r"^[0-9:.]+  log      (\w+): INFO", story, re.MULTILINE)
    assert journaled == FIVE
    assert {"submit", "route_execute"} <= set(logged)
    assert story.index("submit: INFO order accepted") < story.index("journal  2 routing")


def test_psql_opens_the_history(serving: Run) -> None:
    done = serving.project.run("psql", "-tAc", "SELECT count(*) > 0 FROM orders")

    assert (done.returncode, done.stdout, done.stderr) == (0, "t\n", "")


def test_status_tells_what_the_system_is_at(serving: Run) -> None:
    told = serving.project.run("status").stdout

    facts = dict(re.split(r" {2,}", line, maxsplit=1) for line in told.splitlines())
    assert facts["process"] == str(serving.process.pid)
    assert re.fullmatch(r"\d+, \d+ confirmed.*", facts["orders"])
    assert re.fullmatch(r"\d+ waiting, \d+ in flight, \d+ delayed", facts["queue"])
    assert (facts["dead letters"], facts["owed rows"]) == ("0", "0")
    assert facts["last errors"] == "none", told


@pytest.mark.parametrize("order_id", ["no-uuid", "5a3b0000-0000-4000-8000-000000000000"])
def test_an_order_that_is_not_there_is_told_in_one_line(serving: Run, order_id: str) -> None:
    done = serving.project.run("show", order_id)

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)


def test_output_for_a_terminal_of_ascii_is_no_traceback(serving: Run) -> None:
    done = serving.project.run("order", "SOL", "USDC", "1", PYTHONIOENCODING="ascii", LC_ALL="C")

    assert (done.returncode, done.stderr) == (0, "")
    assert "confirmed" in done.stdout


@pytest.mark.parametrize("command", ["status", "psql", "pause", "resume", "show 5a3b0000-0000-4000-8000-000000000000"])
def test_what_needs_a_running_system_says_so_in_one_line(project: Project, command: str) -> None:
    done = project.run(*command.split())

    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"error: no local stack is running.*\n", done.stderr)


def test_it_serves_on_when_the_sample_order_meets_a_bug_and_says_which(project: Project) -> None:
    (project.folder / "functions").unlink()
    shutil.copytree(ROOT / "functions", project.folder / "functions")
    app = project.folder / "functions/submit/app.py"
    app.write_text(
        app.read_text().replace("    submission = ", '    raise RuntimeError("a bug")\n    submission = ', 1)
    )

    with project.started(SAMPLE="1", KEEP="1") as run:
        run.says("Serving")
        run.says("RuntimeError: a bug")
        assert "refused (502 Bad Gateway)" in run.printed
        assert "error in submit: the function failed" in run.printed
        done = project.run("order", "SOL", "USDC", "1")
        stopped = project.run("stop")
        ended = run.process.wait(timeout=PATIENCE_SECONDS)

    assert (done.returncode, done.stderr) == (1, "")
    assert "refused (502 Bad Gateway)" in done.stdout
    assert "RuntimeError: a bug" in done.stdout
    assert (stopped.returncode, stopped.stdout) == (0, f"stopped (process {run.process.pid})\n")
    assert ended == 0
    with project.started() as run:
        run.says("dropping the order history")  # which the first one kept


def test_with_keys_the_lines_that_it_prints_have_one_and_show_none(project: Project) -> None:
    with project.started(ACCESS="keys", SAMPLE="1") as run:
        run.says("Serving")
        endpoints = json.loads((project.state / "endpoints.json").read_text())
        header = project.state / "authorization"
        [line] = re.findall(r"^  (curl .*)$", run.printed, re.MULTILINE)
        sent = subprocess.run(["sh", "-c", line], cwd=project.folder, capture_output=True, text=True, check=True)
        refused = subprocess.run(
            ["sh", "-c", line.replace("-H @", "-H X-Nothing: -H ")], cwd=project.folder, capture_output=True, text=True
        )
        ordered, listed = project.run("order", "SOL", "USDC", "1"), project.run("keys", "list")

        assert json.loads(sent.stdout)["status"] == "pending"
        assert json.loads(refused.stdout)["code"] == "UNAUTHORIZED"
        assert (ordered.returncode, len(listed.stdout.splitlines())) == (0, 1)
        assert header.read_text() == f"Authorization: Bearer {endpoints['key']}\n"
        assert stat.S_IMODE(header.stat().st_mode) == 0o600
        assert "oe_" not in run.printed
    assert not header.exists()


def test_a_folder_that_can_not_be_written_is_told_in_one_line(project: Project) -> None:
    project.state.write_text("no folder")

    done = project.run()

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert str(project.state) in done.stderr


def test_an_order_by_hand_needs_a_running_system(project: Project) -> None:
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


def test_a_wrong_setting_is_named_in_one_line(project: Project) -> None:
    for name, value in {
        "VENUE_ERROR_RATE": "2",
        "VENUE_QUOTE_LATENCY_MS": "fast",
        "VENUE_MAX_SLIP_BPS": "abc",
        "VENUE_VALIDITY_SECONDS": "0",
        "MARKET_VOLATILITY_BPS": "5001",
        "MARKET_LAUNCHES": "NOVA=soon",
        "RETRY_BASE_SECONDS": "-3",
        "ORDER_MAX_AGE_SECONDS": "inf",
        "LOG_LEVEL": "loud",
        "KEEP": "yes",
    }.items():
        with pytest.raises(LocalStackError, match=f"^{name} must be .*"):
            read_settings({name: value})

    done = project.run(PORT="http")

    assert done.returncode == 1
    assert re.fullmatch(r"error: PORT must be .*\n", done.stderr)


@pytest.mark.parametrize("moment", ["starting PostgreSQL", "deploying template.yaml"])
def test_ctrl_c_ends_it_cleanly_while_it_starts(project: Project, moment: str) -> None:
    with project.started() as run:
        run.says(moment)
        assert_ends_cleanly(run)


def test_ctrl_c_ends_it_cleanly_while_it_serves(serving: Run) -> None:
    assert_ends_cleanly(serving)


def assert_ends_cleanly(run: Run) -> None:
    assert run.project.processes()

    assert run.interrupt() == 0

    assert "Traceback" not in run.printed
    assert run.project.processes() == []
    assert [path.name for path in run.project.state.iterdir()] == ["stack.log"]
