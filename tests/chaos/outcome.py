"""The checker's rules about what an order came to: on the chain, in the journal and in PostgreSQL."""

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from decimal import ROUND_DOWN, Context, Decimal

from tests.chaos.world import FINAL, Breach, Journaled, Message, OnChain, Row, World

_EXACT = Context(prec=60, rounding=ROUND_DOWN)
_PRICE_DIGITS = Decimal("1e-17")  # executed prices have 18 significant digits
_COARSEST_UNIT = Decimal("1e-5")  # BONK's; every other token's is finer
# What PostgreSQL has unchanged from an order, and from its last event.
_AS_ORDERED = ("orderType", "tokenIn", "tokenOut", "slippageBps", "clientOrderId")
_PRICES = ("limitPrice", "triggerPrice")
_AS_ENDED = {"status": "status", "attempts": "attempt", "tx_hash": "txHash"}
_AS_FAILED = {"failure_code": "code", "failure_reason": "error"}


def number(value: object) -> Decimal | None:
    """An amount, however it is written."""
    return None if value is None else Decimal(str(value))


def limit_of(order: Message) -> Decimal:
    """The least that the whole of an order with a limitPrice may give."""
    return _EXACT.multiply(Decimal(str(order["limitPrice"])), Decimal(str(order["amountIn"])))


def one_swap(world: World) -> Iterator[Breach]:
    """At most one swap landed for each order: exactly one where it is confirmed, none otherwise; none is under way."""
    by_order: dict[str, list[OnChain]] = defaultdict(list)
    for transaction in world.chain:
        by_order[transaction.order_id].append(transaction)
        if transaction.state == "sent":
            yield Breach("no transaction is under way", transaction.order_id, transaction.tx_hash)
    for order_id in sorted(set(by_order) - set(world.journal)):
        yield Breach("no swap without an order", order_id, f"{by_order[order_id]}")
    for order_id, journaled in world.journal.items():
        landed = [transaction for transaction in by_order[order_id] if transaction.state == "landed"]
        if len(landed) > 1:
            yield Breach("at most one swap lands", order_id, f"{[one.tx_hash for one in landed]}")
        last = journaled.events[-1]
        if last.get("code") == "SETTLEMENT_MISMATCH":
            floor = Decimal(_building(journaled).get("minAmountOut", 1))
            if not any((one.amount_out or 0) < floor for one in landed):
                yield Breach("a settlement mismatch is the chain's", order_id, f"{landed}")
            continue
        if journaled.status != "confirmed":
            if landed:
                yield Breach(f"no swap lands for an order that is {journaled.status}", order_id, landed[0].tx_hash)
            continue
        if not any(_is_told(one, last) for one in landed):
            yield Breach("confirmed is what landed", order_id, f"{last} against {landed}")


def _is_told(landed: OnChain, event: Message) -> bool:
    numbers = tuple(number(event.get(name)) for name in ("amountOut", "executedPrice"))
    return (landed.tx_hash, landed.amount_out, landed.executed_price) == (event.get("txHash"), *numbers)


def _building(journaled: Journaled) -> Message:
    return next((event for event in reversed(journaled.events) if event["status"] == "building"), {})


def own_hashes(world: World) -> Iterator[Breach]:
    """A transaction is one order's, wherever it is named."""
    owners: dict[str, set[str]] = defaultdict(set)
    for transaction in world.chain:
        owners[transaction.tx_hash].add(transaction.order_id)
    for order_id, row in world.rows.items():
        owners[row.get("tx_hash") or ""].add(order_id)
    for order_id, journaled in world.journal.items():
        for event in journaled.events:
            owners[event.get("txHash", "")].add(order_id)
    for tx_hash, orders in owners.items():
        if tx_hash and len(orders) > 1:
            yield Breach("a transaction is one order's", min(orders), f"{tx_hash}: {sorted(orders)}")


def the_same_everywhere(world: World) -> Iterator[Breach]:
    """PostgreSQL has a row for each order that is final, no other one, and the same in it as the journal."""
    events: dict[str, list[Row]] = defaultdict(list)
    for row in world.event_rows:
        events[row["order_id"]].append(row)
    for order_id in sorted((set(world.rows) | set(events)) - set(world.journal)):
        yield Breach("no row without an order", order_id, f"{world.rows.get(order_id)}")
    for order_id, journaled in world.journal.items():
        stored = world.rows.get(order_id)
        if journaled.status not in FINAL:
            if stored:
                yield Breach("no row before the end", order_id, f"{stored}")
            continue
        if stored is None:
            yield Breach("a final order has its row", order_id, "PostgreSQL has none")
            continue
        for name, there in _expected(journaled).items():
            if (here := stored[name]) != there:
                yield Breach("PostgreSQL = journal", order_id, f"{name}: {here!r}, not {there!r}")
        if (stored["fee"] is not None) != (journaled.status == "confirmed"):
            yield Breach("PostgreSQL = journal", order_id, f"a fee of {stored['fee']}, {journaled.status}")
        kept = [row["details"] for row in sorted(events[order_id], key=lambda row: row["sequence"])]
        if kept != list(journaled.events):
            yield Breach("PostgreSQL has every event", order_id, f"{kept}")


def cancelled(world: World) -> Iterator[Breach]:
    """A cancel that was answered decides: no transaction of the order was ever sent. One that was refused as too late
    has changed nothing, and nothing is cancelled that nobody asked for."""
    asked = {cancel.order_id for cancel in world.cancels}
    for order_id, journaled in world.journal.items():
        if journaled.status == "cancelled":
            submitted = [event for event in journaled.events if event["status"] == "submitted"]
            if sent := submitted or world.chain_of(order_id):
                yield Breach("cancelled is never sent", order_id, f"{sent}")
            if order_id not in asked:
                yield Breach("nothing is cancelled that nobody cancelled", order_id, f"{journaled.events[-1]}")
    for cancel in world.cancels:
        journaled_as = world.journal[cancel.order_id].status if cancel.order_id in world.journal else "unknown"
        if cancel.status == 200 and journaled_as != "cancelled":
            yield Breach("a cancel that was answered is final", cancel.order_id, f"the order is {journaled_as}")
        if cancel.status == 409 and journaled_as not in ("confirmed", "failed", "expired"):
            yield Breach("too late is too late", cancel.order_id, f"{cancel.answer}, but the order is {journaled_as}")
        if cancel.status not in (200, 409, 429) and 0 < cancel.status < 500:
            yield Breach("a cancel is answered", cancel.order_id, f"{cancel.status}: {cancel.answer}")


def column(name: str) -> str:
    return re.sub("[A-Z]", lambda capital: f"_{capital[0].lower()}", name)


def _expected(journaled: Journaled) -> Row:
    order, last, building = journaled.order, journaled.events[-1], _building(journaled)
    return {
        **{column(name): order.get(name) for name in _AS_ORDERED},
        **{column(name): number(order.get(name)) for name in _PRICES},
        "time_in_force": order.get("timeInForce", "gtc"),
        **{column: last.get(name) for column, name in (_AS_ENDED | _AS_FAILED).items()},
        **{name: building.get(name) for name in ("venue", "quotes")},
        "amount_in": number(order["amountIn"]),
        "amount_out": number(last.get("amountOut")),
        "executed_price": number(last.get("executedPrice")),
        "min_amount_out": number(building.get("minAmountOut", order.get("minAmountOut"))),
        "expires_at": datetime.fromisoformat(order["expiresAt"]) if order.get("expiresAt") else None,
        "created_at": datetime.fromisoformat(order["createdAt"]),
        "completed_at": datetime.fromisoformat(last["timestamp"]),
    }


def never_worse_than_asked(world: World) -> Iterator[Breach]:
    """A confirmed order gave what the client asked for at least, and what its price comes to."""
    for order_id, journaled in world.journal.items():
        if journaled.status != "confirmed":
            continue
        order, last, building = journaled.order, journaled.events[-1], _building(journaled)
        if not building or not {"amountOut", "executedPrice"} <= last.keys():
            yield Breach("confirmed after building", order_id, f"{last}")
            continue
        amount_out, floor = Decimal(last["amountOut"]), Decimal(building["minAmountOut"])
        asked = max(floor, Decimal(order.get("minAmountOut", "0")))
        if amount_out <= 0:
            yield Breach("confirmed gives something", order_id, f"{last}")
        if amount_out < asked:
            yield Breach("never worse than asked", order_id, f"{amount_out} is less than {asked}")
        best = max(Decimal(quote["amountOut"]) for quote in building["quotes"])
        kept = _EXACT.multiply(best, Decimal(10_000 - order["slippageBps"]).scaleb(-4))
        # The tolerated share of the quote, rounded down to a base unit.
        if not kept - _COARSEST_UNIT <= floor <= best:
            yield Breach("the floor follows from the quote", order_id, f"{floor} for {best}")
        # What nets the price, rounded up to a base unit: slippageBps are in reserve above it.
        if order.get("limitPrice") is not None and floor < limit_of(order):
            yield Breach("the floor keeps the limit price", order_id, f"{floor} for {limit_of(order)}")
        paid = _EXACT.multiply(Decimal(last["executedPrice"]), Decimal(order["amountIn"]))
        if not 0 <= amount_out - paid <= _EXACT.multiply(amount_out, _PRICE_DIGITS):
            yield Breach("price × amountIn = amountOut", order_id, f"{paid}, not {amount_out}")
