"""The mock venues: what they pay, what they refuse, and that their luck can be repeated."""

import base64
import json
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from itertools import permutations
from typing import cast
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from order_engine.adapters.mock_market.chain import Execution, MockChain, Sent, refusal_of
from order_engine.adapters.mock_market.dice import Fate, Fault, VenueConditions, draw, luck_of
from order_engine.adapters.mock_market.pools import POOLS, price
from order_engine.adapters.mock_market.venue import MockVenue
from order_engine.domain.amounts import decimal_places, floor_to_unit
from order_engine.domain.errors import (
    AmountTooSmall,
    InsufficientLiquidity,
    RateLimited,
    ServiceUnavailable,
    TransactionTimeout,
    VenueUnavailable,
)
from order_engine.domain.order import Order
from order_engine.domain.swaps import Ended, InFlight, Landed, NotFound, Quote, Reverted, Transaction, VenueName
from order_engine.domain.tokens import TOKENS

from tests.doubles.timeline import Timeline
from tests.support.builders import START, a_quote, a_transaction, an_order

PAIRS = list(permutations(sorted(TOKENS), 2))
AT_ONCE = VenueConditions(quote_latency_ms=(0, 0), swap_latency_ms=(0, 0))
MIDDLE = {VenueName.RAYDIUM: Decimal("0.5"), VenueName.METEORA: Decimal("0.6")}  # r for a spot of exactly 1.00

shares = st.integers(0, 10**9 - 1).map(lambda nano: Decimal(nano).scaleb(-9))
venues = st.sampled_from(VenueName)


def quoted(order: Order, venue: VenueName, share: Decimal | None = None) -> Quote:
    return price(order, POOLS[venue], venue, MIDDLE[venue] if share is None else share)


# --- price ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("venue", "amount_out", "impact"),
    [
        # By hand: out = R_out·in·(1-fee) / (R_in + in·(1-fee)), with R_in = depth/150 SOL and R_out = depth USDC.
        (VenueName.RAYDIUM, "1495.052829", "0.0299"),  # 5 000 000 · 9.97 / (33 333.33… + 9.97)
        (VenueName.METEORA, "1496.253369", "0.0498"),  # 3 000 000 · 9.98 / (20 000 + 9.98)
    ],
)
def test_ten_sol_at_the_reference_price_give_what_the_constant_product_gives(
    venue: VenueName, amount_out: str, impact: str
) -> None:
    quote = quoted(an_order(amount_in=Decimal(10)), venue)

    assert quote.amount_out == Decimal(amount_out)
    assert quote.price_impact_pct == Decimal(impact)
    assert quote.price == 150


@pytest.mark.parametrize(("venue", "fee"), [(VenueName.RAYDIUM, "0.003"), (VenueName.METEORA, "0.002")])
def test_the_fee_is_charged_on_what_comes_in(venue: VenueName, fee: str) -> None:
    one_usdc = an_order(token_in="USDC", token_out="USDT", amount_in=Decimal(1))  # noqa: S106 - a token to trade

    quote = quoted(one_usdc, venue)

    assert quote.fee == Decimal(fee)
    assert 0 <= (1 - Decimal(fee)) - quote.amount_out <= Decimal("0.000002")  # the rest is impact and rounding


@pytest.mark.parametrize(("token_in", "token_out"), PAIRS)
@pytest.mark.parametrize("venue", VenueName)
def test_every_pair_is_traded_both_ways_at_the_ratio_of_the_reference_prices(
    token_in: str, token_out: str, venue: VenueName
) -> None:
    hundred_dollars = (100 / TOKENS[token_in].usd_price).quantize(Decimal(1).scaleb(-TOKENS[token_in].decimals))
    order = an_order(token_in=token_in, token_out=token_out, amount_in=hundred_dollars)

    quote = quoted(order, venue)

    worth = quote.amount_out * TOKENS[token_out].usd_price
    assert Decimal("99.6") < worth < Decimal("99.9")  # 100 less fee and a little impact
    assert decimal_places(quote.amount_out) <= TOKENS[token_out].decimals


@given(shares)
def test_spot_prices_lie_within_each_venues_band(share: Decimal) -> None:
    for venue, lowest, highest in (
        (VenueName.RAYDIUM, Decimal("0.98"), Decimal("1.02")),
        (VenueName.METEORA, Decimal("0.97"), Decimal("1.02")),
    ):
        assert lowest * 150 <= quoted(an_order(), venue, share).price < highest * 150


@pytest.mark.parametrize(("venue", "lowest"), [(VenueName.RAYDIUM, "147"), (VenueName.METEORA, "145.5")])
def test_the_band_is_reached_at_both_ends(venue: VenueName, lowest: str) -> None:
    assert quoted(an_order(), venue, Decimal(0)).price == Decimal(lowest)
    assert quoted(an_order(), venue, Decimal("0.999999999")).price > Decimal("152.99999")


@given(shares, st.decimals("0.001", "20000", places=9), venues)
def test_a_quote_never_breaks_the_pools_product(share: Decimal, amount_in: Decimal, venue: VenueName) -> None:
    quote = quoted(an_order(amount_in=amount_in), venue, share)

    pool = POOLS[venue]
    with localcontext(prec=60):
        reserve_in = pool.depth_usd / 150
        reserve_out = pool.depth_usd * (pool.lowest + share * pool.spread)
        traded = amount_in * (1 - pool.fee)
        after = (reserve_in + traded) * (reserve_out - quote.amount_out)
        before = reserve_in * reserve_out
        assert after >= before - Decimal("1e-30")  # the pool never loses, but for the last of 60 digits
        assert after - before <= (reserve_in + traded) * Decimal("0.000001")  # nor does it keep more than one base unit


@given(st.decimals("0.01", "9000", places=9), st.decimals("0.01", "9000", places=9), venues)
def test_twice_the_order_never_pays_more_than_twice(first: Decimal, second: Decimal, venue: VenueName) -> None:
    apart = quoted(an_order(amount_in=first), venue).amount_out + quoted(an_order(amount_in=second), venue).amount_out

    together = quoted(an_order(amount_in=first + second), venue).amount_out

    assert together <= apart + Decimal("0.000002")


@pytest.mark.parametrize(("venue", "reserve"), [(VenueName.RAYDIUM, 33333), (VenueName.METEORA, 20000)])
def test_more_than_the_pool_has_is_refused(venue: VenueName, reserve: int) -> None:
    quoted(an_order(amount_in=Decimal(reserve)), venue)

    with pytest.raises(InsufficientLiquidity, match=f"{venue} has {reserve} SOL in its pool, too few for 34000"):
        quoted(an_order(amount_in=Decimal(34_000)), venue)


def test_dust_that_buys_less_than_one_base_unit_is_refused() -> None:
    dust = an_order(token_in="BONK", token_out="SOL", amount_in=Decimal("0.00001"))  # noqa: S106 - a token to trade

    with pytest.raises(AmountTooSmall, match=r"0\.00001 BONK buy no SOL on raydium"):
        quoted(dust, VenueName.RAYDIUM)


def test_the_smallest_amount_that_buys_anything_buys_one_base_unit() -> None:
    smallest = an_order(token_in="BONK", token_out="USDC", amount_in=Decimal("0.06"))  # noqa: S106 - a token to trade

    assert quoted(smallest, VenueName.RAYDIUM).amount_out == Decimal("0.000001")


# --- the dice -------------------------------------------------------------------------------------------------


@given(st.text(), st.integers(1, 3), venues, st.text(max_size=5))
def test_the_same_attempt_always_meets_the_same_fate(luck: str, attempt: int, venue: VenueName, seed: str) -> None:
    conditions = VenueConditions(error_rate=0.3, timeout_rate=0.3, seed=seed)

    assert draw(conditions, luck, attempt, venue) == draw(conditions, luck, attempt, venue)


def test_another_order_attempt_venue_or_seed_meets_another_fate() -> None:
    def fate(seed: str = "", luck: str = "1", attempt: int = 1, venue: VenueName = VenueName.RAYDIUM) -> Fate:
        return draw(VenueConditions(seed=seed), luck, attempt, venue)

    fates = {fate(), fate(seed="x"), fate(luck="2"), fate(attempt=2), fate(venue=VenueName.METEORA)}
    assert len(fates) == 5


def test_an_orders_luck_is_that_of_its_client_order_id_where_it_has_one() -> None:
    order = an_order()

    assert luck_of(order) == str(order.order_id)
    assert luck_of(an_order(client_order_id="mine")) == "mine"


def test_latencies_and_shares_lie_in_their_ranges() -> None:
    conditions = VenueConditions(quote_latency_ms=(200, 500), swap_latency_ms=(2000, 3000))
    fates = [draw(conditions, str(number), 1, VenueName.METEORA) for number in range(500)]

    assert all(0.2 <= fate.quote_seconds <= 0.5 and 2 <= fate.swap_seconds <= 3 for fate in fates)
    assert all(0 <= fate.price_share < 1 and 0 <= fate.slip_share < 1 for fate in fates)
    assert min(fate.price_share for fate in fates) < Decimal("0.02")
    assert max(fate.price_share for fate in fates) > Decimal("0.98")
    assert max(fate.quote_seconds for fate in fates) - min(fate.quote_seconds for fate in fates) > 0.28


def test_without_rates_nothing_ever_goes_wrong() -> None:
    fates = [draw(VenueConditions(), str(number), 1, VenueName.RAYDIUM) for number in range(200)]

    assert {(fate.quote_fault, fate.submit_fault) for fate in fates} == {(None, None)}


@pytest.mark.parametrize(("error_rate", "timeout_rate"), [(0.2, 0.1), (0.0, 0.5), (1.0, 0.0), (0.5, 0.5)])
def test_faults_come_as_often_as_the_rates_say(error_rate: float, timeout_rate: float) -> None:
    conditions = VenueConditions(error_rate=error_rate, timeout_rate=timeout_rate, seed="rates")
    fates = [draw(conditions, str(number), 1, VenueName.RAYDIUM) for number in range(4000)]

    for seen in (Counter(fate.quote_fault for fate in fates), Counter(fate.submit_fault for fate in fates)):
        errors = seen[Fault.ERROR] + seen[Fault.RATE_LIMIT]
        timeouts = seen[Fault.TIMEOUT] + seen[Fault.TIMEOUT_AFTER_LANDING]
        assert errors / len(fates) == pytest.approx(error_rate, abs=0.03)
        assert timeouts / len(fates) == pytest.approx(timeout_rate, abs=0.03)


# --- the venue ------------------------------------------------------------------------------------------------


class LedgerInMemory:
    """The chain, kept in a dictionary; `away` is a chain that is unavailable."""

    def __init__(self) -> None:
        self.sent: dict[str, Execution] = {}
        self.standing: dict[str, Sent | Ended] = {}
        self.away = False

    def send(self, transaction: Transaction, execution: Execution, now: datetime) -> Sent | Ended | NotFound:
        self._reach()
        if transaction.tx_hash not in self.sent:
            assert transaction.valid_until
            lands_at = execution.lands_at if execution.lands_at <= transaction.valid_until else None
            ends_as = "reverted" if refusal_of(transaction, execution) else "landed"
            self.sent[transaction.tx_hash] = execution
            self.standing[transaction.tx_hash] = Sent(transaction.tx_hash, lands_at, ends_as)
        return self.standing[transaction.tx_hash]

    def look_up(self, tx_hash: str) -> Sent | Ended | NotFound:
        self._reach()
        return self.standing.get(tx_hash, NotFound())

    def land(self, transaction: Sent) -> Ended:
        self._reach()
        execution = self.sent[transaction.tx_hash]
        landed = Landed(execution.amount_out, execution.executed_price)
        self.standing[transaction.tx_hash] = ended = landed if transaction.ends_as == "landed" else Reverted("refused")
        return ended

    def _reach(self) -> None:
        if self.away:
            raise ServiceUnavailable("chain")


def venue_on(
    ledger: LedgerInMemory, conditions: VenueConditions = AT_ONCE, name: VenueName = VenueName.RAYDIUM
) -> MockVenue:
    return MockVenue(name, cast(MockChain, ledger), Timeline(), conditions)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Timeline:
    """A clock that moves only while the venue waits."""
    clock = Timeline()
    monkeypatch.setattr("order_engine.adapters.mock_market.venue.time.sleep", clock.wait)
    return clock


def built(order: Order, min_amount_out: str = "1") -> Transaction:
    return venue_on(LedgerInMemory()).build(order, 1, a_quote(), Decimal(min_amount_out))


def order_meeting(conditions: VenueConditions, quote: Fault | None = None, submit: Fault | None = None) -> Order:
    """An order whose first attempt on Raydium meets these faults."""
    orders = (an_order(order_id=UUID(int=number)) for number in range(10_000))
    fates = ((order, draw(conditions, luck_of(order), 1, VenueName.RAYDIUM)) for order in orders)
    return next(order for order, fate in fates if (fate.quote_fault, fate.submit_fault) == (quote, submit))


@pytest.mark.parametrize(
    ("token_in", "token_out", "steps"),
    [
        ("SOL", "USDC", ("wrap 10 SOL", "swap 10 SOL for USDC on raydium")),
        ("USDC", "SOL", ("swap 10 USDC for SOL on raydium", "unwrap SOL")),
        ("USDC", "BONK", ("swap 10 USDC for BONK on raydium",)),
        ("SOL", "MSOL", ("wrap 10 SOL", "swap 10 SOL for MSOL on raydium")),
    ],
)
def test_sol_is_wrapped_before_and_unwrapped_after_the_swap(
    token_in: str, token_out: str, steps: tuple[str, ...]
) -> None:
    assert built(an_order(token_in=token_in, token_out=token_out)).steps == steps


def test_a_rebuilt_attempt_is_the_same_transaction_and_another_attempt_or_quote_another_one() -> None:
    order, venue = an_order(), venue_on(LedgerInMemory())
    transaction = venue.build(order, 1, a_quote(), Decimal(1))

    assert venue.build(order, 1, a_quote(), Decimal(1)) == transaction
    others = {
        venue.build(order, 2, a_quote(), Decimal(1)).tx_hash,
        venue.build(order, 1, a_quote(amount_out="1489"), Decimal(1)).tx_hash,
        venue.build(an_order(), 1, a_quote(), Decimal(1)).tx_hash,
    }
    assert len(others | {transaction.tx_hash}) == 4


def test_a_transaction_carries_what_was_signed_and_how_long_it_is_valid() -> None:
    clock = Timeline()
    venue = MockVenue(VenueName.RAYDIUM, cast(MockChain, LedgerInMemory()), clock, VenueConditions(validity_seconds=7))
    order = an_order()
    transaction = venue.build(order, 1, a_quote(), Decimal("1482.55"))

    signed = base64.b64decode(transaction.signed, validate=True)
    instructions = json.loads(signed)

    assert transaction.valid_until == clock() + timedelta(seconds=7)
    assert json.dumps(instructions, sort_keys=True, separators=(",", ":")).encode() == signed
    assert Transaction.model_validate(
        {**instructions, "txHash": transaction.tx_hash, "signed": transaction.signed}
    ) == (transaction)
    clock.wait(1)
    assert venue.build(order, 1, a_quote(), Decimal("1482.55")).tx_hash != transaction.tx_hash


@pytest.mark.parametrize("client_order_id", [None, "mine"])
def test_a_worker_that_did_not_build_a_transaction_sends_it_to_the_same_fate(client_order_id: str | None) -> None:
    order = an_order(client_order_id=client_order_id)
    fate = draw(AT_ONCE, luck_of(order), 1, VenueName.RAYDIUM)
    read = Transaction.model_validate_json(built(order).to_json())

    landed = venue_on(LedgerInMemory()).submit(read, wait_seconds=1)

    assert isinstance(landed, Landed)
    assert landed.amount_out == floor_to_unit(1490 * (1 - fate.slip_share * Decimal("0.005")), 6)


def test_a_tx_hash_looks_like_a_solana_signature() -> None:
    tx_hash = built(an_order()).tx_hash

    assert 85 <= len(tx_hash) <= 88
    assert set(tx_hash) <= set("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")


def test_the_fee_is_kept_in_units_of_the_token_that_comes_in() -> None:
    assert built(an_order(amount_in=Decimal("0.000001")), "1").fee == Decimal("0.000000003")
    assert built(an_order(amount_in=Decimal("0.000000001")), "1").fee == 0


def test_a_swap_pays_the_quote_less_at_most_the_greatest_slip() -> None:
    venue = venue_on(LedgerInMemory())
    for number in range(50):
        landed = venue.submit(built(an_order(order_id=UUID(int=number))), wait_seconds=1)

        assert isinstance(landed, Landed)
        assert Decimal(1490) * Decimal("0.995") <= landed.amount_out <= 1490
        assert landed.executed_price == landed.amount_out / 10


def test_without_slip_a_swap_pays_exactly_the_quote() -> None:
    venue = venue_on(LedgerInMemory(), VenueConditions(swap_latency_ms=(0, 0), max_slip_bps=0))

    assert venue.submit(built(an_order()), wait_seconds=1) == Landed(Decimal(1490), Decimal(149))


def test_the_chain_refuses_a_swap_for_less_than_the_floor() -> None:
    venue = venue_on(LedgerInMemory())

    ended = venue.submit(built(an_order(), min_amount_out="1490"), wait_seconds=1)

    assert isinstance(ended, Reverted)


@pytest.mark.parametrize(
    ("amount_out", "floor", "refusal"),
    [
        ("1490", "1490", None),
        ("0.000001", "0.000001", None),
        ("0.000001", "0", None),
        ("1489.999999", "1490", "the swap would give 1489.999999 USDC, less than minAmountOut 1490"),
        ("0", "0.000001", "the swap would give no USDC"),
        ("0", "0", "the swap would give no USDC"),
    ],
)
def test_a_swap_is_refused_below_its_floor_or_for_nothing(amount_out: str, floor: str, refusal: str | None) -> None:
    execution = Execution(START, Decimal(amount_out), Decimal(1))

    assert refusal_of(built(an_order(), min_amount_out=floor), execution) == refusal


def test_a_swap_whose_slip_leaves_less_than_a_base_unit_reverts() -> None:
    venue = venue_on(LedgerInMemory(), VenueConditions(swap_latency_ms=(0, 0), max_slip_bps=10_000))
    transaction = venue.build(an_order(), 1, a_quote(amount_out="0.000001"), Decimal(0))

    assert isinstance(venue.submit(transaction, wait_seconds=0), Reverted)


def test_a_transaction_sent_twice_swaps_once() -> None:
    ledger = LedgerInMemory()
    venue, transaction = venue_on(ledger), built(an_order())

    assert venue.submit(transaction, wait_seconds=1) == venue.submit(transaction, wait_seconds=1)
    assert list(ledger.sent) == [transaction.tx_hash]


SLOW = VenueConditions(swap_latency_ms=(5000, 5000))


def test_a_swap_that_takes_longer_than_one_waits_is_pending(clock: Timeline) -> None:
    venue = MockVenue(VenueName.RAYDIUM, cast(MockChain, LedgerInMemory()), clock, SLOW)
    transaction = built(an_order())

    assert venue.submit(transaction, wait_seconds=3) == InFlight()
    assert venue.status(transaction, wait_seconds=1) == InFlight()
    assert clock() == START + timedelta(seconds=4)
    assert isinstance(venue.status(transaction, wait_seconds=8), Landed)
    assert clock() == START + timedelta(seconds=5)


def test_a_pending_swap_lands_when_its_time_has_come() -> None:
    clock = Timeline()
    ledger = LedgerInMemory()
    venue = MockVenue(VenueName.RAYDIUM, cast(MockChain, ledger), clock, SLOW)
    transaction = built(an_order())
    venue.submit(transaction, wait_seconds=0)

    assert ledger.sent[transaction.tx_hash].lands_at == clock() + timedelta(seconds=5)
    clock.wait(5)
    assert isinstance(venue.status(transaction, wait_seconds=0), Landed)


def test_nobody_waits_for_a_swap_that_can_not_land_any_more(clock: Timeline) -> None:
    venue = MockVenue(VenueName.RAYDIUM, cast(MockChain, LedgerInMemory()), clock, replace(SLOW, validity_seconds=2))
    transaction = venue.build(an_order(), 1, a_quote(), Decimal(1))

    assert venue.submit(transaction, wait_seconds=8) == InFlight()
    assert clock() == transaction.valid_until == START + timedelta(seconds=2)
    assert venue.status(transaction, wait_seconds=8) == InFlight()
    assert clock() == transaction.valid_until


@pytest.mark.parametrize("fault", [Fault.TIMEOUT, Fault.TIMEOUT_AFTER_LANDING])
@pytest.mark.parametrize(("patience", "waited"), [(2, 2), (8, 5)])
def test_a_submission_that_times_out_takes_no_longer_than_one_waits(
    fault: Fault, patience: float, waited: float, clock: Timeline
) -> None:
    conditions = replace(SLOW, error_rate=0.4, timeout_rate=0.4)
    venue = MockVenue(VenueName.RAYDIUM, cast(MockChain, LedgerInMemory()), clock, conditions)
    transaction = built(order_meeting(conditions, submit=fault))

    with pytest.raises(TransactionTimeout):
        venue.submit(transaction, wait_seconds=patience)

    assert clock() == START + timedelta(seconds=waited)


def test_a_transaction_that_was_never_sent_is_unknown() -> None:
    assert venue_on(LedgerInMemory()).status(built(an_order()), wait_seconds=1) == NotFound()


UNRELIABLE = VenueConditions(quote_latency_ms=(0, 0), swap_latency_ms=(0, 0), error_rate=0.4, timeout_rate=0.4)


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (Fault.ERROR, VenueUnavailable),
        (Fault.RATE_LIMIT, RateLimited),
        (Fault.TIMEOUT, VenueUnavailable),
        (Fault.TIMEOUT_AFTER_LANDING, VenueUnavailable),
    ],
)
def test_a_quote_that_goes_wrong_can_be_asked_for_again(fault: Fault, raised: type[Exception]) -> None:
    order = order_meeting(UNRELIABLE, quote=fault)

    with pytest.raises(raised):
        venue_on(LedgerInMemory(), UNRELIABLE).quote(order, 1)


def test_a_quote_is_priced_by_its_own_pool() -> None:
    order = order_meeting(UNRELIABLE)
    share = draw(UNRELIABLE, luck_of(order), 1, VenueName.RAYDIUM).price_share

    assert venue_on(LedgerInMemory(), UNRELIABLE).quote(order, 1) == quoted(order, VenueName.RAYDIUM, share)


@pytest.mark.parametrize(
    ("fault", "raised", "arrives"),
    [
        (Fault.ERROR, VenueUnavailable, False),
        (Fault.RATE_LIMIT, RateLimited, False),
        (Fault.TIMEOUT, TransactionTimeout, False),
        (Fault.TIMEOUT_AFTER_LANDING, TransactionTimeout, True),
    ],
)
def test_of_a_submission_that_timed_out_nobody_knows_whether_it_arrived(
    fault: Fault, raised: type[Exception], arrives: bool
) -> None:
    ledger, transaction = LedgerInMemory(), built(order_meeting(UNRELIABLE, submit=fault))
    venue = venue_on(ledger, UNRELIABLE)

    with pytest.raises(raised):
        venue.submit(transaction, wait_seconds=1)

    assert (transaction.tx_hash in ledger.sent) is arrives
    assert isinstance(venue.status(transaction, wait_seconds=1), Landed) is arrives


def test_a_venue_whose_chain_is_away_is_a_venue_that_does_not_answer() -> None:
    ledger = LedgerInMemory()
    ledger.away = True
    venue, transaction = venue_on(ledger), a_transaction(an_order(order_id=uuid4()))

    with pytest.raises(VenueUnavailable, match="raydium is unavailable"):
        venue.submit(transaction, wait_seconds=1)
    with pytest.raises(VenueUnavailable, match="raydium is unavailable"):
        venue.status(transaction, wait_seconds=1)
