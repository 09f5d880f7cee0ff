"""The faults of a campaign, drawn from its seed before it begins."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.relay import MODES


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, `at` seconds after the beginning."""

    at: float
    kind: str  # kill; stop, start, pause, resume: PostgreSQL; duplicate, poison, dead-letter, or a mode of the relay's
    target: str = ""  # a function's name for kill, a body for poison, a service for the relay
    many: int = 1
    choice: float = 0.0  # in [0, 1): which worker, or which order; of the relay's requests, the share
    seconds: float = 0.0  # how long the relay does so


_UNKNOWN = "00000000-0000-4000-8000-{:012d}"


def draw_faults(dice: random.Random, seconds: float) -> Iterator[Fault]:
    """The faults of a campaign of so many seconds, in no order."""
    # Function workers: every two seconds or so, most of them those that execute orders.
    at = 1.0
    while at < seconds:
        target = dice.choices(("route_execute", "notify", "submit", "ws_connect"), (60, 20, 10, 10))[0]
        many = dice.choice((1, 2, 3, 5)) if target == "route_execute" else 1
        yield Fault(at, "kill", target, many, dice.random())
        at += dice.uniform(0.6, 2.6)
    # PostgreSQL: gone and hanging in turn, each once in fifty seconds, at least once.
    outages = max(2, round(seconds / 25))
    for n in range(outages):
        begins = seconds * (n + dice.uniform(0.2, 0.5)) / outages
        ends = begins + min(dice.uniform(3, 12), seconds / outages / 3)
        yield from map(Fault, (begins, ends), ("pause", "resume") if n % 2 else ("stop", "start"))
    # What the functions call: a window every six seconds, each mode in turn.
    windows = max(4, round(seconds / 6))
    for n in range(windows):
        service = dice.choices(("dynamodb", "posts", "invoke", "sqs"), (40, 30, 15, 15))[0]
        # Posts for a shorter time: here, unlike on AWS, an invocation of notify that failed is repeated after seconds.
        share, lasts = dice.choice((0.1, 0.3, 1.0)), dice.uniform(1, 2 if service == "posts" else 5)
        yield Fault(seconds * (n + dice.random()) / windows, MODES[n % 4], service, choice=share, seconds=lasts)
    yield from (Fault(dice.uniform(0.5, seconds), "duplicate", choice=dice.random()) for _ in range(int(seconds * 2)))
    yield from (Fault(dice.uniform(1, seconds), "dead-letter", choice=dice.random()) for _ in range(int(seconds / 10)))
    for n in range(max(2, int(seconds / 15))):
        unknown = json.dumps({"orderId": _UNKNOWN.format(n)})
        body = dice.choice(("not JSON", "[]", '{"orderId": 5}', '{"orderId": "x"}', unknown))
        yield Fault(dice.uniform(0, seconds / 2), "poison", body)
