"""The checker's rules about the orders that rest: what triggers them, when they go back, and that none is forgotten."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal, localcontext

from tests.chaos.outcome import limit_of, number
from tests.chaos.world import Breach, Journaled, Message, World

_MOST_RETURNS = 10
_RETURNING = ("limit", "sniper")  # others, once triggered, are executed as market orders
_LAUNCHING = ("NOVA", "ORBIT")
_PRICE_DIGITS = Decimal("1e-17")  # prices have 18 significant digits
_DUST = Decimal("1e-5")  # a base unit of the coarsest token: what rounding alone may decide
_CLOCK_SECONDS = 0.002  # the chain counts in milliseconds
# How far the market has to be beyond an order's price for it to be due on any account.
_MARGIN = Decimal("0.005")


def triggered(world: World) -> Iterator[Breach]:
    """Each trigger's price is one that the order waits for, and only an order that rests has triggers at all."""
    for order_id, journaled in world.journal.items():
        for event in journaled.events:
            if event["status"] == "triggered" and not _is_met(journaled.order, Decimal(event.get("price") or "NaN")):
                yield Breach("an order is triggered by its own condition", order_id, f"{event}: {journaled.order}")
            if event["status"] == "open" and not Decimal(event.get("referencePrice", -1)) >= 0:
                yield Breach("open says at which price the order is due", order_id, f"{event}")


def _is_met(order: Message, price: Decimal) -> bool:
    trigger = number(order.get("triggerPrice"))
    if price.is_nan() or order.get("timeInForce") == "fok":
        return False
    with localcontext(prec=60):
        match order.get("orderType"):
            case "stop":
                return trigger is not None and price <= trigger
            case "takeProfit":
                return trigger is not None and price >= trigger
            case "limit" | "sniper" if order.get("limitPrice") is not None:
                asked = limit_of(order)
                gives = price * Decimal(order["amountIn"]) * Decimal(10_000 - order["slippageBps"]).scaleb(-4)
                return gives >= asked * (1 - _PRICE_DIGITS) or asked <= _DUST
            case kind:
                return kind == "sniper"


def after_its_trigger(world: World) -> Iterator[Breach]:
    """Nothing of a resting order is sent but after a trigger since it rested last; whatever lands was sent so."""
    for order_id, journaled in world.journal.items():
        if not journaled.rests:
            continue
        armed, sent = False, set()
        for event in journaled.events:
            armed = event["status"] == "triggered" or (armed and event["status"] != "open")
            if event["status"] == "submitted":
                sent.add(event.get("txHash"))
                if not armed:
                    yield Breach("nothing is sent without a trigger", order_id, f"{event}")
        for one in world.chain_of(order_id):
            if one.state == "landed" and one.tx_hash not in sent:
                yield Breach("what lands was triggered", order_id, f"{one}")


def returns(world: World) -> Iterator[Breach]:
    """A triggered order rests again at most ten times, never after something was sent, and not if its type doesn't."""
    for order_id, journaled in world.journal.items():
        statuses = [event["status"] for event in journaled.events]
        openings = statuses.count("open")
        if openings > 1 + _MOST_RETURNS:
            yield Breach("back to open at most ten times", order_id, f"{openings - 1} times")
        if openings > 1 and journaled.order.get("orderType") not in _RETURNING:
            yield Breach("only limit and sniper go back to open", order_id, f"{statuses}")
        if "submitted" in statuses and "open" in statuses[statuses.index("submitted") :]:
            yield Breach("what was sent rests no more", order_id, f"{statuses}")


def within_its_limit(world: World) -> Iterator[Breach]:
    """Whatever lands for an order with a limitPrice nets that price at least, or is told as a venue's breach."""
    for order_id, journaled in world.journal.items():
        told = journaled.events and journaled.events[-1].get("code") == "SETTLEMENT_MISMATCH"
        if journaled.order.get("limitPrice") is None or told:
            continue
        for one in world.chain_of(order_id):
            if one.state == "landed" and (one.amount_out or 0) < limit_of(journaled.order):
                yield Breach("a swap nets limitPrice", order_id, f"{one} for {journaled.order}")


def launched(world: World) -> Iterator[Breach]:
    """Nothing is triggered, sent or landed before the tokens of its pair have launched."""
    for order_id, journaled in world.journal.items():
        pair = (journaled.order.get("tokenIn"), journaled.order.get("tokenOut"))
        launches = [world.launches.get(str(token)) for token in pair if token in _LAUNCHING]
        if not launches:
            continue
        swaps = [(_at(one), f"{one}") for one in journaled.events if one["status"] in ("triggered", "submitted")]
        landed = [one for one in world.chain_of(order_id) if one.state == "landed"]
        swaps += [(one.lands_at, f"{one}") for one in landed if one.lands_at is not None]
        for at, what in swaps:
            if any(launch is None or at < launch - _CLOCK_SECONDS for launch in launches):
                yield Breach("nothing is swapped before its launch", order_id, f"{what}, launches at {launches}")


def in_force(world: World) -> Iterator[Breach]:
    """Whatever rests has a time: the longest one, if its client gave none."""
    for order_id, journaled in world.journal.items():
        order = journaled.order
        if journaled.rests and order.get("timeInForce", "gtc") == "gtc":
            until = datetime.fromisoformat(order["createdAt"]) + world.terms.longest_rest
            if datetime.fromisoformat(order.get("expiresAt") or order["createdAt"]) != until:
                yield Breach("a resting order expires after the longest time", order_id, f"{order}")


def found_again(world: World) -> Iterator[Breach]:
    """What rests at the end is found: by its price, on a side that is watched, and when its time is over. Nothing else
    is. None rests whose time has long been over, or that was due for long."""
    ends = {order_id: int(moment) for moment, _, order_id in (entry.partition("#") for entry in world.expiries)}
    for order_id in sorted(set(world.index) - {one for one, journaled in world.journal.items() if journaled.resting}):
        yield Breach("only what rests is in the index", order_id, f"{world.index[order_id]}")
    for order_id, journaled in world.journal.items():
        if not journaled.resting:
            continue
        side, price = _side(journaled.order), Decimal(journaled.events[-1].get("referencePrice", 0))
        if world.index.get(order_id) != (side, price):
            yield Breach("what rests is in the index", order_id, f"{world.index.get(order_id)}, not {(side, price)}")
        if side not in world.sides:
            yield Breach("where an order rests is watched", order_id, f"{side} is not in {sorted(world.sides)}")
        until = datetime.fromisoformat(journaled.order.get("expiresAt") or journaled.order["createdAt"])
        if abs(ends.get(order_id, 0) / 1000 - until.timestamp()) > _CLOCK_SECONDS:
            yield Breach("the end of a rest is noted", order_id, f"{until}, not {ends.get(order_id)}")
        if until.timestamp() + world.terms.overdue_seconds < world.ended_at:
            yield Breach("what is over rests no more", order_id, f"{until} was long before {world.ended_at}")
        if _at(journaled.events[-1]) + world.terms.overdue_seconds < world.ended_at and _was_due(journaled, world):
            yield Breach("what is due rests no more", order_id, f"{price} in {world.market}")


def _was_due(journaled: Journaled, world: World) -> bool:
    """Whether the market was beyond an order's price all the time, at every venue, and whatever its price impact."""
    order, price = journaled.order, Decimal(journaled.events[-1]["referencePrice"])
    span = world.market.get(f"{order['tokenIn']}/{order['tokenOut']}")
    if span is None or order.get("minAmountOut") or order.get("maxPriceImpactBps", 1000) < 1000:
        return False
    if order["orderType"] == "stop":  # opened without every venue's quote, its reference price is early by far
        return span[1] * (1 + _MARGIN) < min(price, Decimal(order["triggerPrice"]))
    return span[0] * (1 - _MARGIN) > price


def _side(order: Message) -> str:
    return f"{order['tokenIn']}/{order['tokenOut']}#{'fall' if order['orderType'] == 'stop' else 'rise'}"


def _at(event: Message) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()
