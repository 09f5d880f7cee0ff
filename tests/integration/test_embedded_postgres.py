"""The embedded PostgreSQL: what it keeps, and what it leaves behind."""

from pathlib import Path

import psycopg

from local.postgres import EmbeddedPostgres


def test_the_data_and_the_password_outlive_a_restart_and_nothing_outlives_a_drop(tmp_path: Path) -> None:
    log = tmp_path / "postgres.log"
    first = EmbeddedPostgres(tmp_path / "postgres", log, durable=True)
    try:
        first.start()
        with psycopg.connect(first.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        password = first.url.split("@")[0]
        first.stop()
        again = EmbeddedPostgres(tmp_path / "postgres", log, durable=True)
        assert again.has_data
        again.start()
        with psycopg.connect(again.url) as connection:
            assert connection.execute("SELECT number FROM kept").fetchall() == [(7,)]
        assert again.url.split("@")[0] == password
        assert password.rpartition(":")[2] not in again.url_to_show
        again.stop()
    finally:
        first.stop()
        first.drop()

    assert not first.folder.exists()
