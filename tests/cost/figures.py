"""The table of calls in `docs/performance.md`, made of what the lives caused."""

import re
from collections.abc import Mapping

from tests.cost.lives import POLLER, Life
from tests.template.reading import ROOT

TABLE = ROOT / "docs/performance.md"
# Kept by an execution environment: the pause for 2 s, the keys for 30 s. Under load an order causes next to none.
_CACHED = ("pauses.read", "keys.find", "keys.stream_secrets")
_FUNCTIONS = ("submit", POLLER, "route_execute", "ws_connect", "notify", "cancel", "watch_market")
_REASON = re.compile(r"^\| `(\w+)` \| (.+?) \| .* \| (.*) \|$")
_BEGIN, _END = "<!-- calls: begin -->\n", "<!-- calls: end -->"

Row = tuple[str, ...]  # function, method, operation, tables
Numbers = tuple[float, float, float]  # calls, write units, read units


def with_calls(document: str, lives: Mapping[str, Life]) -> str:
    """Return the document with the table of these lives; what a call is needed for stays."""
    before, _, rest = document.partition(_BEGIN)
    _, found, after = rest.partition(_END)
    assert found, f"the document has no {_BEGIN.strip()} … {_END}"
    return f"{before}{_BEGIN}" + "".join(f"{one}\n" for one in _table(lives, reasons_in(document))) + _END + after


def reasons_in(document: str) -> dict[tuple[str, str], str]:
    """Return what each call of the document's table is needed for, by function and call."""
    found = [_REASON.match(line) for line in document.splitlines()]
    return {(one[1], one[2]): one[3].strip() for one in found if one}


def _table(lives: Mapping[str, Life], reasons: Mapping[tuple[str, str], str]) -> list[str]:
    calls = {name: _together(life) for name, life in lives.items()}
    rows = sorted({row: None for found in calls.values() for row in found}, key=lambda row: _FUNCTIONS.index(row[0]))
    sockets = [row for row in rows if row[2] in ("PostToConnection", "DeleteConnection")]
    cached = [row for row in rows if row[1] in _CACHED]
    counted = [row for row in rows if row not in (*sockets, *cached)]

    def line(row: Row) -> str:
        numbers = [f"{found[row][0]:g}" if row in found else "–" for found in calls.values()]
        return _line(f"`{row[0]}`", _named(row), *numbers, reasons.get((row[0], _named(row)), ""))

    def total(what: str, number: int, said: str) -> str:
        sums = (sum(found[row][number] for row in counted if row in found) for found in calls.values())
        return _line("", f"**{what}**", *(f"**{one:g}**" for one in sums), said)

    return [
        _line("function", "call", *lives, "needed for"),
        _line(*["---"] * (len(lives) + 3)),
        *map(line, counted),
        total("calls", 0, "those above"),
        *map(line, sockets),
        *map(line, cached),
        total("write units", 1, "the mock chain's among them"),
        total("read units", 2, "without the cached ones"),
        _line("", "invocations", *(life.invocations for life in lives.values()), ""),
        _line("", "log, bytes", *(life.log_bytes for life in lives.values()), "metrics among them"),
        _line("", "left in the tables, bytes", *(life.stored_bytes for life in lives.values()), "for 31 days"),
    ]


def _together(life: Life) -> dict[Row, Numbers]:
    """Return the calls of a life, the same ones together."""
    found = dict[Row, Numbers]()
    for call in life.calls:
        row = (call.function, call.method, call.operation, call.tables)
        calls, writes, reads = found.get(row, (0, 0, 0))
        found[row] = (calls + 1, writes + call.write_units, reads + call.read_units)
    return found


def _named(row: Row) -> str:
    _, method, operation, tables = row
    return " ".join(part for part in (f"`{method}`:" if method else "", operation, tables) if part)


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"
