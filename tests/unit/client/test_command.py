"""The command `orders`, as one types it."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from order_client.command import app
from typer.testing import CliRunner, Result

from tests.unit.client.engine import LIFE, ORDER, OTHER, Answer, Engine, heard, says, status_of, summary

LIFE_OF_ONE = [status_of(one) for one in range(1, 6)]
FAILED = [status_of(1), status_of(2, life=("pending", "failed"), code="NO_POOL", error="no pool")]
VERBS = ("submit", "watch", "cancel", "get", "list", "quote", "tokens")


def environment(engine: Engine | None, **settings: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
    url = {"ORDERS_URL": engine.url} if engine else {}
    return {**kept, "ORDERS_DEADLINE": "0", "COLUMNS": "100", "PYTHONWARNINGS": "error", **url, **settings}


def orders(engine: Engine | None, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "order_client", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(engine, **settings))


def invoke(engine: Engine, arguments: str, **settings: str) -> Result:
    """The command in this process, where its end is of no interest."""
    return CliRunner().invoke(app, shlex.split(arguments), env={"ORDERS_URL": engine.url, **settings})


def test_submit_follows_the_order_to_its_end(engine: Engine) -> None:
    engine.answers, engine.talks = [engine.accepted], [says(*LIFE_OF_ONE)]

    done = orders(engine, "submit", "SOL", "USDC", "10", "--type", "limit", "--limit-price", "151")

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"order {ORDER}: 10 SOL for USDC, limit"
    assert re.findall(r"^ +[0-9]+\.[0-9]{3} s  (\w+)", done.stdout, re.MULTILINE) == [*LIFE]
    assert "meteora: price 150.1, fee 0.002, you get 1498.5  <- best" in done.stdout
    body = engine.requests[0].body or {}
    assert (body["orderType"], body["limitPrice"], body["amountIn"]) == ("limit", "151", "10")


def test_json_is_one_object_a_line_as_on_the_wire(engine: Engine) -> None:
    engine.answers, engine.talks = [engine.accepted], [says(*LIFE_OF_ONE)]

    done = orders(engine, "submit", "SOL", "USDC", "10", "--json")

    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [engine.accepted.body, *LIFE_OF_ONE]


def test_many_orders_are_summed_up(engine: Engine) -> None:
    engine.answers = [engine.accepted, engine.accepted, Answer(422, {"code": "INVALID_FIELD", "detail": "wrong"})]
    engine.talks = [says(*LIFE_OF_ONE), says(*FAILED)]

    done = orders(engine, "submit", "SOL", "USDC", "10", "--count", "3", "--concurrency", "1")

    total, times, venues, errors = done.stdout.splitlines()
    assert total.startswith("3 orders in ")
    assert {"1 confirmed", "1 failed", "1 InvalidRequest"} == set(total.partition(": ")[2].split(", "))
    assert times.startswith("time to final: p50 ")
    assert (venues, errors) == ("venues: meteora 100%", "1 x refused (422 INVALID_FIELD): wrong")
    assert done.returncode == 3


@pytest.mark.parametrize(
    ("arguments", "answers", "code"),
    [
        (f"watch {ORDER}", [], 1),
        ("submit SOL USDC 10", [Answer(422, {"code": "INVALID_FIELD", "detail": "wrong"})], 3),
        (f"cancel {ORDER}", [Answer(409, {"code": "TOO_LATE_TO_CANCEL"})], 3),
        (f"get {ORDER}", [Answer(404)], 3),
        ("tokens", [Answer(401)], 3),
        ("tokens", [Answer(503)], 4),
        ("tokens", [Answer(-1)], 4),
        ("tokens", [Answer(200, [])], 4),
        ("tokens", [Answer(200, {"tokens": 5})], 4),
        ("submit SOL USDC 10", [Answer(302, {}, {"Location": "/login"})], 4),
        ("list", [Answer(200, {"orders": []})], 0),
    ],
)
def test_the_exit_code_says_what_came_of_it(engine: Engine, arguments: str, answers: list[Answer], code: int) -> None:
    engine.answers = answers or [engine.streams]
    engine.talks = [lambda socket: (heard(socket), says(*FAILED)(socket))]

    done = orders(engine, *shlex.split(arguments))

    assert done.returncode == code, done
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        "watch nonsense",
        "watch ws://127.0.0.1",
        f"watch 'ws://127.0.0.1:99999?orderId={ORDER}'",
        f"watch 'ws://[::1?orderId={ORDER}'",
        "submit SOL USDC",
        "submit SOL USDC 1 --count 2 --client-order-id mine",
        "submit SOL USDC 1 --expires-at tomorrow",
        "list --from 2026-11-22T14:30:00",
        "tokens --url nonsense",
        "tokens --url http://127.0.0.1:99999",
        "tokens --key 'a\nb'",
        "tokens --key é",
        "tokens --key-file /there/is/none",
        "nonsense",
    ],
)
def test_wrong_usage_is_told_before_anything_is_sent(arguments: str) -> None:
    done = CliRunner().invoke(app, shlex.split(arguments), env={"ORDERS_URL": "http://127.0.0.1:1"})

    assert (done.exit_code, done.stdout) == (2, "")
    assert isinstance(done.exception, SystemExit)


def test_nobody_there_is_told_in_one_line() -> None:
    done = orders(None, "tokens", "--url", "http://127.0.0.1:1")

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (4, "", 1)


@pytest.mark.parametrize("content", ["oe_from-a-file\n", "Authorization: Bearer oe_from-a-file\n"])
def test_the_key_comes_from_a_file(engine: Engine, tmp_path: Path, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    engine.answers = [Answer(200, {"tokens": []}), Answer(200, {"tokens": []})]

    for settings in ({}, {"ORDERS_KEY": "oe_given"}):
        assert invoke(engine, "tokens", ORDERS_KEY_FILE=str(file), **settings).exit_code == 0

    sent = [request.headers["Authorization"] for request in engine.requests]
    assert sent == ["Bearer oe_from-a-file", "Bearer oe_given"]


def test_lists_quotes_and_tokens_are_shown(engine: Engine) -> None:
    quote = {"venue": "meteora", "price": "150.1", "fee": "0.002", "priceImpactPct": "0.1", "amountOut": "1498.5"}
    quotes = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "10", "timestamp": "2026-11-22T14:30:00Z"}
    rejected = {"venue": "raydium", "code": "NO_POOL", "error": "no pool"}
    quotes |= {"quotes": [quote], "rejected": [rejected], "best": "meteora", "minAmountOut": "1490"}  # type: ignore[dict-item]
    token = {"symbol": "SOL", "mint": "So1", "decimals": 9, "launches": False}
    link = {"Link": '</api/orders?limit=2&cursor=c>; rel="next"'}
    engine.answers = [
        Answer(200, {"orders": [summary(ORDER)]}, link),
        Answer(200, {"orders": [summary(OTHER)]}, link),
        Answer(200, quotes),
        Answer(200, quotes),
        Answer(200, {"tokens": [token]}),
        Answer(200, summary(events=[status_of(1)])),
        Answer(200, summary(status="cancelled")),
    ]

    listed = invoke(engine, "list --most 2 --json")
    quoted, as_json = invoke(engine, "quote SOL USDC 10"), invoke(engine, "quote SOL USDC 10 --json")
    tokens, got, cancelled = (invoke(engine, one) for one in ("tokens", f"get {ORDER}", f"cancel {ORDER}"))

    assert [json.loads(line)["orderId"] for line in listed.stdout.splitlines()] == [ORDER, OTHER]
    assert "you get 1498.5 USDC  <- best\nraydium: NO_POOL, no pool\nat least 1490 USDC" in quoted.stdout
    assert json.loads(as_json.stdout) == quotes
    assert tokens.stdout.split() == ["SOL", "So1", "9", "decimals"]
    assert "amountIn           10\n" in got.stdout
    assert cancelled.stdout == f"order {ORDER} is cancelled\n"
    assert not engine.answers


@pytest.mark.parametrize("form", ["", "--json"])
def test_a_reader_that_leaves_ends_it_without_a_word(engine: Engine, form: str) -> None:
    page = Answer(200, {"orders": [summary()] * 50}, {"Link": '</api/orders?cursor=c>; rel="next"'})
    engine.answers = [page] * 1000
    shell = f"set -o pipefail; {shlex.quote(sys.executable)} -m order_client list --most 0 {form} | head -n 1"

    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60, env=environment(engine))

    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (141, "", 1)


@pytest.mark.parametrize("asked", ["-h", "--help"])
def test_help_teaches_every_verb(asked: str) -> None:
    for verb in ("", *VERBS):
        done = CliRunner().invoke(app, [*filter(None, [verb, asked])])

        assert done.exit_code == 0
        assert f"  orders {verb}" in done.output
        assert "4 unreachable" in " ".join(done.output.split())


def test_the_installed_command_prints_its_help_and_completion() -> None:
    command = Path(sys.executable).with_name("orders")
    calls: tuple[tuple[list[str], dict[str, str]], ...] = (
        (["--help"], {}),
        ([], {"_ORDERS_COMPLETE": "source_bash"}),
        ([], {"_ORDERS_COMPLETE": "complete_bash", "COMP_WORDS": "orders can", "COMP_CWORD": "1"}),
    )
    texts = [
        subprocess.run(
            [command, *arguments], capture_output=True, text=True, env={**environment(None), **settings}
        ).stdout
        for arguments, settings in calls
    ]

    assert "orders submit SOL USDC 1.5" in texts[0]
    assert "complete -o" in texts[1]
    assert texts[2].strip() == "cancel"
