"""The model and the code have one lifecycle."""

import re
from pathlib import Path

from order_engine.domain.lifecycle import TRANSITIONS

MODEL = Path(__file__).parents[2] / "formal/execution.pml"


def moves_of_the_model() -> dict[str, set[str]]:
    """From its `LEGAL(from, to)`: a line for each status that has successors."""
    model = MODEL.read_text()
    declared = re.search(r"mtype:status = \{ (.*) \};", model)
    table = re.search(r"#define LEGAL\(from, to\) \( \\\n((?:.*\\\n)*.*)", model)
    assert declared
    assert table
    moves: dict[str, set[str]] = {status: set() for status in declared[1].split(", ")}
    for line in table[1].splitlines():
        row = re.fullmatch(r"    \(from == (\w+) && \(((?:to == \w+(?: \|\| )?)+)\)\)(?: \|\| \\|\))", line)
        assert row, f"not a row of the table: {line}"
        assert not moves[row[1]], f"a second row for {row[1]}"
        moves[row[1]] = set(re.findall(r"to == (\w+)", row[2]))
    return moves


def test_the_model_has_the_transitions_of_the_code() -> None:
    assert moves_of_the_model() == {
        status.value: {successor.value for successor in successors} for status, successors in TRANSITIONS.items()
    }
