"""The checker's rules about an order's attempts: how many, when, and what became of their transactions."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

from tests.chaos.world import Breach, Journaled, Message, World

_MOST_ATTEMPTS = 3
_WORTH_ANOTHER = {"VENUE_UNAVAILABLE", "TRANSACTION_TIMEOUT", "RATE_LIMITED"}
_BY_THE_QUOTES = {"AMOUNT_TOO_SMALL", "PRICE_IMPACT_TOO_HIGH"}  # before anything is built
_CODES = {
    *_WORTH_ANOTHER,
    *_BY_THE_QUOTES,
    "SLIPPAGE_EXCEEDED",
    "INSUFFICIENT_LIQUIDITY",
    "TRANSACTION_REVERTED",
    "SETTLEMENT_MISMATCH",
    "ORDER_EXPIRED",
    "INTERNAL_ERROR",
}
_CLOCK_SECONDS = 0.002  # back-offs are stored in milliseconds


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
    if unknown := {last.get("code"), *(error["code"] for error in errors)} - _CODES:
        yield Breach("a failure has a code of the list", order_id, f"{unknown}")
    if last.get("code") in _WORTH_ANOTHER and len({error["attempt"] for error in errors}) < _MOST_ATTEMPTS:
        yield Breach("failed only after the last attempt", order_id, f"{last['code']} after {len(errors)} attempt(s)")
    if last.get("code") in _BY_THE_QUOTES and journaled.events[-2]["status"] != "routing":
        yield Breach("refused by its quotes before anything is built", order_id, f"{last['code']}")


def back_off(world: World) -> Iterator[Breach]:
    """No attempt begins before the back-off of the one that failed is over, however many messages the order has."""
    for order_id, journaled in world.journal.items():
        begun = {one["attempt"]: one for one in reversed(journaled.events) if one["status"] == "routing"}
        for error in journaled.errors:
            following = begun.get(error["attempt"] + 1)
            least = world.terms.back_off_seconds * 2 ** (error["attempt"] - 1) - _CLOCK_SECONDS
            if following and _seconds(error, following) < least:
                yield Breach(
                    "no attempt before its back-off is over", order_id, f"{_seconds(error, following)} s: {following}"
                )


def one_alive(world: World) -> Iterator[Breach]:
    """An order's transaction is given up only when the chain has it dead, which it is no sooner than its validity ends;
    so no second one can be built while it is alive."""
    states = {transaction.tx_hash: transaction.state for transaction in world.chain}
    for order_id, journaled in world.journal.items():
        built: Message = {}
        for event, following in pairwise(journaled.events):
            if event["status"] == "building":
                built = event
            if event["status"] != "submitted" or following["status"] == "confirmed":
                continue
            tx_hash = event.get("txHash", "")
            state = states.get(tx_hash, "unknown to the chain")
            # One that reverted, or settled for less than its floor, is no reason for another attempt.
            if state != "dead" and (following["status"] != "failed" or state not in ("reverted", "landed")):
                yield Breach("only a dead transaction is given up", order_id, f"{tx_hash} is {state}")
            alive = _seconds(built, following) if built else 0.0
            if state == "dead" and alive < world.terms.validity_seconds - _CLOCK_SECONDS:
                yield Breach("a transaction is dead when its validity has passed", order_id, f"after {alive} s")


def impact(world: World) -> Iterator[Breach]:
    """The quote that was chosen moves the price no further than the order allows."""
    for order_id, journaled in world.journal.items():
        most = Decimal(journaled.order.get("maxPriceImpactBps", 1000)) / 100
        for event in journaled.events:
            for quote in event.get("quotes") or []:
                if quote["venue"] == event["venue"] and Decimal(quote["priceImpactPct"]) > most:
                    yield Breach("the chosen quote's price impact is allowed", order_id, f"{quote}, {most} % allowed")


def _seconds(earlier: Message, later: Message) -> float:
    times = [datetime.fromisoformat(one["timestamp"]) for one in (earlier, later)]
    return (times[1] - times[0]).total_seconds()
