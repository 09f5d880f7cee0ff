"""Draws a seed's plan. Each seed has its own share of the troubles: some worlds are calm, others have everything."""

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.doubles.gate import Mode, Service
from tests.simulation.market import at_rest
from tests.simulation.plan import (
    Answer,
    Broadcast,
    Desk,
    Era,
    Fate,
    OrderPlan,
    Plan,
    Post,
    Visit,
    Window,
)
from tests.support.builders import START

DAY = 86_400.0
_KEY_DAYS = 30
_WINDOWS = (Mode.FAIL_BEFORE, Mode.FAIL_BEFORE, Mode.HANG, Mode.FAIL_AFTER, Mode.HANG_AFTER, Mode.LATE, Mode.SLOW)
_CRASHES = (Mode.KILL_BEFORE, Mode.KILL_AFTER)
_TROUBLED = (*(one for one in Service if one is not Service.ACKNOWLEDGE), *[Service.HISTORY] * 3)
_POISONED = (Service.JOURNAL, Service.QUOTES, Service.BUILDING, Service.CHAIN, Service.HISTORY)
_BAD_QUOTES = tuple(one for one in Answer if one is not Answer.OK)
_BAD_BUILDS = (Answer.UNAVAILABLE, Answer.RATE_LIMITED, Answer.UNFORESEEN, Answer.HANGS, Answer.TOO_LITTLE)
_BAD_BROADCASTS = tuple(one for one in Broadcast if one is not Broadcast.LANDS)

_VIEWERS = (0, 0, 0, 1, 1, 1, 2, 5)
_HANDSHAKES = (0.0, 0.02, 0.02, 0.02, 0.05, 0.05, 0.05, 0.3, 0.3, 2.0, 5.0)  # seconds, after $connect returned


def draw(seed: int) -> Plan:
    """The plan of a seed: always the same."""
    dice = random.Random(f"simulation {seed}")
    kinds = tuple(one for one in Mode if dice.random() < 0.7) or (Mode.KILL_AFTER,)
    calm_at = dice.uniform(15, 165)  # a subscriber's third invocation of notify, after 180 s, finds everything well
    luck = dice.choice((0.0, 0.1, 0.3, 0.6))  # how much the venues do wrong
    skew = dice.choice((0.0, 0.0, 0.5, 1.0))
    validity = dice.choice((10.0, 10.0, 20.0, 60.0, 90.0))
    many = dice.choice((3, 4, 5, 6, 8, 10, 12))
    plan = Plan(
        seed=seed,
        orders=tuple(_order(dice, n, luck, validity) for n in range(many)),
        desks=tuple(_desk(dice, many) for _ in range(dice.choice((0, 0, 1, 1, 2)))),
        windows=tuple(_window(dice, calm_at) for _ in range(dice.choice((0, 0, 0, 1, 1, 2, 3)))),
        rate=dice.choice((0.0, 0.002, 0.01, 0.03, 0.08)),
        kinds=kinds,
        calm_at=calm_at,
        workers=dice.choice((1, 2, 3, 10)),
        page_size=dice.choice((1, 2, 3)),
        validity=validity,
        skew=skew,
        duplicates=dice.choice((0.0, 0.02, 0.1, 0.3)),
        delays=dice.choice((0.0, 0.02, 0.1)),
    )
    return at_rest(plan, random.Random(f"at rest {seed}"))


def _window(dice: random.Random, calm_at: float) -> Window:
    begins = dice.uniform(0, calm_at * 0.8)
    return Window(
        dice.choice(_TROUBLED),
        dice.choice(_WINDOWS),
        begins,
        min(begins + dice.choice((2, 8, 30, 100)) * dice.uniform(0.5, 1), calm_at),
        dice.choice((1.0, 1.0, 0.5)),
    )


def _order(dice: random.Random, number: int, luck: float, validity: float) -> OrderPlan:
    at = dice.choice((0.0, dice.uniform(0, 3), dice.uniform(0, 30)))
    if dice.random() < 0.03:
        return OrderPlan(number, at, {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": -1 - number}, False, False)
    keyed = dice.random() < 0.6
    body = _body(dice, number)
    if dice.random() < 0.1:
        until = at + dice.choice((-1.0, 5.0, dice.uniform(0, 30), dice.uniform(0, 300)))
        body["expiresAt"] = f"{START + timedelta(seconds=until):%Y-%m-%dT%H:%M:%S.%fZ}"
        body.pop("timeInForce", None)
    return OrderPlan(
        number,
        at,
        body,
        keyed,
        posts=_posts(dice, keyed),
        eras=_eras(dice) if keyed and dice.random() < 0.25 else (),
        cancels=_cancels(dice),
        viewers=tuple(_visits(dice) for _ in range(20 if dice.random() < 0.01 else dice.choice(_VIEWERS))),
        fates=tuple(_fate(dice, luck, validity) for _ in range(3)),
        poison=(dice.choice(_POISONED), dice.choice((2, 5, 5))) if dice.random() < 0.03 else None,
    )


def _desk(dice: random.Random, many: int) -> Desk:
    orders = tuple(number for number in range(many) if dice.random() < 0.7)
    leaves = dice.random() < 0.2
    return Desk(
        dice.choice((0.0, 0.0, dice.uniform(0, 60))),
        orders,
        tuple(number for number in orders if dice.random() < 0.1),
        dice.choice((0.0, 0.3, dice.uniform(0, 5))),
        replace(
            _visit(dice, 0.0),
            leave_at=dice.choice((0.0, 3.0, 30.0)) if leaves else None,
            silent=leaves and dice.random() < 0.3,
        ),
    )


def _body(dice: random.Random, number: int) -> dict[str, Any]:
    """Every order's amount is its own, so that the venue knows it by that."""
    body: dict[str, Any] = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": f"{10 + number}"}
    match dice.random():
        case luck if luck < 0.02:
            body["amountIn"] = f"0.00000000{number + 1}"[:11]  # buys nothing, or one base unit
        case luck if luck < 0.04:
            body["amountIn"] = f"{33_000 + number}"
            if dice.random() < 0.5:
                body["maxPriceImpactBps"] = 10_000
        case luck if luck < 0.12:
            body["minAmountOut"] = f"{(10 + number) * dice.choice((148, 149, 151))}"
        case luck if luck < 0.16:
            body["timeInForce"] = "fok"
        case luck if luck < 0.2:
            body["slippageBps"] = dice.choice((0, 10, 500, 10_000))
    return body


def _posts(dice: random.Random, keyed: bool) -> tuple[Post, ...]:
    many = dice.choice((1, 1, 2, 3, 5)) if keyed else dice.choice((1, 1, 1, 2))
    later = [dice.choice((0.0, 0.05, 1.0, 5.0, dice.uniform(0, 60))) for _ in range(many - 1)]
    return (
        Post(0.0, answered=dice.random() < 0.9),
        *(Post(delay, keyed and dice.random() < 0.15, dice.random() < 0.9) for delay in later),
    )


def _eras(dice: random.Random) -> tuple[Era, ...]:
    """The same key again: while it still lives, or after that, with the order still there, or forgotten."""
    days = dice.choice((0.01, 29.9, 30.001, 30.5, 32.0))
    eras = [Era(days * DAY, _posts(dice, True), days > _KEY_DAYS)]
    if days < _KEY_DAYS and dice.random() < 0.5:
        eras.append(Era(dice.choice((30.001, 31.5)) * DAY, _posts(dice, True), True))
    return tuple(eras)


def _cancels(dice: random.Random) -> tuple[float, ...]:
    if dice.random() < 0.7:
        return ()
    return tuple(
        dice.choice((0.0, 0.3, 2.0, dice.uniform(0, 4), dice.uniform(0, 40))) for _ in range(dice.choice((1, 1, 2)))
    )


def _visits(dice: random.Random) -> tuple[Visit, ...]:
    stays = _visit(dice, dice.choice((0.0, 0.0, dice.uniform(0, 2), dice.uniform(0, 60), dice.uniform(0, 200))))
    if dice.random() < 0.65:
        return (stays,)
    leaves = Visit(
        stays.delay,
        leave_after=dice.choice((0, 1, 2, 3, None)),
        leave_at=dice.choice((0.0, 0.1, 3.0, 30.0)),
        handshake=stays.handshake,
        silent=dice.random() < 0.2,
    )
    return (leaves, _visit(dice, dice.choice((0.0, 0.2, dice.uniform(0, 10), dice.uniform(0, 100)))))


def _visit(dice: random.Random, delay: float) -> Visit:
    deaf = stuck = (0.0, 0.0)
    if dice.random() < 0.15:
        begins = dice.choice((0.0, dice.uniform(0, 10), dice.uniform(0, 60)))
        window = begins, begins + dice.choice((1.0, 4.0, 20.0, 60.0))
        deaf, stuck = (window, stuck) if dice.random() < 0.5 else (deaf, window)
    mute = dice.random() < 0.04
    return Visit(
        delay,
        replay_after=dice.choice((1, 2, 3)) if dice.random() < 0.12 else None,
        handshake=dice.choice(_HANDSHAKES),
        deaf=deaf,
        stuck=(0.0, 1e12) if mute else stuck,
        mute=mute,
    )


def _fate(dice: random.Random, luck: float, validity: float) -> Fate:
    def wrong() -> bool:
        return dice.random() < luck

    lands_late = validity * dice.choice((0.5, 0.9, 0.99, 1.01, 1.5))
    broadcast = dice.choice(_BAD_BROADCASTS) if wrong() else Broadcast.LANDS
    return Fate(
        quotes=(
            dice.choice(_BAD_QUOTES) if wrong() else Answer.OK,
            dice.choice(_BAD_QUOTES) if wrong() else Answer.OK,
        ),
        build=dice.choice(_BAD_BUILDS) if dice.random() < luck / 3 else Answer.OK,
        broadcast=broadcast,
        seconds=lands_late if broadcast is Broadcast.SLOW else dice.uniform(0.4, 3.0),
        blind=dice.choice((0.5, 5.0, 20.0)) if dice.random() < luck / 2 else 0.0,
    )
