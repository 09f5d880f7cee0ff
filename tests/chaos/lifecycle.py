"""The checker's rules about an order's life, by the journal."""

from collections.abc import Iterator
from itertools import pairwise

from tests.chaos.world import FINAL, Breach, Journaled, World

_MOVES = {
    "pending": {"routing", "failed"},
    "routing": {"routing", "building", "failed"},
    "building": {"routing", "submitted", "failed"},
    "submitted": {"routing", "confirmed", "failed"},
    "confirmed": set(),
    "failed": set(),
}
_MOST_ATTEMPTS = 3
_WORTH_ANOTHER = {"VENUE_UNAVAILABLE", "TRANSACTION_TIMEOUT", "RATE_LIMITED"}


def nothing_lost(world: World) -> Iterator[Breach]:
    """Every accepted order has one final status, and nobody works on it any more."""
    for order_id in sorted(world.accepted - set(world.journal)):
        yield Breach("an accepted order is journaled", order_id, "the journal has no such order")
    for order_id, journaled in world.journal.items():
        statuses = [event["status"] for event in journaled.events]
        started = order_id in world.accepted or len(statuses) > 1
        finals = sum(status in FINAL for status in statuses)
        if started and finals != 1:
            yield Breach("exactly one final status", order_id, f"{finals} in {statuses}")
        if journaled.lease:
            yield Breach("no lease is left", order_id, f"{journaled.lease} has it")
        if started and not journaled.closed:
            yield Breach("nothing is owed any more", order_id, "the order is not closed")


def legal_lives(world: World) -> Iterator[Breach]:
    """Sequences are 1, 2, 3 … and every move is one that the lifecycle has; attempts only rise, by one."""
    for order_id, journaled in world.journal.items():
        events = journaled.events
        numbers = [event["sequence"] for event in events]
        if numbers != list(range(1, len(events) + 1)):
            yield Breach("sequences without gaps", order_id, f"{numbers}")
        if not events or (journaled.sequence, journaled.status) != (numbers[-1], events[-1]["status"]):
            yield Breach("the order stands where its last event says", order_id, f"{journaled.status}")
            continue
        if events[0]["status"] != "pending":
            yield Breach("every order begins as pending", order_id, f"{events[0]['status']}")
        for before, after in pairwise(events):
            if after["status"] not in _MOVES[before["status"]]:
                yield Breach("only legal moves", order_id, f"{before['status']} → {after['status']}")
            if after["attempt"] - before["attempt"] not in (0, 1):
                yield Breach("attempts rise by one", order_id, f"{before['attempt']} → {after['attempt']}")
        if any(event["orderId"] != order_id for event in events):
            yield Breach("events are their order's own", order_id, f"{[event['orderId'] for event in events]}")


def last_attempt(world: World) -> Iterator[Breach]:
    """At most three attempts, and `failed` only after the last of them where another could have helped."""
    for order_id, journaled in world.journal.items():
        most = max((event["attempt"] for event in journaled.events), default=0)
        if most > _MOST_ATTEMPTS:
            yield Breach("at most three attempts", order_id, f"{most}")
        yield from _gave_up_early(order_id, journaled)


def _gave_up_early(order_id: str, journaled: Journaled) -> Iterator[Breach]:
    last = journaled.events[-1] if journaled.events else {}
    if last.get("status") != "failed":
        return
    errors = last.get("attempts") or []
    if not errors or not last.get("code") or not last.get("error"):
        yield Breach("failed says why", order_id, f"{last}")
    elif errors[-1]["code"] != last["code"]:
        yield Breach("failed names its last error", order_id, f"{last['code']}, but {errors[-1]['code']}")
    if last.get("code") in _WORTH_ANOTHER and len({error["attempt"] for error in errors}) < _MOST_ATTEMPTS:
        yield Breach("failed only after the last attempt", order_id, f"{last['code']} after {len(errors)} attempt(s)")
