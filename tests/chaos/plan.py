"""What a campaign will do, drawn from its seed before it begins: the requests, their subscribers, and the faults."""

import random
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from typing import Any

from tests.chaos.faults import Fault, draw_faults

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
    {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 1, "maxPriceImpactBps": -1},
    {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "18446744073.709551616"},  # 2**64 base units
)
# Amounts at both ends: some buy less than a base unit, some are half a pool, or more than there is.
_EXTREME: tuple[dict[str, Any], ...] = (
    {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "0.000000001"},
    {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "0.00000001"},
    {"tokenIn": "SOL", "tokenOut": "BONK", "amountIn": "0.00000001"},
    {"tokenIn": "BONK", "tokenOut": "USDC", "amountIn": "0.00001"},
    {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "33000"},
    {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "33000", "maxPriceImpactBps": 10_000},
    {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "18446744073.709551615"},
)


@dataclass(frozen=True)
class Visit:
    """One stay on an order's socket: comes `delay` seconds after the order or the last visit, leaves after so many
    messages (None: stays for the final one and `linger` seconds more; with `to_the_end`, until the run ends; one that
    is `mute`, whose posts will hang, for `linger` seconds in all)."""

    delay: float
    leave_after: int | None = None
    linger: float = 0.5
    to_the_end: bool = False
    replay: bool = False  # asks once, after its first message, to have everything again
    mute: bool = False


@dataclass(frozen=True)
class Request:
    """One order that a client wants, `at` seconds after the beginning, and how often it asks for it.

    `repeats` are the delays of further posts of the same, the first of them at once with it if it is 0; `conflict` is
    another body that is then sent with the same key. `afterlife`: its key is used once more when the order is closed,
    while the key lives ("closed") or after that ("expired"). `diverted`: its message is a dead letter from the start.
    """

    at: float
    body: dict[str, Any]
    valid: bool = True
    repeats: tuple[float, ...] = ()
    conflict: dict[str, Any] | None = None
    subscribers: tuple[tuple[Visit, ...], ...] = ()
    afterlife: str = ""
    diverted: bool = False


@dataclass(frozen=True)
class Plan:
    """Everything that a campaign does, each part sorted by time; the opening is sent while no worker is about."""

    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    opening: list[Request] = field(default_factory=list)


def draw(seed: int, seconds: float, orders: int, viewers: int = 200) -> Plan:
    """The plan of a seed: always the same for the same arguments. A quarter of the viewers of its crowded order is
    mute."""
    dice = random.Random(f"campaign {seed}")
    requests = sorted(
        (_request(dice, seed, n, dice.uniform(0, seconds)) for n in range(orders)), key=lambda one: one.at
    )
    crowd = [(Visit(0.0, linger=40.0, mute=True),)] * (viewers // 4) + [(Visit(0.0),)] * (viewers - viewers // 4)
    opening = [Request(0.0, _ORDINARY, subscribers=tuple(crowd)), *[Request(0.0, _ORDINARY, diverted=True)] * 3]
    return Plan(requests, sorted(draw_faults(dice, seconds), key=lambda one: one.at), opening)


_ORDINARY = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 10}


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
    afterlife = dice.choice(("closed", "expired")) if keyed and dice.random() < 0.2 else ""
    return Request(at, body, True, repeats, conflict, subscribers, afterlife)


def _body(dice: random.Random) -> dict[str, Any]:
    if dice.random() < 0.08:
        return dict(dice.choice(_EXTREME))
    token_in, token_out = dice.sample(sorted(_TOKENS), 2)
    # Once in a while more than a pool has.
    dollars = Decimal(50_000_000) if dice.random() < 0.02 else Decimal(round(10 ** dice.uniform(0.5, 4), 2))
    amount = _of(dollars, token_in)
    body: dict[str, Any] = {"tokenIn": token_in, "tokenOut": token_out, "amountIn": f"{amount:f}"}
    if dice.random() < 0.3:
        body["slippageBps"] = dice.choice((0, 10, 30, 100, 500))
    if dice.random() < 0.1:
        body["maxPriceImpactBps"] = dice.choice((0, 1, 10, 10_000))
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
