"""What a campaign will do, drawn from its seed before it begins: the requests, their subscribers, and the faults."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from typing import Any

# Decimals and a rough price in US dollars: enough to ask for sensible amounts.
_TOKENS = {
    "SOL": (9, Decimal(150)),
    "USDC": (6, Decimal(1)),
    "USDT": (6, Decimal(1)),
    "RAY": (6, Decimal("2.4")),
    "JUP": (6, Decimal("0.45")),
    "BONK": (5, Decimal("0.00002")),
    "MSOL": (9, Decimal(190)),
}
_INVALID: tuple[dict[str, Any], ...] = (
    {"tokenIn": "SOL", "tokenOut": "USDC"},
    {"tokenIn": "SOL", "tokenOut": "SOL", "amountIn": 1},
    {"tokenIn": "SOL", "tokenOut": "DOGE", "amountIn": 1},
    {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "-1"},
    {"tokenIn": "USDC", "tokenOut": "SOL", "amountIn": "0.0000001"},
    {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 1, "slippageBps": 10_001},
    {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 1, "orderType": "limit"},
)


@dataclass(frozen=True)
class Visit:
    """One stay on an order's socket: comes `delay` seconds after the order or the last visit, leaves after so many
    messages (None: stays for the final one and `linger` seconds more; with `to_the_end`, until the run ends)."""

    delay: float
    leave_after: int | None = None
    linger: float = 0.5
    to_the_end: bool = False
    replay: bool = False  # asks once, after its first message, to have everything again


@dataclass(frozen=True)
class Request:
    """One order that a client wants, `at` seconds after the beginning, and how often it asks for it.

    `repeats` are the delays of further posts of the same, the first of them at once with it if it is 0; `conflict` is
    another body that is then sent with the same key.
    """

    at: float
    body: dict[str, Any]
    valid: bool = True
    repeats: tuple[float, ...] = ()
    conflict: dict[str, Any] | None = None
    subscribers: tuple[tuple[Visit, ...], ...] = ()


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, `at` seconds after the beginning."""

    at: float
    kind: str  # kill, stop-postgres, start-postgres, duplicate, poison, dead-letter
    target: str = ""  # a function's name for kill, a body for poison
    many: int = 1
    choice: float = 0.0  # in [0, 1): which worker, or which order


@dataclass(frozen=True)
class Plan:
    """Everything that a campaign does, each part sorted by time."""

    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def draw(seed: int, seconds: float, orders: int) -> Plan:
    """The plan of a seed: always the same for the same arguments."""
    dice = random.Random(f"campaign {seed}")
    requests = sorted(
        (_request(dice, seed, n, dice.uniform(0, seconds)) for n in range(orders)), key=lambda one: one.at
    )
    return Plan(requests, sorted(_faults(dice, seconds), key=lambda one: one.at))


def _request(dice: random.Random, seed: int, n: int, at: float) -> Request:
    if dice.random() < 0.06:
        return Request(at, dict(dice.choice(_INVALID)), valid=False)
    body = _body(dice)
    keyed = dice.random() < 0.5
    if keyed:
        body["clientOrderId"] = f"campaign-{seed}-{n}"
    repeats = tuple(dice.choice((0.0, 0.3, 2.0)) for _ in range(dice.choice((0, 1, 2)))) if keyed else ()
    conflict = {**_body(dice), "clientOrderId": body["clientOrderId"]} if keyed and dice.random() < 0.2 else None
    subscribers = tuple(_visits(dice) for _ in range(dice.choice((0, 1, 1, 2, 3))))
    return Request(at, body, repeats=repeats, conflict=conflict, subscribers=subscribers)


def _body(dice: random.Random) -> dict[str, Any]:
    token_in, token_out = dice.sample(sorted(_TOKENS), 2)
    # Once in a while more than a pool has.
    dollars = Decimal(50_000_000) if dice.random() < 0.02 else Decimal(round(10 ** dice.uniform(0.5, 4), 2))
    amount = _of(dollars, token_in)
    body: dict[str, Any] = {"tokenIn": token_in, "tokenOut": token_out, "amountIn": f"{amount:f}"}
    if dice.random() < 0.3:
        body["slippageBps"] = dice.choice((0, 10, 30, 100, 500))
    if dice.random() < 0.15:  # what it is worth, a little less, or more than anybody will give
        body["minAmountOut"] = f"{_of(dollars * Decimal(dice.choice(('0.9', '0.98', '1', '1.2'))), token_out):f}"
    return body


def _of(dollars: Decimal, token: str) -> Decimal:
    decimals, price = _TOKENS[token]
    return max((dollars / price).quantize(Decimal(1).scaleb(-decimals), ROUND_DOWN), Decimal(1).scaleb(-decimals))


def _visits(dice: random.Random) -> tuple[Visit, ...]:
    delay = dice.choice((0.0, 0.0, dice.uniform(0, 0.6), dice.uniform(0.5, 8)))
    stays = Visit(delay, None, dice.uniform(0.1, 1.5), dice.random() < 0.08, dice.random() < 0.1)
    if dice.random() < 0.7:
        return (stays,)
    leaves = Visit(delay, dice.choice((0, 1, 1, 2, 3)))
    return (leaves, Visit(dice.uniform(0, 3), None, stays.linger, stays.to_the_end))


_UNKNOWN = "00000000-0000-4000-8000-{:012d}"


def _faults(dice: random.Random, seconds: float) -> Iterator[Fault]:
    # Function workers: every second or so, most of them those that execute orders.
    at = 1.0
    while at < seconds:
        target = dice.choices(("route_execute", "notify", "submit", "ws_connect"), (60, 20, 10, 10))[0]
        many = dice.choice((1, 2, 3, 5)) if target == "route_execute" else 1
        yield Fault(at, "kill", target, many, dice.random())
        at += dice.uniform(0.4, 1.6)
    # PostgreSQL: once in forty seconds, at least once.
    outages = max(1, round(seconds / 40))
    for n in range(outages):
        begins = seconds * (n + dice.uniform(0.2, 0.5)) / outages
        yield Fault(begins, "stop-postgres")
        yield Fault(begins + min(dice.uniform(3, 12), seconds / outages / 3), "start-postgres")
    yield from (Fault(dice.uniform(0.5, seconds), "duplicate", choice=dice.random()) for _ in range(int(seconds * 2)))
    yield from (Fault(dice.uniform(1, seconds), "dead-letter", choice=dice.random()) for _ in range(int(seconds / 10)))
    for n in range(max(2, int(seconds / 15))):
        unknown = json.dumps({"orderId": _UNKNOWN.format(n)})
        body = dice.choice(("not JSON", "[]", '{"orderId": 5}', '{"orderId": "x"}', unknown))
        yield Fault(dice.uniform(0, seconds / 2), "poison", body)
