"""The queries of docs/operations.md work."""

import re
from pathlib import Path
from uuid import uuid4

import psycopg

from local.postgres import EmbeddedPostgres

GUIDE = Path(__file__).parents[2] / "docs/operations.md"


def test_each_query_for_postgres_runs(postgres: EmbeddedPostgres) -> None:
    blocks = re.findall(r"```sql\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert blocks
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        for block in blocks:
            connection.execute(block.replace("ORDER_ID", str(uuid4())))
