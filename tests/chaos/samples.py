"""A small world in which every promise was kept; tests break one at a time."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.chaos.world import Journaled, Message, OnChain, Posted, Row, Terms, Transcript, World

CONFIRMED = "11111111-1111-4111-8111-111111111111"  # at the second attempt
FAILED = "22222222-2222-4222-8222-222222222222"
RENEWED = "55555555-5555-4555-8555-555555555555"  # under CONFIRMED's key, whose life had ended
ORPHAN = "33333333-3333-4333-8333-333333333333"  # journaled, but its client got no answer
POISON = "not JSON"
WITHDRAWN = '{"orderId": "66666666-6666-4666-8666-666666666666"}'  # its client was told that nothing was accepted
_BODY = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": "10", "clientOrderId": "first"}
_UNKEYED = {name: _BODY[name] for name in ("tokenIn", "tokenOut", "amountIn")}
_OTHER_BODY = {"tokenIn": "USDC", "tokenOut": "BONK", "amountIn": 5, "minAmountOut": "240000"}
_CREATED = "2026-01-02T03:04:05.000000Z"
_QUOTES = [{"venue": "raydium", "price": "149.5", "fee": "0.003", "priceImpactPct": "0.03", "amountOut": "1490"}]
_PRICE = "148.5"


def clean_world() -> World:
    """One order confirmed, another one under its expired key, one failed, one that nobody was promised; a message of
    poison."""
    journal = {
        CONFIRMED: _journaled(CONFIRMED, _BODY, _confirmed_life(), errors=[_timeout()]),
        RENEWED: _journaled(RENEWED, _BODY, _renewed_life()),
        FAILED: _journaled(FAILED, _OTHER_BODY, _failed_life()),
        ORPHAN: _journaled(ORPHAN, _BODY, [("pending", 0, {})], closed=False, clientOrderId=None),
    }
    events, failed = journal[CONFIRMED].events, journal[FAILED].events
    return World(
        posted=[
            Posted(1.0, _BODY, "accept", 502),
            Posted(1.3, _BODY, "accept", 202, _answer(CONFIRMED)),
            Posted(1.5, _BODY, "accept", 202, _answer(CONFIRMED)),
            Posted(1.6, {**_BODY, "amountIn": "11"}, "conflict", 409),
            Posted(1.7, _OTHER_BODY, "accept", 202, _answer(FAILED)),
            Posted(1.8, {"tokenIn": "SOL"}, "refuse", 422),
            Posted(1.9, _UNKEYED, "accept", 0),
            Posted(1.9, {**_UNKEYED, "amountIn": "12"}, "accept", 503, {"code": "NOTHING_ACCEPTED"}),
            Posted(2.0, {**_BODY, "clientOrderId": "second"}, "accept", 503, {"code": "NOTHING_ACCEPTED"}),
            Posted(3.0, _BODY, "accept", 202, _answer(RENEWED), era=1),
        ],
        transcripts=[
            _watched(CONFIRMED, events),
            _watched(CONFIRMED, events[:3], left=True),
            _watched(CONFIRMED, events[3:], after=3),
            _watched(CONFIRMED, [*events[:5], *events[3:]], left=True),  # a repeat after a crash
            _watched(CONFIRMED, [*events[5:], *events], after=5, replays=[0]),
            _watched(CONFIRMED, [], after=len(events), ended_before=True),
            _watched(FAILED, failed),
            _watched(CONFIRMED, events[:2], mute=True),
            _watched(RENEWED, journal[RENEWED].events),
        ],
        journal=journal,
        chain=[
            OnChain("tx-1", CONFIRMED, "dead"),
            OnChain("tx-2", CONFIRMED, "landed", Decimal("1485.0"), Decimal(_PRICE)),
            OnChain("tx-4", RENEWED, "landed", Decimal("1485.0"), Decimal(_PRICE)),
            OnChain("tx-3", FAILED, "reverted", Decimal(230_000), Decimal(46_000)),
        ],
        rows={order_id: _row(journal[order_id]) for order_id in (CONFIRMED, RENEWED, FAILED)},
        event_rows=[
            {"order_id": order_id, "sequence": event["sequence"], "details": event}
            for order_id in (CONFIRMED, RENEWED, FAILED)
            for event in journal[order_id].events
        ],
        dead_letters=[POISON, WITHDRAWN],
        poison=[POISON],
        diverted=[FAILED],
        crowded=[CONFIRMED],
        terms=Terms(back_off_seconds=0.5, validity_seconds=2, status_seconds=3),
    )


_BUILT = {"venue": "raydium", "quotes": _QUOTES, "minAmountOut": "1482.55"}
_LANDED = {"venue": "raydium", "txHash": "tx-2", "executedPrice": _PRICE, "amountOut": "1485"}


def _timeout() -> Message:
    """Why CONFIRMED's first attempt failed."""
    return {"attempt": 1, "code": "TRANSACTION_TIMEOUT", "error": "…", "timestamp": "2026-01-02T03:04:09.500000Z"}


def _confirmed_life() -> list[tuple[str, int, Message]]:
    return [
        ("pending", 0, {}),
        ("routing", 1, {}),
        ("building", 1, _BUILT),
        ("submitted", 1, {"venue": "raydium", "txHash": "tx-1"}),
        ("routing", 2, {}),
        ("building", 2, _BUILT),
        ("submitted", 2, {"venue": "raydium", "txHash": "tx-2"}),
        ("confirmed", 2, _LANDED),
    ]


def _renewed_life() -> list[tuple[str, int, Message]]:
    return [
        ("pending", 0, {}),
        ("routing", 1, {}),
        ("building", 1, _BUILT),
        ("submitted", 1, {"venue": "raydium", "txHash": "tx-4"}),
        ("confirmed", 1, {**_LANDED, "txHash": "tx-4"}),
    ]


def _failed_life() -> list[tuple[str, int, Message]]:
    quotes = [{**_QUOTES[0], "amountOut": "245000"}]
    error = {"code": "SLIPPAGE_EXCEEDED", "error": "too little"}
    return [
        ("pending", 0, {}),
        ("routing", 1, {}),
        ("building", 1, {"venue": "raydium", "quotes": quotes, "minAmountOut": "243775"}),
        ("submitted", 1, {"venue": "raydium", "txHash": "tx-3"}),
        ("failed", 1, {**error, "attempts": [{**error, "attempt": 1}]}),
    ]


def _journaled(
    order_id: str,
    body: Message,
    life: list[tuple[str, int, Message]],
    closed: bool = True,
    errors: Sequence[Message] = (),
    **changes: Any,
) -> Journaled:
    order = {"orderType": "market", "slippageBps": 50, "maxPriceImpactBps": 1000, **body, **changes}
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
        for number, (status, attempt, details) in enumerate(life, start=1)
    ]
    return Journaled(order, events, events[-1]["status"], len(events), closed, errors=errors)


def _watched(order_id: str, events: Any, **changes: Any) -> Transcript:
    messages = [(2.0 + number, dict(event)) for number, event in enumerate(events)]
    return Transcript(order_id, changes.pop("after", 0), messages=messages, **changes)


def _answer(order_id: str) -> Message:
    return {"orderId": order_id, "status": "pending", "createdAt": _CREATED, "streamUrl": "ws://…"}


def _row(journaled: Journaled) -> Row:
    order, events = journaled.order, journaled.events
    last, building = events[-1], next(event for event in reversed(events) if event["status"] == "building")
    confirmed = last["status"] == "confirmed"
    return {
        "order_id": order["orderId"],
        "client_order_id": order.get("clientOrderId"),
        "order_type": order["orderType"],
        "token_in": order["tokenIn"],
        "token_out": order["tokenOut"],
        "amount_in": Decimal(order["amountIn"]),
        "slippage_bps": order["slippageBps"],
        "min_amount_out": Decimal(building["minAmountOut"]),
        "status": last["status"],
        "venue": building["venue"],
        "tx_hash": last.get("txHash"),
        "executed_price": Decimal(last["executedPrice"]) if confirmed else None,
        "amount_out": Decimal(last["amountOut"]) if confirmed else None,
        "fee": Decimal("0.03") if confirmed else None,
        "attempts": last["attempt"],
        "failure_code": last.get("code"),
        "failure_reason": last.get("error"),
        "quotes": building["quotes"],
        "created_at": datetime.fromisoformat(order["createdAt"]),
        "completed_at": datetime.fromisoformat(last["timestamp"]),
    }
