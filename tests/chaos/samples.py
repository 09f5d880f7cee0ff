"""A small world in which every promise was kept; tests break one at a time."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.chaos.outcome import column, number
from tests.chaos.world import Journaled, Message, OnChain, Posted, Row, Terms, Transcript, World

CONFIRMED = "11111111-1111-4111-8111-111111111111"  # at the second attempt
FAILED = "22222222-2222-4222-8222-222222222222"
RENEWED = "55555555-5555-4555-8555-555555555555"  # under CONFIRMED's key, whose life had ended
LIMIT = "77777777-7777-4777-8777-777777777777"  # confirmed, after it had gone back to rest once
WAITING = "88888888-8888-4888-8888-888888888888"  # a stop that rests
SNIPED = "99999999-9999-4999-8999-999999999999"  # confirmed, at the launch of its token
ORPHAN = "33333333-3333-4333-8333-333333333333"  # journaled, but its client got no response
ORDER = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "10"}
KEYED = {**ORDER, "clientOrderId": "first"}
REFUSED = {"code": "NOTHING_ACCEPTED"}
_POISON = "not JSON"
_WITHDRAWN = '{"orderId": "66666666-6666-4666-8666-666666666666"}'  # its client was told that nothing was accepted
_OTHER_BODY = {"tokenIn": "USDC", "tokenOut": "BONK", "amountIn": 5, "minAmountOut": "240000"}
_CREATED = "2026-01-02T03:04:05.000000Z"
_QUOTE = {"venue": "raydium", "price": "149.5", "fee": "0.003", "priceImpactPct": "0.03", "amountOut": "1490"}
_BUILT = {"venue": "raydium", "quotes": [_QUOTE], "minAmountOut": "1482.55"}
_OTHER_BUILT = {"venue": "raydium", "quotes": [{**_QUOTE, "amountOut": "245000"}], "minAmountOut": "243775"}
_LANDED = {"executedPrice": "148.5", "amountOut": "1485"}
_RESTING_BODY = {**ORDER, "clientOrderId": "limit", "orderType": "limit", "limitPrice": "148"}
_WAITING_BODY = {**ORDER, "clientOrderId": "stop", "orderType": "stop", "triggerPrice": "140"}
_SNIPING_BODY = {"tokenIn": "USDC", "tokenOut": "NOVA", "amountIn": "10", "orderType": "sniper"}
_THIRTY_DAYS = "2026-02-01T03:04:05Z"
_OPENED = ("open", 0, {"referencePrice": "148.8"})
_TRIGGERED = {"venue": "raydium", "price": "149"}
_ERROR = {"code": "SLIPPAGE_EXCEEDED", "error": "too little"}
# Why CONFIRMED's first attempt failed.
_TIMEOUT = {"attempt": 1, "code": "TRANSACTION_TIMEOUT", "error": "…", "timestamp": "2026-01-02T03:04:09.500000Z"}


def clean_world() -> World:
    """One order confirmed, another one under its expired key, one failed, one that nobody was promised; a limit order
    and a sniper confirmed, a stop that rests; a message of poison."""
    renewed = _attempt(1, "tx-4", ("confirmed", _LANDED))
    failed = _attempt(1, "tx-3", ("failed", {**_ERROR, "attempts": [{**_ERROR, "attempt": 1}]}), built=_OTHER_BUILT)
    first, landed = [_OPENED, ("triggered", 0, _TRIGGERED), ("routing", 1, {})], ("confirmed", _LANDED)
    back = [("open", 1, _OPENED[2]), ("triggered", 1, _TRIGGERED)]
    limit = [*first, *back, *_attempt(2, "tx-5", landed, built=_BUILT)]
    sniped = [("open", 0, {"referencePrice": "0"}), first[1], *_attempt(1, "tx-6", landed)]
    confirmed = [*_attempt(1, "tx-1"), *_attempt(2, "tx-2", ("confirmed", _LANDED))]
    journal = {
        CONFIRMED: _journaled(CONFIRMED, KEYED, confirmed, errors=[_TIMEOUT]),
        RENEWED: _journaled(RENEWED, KEYED, renewed),
        FAILED: _journaled(FAILED, _OTHER_BODY, failed),
        LIMIT: _resting(LIMIT, _RESTING_BODY, limit),
        WAITING: _resting(WAITING, _WAITING_BODY, [_OPENED], closed=False),
        SNIPED: _resting(SNIPED, _SNIPING_BODY, sniped),
        ORPHAN: _journaled(ORPHAN, {**KEYED, "clientOrderId": None}, [], closed=False),
    }
    events, final = journal[CONFIRMED].events, (CONFIRMED, RENEWED, FAILED, LIMIT, SNIPED)
    return World(
        posted=[
            Posted(1.0, KEYED, "accept", 502),
            Posted(1.3, KEYED, "accept", 202, accepted(CONFIRMED)),
            Posted(1.5, KEYED, "accept", 202, accepted(CONFIRMED)),
            Posted(1.6, {**KEYED, "amountIn": "11"}, "conflict", 409),
            Posted(1.7, _OTHER_BODY, "accept", 202, accepted(FAILED)),
            Posted(1.8, {"tokenIn": "SOL"}, "refuse", 422),
            Posted(1.9, ORDER, "accept", 0),
            Posted(1.9, {**ORDER, "amountIn": "12"}, "accept", 503, REFUSED),
            Posted(2.0, {**ORDER, "clientOrderId": "second"}, "accept", 503, REFUSED),
            Posted(3.0, KEYED, "accept", 202, accepted(RENEWED), era=1),
            Posted(3.1, _RESTING_BODY, "accept", 202, accepted(LIMIT)),
            Posted(3.2, _WAITING_BODY, "accept", 202, accepted(WAITING)),
            Posted(3.3, _SNIPING_BODY, "accept", 202, accepted(SNIPED)),
        ],
        transcripts=[
            _watched(CONFIRMED, events, closed=True),
            _watched(CONFIRMED, events[:3], left=True),
            _watched(CONFIRMED, events[3:], after=3),
            _watched(CONFIRMED, [*events[:5], *events[3:]], left=True),  # a repeat after a crash
            _watched(CONFIRMED, [*events[5:], *events], after=5, replays=[0]),
            _watched(CONFIRMED, [], after=len(events), ended_before=True, closed=True),
            _watched(FAILED, journal[FAILED].events),
            _watched(CONFIRMED, events[:2], mute=True),
            _watched(RENEWED, journal[RENEWED].events),
            _watched(WAITING, journal[WAITING].events),
        ],
        journal=journal,
        chain=[
            OnChain("tx-1", CONFIRMED, "dead"),
            OnChain("tx-2", CONFIRMED, "landed", Decimal("1485.0"), Decimal("148.5")),
            OnChain("tx-4", RENEWED, "landed", Decimal("1485.0"), Decimal("148.5")),
            OnChain("tx-3", FAILED, "reverted", Decimal(230_000), Decimal(46_000)),
            OnChain("tx-5", LIMIT, "landed", Decimal("1485.0"), Decimal("148.5"), _second(14)),
            OnChain("tx-6", SNIPED, "landed", Decimal("1485.0"), Decimal("148.5"), _second(11)),
        ],
        rows={order_id: _row(journal[order_id]) for order_id in final},
        event_rows=[
            {"order_id": order_id, "sequence": event["sequence"], "details": event}
            for order_id in final
            for event in journal[order_id].events
        ],
        dead_letters=[_POISON, _WITHDRAWN],
        poison=[_POISON],
        diverted=[FAILED],
        crowded=[CONFIRMED],
        index={WAITING: ("SOL/USDC#fall", Decimal("148.8"))},
        sides=["SOL/USDC#fall"],
        expiries=[f"{int(datetime.fromisoformat(_THIRTY_DAYS).timestamp() * 1000):015d}#{WAITING}"],
        launches={"NOVA": _second(8)},
        market={"SOL/USDC": (Decimal(149), Decimal(150))},
        ended_at=_second(59),
        terms=Terms(back_off_seconds=0.5, validity_seconds=2, latest_seconds=3, status_seconds=3, overdue_seconds=30),
    )


def accepted(order_id: str, created: str = _CREATED) -> Message:
    """The body of a 202."""
    return {"orderId": order_id, "status": "pending", "createdAt": created, "streamUrl": "ws://…"}


_Life = list[tuple[str, int, Message]]


def _attempt(number: int, tx_hash: str, *end: tuple[str, Message], built: Message = _BUILT) -> _Life:
    sent = {"venue": "raydium", "txHash": tx_hash}
    life: _Life = [("routing", number, {}), ("building", number, built), ("submitted", number, sent)]
    return life + [(status, number, sent | told if status == "confirmed" else told) for status, told in end]


def _journaled(
    order_id: str, body: Message, life: _Life, closed: bool = True, errors: Sequence[Message] = ()
) -> Journaled:
    order = {"orderType": "market", "slippageBps": 50, "maxPriceImpactBps": 1000, **body}
    order |= {"orderId": order_id, "createdAt": _CREATED}
    events = [
        {
            "orderId": order_id,
            "sequence": number,
            "status": status,
            "attempt": attempt,
            "timestamp": f"2026-01-02T03:04:{number + 5:02d}.000000Z",
            "message": status,
            **details,
        }
        for number, (status, attempt, details) in enumerate([("pending", 0, {}), *life], start=1)
    ]
    return Journaled(order, events, events[-1]["status"], len(events), closed, errors=errors)


def _resting(order_id: str, body: Message, life: _Life, closed: bool = True) -> Journaled:
    return _journaled(order_id, {**body, "expiresAt": _THIRTY_DAYS}, life, closed)


def _second(second: int) -> float:
    """A second of the minute in which all of it happens, since the epoch."""
    return datetime.fromisoformat(f"2026-01-02T03:04:{second:02d}+00:00").timestamp()


def _watched(order_id: str, events: Any, **changes: Any) -> Transcript:
    messages = [(2.0 + number, dict(event)) for number, event in enumerate(events)]
    return Transcript(order_id, changes.pop("after", 0), messages=messages, **changes)


def _row(journaled: Journaled) -> Row:
    order, last = journaled.order, journaled.events[-1]
    building = next(event for event in reversed(journaled.events) if event["status"] == "building")
    names = ("orderId", "clientOrderId", "orderType", "tokenIn", "tokenOut", "slippageBps")
    return {
        **{column(name): order.get(name) for name in names},
        **{name: building[name] for name in ("venue", "quotes")},
        **{column(name): number(last.get(name)) for name in ("executedPrice", "amountOut")},
        **{column(name): number(order.get(name)) for name in ("limitPrice", "triggerPrice")},
        "amount_in": Decimal(order["amountIn"]),
        "min_amount_out": Decimal(building["minAmountOut"]),
        "status": last["status"],
        "attempts": last["attempt"],
        "tx_hash": last.get("txHash"),
        "fee": Decimal("0.03") if last["status"] == "confirmed" else None,
        "failure_code": last.get("code"),
        "failure_reason": last.get("error"),
        "time_in_force": "gtc",
        "expires_at": datetime.fromisoformat(order["expiresAt"]) if "expiresAt" in order else None,
        "created_at": datetime.fromisoformat(order["createdAt"]),
        "completed_at": datetime.fromisoformat(last["timestamp"]),
    }
