"""The checker bites: a clean world passes, and a world with one promise broken is told by that promise's name."""

import inspect
import re
from copy import deepcopy
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.chaos.breaks import (
    UNKNOWN,
    Break,
    both,
    cancel,
    cancelled,
    event,
    failed_with,
    had_a_time,
    having,
    journal,
    lied,
    on_chain,
    ordered,
    paid_less,
    posted,
    reopened,
    row,
    seen,
)
from tests.chaos.checker import RULES, check
from tests.chaos.report import story
from tests.chaos.samples import (
    CONFIRMED,
    FAILED,
    KEYED,
    LIMIT,
    ORDER,
    ORPHAN,
    REFUSED,
    RENEWED,
    SNIPED,
    WAITING,
    accepted,
    clean_world,
)
from tests.chaos.world import Transcript, World

CLEAN = clean_world().journal
_ERRORS = [{"attempt": number, "code": "RATE_LIMITED", "error": "no"} for number in (1, 1, 2)]
# What takes more than a line below.
_ENDED_EARLY = journal(FAILED, events=CLEAN[FAILED].events[:4], status="submitted", sequence=4)
_UNSENT = having(chain=lambda w: w.chain[1:])
_OLDER = having(terms=lambda w: replace(w.terms, validity_seconds=2.1))
_NOTHING = {"amountOut": "0", "executedPrice": "0"}
_BREAK_EVEN = {"venue": "raydium", "priceImpactPct": "0.03", "amountOut": "1487.43"}  # less slippageBps: not 1480
_LATE = having(ended_at=lambda w: w.ended_at + 31 * 24 * 3600)
_FEW = {"venue": "raydium", "priceImpactPct": "10.1", "amountOut": "1490"}

# Hand-made breaches of a clean world, by the promise that the checker must name.
BREACHES: dict[str, list[Break]] = {
    "an accepted order is journaled": [posted(ORDER, 202, accepted(UNKNOWN))],
    "exactly one final status": [_ENDED_EARLY, event(CONFIRMED, 4, status="failed")],
    "only legal moves": [
        event(FAILED, 4, status="confirmed"),
        event(CONFIRMED, 3, status="submitted"),
        *(event(CONFIRMED, 2, status=status) for status in ("open", "triggered")),
        event(LIMIT, 2, status="routing"),
        event(LIMIT, 3, status="routing"),
        event(LIMIT, 4, status="building"),
        ordered(LIMIT, timeInForce="fok"),
        ordered(LIMIT, orderType="market"),
    ],
    "nothing is owed any more": [journal(FAILED, closed=False)],
    "no lease is left": [journal(FAILED, lease="somebody")],
    "sequences without gaps": [event(FAILED, 3, sequence=9)],
    "the order stands where its last event says": [journal(FAILED, status="confirmed")],
    "every order begins as pending": [event(FAILED, 1, status="routing")],
    "attempts rise by one": [event(CONFIRMED, 2, attempt=3)],
    "at most three attempts": [event(CONFIRMED, 8, attempt=4), event(LIMIT, 10, attempt=5)],
    "events are their order's own": [event(FAILED, 2, orderId=CONFIRMED)],
    "failed only after the last attempt": [
        failed_with("VENUE_UNAVAILABLE"),
        event(LIMIT, 10, status="failed", code="RATE_LIMITED", error="no", attempts=_ERRORS),
    ],
    "failed says why": [event(FAILED, 5, attempts=None)],
    "failed names its last error": [event(FAILED, 5, code="INTERNAL_ERROR")],
    "a failure has a code of the list": [failed_with("OUT_OF_LUCK")],
    "refused by its quotes before anything is built": [failed_with("AMOUNT_TOO_SMALL")],
    "no attempt before its back-off is over": [event(CONFIRMED, 5, timestamp="2026-01-02T03:04:09.900000Z")],
    "only a dead transaction is given up": [on_chain("tx-1", CONFIRMED, "reverted"), _UNSENT],
    "a transaction is dead when its validity has passed": [_OLDER],
    "the chosen quote's price impact is allowed": [event(CONFIRMED, 6, quotes=[_FEW])],
    "an order that no worker took up is executed": [event(FAILED, 2, status="pending")],
    "only what has a time expires": [event(FAILED, 5, status="expired")],
    "fok is tried once": [ordered(CONFIRMED, timeInForce="fok")],
    "nothing is sent that outlasts its order": [ordered(CONFIRMED, expiresAt="2026-01-02T03:04:06.000000Z")],
    "nothing expires before its time": [
        both(ordered(FAILED, expiresAt="2026-01-02T03:05:05.000000Z"), event(FAILED, 5, status="expired"))
    ],
    "viewers don't hold an order up": [event(CONFIRMED, 6, timestamp="2026-01-02T03:04:13.100000Z")],
    "at most one swap lands": [on_chain("tx-9", CONFIRMED, "landed", 1, 1)],
    "no swap lands for an order that is failed": [on_chain("tx-9", FAILED, "landed")],
    "no swap lands for an order that is pending": [on_chain("tx-9", ORPHAN, "landed")],
    "no swap without an order": [on_chain("tx-9", UNKNOWN, "landed")],
    "no transaction is under way": [on_chain("tx-9", FAILED, "sent")],
    "a settlement mismatch is the chain's": [failed_with("SETTLEMENT_MISMATCH")],
    "a transaction is one order's": [event(RENEWED, 4, txHash="tx-2")],
    "confirmed is what landed": [
        having(chain=lambda w: w.chain[:1]),
        event(CONFIRMED, 8, amountOut="1485.1"),
        event(CONFIRMED, 8, txHash="tx-1"),
    ],
    "cancelled is never sent": [
        cancelled(CONFIRMED, 200),
        both(cancelled(CONFIRMED, 200), having(chain=lambda _: [])),
        both(cancelled(LIMIT, 200), having(chain=lambda w: [one for one in w.chain if one.order_id == LIMIT])),
    ],
    "a cancel that was answered is final": [cancel(CONFIRMED, 200), cancel(FAILED, 200), cancel(ORPHAN, 200)],
    "too late is too late": [cancelled(CONFIRMED, 409), cancel(WAITING, 409)],
    "a cancel is answered": [cancel(CONFIRMED, 404)],
    "nothing is cancelled that nobody cancelled": [journal(FAILED, status="cancelled")],
    "a final order has its row": [having(rows=lambda w: {CONFIRMED: w.rows[CONFIRMED]})],
    "no row without an order": [row(UNKNOWN)],
    "no row before the end": [row(ORPHAN, status="pending"), row(WAITING, status="open")],
    "PostgreSQL = journal": [
        row(CONFIRMED, status="failed"),
        row(CONFIRMED, amount_out=Decimal("1484.999999")),
        row(FAILED, failure_reason="something"),
        row(CONFIRMED, attempts=1),
        row(CONFIRMED, fee=None),
        row(LIMIT, limit_price=None),
        row(LIMIT, trigger_price=Decimal(148)),
        row(SNIPED, expires_at=None),
    ],
    "PostgreSQL has every event": [having(event_rows=lambda w: w.event_rows[1:])],
    "never worse than asked": [event(CONFIRMED, 6, minAmountOut="1485.000001")],
    "the floor follows from the quote": [event(CONFIRMED, 6, minAmountOut="1482.5")],
    "the floor keeps the limit price": [
        event(LIMIT, 8, minAmountOut="1479.999999", quotes=[_BREAK_EVEN]),
    ],
    "an order is triggered by its own condition": [
        event(LIMIT, 3, price="148.743"),
        event(LIMIT, 3, price=None),
        ordered(LIMIT, orderType="stop", triggerPrice="148.999999"),
        ordered(LIMIT, orderType="takeProfit", triggerPrice="149.000001"),
        ordered(LIMIT, orderType="stop"),
        ordered(SNIPED, limitPrice="149"),
        ordered(LIMIT, timeInForce="fok"),
    ],
    "open says at which price the order is due": [event(LIMIT, 2, referencePrice="-1")],
    "nothing is sent without a trigger": [event(LIMIT, 6, status="routing"), event(LIMIT, 7, status="open")],
    "what lands was triggered": [on_chain("tx-9", LIMIT, "landed", 1485, 148), event(LIMIT, 9, txHash="tx-9")],
    "back to open at most ten times": [reopened(11)],
    "only limit and sniper go back to open": [
        ordered(LIMIT, orderType=one, triggerPrice="149") for one in ("stop", "takeProfit")
    ],
    "what was sent rests no more": [event(LIMIT, 4, status="submitted")],
    "a swap nets limitPrice": [having(chain=paid_less), ordered(SNIPED, limitPrice="148.5000001")],
    "nothing is swapped before its launch": [
        having(launches=lambda _: {}),
        having(launches=lambda w: {"NOVA": w.launches["NOVA"] + 0.1}),
        both(event(SNIPED, 3, 6, status="routing"), having(launches=lambda w: {"NOVA": w.launches["NOVA"] + 3.1})),
        ordered(CONFIRMED, tokenIn="ORBIT"),
    ],
    "nothing lands after expiresAt": [ordered(LIMIT, expiresAt="2026-01-02T03:04:13.900000Z")],
    "a resting order expires after the longest time": [
        ordered(WAITING, expiresAt="2026-02-01T03:04:06Z"),
        ordered(WAITING, expiresAt=None),
    ],
    "only what rests is in the index": [having(index=lambda w: {**w.index, LIMIT: ("SOL/USDC#rise", Decimal(148))})],
    "what rests is in the index": [
        having(index=lambda _: {}),
        having(index=lambda _: {WAITING: ("SOL/USDC#rise", Decimal("148.8"))}),
        having(index=lambda _: {WAITING: ("SOL/USDC#fall", Decimal("148.7"))}),
    ],
    "where an order rests is watched": [having(sides=lambda _: ["SOL/USDC#rise"])],
    "the end of a rest is noted": [
        having(expiries=lambda _: []),
        having(expiries=lambda w: [entry.replace("5000", "6000") for entry in w.expiries]),
    ],
    "what is over rests no more": [_LATE],
    "what is due rests no more": [
        having(market=lambda _: {"SOL/USDC": (Decimal(130), Decimal(138))}),
        both(ordered(WAITING, orderType="takeProfit"), having(market=lambda _: {"SOL/USDC": (150, 151)})),
    ],
    "confirmed after building": [event(CONFIRMED, 3, 6, status="routing")],
    "confirmed gives something": [both(on_chain("tx-4", RENEWED, "landed", 0, 0), event(RENEWED, 5, **_NOTHING))],
    "price × amountIn = amountOut": [event(CONFIRMED, 8, executedPrice="148.6")],
    "a socket is some order's": [having(transcripts=lambda _: [Transcript(UNKNOWN, 0)])],
    "in order, without gaps": [
        seen(0, 1, 2, 3, 5, 6, 7, 8),
        seen(0, 1, 3, 2, 4, 5, 6, 7, 8),
        seen(2, 1, 2, 3, 4, 5, 6, 7, 8),  # it had asked for what comes after 3
    ],
    "a socket that stays sees all": [seen(0, 1, 2, 3, 4, 5, 6, 7, closed=False), seen(6)],
    "a socket is closed after its final status": [seen(0, 1, 2, closed=True), seen(2, closed=True)],
    "a socket for many orders is not closed": [seen(0, 1, 2, 3, 4, 5, 6, 7, closed=True, shared=True)],
    "no socket is cut": [seen(0, 1, 2, broken="1011")],
    "one key is one order": [posted(KEYED, 202, one) for one in (accepted(FAILED), accepted(CONFIRMED, "2026"))],
    "an expired key is another order": [posted(KEYED, 202, accepted(CONFIRMED), at=4, era=1)],
    "nothing accepted is nothing executed": [both(journal(ORPHAN, sequence=2), having(posted=lied))],
    "nothing accepted under a key means no order": [posted(KEYED, 503, REFUSED)],
    "one order is one request": [posted(ORDER, 202, accepted(FAILED))],
    "the order is what was asked for": [
        journal(FAILED, order=dict(CLEAN[CONFIRMED].order)),
        ordered(LIMIT, limitPrice="148.1"),
        both(having(posted=had_a_time), ordered(LIMIT, expiresAt="2026-01-02T03:05:05Z")),
    ],
    "an invalid order is refused": [posted({}, 202, accepted(FAILED), "refuse")],
    "another body under a taken key is a conflict": [posted(KEYED, 202, accepted(CONFIRMED), "conflict")],
    "a valid order is accepted": [posted(ORDER, 422)],
    "the 202 names a status of its order": [
        posted(ORDER, 202),
        posted(KEYED, 202, {**accepted(CONFIRMED), "status": "failed"}),
    ],
    "no order without a request": [having(posted=lambda w: [one for one in w.posted if one.status])],
    "an order that nobody was promised is not half done": [on_chain("tx-9", ORPHAN, "dead")],
    "the orders queue is empty": [having(waiting=lambda _: 1)],
    "only poison is a dead letter": [
        having(dead_letters=lambda w: [*w.dead_letters, FAILED]),
        having(dead_letters=lambda w: [*w.dead_letters, *(f"{n} {UNKNOWN}" for n in range(4))]),
    ],
    "poison ends as a dead letter": [having(dead_letters=lambda _: [])],
}
_SHOWN_BELOW = {"nothing new after a final status", "what is seen is journaled"}


def test_a_world_in_which_every_promise_was_kept_passes() -> None:
    assert check(clean_world()) == []


@pytest.mark.parametrize("rule", BREACHES)
def test_a_broken_promise_is_told(rule: str) -> None:
    for broken in BREACHES[rule]:
        assert rule in {breach.rule for breach in check(broken(deepcopy(clean_world())))}


def test_an_order_that_rests_is_told_from_the_next_though_its_client_heard_nothing() -> None:
    world = clean_world()
    silent = [replace(one, status=0, answer={}) if one.accepted == SNIPED else one for one in world.posted]
    waits = [one for one in world.transcripts if one.order_id != SNIPED]

    assert check(replace(world, posted=silent, transcripts=waits)) == []
    other = [replace(one, body={**one.body, "limitPrice": "1"}) if not one.status else one for one in silent]
    assert {one.rule for one in check(replace(world, posted=other))} == {"no order without a request"}


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
