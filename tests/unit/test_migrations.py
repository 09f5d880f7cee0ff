"""The release before works on while a migration runs, and after a rollback: no migration takes anything from it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from order_engine import migrations

FOLDER = Path(migrations.__file__).parent
# Migrations that drop what the release before does not use any more: the last of three steps (docs/deploy.md#update).
THIRD_STEPS: set[str] = set()
TAKEN = {
    "a table, view or column dropped": r"DROP (TABLE|VIEW|COLUMN)",
    "a name changed": r"RENAME (TO|COLUMN|CONSTRAINT)",
    "a column's type changed": r"ALTER (COLUMN )?\w+ (SET DATA )?TYPE",
    "a column that the release before leaves empty": r"ADD (COLUMN )?(?!.*DEFAULT).*NOT NULL|SET NOT NULL",
}


def statements(script: str) -> Iterator[str]:
    """The statements of a migration, each on a line, without comments and texts; ALTER TABLE's actions one by one."""
    for statement in re.sub(r"--[^\n]*|'[^']*'", "", script).split(";"):
        line = " ".join(statement.split())
        yield from line.split(", ") if line.startswith("ALTER TABLE") else [line]


def taken_by(script: str) -> list[str]:
    """What a migration takes from the release before it."""
    return [what for what, pattern in TAKEN.items() for one in statements(script) if re.search(pattern, one)]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("[0-9]*.sql")), ids=lambda path: path.stem)
def test_a_migration_takes_nothing_from_the_release_before(path: Path) -> None:
    assert path.stem in THIRD_STEPS or taken_by(path.read_text()) == []


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE orders DROP COLUMN owner;",
        "ALTER TABLE orders ADD COLUMN a text, RENAME COLUMN owner TO account;",
        "ALTER TABLE orders\n    ALTER COLUMN owner TYPE uuid;",
        "ALTER TABLE orders ADD COLUMN a text NOT NULL, ADD COLUMN b text NOT NULL DEFAULT 'x';",
        "ALTER TABLE orders ALTER COLUMN owner SET NOT NULL;",
        "DROP VIEW failures_by_hour;",
    ],
)
def test_what_takes_something_is_seen(statement: str) -> None:
    assert len(taken_by(statement)) == 1


def test_what_takes_nothing_is_allowed() -> None:
    assert taken_by("ALTER TABLE orders ADD COLUMN a text NOT NULL DEFAULT 'DROP TABLE'; -- DROP COLUMN\n") == []
