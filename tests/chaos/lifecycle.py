"""The checker's rules about an order's life, by the journal."""

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

from tests.chaos.world import FINAL, Breach, World

_MOVES = {
    "pending": {"routing", "failed"},
    "routing": {"routing", "building", "failed"},
    "building": {"routing", "submitted", "failed"},
    "submitted": {"routing", "confirmed", "failed"},
    "confirmed": set(),
    "failed": set(),
}
_ONLY_POSTED = {("routing", "building"), ("building", "submitted")}  # between these nothing waits but the posts


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


def diverted(world: World) -> Iterator[Breach]:
    """An order whose message was a dead letter before any worker had it goes back, and is executed like any other."""
    for order_id in set(world.diverted) & set(world.journal):
        if "routing" not in [event["status"] for event in world.journal[order_id].events]:
            yield Breach("an order that no worker took up is executed", order_id, "no worker has routed it")


def unhurried_by_viewers(world: World) -> Iterator[Breach]:
    """However many watch an order, and however badly, its statuses follow upon each other in the posts' time."""
    for order_id in set(world.crowded) & set(world.journal):
        for before, after in pairwise(world.journal[order_id].events):
            times = [datetime.fromisoformat(event["timestamp"]) for event in (before, after)]
            seconds = (times[1] - times[0]).total_seconds()
            if (before["status"], after["status"]) in _ONLY_POSTED and seconds > world.terms.status_seconds:
                yield Breach("viewers don't hold an order up", order_id, f"{seconds} s until {after['status']}")
