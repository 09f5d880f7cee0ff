"""Draws a market that moves, and orders that rest in it; by dice of its own, so that nothing else of a seed changes.

Prices move within minutes, and what the market does not come to expires within minutes: a watcher looks each second.
"""

import random
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.doubles.venues import FEE
from tests.simulation.plan import OrderPlan, Plan
from tests.support.builders import START

_SHARE_OF_WORLDS, _SHARE_OF_ORDERS = 0.4, 0.6
_PRICE = 150 * (1 - FEE)
_LEVELS = ("0.85", "0.9", "0.95", "0.98", "1", "1.02", "1.05", "1.1", "1.15")
_TYPES = ("limit", "limit", "limit", "stop", "takeProfit", "sniper", "sniper", "market")
_NOT_RESTING = ("minAmountOut", "timeInForce", "expiresAt", "slippageBps")  # what an order has its own reasons for


def at_rest(plan: Plan, dice: random.Random) -> Plan:
    """The plan with a moving market and resting orders, or as it is."""
    if dice.random() > _SHARE_OF_WORLDS:
        return plan
    times = sorted(
        dice.choice((1.0, 3.0, dice.uniform(0, 20), dice.uniform(0, 150))) for _ in range(dice.randint(1, 7))
    )
    moves = tuple((at, dice.choice(_LEVELS)) for at in times)
    if dice.random() < 0.3:  # there and back within seconds
        moves = tuple(sorted((*moves, (moves[0][0] + dice.uniform(0.1, 3), "1"))))
    launch = dice.choice((0.0, dice.uniform(0, 10), dice.uniform(0, 120)))
    orders = tuple(_order(dice, one, Decimal(moves[-1][1])) for one in plan.orders)
    return replace(plan, moves=moves, launches=(("NOVA", launch),), orders=orders)


def _order(dice: random.Random, plan: OrderPlan, last: Decimal) -> OrderPlan:
    usual = plan.valid and plan.body["amountIn"] == f"{10 + plan.number}"
    if not usual or any(name in plan.body for name in _NOT_RESTING) or dice.random() > _SHARE_OF_ORDERS:
        return plan
    around = _PRICE * Decimal(dice.choice(_LEVELS)) * Decimal(dice.choice(("0.99", "0.999", "1", "1.003")))
    price = around.quantize(Decimal("0.001")).normalize()
    body: dict[str, Any] = {**plan.body, "orderType": dice.choice(_TYPES)}
    if dice.random() < 0.3:
        body["amountIn"] = f"{3000 + plan.number}"  # moves the price by three per cent
    reached = False
    match body["orderType"]:
        case "limit":
            body |= {"limitPrice": f"{price:f}", "slippageBps": dice.choice((0, 10, 50, 100))}
            reached = price * Decimal("1.05") < _PRICE * last
        case "stop" | "takeProfit":
            body["triggerPrice"] = f"{price:f}"
            up = body["orderType"] == "takeProfit"
            reached = price * Decimal("1.05") < _PRICE * last if up else price > _PRICE * last * Decimal("1.05")
        case "sniper":
            body["tokenOut"] = "NOVA"
            reached = True
            if dice.random() < 0.5:
                body["limitPrice"] = f"{price:f}"
                reached = price * Decimal("1.05") < _PRICE * last
        case _:
            body["tokenOut"] = "NOVA"
    if body["orderType"] != "market" and (not reached or dice.random() < 0.3):
        until = plan.at + dice.choice((2.0, 20.0, dice.uniform(10, 60), dice.uniform(10, 180)))
        body["expiresAt"] = f"{START + timedelta(seconds=until):%Y-%m-%dT%H:%M:%S.%fZ}"
    return replace(plan, body=body)
