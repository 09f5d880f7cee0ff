"""Decides whether the engine kept its promises, from the outside alone.

It knows the wire format and the names of stored fields, and imports nothing of the engine: a fault that the engine
makes in writing and in reading alike is still one here.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from tests.chaos import lifecycle, outcome, sightings
from tests.chaos.world import Breach, Posted, World

Rule = Callable[[World], Iterator[Breach]]


def check(world: World) -> list[Breach]:
    """Every promise that was broken; an empty list is a clean run."""
    return [breach for rule in RULES for breach in rule(world)]


def answers(world: World) -> Iterator[Breach]:
    """A request got an answer that fits it; one that was not accepted because of the system was told so."""
    for posted in world.posted:
        match posted.expected, posted.status:
            case ("accept", 202) if posted.answer.get("status") != "pending" or not posted.accepted:
                yield Breach("the 202 names a pending order", posted.accepted or "", f"{posted.answer}")
            case ("refuse", status) if 0 < status < 400:
                yield Breach("an invalid order is refused", posted.accepted or "", f"{status} for {posted.body}")
            case ("conflict", status) if status != 409 and status < 500 and status not in (0, 429):
                yield Breach("another body under a taken key is a conflict", posted.accepted or "", f"{status}")
            case ("accept", status) if 400 <= status < 500 and status != 429:
                yield Breach("a valid order is accepted", "", f"{status} for {posted.body}: {posted.answer}")


def keys(world: World) -> Iterator[Breach]:
    """One clientOrderId is one order, however often it is sent; an order is one request's, and as it was asked."""
    orders: dict[str, set[tuple[str, str]]] = defaultdict(set)
    requests: dict[str, list[Posted]] = defaultdict(list)
    for posted in world.posted:
        if order_id := posted.accepted:
            requests[order_id].append(posted)
            if key := posted.body.get("clientOrderId"):
                orders[key].add((order_id, str(posted.answer.get("createdAt"))))
    for key, answered in orders.items():
        if len(answered) > 1:
            yield Breach("one key is one order", min(answered)[0], f"{key}: {sorted(answered)}")
    for order_id, same in requests.items():
        if len({posted.body.get("clientOrderId") for posted in same}) > 1 or (
            len(same) > 1 and not same[0].body.get("clientOrderId")
        ):
            yield Breach("one order is one request", order_id, f"{[posted.body for posted in same]}")
        yield from _as_asked(world, order_id, same[0])


def _as_asked(world: World, order_id: str, posted: Posted) -> Iterator[Breach]:
    journaled = world.journal.get(order_id)
    if journaled is None:
        return
    order = journaled.order
    expected = {"slippageBps": 50, "orderType": "market", **posted.body, "createdAt": posted.answer.get("createdAt")}
    for name, asked in expected.items():
        stored = order.get(name)
        if (outcome.number(stored) != outcome.number(asked)) if "amount" in name.lower() else stored != asked:
            yield Breach("the order is what was asked for", order_id, f"{name}: {stored!r}, not {asked!r}")


def unasked(world: World) -> Iterator[Breach]:
    """Every order is some request's: that of a client that was told so, or of one that got no clear answer."""
    strangers = set(world.journal) - world.accepted
    unclear = [posted for posted in world.posted if posted.expected == "accept" and posted.status not in (202, 429)]
    open_keys = Counter(posted.body.get("clientOrderId") for posted in unclear)
    without_key = 0
    for order_id in sorted(strangers):
        key = world.journal[order_id].order.get("clientOrderId")
        without_key += key is None
        if key is not None and key not in open_keys:
            yield Breach("no order without a request", order_id, f"its key {key} was never sent unanswered")
        if world.journal[order_id].sequence > 1:
            continue  # it was queued, and is judged like the others
        if world.rows.get(order_id) or world.chain_of(order_id) or world.journal[order_id].lease:
            yield Breach("an order that nobody was promised is not half done", order_id, "it has left pending's traces")
    if without_key > open_keys[None]:
        yield Breach("no order without a request", min(strangers), f"{without_key} of them, {open_keys[None]} unclear")


def at_rest(world: World) -> Iterator[Breach]:
    """Nothing is in flight any more, and the dead-letter queue holds the poison and nothing else."""
    if world.waiting:
        yield Breach("the orders queue is empty", "", f"{world.waiting} messages are in it")
    surplus, missing = Counter(world.dead_letters), Counter(world.poison)
    surplus.subtract(world.poison)
    missing.subtract(world.dead_letters)
    for body, many in surplus.items():
        if many > 0:
            yield Breach("only poison is a dead letter", _named_in(world, body), f"{many} × {body}")
    for body, many in missing.items():
        if many > 0:
            yield Breach("poison ends as a dead letter", "", f"{many} × {body} is not there")


def _named_in(world: World, body: str) -> str:
    return next((order_id for order_id in world.journal if order_id in body), "")


RULES: tuple[Rule, ...] = (
    answers,
    keys,
    unasked,
    lifecycle.nothing_lost,
    lifecycle.legal_lives,
    lifecycle.last_attempt,
    outcome.one_swap,
    outcome.the_same_everywhere,
    outcome.never_worse_than_asked,
    sightings.in_order,
    sightings.to_the_end,
    at_rest,
)
