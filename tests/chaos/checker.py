"""Decides whether the engine kept its promises, from the outside alone.

It knows the wire format and the names of stored fields, and imports nothing of the engine: a fault that the engine
makes in writing and in reading alike is still one here.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from tests.chaos import lifecycle, outcome, replies, resting
from tests.chaos.world import Breach, World

Rule = Callable[[World], Iterator[Breach]]


def check(world: World) -> list[Breach]:
    """Every promise that was broken; an empty list is a clean run."""
    return [breach for rule in RULES for breach in rule(world)]


def at_rest(world: World) -> Iterator[Breach]:
    """Nothing is in flight any more, and the dead-letter queue holds the poison; beside that, only messages of orders
    that were taken back, because the queue's answer was lost, before their client was told of any."""
    if world.waiting:
        yield Breach("the orders queue is empty", "", f"{world.waiting} messages are in it")
    surplus, missing = Counter(world.dead_letters), Counter(world.poison)
    surplus.subtract(world.poison)
    missing.subtract(world.dead_letters)
    known = {*world.journal, *world.accepted}
    taken_back = sum(not posted.key and posted.status not in (202, 429) for posted in world.posted)
    for body, many in surplus.items():
        order_id = next((order_id for order_id in known if order_id in body), "")
        taken_back -= many > 0 and not order_id
        if many > 0 and (order_id or taken_back < 0):
            yield Breach("only poison is a dead letter", order_id, f"{many} × {body}")
    for body, many in missing.items():
        if many > 0:
            yield Breach("poison ends as a dead letter", "", f"{many} × {body} is not there")


RULES: tuple[Rule, ...] = (
    *(replies.responses, replies.keys, replies.unasked, replies.nothing_accepted),
    *(lifecycle.nothing_lost, lifecycle.legal_lives, lifecycle.diverted, lifecycle.unhurried_by_viewers),
    *(lifecycle.last_attempt, lifecycle.back_off, lifecycle.one_alive, lifecycle.impact),
    lifecycle.in_its_time,
    *(outcome.one_swap, outcome.own_hashes, outcome.the_same_everywhere, outcome.never_worse_than_asked),
    outcome.cancelled,
    *(resting.triggered, resting.after_its_trigger, resting.returns, resting.within_its_limit),
    *(resting.launched, resting.in_force, resting.found_again),
    *(replies.in_order, replies.to_the_end, at_rest),
)
