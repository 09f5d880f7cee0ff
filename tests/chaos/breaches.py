"""Hand-made breaches of a clean world, one promise each, with the name that the checker must give it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

from tests.chaos.samples import CONFIRMED, FAILED, ORPHAN, RENEWED, clean_world
from tests.chaos.world import OnChain, Posted, Transcript, World

Break = Callable[[World], World]
UNKNOWN = "44444444-4444-4444-8444-444444444444"


def _journal(order_id: str, **changes: Any) -> Break:
    return lambda world: replace(
        world, journal={**world.journal, order_id: replace(world.journal[order_id], **changes)}
    )


def _event(order_id: str, number: int, **changes: Any) -> Break:
    """Changes an event everywhere: in the journal, in PostgreSQL and on the sockets."""

    def broken(world: World) -> World:
        for event in _copies(world, order_id, number):
            event.update(changes)
        return world

    return broken


def _copies(world: World, order_id: str, number: int) -> Iterator[dict[str, Any]]:
    yield from (event for event in world.journal[order_id].events if event["sequence"] == number)
    yield from (row["details"] for row in world.event_rows if (row["order_id"], row["sequence"]) == (order_id, number))
    for transcript in world.transcripts:
        if transcript.order_id == order_id:
            yield from (message for _, message in transcript.messages if message["sequence"] == number)


def _last_events(order_id: str, count: int) -> Break:
    """Ends an order's journal early; `status` and `sequence` agree with that."""

    def broken(world: World) -> World:
        events = world.journal[order_id].events[:count]
        return _journal(order_id, events=events, status=events[-1]["status"], sequence=count)(world)

    return broken


def _row(order_id: str, **changes: Any) -> Break:
    return lambda world: replace(world, rows={**world.rows, order_id: {**world.rows[order_id], **changes}})


def _without_row(world: World) -> World:
    return replace(world, rows={CONFIRMED: world.rows[CONFIRMED]})


def _on_chain(*transactions: OnChain) -> Break:
    """With these transactions, in the place of those of the same hash."""
    hashes = {transaction.tx_hash for transaction in transactions}
    return lambda world: replace(
        world, chain=[*(one for one in world.chain if one.tx_hash not in hashes), *transactions]
    )


def _posted(*posted: Posted) -> Break:
    return lambda world: replace(world, posted=[*world.posted, *posted])


def _seen(index: int, *sequences: int, **changes: Any) -> Break:
    """Another transcript for one socket: these events, in this order."""

    def broken(world: World) -> World:
        transcript = world.transcripts[index]
        known = {event["sequence"]: event for event in world.journal[transcript.order_id].events}
        messages = [(float(number), dict(known[number])) for number in sequences]
        others = [one for one in world.transcripts if one is not transcript]
        return replace(world, transcripts=[*others, replace(transcript, messages=messages, **changes)])

    return broken


def _never_built(world: World) -> World:
    for number in (3, 6):
        world = _event(CONFIRMED, number, status="routing")(world)
    return world


def _event_row_lost(world: World) -> World:
    return replace(world, event_rows=world.event_rows[1:])


def _without_a_built_reason(code: str) -> Break:
    """FAILED fails with another code, everywhere but in PostgreSQL's row."""
    return _event(FAILED, 5, code=code, attempts=[{"attempt": 1, "code": code, "error": "no"}])


def _swapped_for_nothing(world: World) -> World:
    landed = {"amountOut": "0", "executedPrice": "0"}
    world = _on_chain(OnChain("tx-4", RENEWED, "landed", Decimal(0), Decimal(0)))(world)
    return _event(RENEWED, 5, **landed)(world)


def _answered(order_id: str, created: str = "2026-01-02T03:04:05.000000Z") -> dict[str, str]:
    return {"orderId": order_id, "status": "pending", "createdAt": created}


def _told_of_an_order(world: World) -> World:
    """ORPHAN is executed, and its client was told that nothing was accepted."""
    lied = [replace(one, status=503, answer={"code": "NOTHING_ACCEPTED"}) for one in world.posted if not one.status]
    world = _journal(ORPHAN, sequence=2)(world)
    return replace(world, posted=[*(one for one in world.posted if one.status), *lied])


_ORDER = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "10"}
_KEYED = {**_ORDER, "clientOrderId": "first"}
_EARLY = {"code": "VENUE_UNAVAILABLE", "error": "no", "attempts": [{"attempt": 1, "code": "VENUE_UNAVAILABLE"}]}

BREACHES: dict[str, tuple[str, Break]] = {
    "accepted and lost": (
        "an accepted order is journaled", _posted(Posted(1, _ORDER, "accept", 202, _answered(UNKNOWN)))),
    "never final": ("exactly one final status", _last_events(FAILED, 4)),
    "two final statuses": ("exactly one final status", _event(CONFIRMED, 4, status="failed")),
    "final, and then something else": ("only legal moves", _event(FAILED, 4, status="confirmed")),
    "not closed": ("nothing is owed any more", _journal(FAILED, closed=False)),
    "a lease is left": ("no lease is left", _journal(FAILED, lease="somebody")),
    "a gap in the sequence": ("sequences without gaps", _event(FAILED, 3, sequence=9)),
    "the standing is not the last event's": (
        "the order stands where its last event says", _journal(FAILED, status="confirmed")),
    "begins elsewhere": ("every order begins as pending", _event(FAILED, 1, status="routing")),
    "an illegal move": ("only legal moves", _event(CONFIRMED, 3, status="submitted")),
    "an attempt is left out": ("attempts rise by one", _event(CONFIRMED, 2, attempt=3)),
    "a fourth attempt": ("at most three attempts", _event(CONFIRMED, 8, attempt=4)),
    "another order's event": ("events are their order's own", _event(FAILED, 2, orderId=CONFIRMED)),
    "failed at the first attempt": ("failed only after the last attempt", _event(FAILED, 5, **_EARLY)),
    "failed for no reason": ("failed says why", _event(FAILED, 5, attempts=None)),
    "failed for another reason": ("failed names its last error", _event(FAILED, 5, code="INTERNAL_ERROR")),
    "two swaps": ("at most one swap lands", _on_chain(OnChain("tx-9", CONFIRMED, "landed", Decimal(1), Decimal(1)))),
    "a swap for a failed order": (
        "no swap lands for an order that is failed", _on_chain(OnChain("tx-9", FAILED, "landed"))),
    "a swap for an order that is pending": (
        "no swap lands for an order that is pending", _on_chain(OnChain("tx-9", ORPHAN, "landed"))),
    "a swap for nobody": ("no swap without an order", _on_chain(OnChain("tx-9", UNKNOWN, "landed"))),
    "a swap under way": ("no transaction is under way", _on_chain(OnChain("tx-9", FAILED, "sent"))),
    "confirmed without a swap": ("confirmed is what landed", lambda world: replace(world, chain=world.chain[:1])),
    "another amount landed": ("confirmed is what landed", _event(CONFIRMED, 8, amountOut="1485.1")),
    "another transaction landed": ("confirmed is what landed", _event(CONFIRMED, 8, txHash="tx-1")),
    "no row": ("a final order has its row", _without_row),
    "a row for nobody": ("no row without an order", lambda world: replace(world, rows={**world.rows, UNKNOWN: {}})),
    "a row before the end": (
        "no row before the end", lambda world: replace(world, rows={**world.rows, ORPHAN: {"a": 1}})),
    "another status in the row": ("PostgreSQL = journal", _row(CONFIRMED, status="failed")),
    "another amount in the row": ("PostgreSQL = journal", _row(CONFIRMED, amount_out=Decimal("1484.999999"))),
    "another reason in the row": ("PostgreSQL = journal", _row(FAILED, failure_reason="something")),
    "fewer attempts in the row": ("PostgreSQL = journal", _row(CONFIRMED, attempts=1)),
    "an event's row is lost": ("PostgreSQL has every event", _event_row_lost),
    "less than the floor": ("never worse than asked", _event(CONFIRMED, 6, minAmountOut="1485.000001")),
    "a floor below the tolerance": ("the floor follows from the quote", _event(CONFIRMED, 6, minAmountOut="1482.5")),
    "confirmed and never built": ("confirmed after building", _never_built),
    "a socket of no order": (
        "a socket is some order's", lambda world: replace(world, transcripts=[Transcript(UNKNOWN, 0)])),
    "a price that is not the amount's": ("price × amountIn = amountOut", _event(CONFIRMED, 8, executedPrice="148.6")),
    "a socket misses one": ("in order, without gaps", _seen(0, 1, 2, 3, 5, 6, 7, 8)),
    "a socket sees two the wrong way round": ("in order, without gaps", _seen(0, 1, 3, 2, 4, 5, 6, 7, 8)),
    "a socket gets what it did not ask for": ("in order, without gaps", _seen(2, 1, 2, 3, 4, 5, 6, 7, 8)),
    "a socket that stays misses the end": ("a socket that stays sees all", _seen(0, 1, 2, 3, 4, 5, 6, 7)),
    "a socket that stays sees nothing": ("a socket that stays sees all", _seen(6)),
    "a socket is cut": ("no socket is cut", _seen(0, 1, 2, broken="1011")),
    "a mismatch that is none": ("a settlement mismatch is the chain's", _without_a_built_reason("SETTLEMENT_MISMATCH")),
    "a code that nobody knows": ("a failure has a code of the list", _without_a_built_reason("OUT_OF_LUCK")),
    "too small, and yet built": (
        "refused by its quotes before anything is built", _without_a_built_reason("AMOUNT_TOO_SMALL")),
    "a swap for nothing": ("confirmed gives something", _swapped_for_nothing),
    "an old order's transaction": ("a transaction is one order's", _event(RENEWED, 4, txHash="tx-2")),
    "no back-off": (
        "no attempt before its back-off is over", _event(CONFIRMED, 5, timestamp="2026-01-02T03:04:09.900000Z")),
    "a second transaction beside one that reverted": (
        "only a dead transaction is given up", _on_chain(OnChain("tx-1", CONFIRMED, "reverted"))),
    "a second transaction beside one that was never sent": (
        "only a dead transaction is given up", lambda world: replace(world, chain=world.chain[1:])),
    "dead before its time": (
        "a transaction is dead when its validity has passed",
        lambda world: replace(world, terms=replace(world.terms, validity_seconds=2.1))),
    "too great an impact": ("the chosen quote's price impact is allowed", _event(
        CONFIRMED, 6, quotes=[{"venue": "raydium", "priceImpactPct": "10.1", "amountOut": "1490"}])),
    "a dead letter is given up unseen": (
        "an order that no worker took up is executed", _event(FAILED, 2, status="pending")),
    "viewers hold an order up": (
        "viewers don't hold an order up", _event(CONFIRMED, 6, timestamp="2026-01-02T03:04:13.100000Z")),
    "a key is two orders": ("one key is one order", _posted(Posted(1, _KEYED, "accept", 202, _answered(FAILED)))),
    "a repeat is answered otherwise": (
        "one key is one order", _posted(Posted(1, _KEYED, "accept", 202, _answered(CONFIRMED, "2026")))),
    "an expired key is the old order": (
        "an expired key is another order", _posted(Posted(4, _KEYED, "accept", 202, _answered(CONFIRMED), era=1))),
    "a 503 lies about an order without a key": ("nothing accepted is nothing executed", _told_of_an_order),
    "a 503 lies about an order with a key": ("nothing accepted under a key means no order", _posted(
        Posted(1, _KEYED, "accept", 503, {"code": "NOTHING_ACCEPTED"}))),
    "two requests are one order": (
        "one order is one request", _posted(Posted(1, _ORDER, "accept", 202, _answered(FAILED)))),
    "another order than was asked for": (
        "the order is what was asked for", _journal(FAILED, order=dict(clean_world().journal[CONFIRMED].order))),
    "an invalid order is accepted": (
        "an invalid order is refused", _posted(Posted(1, {}, "refuse", 202, _answered(FAILED)))),
    "a conflict is accepted": (
        "another body under a taken key is a conflict",
        _posted(Posted(1, _KEYED, "conflict", 202, _answered(CONFIRMED)))),
    "a valid order is refused": ("a valid order is accepted", _posted(Posted(1, _ORDER, "accept", 422))),
    "an answer without an order": ("the 202 names a pending order", _posted(Posted(1, _ORDER, "accept", 202))),
    "an order without a request": (
        "no order without a request",
        lambda world: replace(world, posted=[one for one in world.posted if one.status])),
    "an orphan with traces": (
        "an order that nobody was promised is not half done", _on_chain(OnChain("tx-9", ORPHAN, "dead"))),
    "messages are left": ("the orders queue is empty", lambda world: replace(world, waiting=1)),
    "an order is a dead letter": (
        "only poison is a dead letter", lambda world: replace(world, dead_letters=[*world.dead_letters, FAILED])),
    "a dead letter of no order": (
        "only poison is a dead letter",
        lambda world: replace(world, dead_letters=[*world.dead_letters, *(f"{n} {UNKNOWN}" for n in range(4))])),
    "poison is lost": ("poison ends as a dead letter", lambda world: replace(world, dead_letters=[])),
}  # fmt: skip
