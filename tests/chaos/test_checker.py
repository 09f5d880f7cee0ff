"""The checker bites: a clean world passes, and a world with one promise broken is told by that promise's name."""

import inspect
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.chaos.checker import RULES, check
from tests.chaos.report import story
from tests.chaos.samples import CONFIRMED, FAILED, KEYED, ORDER, ORPHAN, REFUSED, RENEWED, accepted, clean_world
from tests.chaos.world import Cancel, OnChain, Posted, Transcript, World

Break = Callable[[World], World]
UNKNOWN = "44444444-4444-4444-8444-444444444444"


def _with(**changes: Callable[[World], Any]) -> Break:
    return lambda world: replace(world, **{name: change(world) for name, change in changes.items()})


def _journal(order_id: str, **changes: Any) -> Break:
    return _with(journal=lambda w: {**w.journal, order_id: replace(w.journal[order_id], **changes)})


def _event(order_id: str, *numbers: int, **changes: Any) -> Break:
    """Change events everywhere: in the journal, in PostgreSQL and on the sockets."""

    def broken(world: World) -> World:
        copies = list(world.journal[order_id].events)
        copies += [row["details"] for row in world.event_rows if row["order_id"] == order_id]
        sockets = [one for one in world.transcripts if one.order_id == order_id]
        copies += [message for socket in sockets for _, message in socket.messages]
        for event in copies:
            if event["sequence"] in numbers:
                event.update(changes)
        return world

    return broken


def _row(order_id: str, **changes: Any) -> Break:
    return _with(rows=lambda w: {**w.rows, order_id: {**w.rows.get(order_id, {}), **changes}})


def _on_chain(tx_hash: str, order_id: str, state: str, *numbers: int) -> Break:
    """With this transaction, in the place of the one of the same hash."""
    transaction = OnChain(tx_hash, order_id, state, *map(Decimal, numbers))
    return _with(chain=lambda w: [*(one for one in w.chain if one.tx_hash != tx_hash), transaction])


def _posted(body: Any, status: int, answer: Any = None, expected: str = "accept", at: float = 1, era: int = 0) -> Break:
    return _with(posted=lambda w: [*w.posted, Posted(at, body, expected, status, answer or {}, era=era)])


def _seen(index: int, *sequences: int, **changes: Any) -> Break:
    """Another transcript for one socket: these events, in this order."""

    def changed(world: World) -> list[Transcript]:
        one = world.transcripts[index]
        messages = [(float(number), dict(world.journal[one.order_id].events[number - 1])) for number in sequences]
        return [*world.transcripts[:index], replace(one, messages=messages, **changes), *world.transcripts[index + 1 :]]

    return _with(transcripts=changed)


def _failed_with(code: str) -> Break:
    """FAILED fails with another code, everywhere but in PostgreSQL's row."""
    return _event(FAILED, 5, code=code, error="no", attempts=[{"attempt": 1, "code": code, "error": "no"}])


def _both(*breaks: Break) -> Break:
    return lambda world: breaks[1](breaks[0](world))


def _lied(world: World) -> list[Posted]:
    """Whoever got no response was told that nothing was accepted."""
    return [one if one.status else replace(one, status=503, answer=REFUSED) for one in world.posted]


def _cancel(order_id: str, status: int) -> Break:
    """Its owner has cancelled it, and was answered so."""
    return _with(cancels=lambda _: [Cancel(order_id, status)])


def _ordered(order_id: str, **changes: Any) -> Break:
    """As if an order had been asked for with something else besides."""

    def changed(world: World) -> World:
        return _journal(order_id, order={**world.journal[order_id].order, **changes})(world)

    return changed


def _cancelled(order_id: str, status: int) -> Break:
    return _both(_cancel(order_id, status), _journal(order_id, status="cancelled"))


CLEAN = clean_world().journal
# What takes more than a line below.
_ENDED_EARLY = _journal(FAILED, events=CLEAN[FAILED].events[:4], status="submitted", sequence=4)
_UNSENT = _with(chain=lambda w: w.chain[1:])
_OLDER = _with(terms=lambda w: replace(w.terms, validity_seconds=2.1))
_NOTHING = {"amountOut": "0", "executedPrice": "0"}
_FEW = {"venue": "raydium", "priceImpactPct": "10.1", "amountOut": "1490"}

# Hand-made breaches of a clean world, by the promise that the checker must name.
BREACHES: dict[str, list[Break]] = {
    "an accepted order is journaled": [_posted(ORDER, 202, accepted(UNKNOWN))],
    "exactly one final status": [_ENDED_EARLY, _event(CONFIRMED, 4, status="failed")],
    "only legal moves": [_event(FAILED, 4, status="confirmed"), _event(CONFIRMED, 3, status="submitted")],
    "nothing is owed any more": [_journal(FAILED, closed=False)],
    "no lease is left": [_journal(FAILED, lease="somebody")],
    "sequences without gaps": [_event(FAILED, 3, sequence=9)],
    "the order stands where its last event says": [_journal(FAILED, status="confirmed")],
    "every order begins as pending": [_event(FAILED, 1, status="routing")],
    "attempts rise by one": [_event(CONFIRMED, 2, attempt=3)],
    "at most three attempts": [_event(CONFIRMED, 8, attempt=4)],
    "events are their order's own": [_event(FAILED, 2, orderId=CONFIRMED)],
    "failed only after the last attempt": [_failed_with("VENUE_UNAVAILABLE")],
    "failed says why": [_event(FAILED, 5, attempts=None)],
    "failed names its last error": [_event(FAILED, 5, code="INTERNAL_ERROR")],
    "a failure has a code of the list": [_failed_with("OUT_OF_LUCK")],
    "refused by its quotes before anything is built": [_failed_with("AMOUNT_TOO_SMALL")],
    "no attempt before its back-off is over": [_event(CONFIRMED, 5, timestamp="2026-01-02T03:04:09.900000Z")],
    "only a dead transaction is given up": [_on_chain("tx-1", CONFIRMED, "reverted"), _UNSENT],
    "a transaction is dead when its validity has passed": [_OLDER],
    "the chosen quote's price impact is allowed": [_event(CONFIRMED, 6, quotes=[_FEW])],
    "an order that no worker took up is executed": [_event(FAILED, 2, status="pending")],
    "only what has a time expires": [_event(FAILED, 5, status="expired")],
    "fok is tried once": [_ordered(CONFIRMED, timeInForce="fok")],
    "nothing is sent that outlasts its order": [_ordered(CONFIRMED, expiresAt="2026-01-02T03:04:06.000000Z")],
    "nothing expires before its time": [
        _both(_ordered(FAILED, expiresAt="2026-01-02T03:05:05.000000Z"), _event(FAILED, 5, status="expired"))
    ],
    "viewers don't hold an order up": [_event(CONFIRMED, 6, timestamp="2026-01-02T03:04:13.100000Z")],
    "at most one swap lands": [_on_chain("tx-9", CONFIRMED, "landed", 1, 1)],
    "no swap lands for an order that is failed": [_on_chain("tx-9", FAILED, "landed")],
    "no swap lands for an order that is pending": [_on_chain("tx-9", ORPHAN, "landed")],
    "no swap without an order": [_on_chain("tx-9", UNKNOWN, "landed")],
    "no transaction is under way": [_on_chain("tx-9", FAILED, "sent")],
    "a settlement mismatch is the chain's": [_failed_with("SETTLEMENT_MISMATCH")],
    "a transaction is one order's": [_event(RENEWED, 4, txHash="tx-2")],
    "confirmed is what landed": [
        _with(chain=lambda w: w.chain[:1]),
        _event(CONFIRMED, 8, amountOut="1485.1"),
        _event(CONFIRMED, 8, txHash="tx-1"),
    ],
    "cancelled is never sent": [_cancelled(CONFIRMED, 200)],
    "a cancel that was answered is final": [_cancel(CONFIRMED, 200), _cancel(FAILED, 200), _cancel(ORPHAN, 200)],
    "too late is too late": [_cancelled(CONFIRMED, 409)],
    "a cancel is answered": [_cancel(CONFIRMED, 404)],
    "nothing is cancelled that nobody cancelled": [_journal(FAILED, status="cancelled")],
    "a final order has its row": [_with(rows=lambda w: {CONFIRMED: w.rows[CONFIRMED]})],
    "no row without an order": [_row(UNKNOWN)],
    "no row before the end": [_row(ORPHAN, status="pending")],
    "PostgreSQL = journal": [
        _row(CONFIRMED, status="failed"),
        _row(CONFIRMED, amount_out=Decimal("1484.999999")),
        _row(FAILED, failure_reason="something"),
        _row(CONFIRMED, attempts=1),
        _row(CONFIRMED, fee=None),
    ],
    "PostgreSQL has every event": [_with(event_rows=lambda w: w.event_rows[1:])],
    "never worse than asked": [_event(CONFIRMED, 6, minAmountOut="1485.000001")],
    "the floor follows from the quote": [_event(CONFIRMED, 6, minAmountOut="1482.5")],
    "confirmed after building": [_event(CONFIRMED, 3, 6, status="routing")],
    "confirmed gives something": [_both(_on_chain("tx-4", RENEWED, "landed", 0, 0), _event(RENEWED, 5, **_NOTHING))],
    "price × amountIn = amountOut": [_event(CONFIRMED, 8, executedPrice="148.6")],
    "a socket is some order's": [_with(transcripts=lambda _: [Transcript(UNKNOWN, 0)])],
    "in order, without gaps": [
        _seen(0, 1, 2, 3, 5, 6, 7, 8),
        _seen(0, 1, 3, 2, 4, 5, 6, 7, 8),
        _seen(2, 1, 2, 3, 4, 5, 6, 7, 8),  # it had asked for what comes after 3
    ],
    "a socket that stays sees all": [_seen(0, 1, 2, 3, 4, 5, 6, 7, closed=False), _seen(6)],
    "a socket is closed after its final status": [_seen(0, 1, 2, closed=True), _seen(2, closed=True)],
    "a socket for many orders is not closed": [_seen(0, 1, 2, 3, 4, 5, 6, 7, closed=True, shared=True)],
    "no socket is cut": [_seen(0, 1, 2, broken="1011")],
    "one key is one order": [_posted(KEYED, 202, one) for one in (accepted(FAILED), accepted(CONFIRMED, "2026"))],
    "an expired key is another order": [_posted(KEYED, 202, accepted(CONFIRMED), at=4, era=1)],
    "nothing accepted is nothing executed": [_both(_journal(ORPHAN, sequence=2), _with(posted=_lied))],
    "nothing accepted under a key means no order": [_posted(KEYED, 503, REFUSED)],
    "one order is one request": [_posted(ORDER, 202, accepted(FAILED))],
    "the order is what was asked for": [_journal(FAILED, order=dict(CLEAN[CONFIRMED].order))],
    "an invalid order is refused": [_posted({}, 202, accepted(FAILED), "refuse")],
    "another body under a taken key is a conflict": [_posted(KEYED, 202, accepted(CONFIRMED), "conflict")],
    "a valid order is accepted": [_posted(ORDER, 422)],
    "the 202 names a status of its order": [
        _posted(ORDER, 202),
        _posted(KEYED, 202, {**accepted(CONFIRMED), "status": "failed"}),
    ],
    "no order without a request": [_with(posted=lambda w: [one for one in w.posted if one.status])],
    "an order that nobody was promised is not half done": [_on_chain("tx-9", ORPHAN, "dead")],
    "the orders queue is empty": [_with(waiting=lambda _: 1)],
    "only poison is a dead letter": [
        _with(dead_letters=lambda w: [*w.dead_letters, FAILED]),
        _with(dead_letters=lambda w: [*w.dead_letters, *(f"{n} {UNKNOWN}" for n in range(4))]),
    ],
    "poison ends as a dead letter": [_with(dead_letters=lambda _: [])],
}
_SHOWN_BELOW = {"nothing new after a final status", "what is seen is journaled"}


def test_a_world_in_which_every_promise_was_kept_passes() -> None:
    assert check(clean_world()) == []


@pytest.mark.parametrize("rule", BREACHES)
def test_a_broken_promise_is_told(rule: str) -> None:
    for broken in BREACHES[rule]:
        assert rule in {breach.rule for breach in check(broken(deepcopy(clean_world())))}


def test_every_rule_has_a_breach() -> None:
    """Of those in the source, f-strings by their beginning."""
    sources = "".join(inspect.getsource(module) for module in filter(None, map(inspect.getmodule, set(RULES))))
    named = set(re.findall(r'Breach\(\s*f?"([^"{]+)', sources)) - _SHOWN_BELOW

    assert {name for name in named if not any(rule.startswith(name) for rule in BREACHES)} == set()


def test_something_new_after_a_final_status_is_told() -> None:
    world = clean_world()
    known = world.journal[CONFIRMED].events
    early = {**known[3], "status": "failed"}  # it said failed, and went on
    world.transcripts[0].messages[3] = (9.0, early)

    assert {one.rule for one in check(world)} >= _SHOWN_BELOW


def test_the_story_of_an_order_has_every_source() -> None:
    told = story(clean_world(), CONFIRMED)

    for part in ("POST", "journal: confirmed", "chain: ", "PostgreSQL: ", "socket opened", "tx-2", "replays [0]"):
        assert part in told
    assert "tx-3" not in told
    assert "journal: nothing" in story(clean_world(), UNKNOWN)


def test_the_checker_imports_nothing_of_the_engine() -> None:
    for module in filter(None, map(inspect.getmodule, {*RULES, check, story, World})):
        source = inspect.getsource(module)
        assert not any(name in source for name in ("order_engine", "import local", "from local"))
