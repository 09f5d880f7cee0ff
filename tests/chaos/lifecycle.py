"""The checker's rules about an order's life by the journal: its statuses, its attempts and their transactions."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

from tests.chaos.world import FINAL, Breach, Journaled, Message, World

_MOVES = {
    "pending": {"routing", "failed", "cancelled", "expired"},
    "routing": {"routing", "building", "failed", "cancelled", "expired"},
    "building": {"routing", "submitted", "failed", "cancelled", "expired"},
    "submitted": {"routing", "confirmed", "failed", "expired"},
    "confirmed": set(),
    "failed": set(),
    "cancelled": set(),
    "expired": set(),
}
# Of an order that rests; from `submitted` on it is like any other.
_RESTING_MOVES = {
    **_MOVES,
    "pending": {"open", "failed", "cancelled", "expired"},
    "open": {"triggered", "failed", "cancelled", "expired"},
    "triggered": {"routing", "failed", "cancelled", "expired"},
    "routing": {*_MOVES["routing"], "open"},
    "building": {*_MOVES["building"], "open"},
}
_ONLY_POSTED = {("routing", "building"), ("building", "submitted")}  # between these nothing waits but the posts
_MOST_ATTEMPTS = 3
_WORTH_ANOTHER = {"VENUE_UNAVAILABLE", "TRANSACTION_TIMEOUT", "RATE_LIMITED"}
_BY_THE_QUOTES = {"AMOUNT_TOO_SMALL", "PRICE_IMPACT_TOO_HIGH", "NO_POOL"}  # before anything is built
_OTHER_CODES = "SLIPPAGE_EXCEEDED INSUFFICIENT_LIQUIDITY TRANSACTION_REVERTED SETTLEMENT_MISMATCH ORDER_EXPIRED"
_CODES = {*_WORTH_ANOTHER, *_BY_THE_QUOTES, *_OTHER_CODES.split(), "INTERNAL_ERROR"}
_CLOCK_SECONDS = 0.002  # back-offs are stored in milliseconds


def nothing_lost(world: World) -> Iterator[Breach]:
    """Every accepted order has one final status, unless it rests, and no worker has it any more."""
    for order_id in sorted(world.accepted - set(world.journal)):
        yield Breach("an accepted order is journaled", order_id, "the journal has no such order")
    for order_id, journaled in world.journal.items():
        statuses = [event["status"] for event in journaled.events]
        started = order_id in world.accepted or len(statuses) > 1
        finals = sum(status in FINAL for status in statuses)
        if started and finals != (not journaled.resting):
            yield Breach("exactly one final status", order_id, f"{finals} in {statuses}")
        if journaled.lease:
            yield Breach("no lease is left", order_id, f"{journaled.lease} has it")
        if started and not (journaled.closed or journaled.resting):
            yield Breach("nothing is owed any more", order_id, "the order is not closed")


def legal_lives(world: World) -> Iterator[Breach]:
    """Sequences are 1, 2, 3 … and every move is one that the lifecycle has; attempts only rise, by one."""
    for order_id, journaled in world.journal.items():
        events, moves = journaled.events, _RESTING_MOVES if journaled.rests else _MOVES
        numbers = [event["sequence"] for event in events]
        if numbers != list(range(1, len(events) + 1)):
            yield Breach("sequences without gaps", order_id, f"{numbers}")
        if not events or (journaled.sequence, journaled.status) != (numbers[-1], events[-1]["status"]):
            yield Breach("the order stands where its last event says", order_id, f"{journaled.status}")
            continue
        if events[0]["status"] != "pending":
            yield Breach("every order begins as pending", order_id, f"{events[0]['status']}")
        for before, after in pairwise(events):
            if after["status"] not in moves.get(before["status"], ()):
                yield Breach("only legal moves", order_id, f"{before['status']} → {after['status']}")
            if after["attempt"] - before["attempt"] not in (0, 1):
                yield Breach("attempts rise by one", order_id, f"{before['attempt']} → {after['attempt']}")
        if any(event["orderId"] != order_id for event in events):
            yield Breach("events are their order's own", order_id, f"{[event['orderId'] for event in events]}")


def diverted(world: World) -> Iterator[Breach]:
    """An order whose message was a dead letter before any worker had it goes back, and is executed like any other."""
    for order_id in set(world.diverted) & set(world.journal):
        if "routing" not in [event["status"] for event in world.journal[order_id].events]:
            yield Breach("an order that no worker took up is executed", order_id, "no worker has routed it")


def unhurried_by_viewers(world: World) -> Iterator[Breach]:
    """However many watch an order, and however badly, its statuses follow upon each other in the posts' time."""
    for order_id in set(world.crowded) & set(world.journal):
        for before, after in pairwise(world.journal[order_id].events):
            seconds = _seconds(before, after)
            if (before["status"], after["status"]) in _ONLY_POSTED and seconds > world.terms.status_seconds:
                yield Breach("viewers don't hold an order up", order_id, f"{seconds} s until {after['status']}")


def last_attempt(world: World) -> Iterator[Breach]:
    """At most three attempts from when an order was accepted, or rested last, and `failed` only after the last of them
    where another could have helped."""
    for order_id, journaled in world.journal.items():
        tries = (event["attempt"] - _rested_at(journaled, event["sequence"]) for event in journaled.events)
        most = max(tries, default=0)
        if most > _MOST_ATTEMPTS:
            yield Breach("at most three attempts", order_id, f"{most}")
        if journaled.events and journaled.events[-1]["status"] == "failed":
            yield from _gave_up_early(order_id, journaled, journaled.events[-1])


def _gave_up_early(order_id: str, journaled: Journaled, last: Message) -> Iterator[Breach]:
    errors, code = last.get("attempts") or [], last.get("code")
    if not errors or not code or not last.get("error"):
        yield Breach("failed says why", order_id, f"{last}")
    elif errors[-1]["code"] != code:
        yield Breach("failed names its last error", order_id, f"{code}, but {errors[-1]['code']}")
    if unknown := {code, *(error["code"] for error in errors)} - _CODES:
        yield Breach("a failure has a code of the list", order_id, f"{unknown}")
    tried = {error["attempt"] for error in errors if error["attempt"] > _rested_at(journaled, last["sequence"])}
    if code in _WORTH_ANOTHER and len(tried) < _MOST_ATTEMPTS:
        yield Breach("failed only after the last attempt", order_id, f"{code} after {len(tried)} attempt(s)")
    if code in _BY_THE_QUOTES and journaled.events[-2]["status"] != "routing":
        yield Breach("refused by its quotes before anything is built", order_id, f"{code}")


def back_off(world: World) -> Iterator[Breach]:
    """No attempt begins before the back-off of the one that failed is over, however many messages the order has."""
    for order_id, journaled in world.journal.items():
        begun = {one["attempt"]: one for one in reversed(journaled.events) if one["status"] == "routing"}
        for error in journaled.errors:
            following = begun.get(error["attempt"] + 1)
            tries = error["attempt"] - _rested_at(journaled, following["sequence"]) if following else 0
            if not following or tries < 1:  # after a rest there is no back-off
                continue
            least = world.terms.back_off_seconds * 2 ** (tries - 1) - _CLOCK_SECONDS
            if (seconds := _seconds(error, following)) < least:
                yield Breach("no attempt before its back-off is over", order_id, f"{seconds} s: {following}")


def one_alive(world: World) -> Iterator[Breach]:
    """A transaction is given up only when it is dead on the chain, no sooner than its validity ends: one is alive."""
    states = {transaction.tx_hash: transaction.state for transaction in world.chain}
    for order_id, journaled in world.journal.items():
        built: Message = {}
        for event, following in pairwise(journaled.events):
            if event["status"] == "building":
                built = event
            if event["status"] != "submitted" or following["status"] == "confirmed":
                continue
            tx_hash = event.get("txHash", "")
            state = states.get(tx_hash, "unknown to the chain")
            # One that reverted, or settled for less than its floor, is no reason for another attempt.
            if state != "dead" and (
                following["status"] not in ("failed", "expired") or state not in ("reverted", "landed")
            ):
                yield Breach("only a dead transaction is given up", order_id, f"{tx_hash} is {state}")
            alive = _seconds(built, following) if built else 0.0
            if state == "dead" and alive < world.terms.validity_seconds - _CLOCK_SECONDS:
                yield Breach("a transaction is dead when its validity has passed", order_id, f"after {alive} s")


def impact(world: World) -> Iterator[Breach]:
    """The quote that was chosen moves the price no further than the order allows."""
    for order_id, journaled in world.journal.items():
        most = Decimal(journaled.order.get("maxPriceImpactBps", 1000)) / 100
        for event in journaled.events:
            for quote in event.get("quotes") or []:
                if quote["venue"] == event["venue"] and Decimal(quote["priceImpactPct"]) > most:
                    yield Breach("the chosen quote's price impact is allowed", order_id, f"{quote}, {most} % allowed")


def in_its_time(world: World) -> Iterator[Breach]:
    """An order expires because its time was over, or because it was to be tried once; and nothing is sent that could
    land after expiresAt, nor does it. One that is to be tried once is tried once."""
    for order_id, journaled in world.journal.items():
        order, last = journaled.order, journaled.events[-1]
        built: Message = {}
        until = datetime.fromisoformat(order["expiresAt"]) if order.get("expiresAt") else None
        once = order.get("timeInForce") == "fok"
        if last["status"] == "expired" and not (once or until):
            yield Breach("only what has a time expires", order_id, f"{last}")
        if once and last["attempt"] > 1:
            yield Breach("fok is tried once", order_id, f"{last}")
        if until is None:
            continue
        for one in world.chain_of(order_id):
            if one.state == "landed" and (one.lands_at or 0) > until.timestamp() + _CLOCK_SECONDS:
                yield Breach("nothing lands after expiresAt", order_id, f"{one} until {until}")
        for event in journaled.events:
            built = event if event["status"] == "building" else built
            latest = datetime.fromisoformat((built or event)["timestamp"]).timestamp()
            latest += world.terms.validity_seconds - _CLOCK_SECONDS
            if event["status"] == "submitted" and latest > until.timestamp():
                yield Breach("nothing is sent that outlasts its order", order_id, f"{built} until {until}")
            early = datetime.fromisoformat(event["timestamp"]).timestamp() + world.terms.latest_seconds
            if event["status"] == "expired" and early < until.timestamp():
                yield Breach("nothing expires before its time", order_id, f"{event} until {until}")


def _rested_at(journaled: Journaled, sequence: int) -> int:
    """The attempt before which an order rested last, up to an event; 0 if it never did. Attempts count from there."""
    rests = (one for one in reversed(journaled.events) if one["status"] == "open" and one["sequence"] <= sequence)
    return next((int(one["attempt"]) for one in rests), 0)


def _seconds(earlier: Message, later: Message) -> float:
    times = [datetime.fromisoformat(one["timestamp"]) for one in (earlier, later)]
    return (times[1] - times[0]).total_seconds()
