"""What only whoever moves the market can tell: whether a resting order was executed when its condition was true.

It computes the conditions from the market's script, and shares no code with the engine that decides on them.
"""

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise

from order_engine.domain.order import Order
from order_engine.domain.tokens import LAUNCHING

from tests.chaos.world import Breach
from tests.doubles.platform import Platform
from tests.doubles.tables import OrderItem

_QUOTE_SECONDS = 12.0  # from a quote to what it led to: `open` is journaled and posted before, perhaps slowly
_MARGIN = Decimal("0.002")  # the venues' prices differ by less from one quote to the next


def at_rest(platform: Platform, calm_from: float, within: float) -> Iterator[Breach]:
    """Once faults are over (the timeline's seconds), no order rests on for longer than `within` seconds while its
    condition is true, or after its time. None is triggered whose condition was not true, and none rests again of which
    something was sent."""
    for order_id, item in platform.tables.orders.items():
        yield from _triggered_in_vain(platform, item)
        statuses = [event.status.value for event in item.record.events]
        if "submitted" in statuses and "open" in statuses[statuses.index("submitted") :]:
            yield Breach("what was sent never rests again", str(order_id), f"{statuses}")
        for rested_at, left_at in _rests(platform, item):
            ends_at = _seconds(platform, item.record.order.expires_at)
            if left_at - max(ends_at, calm_from) > within:
                yield Breach("what has expired ends soon", str(order_id), f"{left_at:.1f} s, expired at {ends_at:.1f}")
            begins, ends = max(rested_at, calm_from), min(left_at, ends_at)
            if (longest := _longest_true(platform, item.record.order, begins, ends)) > within:
                yield Breach("what is due is executed soon", str(order_id), f"it was due for {longest:.1f} s")


def _rests(platform: Platform, item: OrderItem) -> Iterator[tuple[float, float]]:
    """From when until when the order was open."""
    moments = [*item.record.events, None]
    for event, following in pairwise(moments):
        if event and event.status == "open":
            yield (
                _seconds(platform, event.timestamp),
                _seconds(platform, following.timestamp) if following else platform.timeline.seconds,
            )


def _triggered_in_vain(platform: Platform, item: OrderItem) -> Iterator[Breach]:
    for event in item.record.events:
        if event.status == "triggered":
            at = _seconds(platform, event.timestamp)
            opens = [_seconds(platform, moment) for moment in platform.ledger.launches.values()]
            since = [*opens, *(turn for turn, _ in platform.market.moves)]
            turns = [turn for turn in since if at - _QUOTE_SECONDS < turn < at]
            if not any(
                _is_due(platform, item.record.order, one, -_MARGIN) for one in (at - _QUOTE_SECONDS, *turns, at)
            ):
                yield Breach("what is triggered was due", str(event.order_id), f"{event.to_json()}")


def _longest_true(platform: Platform, order: Order, begins: float, ends: float) -> float:
    """For how long the condition was true without a break."""
    opens = [_seconds(platform, at) for at in platform.ledger.launches.values()]
    turns = sorted({begins, *(at for at in (*(at for at, _ in platform.market.moves), *opens) if begins < at < ends)})
    longest, since = 0.0, None
    for at in turns:
        since = (at if since is None else since) if _is_due(platform, order, at) else None
        following = next((turn for turn in turns if turn > at), ends)
        longest = max(longest, following - since if since is not None else 0.0)
    return longest


def _is_due(platform: Platform, order: Order, at: float, margin: Decimal = _MARGIN) -> bool:
    launches = platform.ledger.launches
    if any(
        symbol in LAUNCHING and (symbol not in launches or _seconds(platform, launches[symbol]) > at)
        for symbol in (order.token_in, order.token_out)
    ):
        return False
    price = max(venue.nets(order, platform.market.level(at)) for venue in platform.venues) / order.amount_in
    if order.order_type == "stop":
        return price <= (order.trigger_price or 0) * (1 - margin)
    least = order.trigger_price or (order.limit_price or 0) / (1 - Decimal(order.slippage_bps) / 10_000)
    return price >= least * (1 + margin)


def _seconds(platform: Platform, moment: object) -> float:
    return (moment - platform.timeline.began_at).total_seconds() if moment else float("inf")  # type: ignore[operator]
