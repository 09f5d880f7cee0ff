"""How the command ends when it can't write, or is interrupted, and what is told of the orders that it leaves."""

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from websockets.sync.server import ServerConnection

from tests.unit.client.engine import ORDER, Answer, Engine, says, status_of, summary
from tests.unit.client.test_command import environment

PAGE = Answer(200, {"orders": [summary()]})
SOL = {"symbol": "SOL", "mint": "So1", "decimals": 9}
# What a shell starts in the background, these tests perhaps, ignores Ctrl-C, and so do its children.
AS_IN_A_TERMINAL = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("order_client", run_name="__main__", alter_sys=True)
"""
MINE = "submit SOL USDC 1 --client-order-id mine"
MANY = "submit SOL USDC 1 --count 15 --concurrency 12"


def in_shell(engine: Engine, line: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`orders` with an argument line that may redirect its output."""
    shell = f"exec {shlex.quote(sys.executable)} -m order_client {line}"
    variables = environment(engine, **settings)
    return subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60, env=variables)


def interrupted(engine: Engine, arguments: str, due: Callable[[], bool]) -> tuple[int, str, list[str]]:
    """Press Ctrl-C once `due` says so; return the exit code, standard output, and the lines of standard error."""
    command = [sys.executable, "-c", AS_IN_A_TERMINAL, *shlex.split(arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=environment(engine), **pipes) as process:  # type: ignore[call-overload]
        try:
            deadline = time.monotonic() + 60
            while not due():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            said, told = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, said, told.splitlines()


def rests(engine: Engine, come: list[ServerConnection]) -> Callable[[ServerConnection], object]:
    """Shows that the order is pending, and no more."""

    def talk(socket: ServerConnection) -> None:
        says(status_of(1))(socket)
        come.append(socket)
        engine.over.wait()

    return talk


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("line", ["list", "list --json", "tokens", "--help"])
def test_a_full_disk_is_told_in_one_line(engine: Engine, line: str, unbuffered: str) -> None:
    engine.answers = [Answer(200, {"tokens": [SOL]}) if "tokens" in line else PAGE]

    done = in_shell(engine, f"{line} >/dev/full", PYTHONUNBUFFERED=unbuffered)

    assert (done.returncode, done.stderr) == (5, "error: standard output can't be written: No space left on device\n")


@pytest.mark.parametrize("line", ["list --json", "tokens", MINE])
def test_a_closed_output_is_told_before_anything_is_sent(engine: Engine, line: str) -> None:
    done = in_shell(engine, f"{line} >&-")

    assert (done.returncode, done.stderr) == (5, "error: standard output is closed\n")
    assert engine.requests == []


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full"])
def test_people_who_do_not_listen_do_not_stop_it(engine: Engine, closed: str) -> None:
    engine.answers = [Answer(200, {"orders": []}), PAGE]

    told, shown = in_shell(engine, f"list {closed}"), in_shell(engine, f"list --json {closed}")

    assert (told.returncode, shown.returncode) == (0, 0)
    assert json.loads(shown.stdout)["orderId"] == ORDER


@pytest.mark.parametrize("form", ["", "--json", "--no-watch"])
def test_an_order_whose_output_is_lost_is_told_on_the_other(engine: Engine, form: str) -> None:
    engine.answers, engine.talks = [engine.accepted], [says(status_of(1))]

    done = in_shell(engine, f"{MINE} {form} >/dev/full")

    assert (done.returncode, len(done.stderr.splitlines())) == (5, 2)
    assert done.stderr.endswith(f"\norder {ORDER} (clientOrderId mine) may still be executed\n")


def test_many_orders_whose_output_is_lost_are_told_on_the_other(engine: Engine) -> None:
    engine.answers = [engine.accepted] * 2

    done = in_shell(engine, "submit SOL USDC 1 --count 2 --concurrency 1 --json >/dev/full")

    assert done.returncode == 5
    assert done.stderr.splitlines()[0] == "error: standard output can't be written: No space left on device"
    assert done.stderr.splitlines()[-1].startswith(f"order {ORDER} (clientOrderId ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("form", ["", "--json"])
def test_ctrl_c_tells_the_order_that_is_being_submitted(engine: Engine, form: str) -> None:
    engine.answers = [Answer(0)]

    code, said, told = interrupted(engine, f"submit SOL USDC 1 {form}", lambda: bool(engine.requests))

    [sent] = [(request.body or {})["clientOrderId"] for request in engine.requests]
    assert (code, said) == (130, "")
    assert told == [f"the order with clientOrderId {sent} may have been placed, and may be executed"]


@pytest.mark.parametrize("form", ["", "--json"])
def test_ctrl_c_tells_the_order_that_is_being_watched(engine: Engine, form: str) -> None:
    come: list[ServerConnection] = []
    engine.answers, engine.talks = [engine.accepted], [rests(engine, come)]

    code, _, told = interrupted(engine, f"{MINE} {form}", lambda: bool(come))

    assert (code, told) == (130, [f"order {ORDER} (clientOrderId mine) may still be executed"])


@pytest.mark.parametrize("form", ["", "--json"])
def test_ctrl_c_tells_many_orders_up_to_ten(engine: Engine, form: str) -> None:
    engine.answers = [Answer(422, {"code": "INVALID_FIELD"}), *[Answer(0)] * 14]

    code, said, told = interrupted(engine, f"{MANY} {form}", lambda: len(engine.requests) == 13)

    [*summed, first, second] = said.splitlines() if not form else told[:2]
    ids = {(request.body or {})["clientOrderId"] for request in engine.requests}
    note = told[2:] if form else told
    assert (code, summed, second) == (130, [], "1 x refused (422 INVALID_FIELD): without a reason")
    assert first.endswith(": 1 InvalidRequest")
    assert note[0] == "12 orders were in flight and may be executed:"
    named = [line.removeprefix("  clientOrderId ") for line in note[1:-1]]
    assert (len(named), len(ids & set(named)), note[-1]) == (10, 10, "  and 2 more")


def test_ctrl_c_tells_which_of_many_orders_are_known(engine: Engine) -> None:
    come: list[ServerConnection] = []
    engine.answers, engine.talks = [engine.accepted, Answer(0)], [rests(engine, come)]

    line = "submit SOL USDC 1 --count 2 --concurrency 2"
    code, _, told = interrupted(engine, line, lambda: bool(come) and len(engine.requests) == 2)

    assert (code, told[0], len(told)) == (130, "2 orders were in flight and may be executed:", 3)
    assert [line.endswith(f", order {ORDER}") for line in sorted(told[1:], key=len)] == [False, True]


def test_ctrl_c_says_nothing_of_an_order_that_is_only_watched(engine: Engine) -> None:
    come: list[ServerConnection] = []
    engine.answers, engine.talks = [], [rests(engine, come)]

    code, _, told = interrupted(engine, f"watch '{engine.stream_url}'", lambda: bool(come))

    assert (code, told) == (130, [])
