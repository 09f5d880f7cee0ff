"""What a campaign will do, drawn from its seed before it begins: the requests, their subscribers, and the faults."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import ROUND_DOWN, Decimal
from operator import attrgetter

from order_engine.domain.tokens import TOKENS

from tests.chaos.relay import MODES
from tests.chaos.world import Message

ORDINARY: Message = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 10}
_INVALID: tuple[Message, ...] = (
    {"tokenIn": "SOL", "tokenOut": "USDC"},
    {**ORDINARY, "tokenOut": "SOL"},
    {**ORDINARY, "tokenOut": "DOGE"},
    {**ORDINARY, "amountIn": "-1"},
    {"tokenIn": "USDC", "tokenOut": "SOL", "amountIn": "0.0000001"},
    {**ORDINARY, "slippageBps": 10_001},
    {**ORDINARY, "orderType": "limit"},
    {**ORDINARY, "orderType": "limit", "limitPrice": "0"},
    {**ORDINARY, "orderType": "stop", "limitPrice": "100"},
    {**ORDINARY, "orderType": "sniper", "timeInForce": "fok"},
    {**ORDINARY, "maxPriceImpactBps": -1},
    {**ORDINARY, "amountIn": "18446744073.709551616"},  # 2**64 base units
)
# Amounts at both ends: some buy less than a base unit, some are half a pool, or more than there is.
_EXTREME: tuple[Message, ...] = (
    {**ORDINARY, "amountIn": "0.000000001"},
    {**ORDINARY, "amountIn": "0.00000001"},
    {"tokenIn": "SOL", "tokenOut": "BONK", "amountIn": "0.00000001"},
    {"tokenIn": "BONK", "tokenOut": "USDC", "amountIn": "0.00001"},
    {**ORDINARY, "amountIn": "33000"},
    {**ORDINARY, "amountIn": "33000", "maxPriceImpactBps": 10_000},
    {**ORDINARY, "amountIn": "18446744073.709551615"},
)
_TRADED = sorted(token.symbol for token in TOKENS.values() if not token.launches)
# Few, so that the watcher of the market can look at each of them every second on two cores.
_RESTED_ON = (("SOL", "USDC"), ("USDC", "SOL"), ("JUP", "USDC"), ("SOL", "BONK"))
_SNIPED = (("SOL", "NOVA"), ("USDC", "ORBIT"), ("NOVA", "USDC"))
# How far from the present price an order waits: some are due at once, most within a swing of the market, some never.
_PRICE_BPS = {"limit": (-40, 120), "takeProfit": (-20, 120), "stop": (-120, 20), "sniper": (-150, 50)}
_NEVER_BPS = {"limit": 1000, "takeProfit": 1000, "stop": -1000, "sniper": 1000}
_UNKNOWN = "00000000-0000-4000-8000-{:012d}"


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
    `price_bps`: its price is so far above the one at which it could be swapped when it is sent; `lasts`: its time ends
    so many seconds after that.
    """

    at: float
    body: Message
    valid: bool = True
    repeats: tuple[float, ...] = ()
    conflict: Message | None = None
    subscribers: tuple[tuple[Visit, ...], ...] = ()
    afterlife: str = ""
    diverted: bool = False
    cancels: tuple[float, ...] = ()  # so many seconds after its acceptance
    price_bps: int | None = None
    lasts: float | None = None


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, `at` seconds after the beginning."""

    at: float
    # kill; stop, start, pause, resume: PostgreSQL; duplicate, poison, dead-letter; ambush: kill whoever has triggered
    # an order; watch: another watcher of the market; launch: no fault, but a token's launch; or a mode of the relay's
    kind: str
    target: str = ""  # a function's name for kill, a body for poison, a token for launch, a service for the relay
    many: int = 1
    choice: float = 0.0  # in [0, 1): which worker, or which order; of the relay's requests, the share
    seconds: float = 0.0  # how long the relay does so, or an ambush waits


@dataclass(frozen=True)
class Plan:
    """Everything that a campaign does, each part sorted by time; the opening is sent while no worker is about. So many
    `desks` watch others' orders, each on one socket."""

    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    opening: list[Request] = field(default_factory=list)
    desks: int = 0


def draw(seed: int, seconds: float, orders: int, viewers: int = 200) -> Plan:
    """The plan of a seed, always the same. A quarter of the viewers of its crowded order is mute."""
    dice = random.Random(f"campaign {seed}")
    requests = [_request(dice, seed, n, dice.uniform(0, seconds)) for n in range(orders)]
    crowd = [(Visit(0.0, linger=40.0, mute=True),)] * (viewers // 4) + [(Visit(0.0),)] * (viewers - viewers // 4)
    opening = [Request(0.0, ORDINARY, subscribers=tuple(crowd)), *[Request(0.0, ORDINARY, diverted=True)] * 3]
    by_time = attrgetter("at")
    return Plan(sorted(requests, key=by_time), sorted(_faults(dice, seconds), key=by_time), opening, desks=2)


def _faults(dice: random.Random, seconds: float) -> Iterator[Fault]:
    """The faults of a campaign of so many seconds, in no order."""
    # Function workers: every two seconds or so, most of them those that execute orders.
    at = 1.0
    while at < seconds:
        target = dice.choices(
            ("route_execute", "notify", "submit", "ws_connect", "watch_market"), (52, 18, 10, 10, 10)
        )[0]
        many = dice.choice((1, 2, 3, 5)) if target == "route_execute" else 1
        yield Fault(at, "kill", target, many, dice.random())
        at += dice.uniform(0.6, 2.6)
    # Another watcher takes over, or two at the same moment, of which one does; and tokens launch, one of them twice.
    yield from (Fault(dice.uniform(0, seconds), "ambush", seconds=8) for _ in range(round(seconds / 9)))
    yield from (Fault(dice.uniform(0, seconds), "watch", many=dice.choice((1, 2))) for _ in range(round(seconds / 15)))
    for token, share in (("NOVA", 0.4), ("ORBIT", 0.6), ("NOVA", 0.8)):
        yield Fault(seconds * share, "launch", token)
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


def _request(dice: random.Random, seed: int, n: int, at: float) -> Request:
    if dice.random() < 0.06:
        return Request(at, dict(dice.choice(_INVALID)), valid=False)
    rests = dice.random() < 0.35
    body = _resting(dice) if rests else _body(dice)
    keyed = dice.random() < 0.5
    if keyed:
        body["clientOrderId"] = f"campaign-{seed}-{n}"
    repeats = tuple(dice.choice((0.0, 0.3, 2.0)) for _ in range(dice.choice((0, 1, 2)))) if keyed else ()
    # slippageBps is never 7 otherwise: two bodies drawn independently can ask for the same thing.
    conflict = {**body, "slippageBps": 7} if keyed and dice.random() < 0.2 else None
    subscribers = tuple(_visits(dice) for _ in range(dice.choice((0, 1, 1, 2, 3))))
    if rests:
        return _rested(dice, Request(at, body, True, repeats, conflict, subscribers))
    afterlife = dice.choice(("closed", "expired")) if keyed and dice.random() < 0.2 else ""
    cancels = tuple(dice.choice((0.0, 0.2, dice.uniform(0, 3))) for _ in range(dice.choice((0, 0, 0, 0, 1, 2))))
    return Request(at, body, True, repeats, conflict, subscribers, afterlife, cancels=cancels)


def _rested(dice: random.Random, request: Request) -> Request:
    """The request with what depends on the market and the time when it is sent."""
    kind, sooner = request.body["orderType"], request.body.get("timeInForce") == "fok"
    never = dice.random() < 0.1
    price_bps = _NEVER_BPS[kind] if never else dice.randint(*_PRICE_BPS[kind])
    lasts = dice.uniform(5, 60) if dice.random() < 0.45 and not sooner else None
    cancels = tuple(dice.uniform(0, 40) for _ in range(dice.choice((0, 0, 1, 2)))) if dice.random() < 0.5 else ()
    whenever = kind == "sniper" and dice.random() < 0.5
    return replace(request, price_bps=None if whenever else price_bps, lasts=lasts, cancels=cancels)


def _resting(dice: random.Random) -> Message:
    kind = dice.choices(tuple(_PRICE_BPS), (40, 20, 20, 20))[0]
    token_in, token_out = dice.choice(_SNIPED if kind == "sniper" else _RESTED_ON)
    dollars = Decimal(round(10 ** dice.uniform(0.5, 4), 2))
    body: Message = {"orderType": kind, "tokenIn": token_in, "tokenOut": token_out}
    body["amountIn"] = f"{_of(dollars, token_in):f}"
    if dice.random() < 0.7:
        body["slippageBps"] = dice.choice((0, 10, 30, 100))
    if dice.random() < 0.05:
        body["maxPriceImpactBps"] = dice.choice((0, 1, 10))
    if kind == "limit" and dice.random() < 0.1:
        body["timeInForce"] = "fok"
    if kind in ("stop", "takeProfit") and dice.random() < 0.15:
        body["minAmountOut"] = f"{_of(dollars * Decimal(dice.choice(('0.9', '0.99'))), token_out):f}"
    return body


def _body(dice: random.Random) -> Message:
    if dice.random() < 0.08:
        return dict(dice.choice(_EXTREME))
    token_in, token_out = dice.sample(_TRADED, 2)
    # Once in a while more than a pool has.
    dollars = Decimal(50_000_000) if dice.random() < 0.02 else Decimal(round(10 ** dice.uniform(0.5, 4), 2))
    amount = _of(dollars, token_in)
    body: Message = {"tokenIn": token_in, "tokenOut": token_out, "amountIn": f"{amount:f}"}
    if dice.random() < 0.3:
        body["slippageBps"] = dice.choice((0, 10, 30, 100, 500))
    if dice.random() < 0.1:
        body["maxPriceImpactBps"] = dice.choice((0, 1, 10, 10_000))
    if dice.random() < 0.1:
        body["timeInForce"] = "fok"
    if dice.random() < 0.15:  # what it is worth, a little less, or more than anybody will give
        body["minAmountOut"] = f"{_of(dollars * Decimal(dice.choice(('0.9', '0.98', '1', '1.2'))), token_out):f}"
    return body


def _of(dollars: Decimal, token: str) -> Decimal:
    unit = Decimal(1).scaleb(-TOKENS[token].decimals)
    return max((dollars / TOKENS[token].usd_price).quantize(unit, ROUND_DOWN), unit)


def _visits(dice: random.Random) -> tuple[Visit, ...]:
    delay = dice.choice((0.0, 0.0, dice.uniform(0, 0.6), dice.uniform(0.5, 8)))
    stays = Visit(delay, None, dice.uniform(0.1, 1.5), dice.random() < 0.08, dice.random() < 0.1)
    if dice.random() < 0.7:
        return (stays,)
    leaves = Visit(delay, dice.choice((0, 1, 1, 2)))  # what rests may have no more for a long time
    return (leaves, Visit(dice.uniform(0, 3), None, stays.linger, stays.to_the_end))
