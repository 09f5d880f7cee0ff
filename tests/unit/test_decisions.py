"""An order's life as decisions: `next_step` alone, without a service, a clock or a thread."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import get_args

import pytest
from order_engine.domain import steps
from order_engine.domain.decisions import next_step
from order_engine.domain.errors import (
    ExecutionError,
    FailureCode,
    InsufficientLiquidity,
    NoPool,
    OrderExpired,
    VenueUnavailable,
)
from order_engine.domain.events import AttemptError, Expired, Failed
from order_engine.domain.lifecycle import TRANSITIONS, OrderStatus
from order_engine.domain.order import Order
from order_engine.domain.order_types import rests
from order_engine.domain.record import OrderRecord
from order_engine.domain.steps import Learnt, Policy, Step
from order_engine.domain.swaps import Dropped, InFlight, Landed, NotFound, Reverted, TransactionState, VenueName

from tests.support.builders import START, a_limit, a_quote, a_record, a_transaction, advanced, an_order

Case = tuple[OrderRecord, Learnt, str]

DOWN, TOO_MUCH = VenueUnavailable("down"), InsufficientLiquidity("too much")
LANDED = Landed(Decimal(1489), Decimal("148.9"))
REVERTED = Reverted("refused", FailureCode.SLIPPAGE_EXCEEDED)
ENDED, MAY_LAND = (LANDED, REVERTED, Dropped()), (InFlight(), NotFound())

PENDING, OPEN, TRIGGERED, ROUTING, BUILDING, SUBMITTED, CONFIRMED, FAILED, CANCELLED, EXPIRED = map(
    a_record, OrderStatus
)
BUILT = steps.Built(a_transaction(BUILDING.order))


def after(record: OrderRecord, error: ExecutionError = DOWN) -> OrderRecord:
    """The record once its current attempt has failed."""
    failure = AttemptError(attempt=record.attempt, code=error.code, error=str(error), timestamp=START)
    return replace(record, errors=(*record.errors, failure))


def in_attempt(number: int, at: datetime = START) -> OrderRecord:
    """The record while an attempt is routed, after others have failed."""
    return advanced(after(in_attempt(number - 1)), OrderStatus.ROUTING, at, attempt=number) if number > 1 else ROUTING


def quoted(raydium: ExecutionError | None = None, meteora: ExecutionError | None = None) -> Learnt:
    worse = a_quote(VenueName.METEORA, "1480")
    return steps.Quoted([(VenueName.RAYDIUM, raydium or a_quote()), (VenueName.METEORA, meteora or worse)])


def decide(record: OrderRecord, learnt: Learnt, seconds: float = 0, policy: Policy | None = None) -> Step:
    """The step that is next, so many seconds after the record's last event."""
    return next_step(record, learnt, record.last.timestamp + timedelta(seconds=seconds), policy or Policy())


def outline(step: Step) -> str:
    """`Close failed 2 VENUE_UNAVAILABLE`: the step, its record's status, attempt and errors; or the step's fault."""
    told: list[str] = []
    match step:
        case steps.Abandon(fault=fault) | steps.AwaitEnd(fault=fault):
            told = [fault.code]
        case steps.LookUp():
            pass
        case _:
            told = [step.record.status, str(step.record.attempt), *(error.code for error in step.record.errors)]
    return " ".join([type(step).__name__, *told])


FIRST, SECOND = "AskForQuotes routing 1", "AskForQuotes routing 2 VENUE_UNAVAILABLE"
UNDISTURBED: list[Case] = [
    (PENDING, steps.Claimed(False), FIRST),
    (ROUTING, quoted(), "Build building 1"),
    (BUILDING, BUILT, "Send submitted 1"),
    (SUBMITTED, steps.Awaited(LANDED), "Close confirmed 1"),
    (CONFIRMED, steps.StillOwed(), "Defer confirmed 1"),
]
# An order that is claimed after a crash, or given up.
CLAIMED: list[tuple[OrderRecord, str, str]] = [
    (PENDING, FIRST, "Close failed 0 INTERNAL_ERROR"),
    (ROUTING, FIRST, "Close failed 1 INTERNAL_ERROR"),
    (BUILDING, FIRST, "Close failed 1 INTERNAL_ERROR"),
    (SUBMITTED, "LookUp", "Abandon INTERNAL_ERROR"),
    (after(ROUTING), SECOND, f"Close failed 1 {DOWN.code} INTERNAL_ERROR"),
    (after(BUILDING), SECOND, f"Close failed 1 {DOWN.code} INTERNAL_ERROR"),
    (after(SUBMITTED), SECOND, f"Close failed 1 {DOWN.code} INTERNAL_ERROR"),
    (CONFIRMED, "Close confirmed 1", "Close confirmed 1"),
    (FAILED, "Close failed 1 INSUFFICIENT_LIQUIDITY", "Close failed 1 INSUFFICIENT_LIQUIDITY"),
    (CANCELLED, "Close cancelled 1", "Close cancelled 1"),
    (EXPIRED, "Close expired 1", "Close expired 1"),
]
VENUES: list[Case] = [
    (ROUTING, quoted(DOWN), "Build building 1"),
    (ROUTING, quoted(DOWN, TOO_MUCH), "Defer routing 1 VENUE_UNAVAILABLE"),
    (ROUTING, quoted(TOO_MUCH, TOO_MUCH), "Close failed 1 INSUFFICIENT_LIQUIDITY"),
    (BUILDING, steps.BuildFailed(DOWN), "Defer building 1 VENUE_UNAVAILABLE"),
    (BUILDING, steps.BuildFailed(TOO_MUCH), "Close failed 1 INSUFFICIENT_LIQUIDITY"),
    (SUBMITTED, steps.SendFailed(DOWN), "AwaitEnd VENUE_UNAVAILABLE"),  # it may have arrived all the same
    (SUBMITTED, steps.Awaited(InFlight()), "Abandon TRANSACTION_TIMEOUT"),
    (SUBMITTED, steps.LookedUp(NotFound()), "Send submitted 1"),
    (SUBMITTED, steps.Awaited(NotFound(), DOWN), "Abandon VENUE_UNAVAILABLE"),
    (SUBMITTED, steps.Undecided("no response"), "Defer submitted 1"),
    (SUBMITTED, steps.Abandoned(Dropped(), ExecutionError("died")), "Close failed 1 INTERNAL_ERROR"),
    (SUBMITTED, steps.Abandoned(Dropped(), OrderExpired("old")), "Close failed 1 ORDER_EXPIRED"),
]
# A transaction that is looked up, waited for after a fault, or abandoned because of it.
TRANSACTIONS: list[tuple[Landed | Reverted | Dropped | InFlight, str, str, str]] = [
    (LANDED, *("Close confirmed 1",) * 3),
    (REVERTED, *("Close failed 1 SLIPPAGE_EXCEEDED",) * 3),
    (Dropped(), "Defer submitted 1 TRANSACTION_TIMEOUT", *("Defer submitted 1 VENUE_UNAVAILABLE",) * 2),
    (InFlight(), "Abandon TRANSACTION_TIMEOUT", "Abandon VENUE_UNAVAILABLE", "Defer submitted 1"),
]


@pytest.mark.parametrize(
    ("record", "learnt", "step"),
    [
        *UNDISTURBED,
        *((record, steps.Claimed(True), step) for record, step, _ in CLAIMED),
        *((record, steps.GivenUp("died"), step) for record, _, step in CLAIMED),
        *VENUES,
        *((SUBMITTED, steps.LookedUp(state), step) for state, step, _, _ in TRANSACTIONS),
        *((SUBMITTED, steps.Awaited(state, DOWN), step) for state, _, step, _ in TRANSACTIONS),
        *((SUBMITTED, steps.Abandoned(state, DOWN), step) for state, _, _, step in TRANSACTIONS),
    ],
)
def test_what_was_learnt_decides_the_step(record: OrderRecord, learnt: Learnt, step: str) -> None:
    assert outline(decide(record, learnt, seconds=1)) == step


@pytest.mark.parametrize(
    ("record", "learnt", "message"),
    [
        (PENDING, steps.Claimed(False), "Comparing prices on raydium and meteora"),
        (after(ROUTING), steps.Claimed(False), "Comparing prices on raydium and meteora (attempt 2 of 3) after: down"),
        (ROUTING, quoted(), "Creating the transaction: raydium gives 1490 USDC, more than meteora (1480)"),
        (BUILDING, BUILT, "Transaction sent to raydium"),
        (SUBMITTED, steps.Awaited(LANDED), "Swapped 10 SOL for 1489 USDC on raydium"),
        (ROUTING, quoted(TOO_MUCH, TOO_MUCH), "The order failed: too much"),
    ],
)
def test_an_event_says_what_happens(record: OrderRecord, learnt: Learnt, message: str) -> None:
    step = decide(record, learnt)

    assert isinstance(step, steps.AskForQuotes | steps.Build | steps.Send | steps.Close)
    assert step.record.last.message == message


# --- resting orders ---------------------------------------------------------------------------------------------------

LIMIT, STOP, TAKE_PROFIT, SNIPER = (
    a_limit(),
    an_order(order_type="stop", trigger_price=Decimal(149)),
    an_order(order_type="takeProfit", trigger_price=Decimal(149)),
    an_order(order_type="sniper"),
)
NO_POOL = NoPool("no pool yet")


def best(amount_out: str) -> Learnt:
    return steps.Quoted([(VenueName.RAYDIUM, a_quote(amount_out=amount_out)), (VenueName.METEORA, TOO_MUCH)])


RESTING: list[tuple[OrderRecord, Learnt, str]] = [
    (a_record(order=LIMIT), steps.Claimed(False), "AskForQuotes pending 0"),
    (a_record(order=LIMIT), steps.Claimed(True), "AskForQuotes pending 0"),
    (a_record(order=LIMIT), best("1"), "Proceed open 0"),
    (a_record(order=LIMIT), quoted(DOWN, DOWN), "Proceed open 0"),
    (a_record(order=LIMIT), quoted(TOO_MUCH, DOWN), "Proceed open 0"),
    (a_record(order=LIMIT), quoted(TOO_MUCH, TOO_MUCH), "Close failed 0 INSUFFICIENT_LIQUIDITY"),  # at any price
    (OPEN, steps.Claimed(False), "AskForQuotes open 0"),
    (OPEN, steps.Claimed(True), "AskForQuotes open 0"),
    (OPEN, quoted(DOWN, DOWN), "Rest open 0"),
    (OPEN, quoted(TOO_MUCH, TOO_MUCH), "Rest open 0"),
    (OPEN, steps.GivenUp("died"), "Close failed 0 INTERNAL_ERROR"),
    (TRIGGERED, steps.GivenUp("died"), "Close failed 0 INTERNAL_ERROR"),
    (TRIGGERED, steps.Claimed(False), FIRST),
    (TRIGGERED, steps.Claimed(True), FIRST),
    (TRIGGERED, best("1490"), "Proceed routing 1"),
    # what it was triggered for is no more
    (a_record(ROUTING.status, LIMIT), best("1487.437185"), "Rest open 1"),
    (a_record(ROUTING.status, LIMIT), quoted(NO_POOL, TOO_MUCH), "Rest open 1"),
    (a_record(ROUTING.status, SNIPER), quoted(NO_POOL, NO_POOL), "Rest open 1"),
    (a_record(ROUTING.status, STOP), quoted(TOO_MUCH, TOO_MUCH), "Close failed 1 INSUFFICIENT_LIQUIDITY"),
    # a venue's fault: further attempts, then it rests on, unless it has been sent
    (a_record(ROUTING.status, LIMIT), quoted(DOWN, DOWN), "Defer routing 1 VENUE_UNAVAILABLE"),
    (a_record(BUILDING.status, LIMIT), steps.BuildFailed(DOWN), "Defer building 1 VENUE_UNAVAILABLE"),
    (a_record(BUILDING.status, LIMIT), steps.BuildFailed(TOO_MUCH), "Rest open 1 INSUFFICIENT_LIQUIDITY"),
    (a_record(SUBMITTED.status, LIMIT), steps.Awaited(REVERTED), "Close failed 1 SLIPPAGE_EXCEEDED"),
    (
        advanced(after(a_record(SUBMITTED.status, LIMIT)), ROUTING.status, attempt=2),
        best("1"),
        f"Close failed 2 {DOWN.code} SLIPPAGE_EXCEEDED",
    ),
]


SENT_BEFORE = advanced(after(a_record(SUBMITTED.status, LIMIT)), ROUTING.status, attempt=2)
RESTING.append((SENT_BEFORE, best("1"), f"Close failed 2 {DOWN.code} SLIPPAGE_EXCEEDED"))


@pytest.mark.parametrize(("record", "learnt", "step"), RESTING)
def test_a_resting_order_waits_for_its_condition(record: OrderRecord, learnt: Learnt, step: str) -> None:
    assert outline(decide(record, learnt, seconds=1)) == step


@pytest.mark.parametrize(
    ("order", "short", "enough"),
    [
        (LIMIT, "1487.437185", "1487.437186"),  # less 50 bps: 1479.999999 and 1480
        (LIMIT.model_copy(update={"slippage_bps": 0}), "1479.999999", "1480"),
        (STOP, "1490.000001", "1490"),
        (TAKE_PROFIT, "1489.999999", "1490"),
        (SNIPER.model_copy(update={"limit_price": Decimal(148)}), "1487.437185", "1487.437186"),
    ],
)
def test_the_orders_own_quote_triggers_it(order: Order, short: str, enough: str) -> None:
    record = a_record(OPEN.status, order)

    assert outline(decide(record, best(short))) == "Rest open 0"
    assert outline(decide(record, best(enough))) == "Proceed triggered 0"


def test_a_stop_is_not_triggered_by_the_silence_of_a_venue() -> None:
    record = a_record(OPEN.status, an_order(order_type="stop", trigger_price=Decimal(149)))

    assert outline(decide(record, quoted(raydium=DOWN))) == "Rest open 0"  # meteora gives 148
    assert outline(decide(record, quoted(raydium=TOO_MUCH))) == "Proceed triggered 0"
    rising = a_record(OPEN.status, an_order(order_type="takeProfit", trigger_price=Decimal(148)))
    assert outline(decide(rising, quoted(raydium=DOWN))) == "Proceed triggered 0"


def test_a_sniper_takes_the_first_quote() -> None:
    record = a_record(OPEN.status, SNIPER)

    assert outline(decide(record, quoted(NO_POOL, NO_POOL))) == "Rest open 0"
    assert outline(decide(record, best("0.000001"))) == "Proceed triggered 0"


def returned(times: int) -> OrderRecord:
    """The record of a limit order that was triggered once more than it went back to `open`."""
    record = a_record(ROUTING.status, LIMIT)
    for attempt in range(2, times + 2):
        record = advanced(advanced(record, OPEN.status), TRIGGERED.status)
        record = advanced(record, ROUTING.status, attempt=attempt)
    return record


def test_an_order_goes_back_ten_times_and_is_then_counted() -> None:
    assert outline(decide(returned(9), best("1"))) == "Rest open 10"
    step = decide(returned(10), best("1"))

    assert outline(step) == "Defer routing 11"
    assert isinstance(step, steps.Defer)
    assert (step.record.misses, step.after) == (1, (600, 600))
    assert step.record.events == returned(10).events
    for hours in (1, 24):  # it is quoted again, without an event
        assert decide(step.record, steps.Claimed(False), hours * 3600) == steps.AskForQuotes(step.record)
        assert outline(decide(step.record, best("1490"), hours * 3600)) == "Build building 11"
    assert (returned(10).due_at is None, step.record.due_at) == (False, None)  # it waits for the market all the same
    again = decide(step.record, best("1"))
    assert isinstance(again, steps.Defer)
    assert again.record.misses == 2
    assert outline(decide(returned(10), quoted(DOWN, DOWN))) == "Defer routing 11 VENUE_UNAVAILABLE"


@pytest.mark.parametrize(("left", "waits"), [(5000, 600), (600, 600), (90.5, 90.5), (-1, 0)])
def test_an_order_that_misses_is_looked_at_again_when_it_expires(left: float, waits: float) -> None:
    record = timed(returned(10), "gtd", left)

    step = next_step(record, best("1"), START, Policy())

    assert isinstance(step, steps.Defer)
    assert step.after == (waits, waits)


def test_attempts_count_from_the_last_rest() -> None:
    record = returned(4)

    step = decide(record, quoted(DOWN, DOWN))
    assert isinstance(step, steps.Defer)
    assert step.after == (0.5, 1.5)
    third = advanced(after(advanced(after(record), ROUTING.status, attempt=6)), ROUTING.status, attempt=7)
    assert outline(decide(third, quoted(DOWN, DOWN))).startswith("Rest open 7")
    assert outline(decide(advanced(third, FAILED.status), steps.Claimed(False))).startswith("Close failed 7")


def test_an_attempt_that_was_never_begun_is_not_the_next_ones_number() -> None:
    """Else that one would count as failed, and its transaction as one that can't land."""
    record = after(a_record(ROUTING.status, LIMIT))
    too_old = decide(record, steps.Claimed(False), seconds=61)
    assert outline(too_old) == "Rest open 2 VENUE_UNAVAILABLE ORDER_EXPIRED"
    assert isinstance(too_old, steps.Rest)

    for status, attempt in ((TRIGGERED.status, None), (ROUTING.status, 3), (BUILDING.status, None)):
        record = advanced(record if status != TRIGGERED.status else too_old.record, status, attempt=attempt)
    assert outline(decide(record, steps.Claimed(True))) == "AskForQuotes routing 3 VENUE_UNAVAILABLE ORDER_EXPIRED"
    sent = decide(record, steps.Built(a_transaction(LIMIT, 3)))
    assert isinstance(sent, steps.Send)
    assert decide(sent.record, steps.Claimed(False)) == steps.LookUp()


@pytest.mark.parametrize("status", [PENDING.status, OPEN.status, TRIGGERED.status])
def test_a_resting_order_expires(status: OrderStatus) -> None:
    record = timed(a_record(status, LIMIT), "gtd", 30)

    for seconds, step in ((29.9, "AskForQuotes"), (30, "Close expired 0")):
        decided = next_step(record, steps.Claimed(False), START + timedelta(seconds=seconds), Policy())
        assert outline(decided).startswith(step)


def test_a_fok_limit_does_not_rest() -> None:
    record = timed(a_record(order=LIMIT), "fok")

    assert outline(decide(record, steps.Claimed(False))) == FIRST
    routed = timed(advanced(record, ROUTING.status, attempt=1), "fok")
    assert outline(decide(routed, best("1487.437185"))) == "Close expired 1 SLIPPAGE_EXCEEDED"


# --- attempts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempt", "fault", "max_attempts", "step"),
    [
        (2, DOWN, 3, "Defer routing 2 VENUE_UNAVAILABLE VENUE_UNAVAILABLE"),
        (3, DOWN, 3, "Close failed 3 VENUE_UNAVAILABLE VENUE_UNAVAILABLE VENUE_UNAVAILABLE"),
        (2, TOO_MUCH, 3, "Close failed 2 VENUE_UNAVAILABLE INSUFFICIENT_LIQUIDITY"),
        (1, DOWN, 1, "Close failed 1 VENUE_UNAVAILABLE"),
    ],
)
def test_an_order_fails_after_its_last_attempt_or_a_terminal_error(
    attempt: int, fault: ExecutionError, max_attempts: int, step: str
) -> None:
    decided = decide(in_attempt(attempt), quoted(fault, fault), policy=Policy(max_attempts=max_attempts))

    assert outline(decided) == step
    if isinstance(decided, steps.Close):
        assert isinstance(decided.record.last, Failed)
        assert (decided.record.last.code, decided.record.last.attempts) == (fault.code, decided.record.errors)


@pytest.mark.parametrize(
    ("base", "most", "bounds"),
    [(100, 900, [(50, 150), (100, 300), (200, 600), (400, 900)]), (1000, 30, [(30, 30)] * 4), (0, 30, [(0, 0)] * 4)],
)
def test_the_back_off_doubles_up_to_a_maximum(base: float, most: float, bounds: list[tuple[float, float]]) -> None:
    policy = Policy(max_attempts=9, retry_base_seconds=base, retry_max_seconds=most)
    decided = [decide(in_attempt(number), quoted(DOWN, DOWN), policy=policy) for number in range(1, 5)]

    assert [step.after for step in decided if isinstance(step, steps.Defer)] == bounds


@pytest.mark.parametrize(
    ("record", "learnt", "delays"),
    [
        (SUBMITTED, steps.Undecided("no response"), {0: (1, 1), 2: (1, 1), 10: (5, 5), 30: (15, 15), 3600: (15, 15)}),
        (SUBMITTED, steps.Abandoned(InFlight(), DOWN), {0: (1, 1), 10: (5, 5), 3600: (15, 15)}),
        (CONFIRMED, steps.StillOwed(), {0: (2.5, 5), 4: (2.5, 5), 20: (10, 20), 3600: (20, 40)}),
    ],
)
def test_an_order_is_looked_at_less_and_less_often(
    record: OrderRecord, learnt: Learnt, delays: dict[float, tuple[float, float]]
) -> None:
    decided = {age: decide(record, learnt, age) for age in delays}

    assert {age: step.after for age, step in decided.items() if isinstance(step, steps.Defer)} == delays


@pytest.mark.parametrize(
    ("amount_out", "floor", "step"),
    [
        ("1482.55", "1482.55", "Close confirmed 1"),
        ("1482.549999", "1482.55", "Close failed 1 SETTLEMENT_MISMATCH"),
        ("0", "0", "Close failed 1 SETTLEMENT_MISMATCH"),
    ],
)
def test_a_settlement_below_its_floor_is_never_confirmed(amount_out: str, floor: str, step: str) -> None:
    record = replace(SUBMITTED, transaction=a_transaction(SUBMITTED.order, min_amount_out=Decimal(floor)))
    landed = Landed(Decimal(amount_out), Decimal(1))

    for learnt in (steps.Awaited(landed), steps.LookedUp(landed), steps.Abandoned(landed, DOWN)):
        assert outline(decide(record, learnt)) == step


@pytest.mark.parametrize(
    ("record", "learnt", "in_time", "too_late"),
    [
        (PENDING, steps.Claimed(False), FIRST, FIRST),  # it waited its turn
        (PENDING, steps.Claimed(True), FIRST, FIRST),
        (ROUTING, steps.Claimed(False), FIRST, FIRST),
        (ROUTING, steps.Claimed(True), FIRST, "Close failed 1 ORDER_EXPIRED"),
        (BUILDING, steps.Claimed(True), FIRST, "Close failed 1 ORDER_EXPIRED"),
        (after(ROUTING), steps.Claimed(False), SECOND, f"Close failed 2 {DOWN.code} ORDER_EXPIRED"),
        (
            in_attempt(2, START + timedelta(seconds=50)),
            steps.Claimed(True),
            SECOND,
            f"Close failed 2 {DOWN.code} ORDER_EXPIRED",
        ),
        (SUBMITTED, steps.LookedUp(NotFound()), "Send submitted 1", "Abandon ORDER_EXPIRED"),
        (SUBMITTED, steps.LookedUp(InFlight()), "Abandon TRANSACTION_TIMEOUT", "Abandon ORDER_EXPIRED"),
        (SUBMITTED, steps.LookedUp(Dropped()), "Defer submitted 1 TRANSACTION_TIMEOUT", "Close failed 1 ORDER_EXPIRED"),
        (SUBMITTED, steps.LookedUp(LANDED), "Close confirmed 1", "Close confirmed 1"),
    ],
)
def test_an_order_expires_only_after_a_fault(record: OrderRecord, learnt: Learnt, in_time: str, too_late: str) -> None:
    """60 s after the first routing, which was after 0.25 s, whatever has happened since."""
    for seconds, step in ((60.25, in_time), (60.251, too_late)):
        assert outline(next_step(record, learnt, START + timedelta(seconds=seconds), Policy())) == step


def timed(record: OrderRecord, in_force: str, seconds: float | None = None) -> OrderRecord:
    """The record of an order that is in force so, until so many seconds from START."""
    until = START + timedelta(seconds=seconds) if seconds is not None else None
    return replace(record, order=record.order.model_copy(update={"time_in_force": in_force, "expires_at": until}))


@pytest.mark.parametrize("record", [PENDING, ROUTING, BUILDING, after(ROUTING), after(SUBMITTED)])
def test_no_attempt_begins_after_expires_at(record: OrderRecord) -> None:
    for interrupted in (False, True):
        decided = [
            next_step(timed(record, "gtd", 30), steps.Claimed(interrupted), START + timedelta(seconds=at), Policy())
            for at in (29.999, 30, 10_000)
        ]
        assert [type(step).__name__ for step in decided] == ["AskForQuotes", "Close", "Close"]
        assert {step.record.status for step in decided[1:] if isinstance(step, steps.Close)} == {OrderStatus.EXPIRED}


@pytest.mark.parametrize(
    ("valid_for", "outcome"), [(29.999, "Send submitted 1"), (30, "Send submitted 1"), (30.001, "Close expired 1")]
)
def test_nothing_is_sent_that_could_land_after_expires_at(valid_for: float, outcome: str) -> None:
    built = a_transaction(BUILDING.order, valid_until=START + timedelta(seconds=valid_for))

    assert outline(decide(timed(BUILDING, "gtd", 30), steps.Built(built))) == outcome
    assert outline(decide(timed(BUILDING, "gtd", 30), steps.Built(built.model_copy(update={"valid_until": None})))) == (
        "Close expired 1"
    )


@pytest.mark.parametrize(
    ("record", "learnt"),
    [
        (ROUTING, quoted(DOWN, DOWN)),
        (ROUTING, quoted(TOO_MUCH, TOO_MUCH)),
        (BUILDING, steps.BuildFailed(DOWN)),
        (SUBMITTED, steps.Awaited(REVERTED)),
        (SUBMITTED, steps.Awaited(Dropped())),
        (SUBMITTED, steps.Abandoned(Dropped(), DOWN)),
    ],
)
def test_fok_is_tried_once(record: OrderRecord, learnt: Learnt) -> None:
    step = decide(timed(record, "fok"), learnt)

    assert isinstance(step, steps.Close)
    last = step.record.last
    assert isinstance(last, Expired)
    assert (last.attempt, [error.code for error in last.attempts]) == (1, [last.code])


def test_fok_fails_where_it_is_the_engines_or_a_venues_fault() -> None:
    short = replace(SUBMITTED, transaction=a_transaction(SUBMITTED.order, min_amount_out=Decimal(9999)))

    assert outline(decide(timed(ROUTING, "fok"), steps.GivenUp("died"))) == "Close failed 1 INTERNAL_ERROR"
    assert outline(decide(timed(short, "fok"), steps.Awaited(LANDED))) == "Close failed 1 SETTLEMENT_MISMATCH"
    assert outline(decide(timed(SUBMITTED, "fok"), steps.Awaited(LANDED))) == "Close confirmed 1"


# --- every life -------------------------------------------------------------------------------------------------------

YOUNG, OLD = START + timedelta(seconds=5), START + timedelta(hours=1)


@dataclass(frozen=True)
class Moment:
    """A record as it is journaled, what its worker has just learnt, and the truth about its transaction: None, one of
    MAY_LAND once it may have been sent, then how it ended."""

    record: OrderRecord
    learnt: Learnt
    now: datetime = YOUNG
    truth: TransactionState | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for moments that differ in numbers and texts only."""
        record = self.record
        too_late = any(error.attempt > record.attempt for error in record.errors)
        stands = record.status, record.tries, record.attempt_failed, len(record.openings), record.misses > 0
        return *stands, rests(record.order), too_late, record.routed_at, self.learnt, self.now, self.truth

    def following(self, step: Step, record: OrderRecord) -> Iterator["Moment"]:
        """Whatever may come next: any true response of the venues, a crash, the end of a delay."""
        truth = InFlight() if isinstance(step, steps.Send) and not self.truth else self.truth
        truth = None if isinstance(step, steps.AskForQuotes) else truth
        states = (*MAY_LAND, *ENDED) if truth in MAY_LAND else (truth,) if truth else ()
        if isinstance(step, steps.Proceed):
            yield Moment(record, step.learnt, self.now, truth)
        for learnt in responses(step, record, states):
            yield Moment(record, learnt, self.now, getattr(learnt, "state", truth))
        for now in {self.now, OLD}:
            if isinstance(step, steps.Defer | steps.Rest):
                yield Moment(record, steps.Claimed(False), now, truth)
            for claim in (steps.Claimed(True), steps.GivenUp("died")):  # a crash before the release of a deferred order
                yield Moment(self.record if isinstance(step, steps.Defer) else record, claim, now, truth)


def responses(step: Step, record: OrderRecord, states: Iterable[TransactionState]) -> Sequence[Learnt]:
    undecided = steps.Undecided("no response")
    match step:
        case steps.AskForQuotes():
            return quoted(), quoted(DOWN, DOWN), quoted(TOO_MUCH, TOO_MUCH), best("1")
        case steps.Build():
            return steps.Built(a_transaction(record.order, record.attempt)), *map(steps.BuildFailed, (DOWN, TOO_MUCH))
        case steps.Send():
            return *map(steps.Awaited, states), steps.SendFailed(DOWN), undecided
        case steps.AwaitEnd(fault=fault):
            return *(steps.Awaited(state, fault) for state in states), undecided
        case steps.LookUp():
            return *map(steps.LookedUp, states), undecided
        case steps.Abandon(fault=fault):
            return *(steps.Abandoned(state, fault) for state in states if not isinstance(state, NotFound)), undecided
        case _:
            return [steps.StillOwed()] if isinstance(step, steps.Close) else []


def test_in_every_life_at_most_one_transaction_may_land() -> None:
    """Enumerates what an order can meet: every response, crash and delay, at every step."""
    todo = [Moment(record, steps.Claimed(False)) for record in (PENDING, a_record(order=LIMIT))]
    policy, seen, taken = Policy(most_returns=1), {}, set()
    while todo:
        moment = todo.pop()
        if repr(moment.key) in seen:
            continue
        seen[repr(moment.key)] = moment
        step = next_step(moment.record, moment.learnt, moment.now, policy)
        taken.add(type(step))
        record = moment.record if isinstance(step, steps.LookUp | steps.AwaitEnd | steps.Abandon) else step.record
        statuses = [event.status for event in record.events]

        assert [event.sequence for event in record.events] == list(range(1, len(statuses) + 1))
        assert all(following in TRANSITIONS[status] for status, following in pairwise(statuses))
        assert record.tries <= policy.max_attempts
        assert record.attempt <= policy.max_attempts * (1 + policy.most_returns)
        assert (OrderStatus.TRIGGERED in statuses) or not (rests(record.order) and OrderStatus.ROUTING in statuses)
        if OrderStatus.SUBMITTED in statuses:
            assert OrderStatus.OPEN not in statuses[statuses.index(OrderStatus.SUBMITTED) :]
        if moment.record.is_final:
            assert isinstance(step, steps.Close | steps.Defer)
            assert record == moment.record
        if moment.truth in MAY_LAND:
            assert not isinstance(step, steps.AskForQuotes | steps.Build | steps.Close)
            assert record.open_transaction == moment.record.open_transaction is not None
        if moment.truth in (LANDED, REVERTED):
            assert record.status in (SUBMITTED.status, CONFIRMED.status if moment.truth == LANDED else FAILED.status)
        todo += moment.following(step, record)

    assert taken == set(get_args(Step))
    assert {type(moment.learnt) for moment in seen.values()} == set(get_args(Learnt))
