"""A lost database comes back: an earlier copy of it, and the outcomes since then from the journal."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from websockets.sync.client import connect

from local import rewrite
from local.deploy import STACK
from local.errors import LocalStackError
from local.pause import pause, resume
from tests.e2e.system import System, Watcher, an_order, wait_for
from tests.e2e.test_cancelling import ask, shown
from tests.e2e.test_resting_orders import resting
from tests.support.operations import Row

KINDS = {
    "confirmed": an_order(),
    "failed": an_order(amountIn="9000000"),
    "expired": resting("limit", timeInForce="fok"),
    "cancelled": resting("stop"),
}
TABLES = {"orders": "order_id", "order_events": "order_id, sequence"}
History = dict[str, list[Row]]


def lives(system: System) -> list[str]:
    """An order of each end, all closed."""
    orders = {end: system.submit(asked)["orderId"] for end, asked in KINDS.items()}
    wait_for(lambda: shown(ask(system, "GET", orders["cancelled"]))["status"] == "open", "an order at rest")
    shown(ask(system, "DELETE", orders["cancelled"]))
    assert {end: system.row_of(order_id)["status"] for end, order_id in orders.items()} == {end: end for end in orders}
    wait_until_closed(system, [*orders.values()])
    return [*orders.values()]


def wait_until_closed(system: System, order_ids: list[str]) -> None:
    wait_for(lambda: all("closed" in system.journal_item(one) for one in order_ids), "closed orders")


def subscribers(system: System, order_id: str) -> object:
    return system.journal_item(order_id)["subscribers"]["M"]


def history(system: System) -> History:
    """All that PostgreSQL has, as text."""
    return {
        table: system.query(f"SELECT {table}::text AS row FROM {table} ORDER BY {keys}")  # noqa: S608 - our own names
        for table, keys in TABLES.items()
    }


def copy_history(system: System, source: str, target: str) -> None:
    """Copy the tables of a schema, which is all of a snapshot that counts here, to those of another one."""
    with psycopg.connect(system.stack.postgres.url) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {target}".encode())
        for table in TABLES:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {target}.{table} (LIKE public.{table})".encode())
        connection.execute(f"TRUNCATE {', '.join(f'{target}.{table}' for table in TABLES)}".encode())
        for table in TABLES:
            connection.execute(f"INSERT INTO {target}.{table} TABLE {source}.{table}".encode())


def a_new_second() -> datetime:
    """Wait for the next second, of which a closed order tells, and return it."""
    begun = datetime.now(UTC).replace(microsecond=0)
    wait_for(lambda: datetime.now(UTC) >= begun + timedelta(seconds=1), "the next second")
    return begun + timedelta(seconds=1)


@pytest.fixture
def named(system: System, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    """The system as AWS' tools reach it, with a snapshot of its history, which at the end is as it was."""
    for name, value in {**system.stack.endpoints.aws, "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rewrite, "_CLOCKS", rewrite._CLOCKS * 0)
    yield system


def test_a_restored_database_gets_the_outcomes_since_then(named: System, capsys: pytest.CaptureFixture[str]) -> None:
    before = lives(named)
    copy_history(named, "public", "snapshot")
    since = a_new_second()
    with connect(named.stack.outputs["WebSocketUrl"], proxy=None) as socket:
        watcher = Watcher(socket)
        order_ids = lives(named)
        for order_id in order_ids:
            watcher.say({"action": "subscribe", "orderId": order_id})
        told = watcher.until("subscribed")
        while len({one["orderId"] for one in told if one.get("status") in KINDS}) < len(order_ids):
            told.append(watcher.next())
        told += watcher.up_to_pong()
        wait_for(lambda: not any(subscribers(named, order_id) for order_id in order_ids), "nobody who is kept")
        was, items = history(named), [named.journal_item(order_id) for order_id in order_ids]
        copy_history(named, "snapshot", "public")
        assert history(named) != was

        rewrite.rewrite_history(since.isoformat(), "", STACK)
        wait_for(lambda: history(named) == was, "the rows as they were")
        wait_until_closed(named, order_ids)
        assert watcher.up_to_pong() == []

    assert capsys.readouterr().out.startswith(f"{len(order_ids)} outcomes are written again")
    forgotten = {"expiresAt", "releasedBy", "takenFrom"}
    for item, order_id in zip(items, order_ids, strict=True):
        again = named.journal_item(order_id)
        assert {name: value for name, value in again.items() if name not in forgotten} == {
            name: value for name, value in item.items() if name not in forgotten
        }
        assert int(again["expiresAt"]["N"]) >= int(item["expiresAt"]["N"])
    assert all("closed" in named.journal_item(order_id) for order_id in before)


def test_it_can_be_repeated_and_go_on_where_it_was(named: System, capsys: pytest.CaptureFixture[str]) -> None:
    since, order_ids = a_new_second(), lives(named)
    was = history(named)

    def rewritten(after: str = "") -> int:
        rewrite.rewrite_history(since.isoformat().replace("+00:00", "Z"), after, STACK)
        wait_until_closed(named, order_ids)
        return int(capsys.readouterr().out.split()[0])

    assert (rewritten(), rewritten()) == (len(order_ids), len(order_ids))
    assert rewritten(after=last_of(named)) == 0
    assert history(named) == was


def last_of(system: System) -> str:
    """The last order of a scan."""
    pages = system.dynamodb.get_paginator("scan").paginate(TableName=system.stack.outputs["JournalTableName"])
    *_, last = (item for page in pages for item in page["Items"])
    return str(last["orderId"]["S"])


@pytest.mark.parametrize(
    ("since", "after", "said"),
    [
        ("", "", "since when"),
        ("yesterday", "", "since when"),
        ("2026-11-23T12:00:00", "", "has no offset"),
        ("2026-11-23T12:00:00Z", "x", "give an orderId .with make: AFTER="),
    ],
)
def test_what_is_wrong_is_said(named: System, since: str, after: str, said: str) -> None:
    with pytest.raises(LocalStackError, match=said):
        rewrite.rewrite_history(since, after, STACK)


def test_nothing_is_owed_while_nobody_could_write_it(named: System) -> None:
    pause(STACK)
    try:
        with pytest.raises(LocalStackError, match="resume it first"):
            rewrite.rewrite_history("2026-11-23T12:00:00Z", "", STACK)
    finally:
        resume(STACK)
