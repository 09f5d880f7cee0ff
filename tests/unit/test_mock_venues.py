"""The mock venues: what they pay, what they refuse, and that their luck can be repeated."""

import base64
import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal, localcontext
from itertools import permutations
from typing import cast
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from order_engine import limits
from order_engine.adapters.mock_market.chain import MockChain
from order_engine.adapters.mock_market.dice import Fate, Fault, VenueConditions, draw, luck_of
from order_engine.adapters.mock_market.market import reference_price
from order_engine.adapters.mock_market.pools import POOLS, price
from order_engine.adapters.mock_market.venue import MockVenue
from order_engine.domain.amounts import decimal_places, floor_to_unit
from order_engine.domain.errors import (
    AmountTooSmall,
    ExecutionError,
    InsufficientLiquidity,
    RateLimited,
    TransactionTimeout,
    VenueUnavailable,
)
from order_engine.domain.order import Order
from order_engine.domain.routing import QuoteResult, choose
from order_engine.domain.swaps import InFlight, Landed, NotFound, Quote, Transaction, VenueName
from order_engine.domain.tokens import TOKENS

from tests.doubles.chain import Ledger, MemoryChain
from tests.doubles.gate import Gate
from tests.doubles.timeline import Timeline
from tests.support.builders import START, a_quote, an_order

RAYDIUM, METEORA = VenueName.RAYDIUM, VenueName.METEORA
MIDDLE = {RAYDIUM: Decimal("0.5"), METEORA: Decimal("0.6")}  # r for a spot of exactly 1.00
AT_ONCE = VenueConditions(quote_latency_ms=(0, 0), swap_latency_ms=(0, 0), volatility_bps=0)
SLOW = VenueConditions(swap_latency_ms=(5000, 5000), volatility_bps=0)


def quoted(order: Order, venue: VenueName, share: Decimal | None = None) -> Quote:
    reference = reference_price(AT_ONCE, order.token_in, order.token_out, START)
    return price(
        order, POOLS[venue], venue, POOLS[venue].price_now(reference, MIDDLE[venue] if share is None else share)
    )


# --- price ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("venue", "fee", "lowest", "amount_out", "impact"),
    [
        # By hand: out = R_out·in·(1-fee) / (R_in + in·(1-fee)), with R_in = depth/150 SOL and R_out = depth USDC.
        (RAYDIUM, "0.003", "147", "1495.052829", "0.0299"),  # 5 000 000 · 9.97 / (33 333.33… + 9.97)
        (METEORA, "0.002", "145.5", "1496.253369", "0.0498"),  # 3 000 000 · 9.98 / (20 000 + 9.98)
    ],
)
def test_ten_sol_give_what_the_constant_product_gives_within_a_price_band(
    venue: VenueName, fee: str, lowest: str, amount_out: str, impact: str
) -> None:
    quote = quoted(an_order(amount_in=Decimal(10)), venue)

    assert [quote.price, quote.fee] == [150, Decimal(fee)]
    assert [quote.amount_out, quote.price_impact_pct] == [Decimal(amount_out), Decimal(impact)]
    assert quoted(an_order(), venue, Decimal(0)).price == Decimal(lowest)
    assert Decimal("152.99999") < quoted(an_order(), venue, Decimal("0.999999999")).price < 153


@pytest.mark.parametrize("pair", list(permutations(sorted(TOKENS), 2)), ids="-".join)
@pytest.mark.parametrize("venue", VenueName)
def test_every_pair_is_traded_both_ways_at_the_reference_prices(venue: VenueName, pair: tuple[str, str]) -> None:
    token_in, token_out = (TOKENS[symbol] for symbol in pair)
    hundred_dollars = floor_to_unit(100 / token_in.usd_price, token_in.decimals)

    quote = quoted(an_order(token_in=pair[0], token_out=pair[1], amount_in=hundred_dollars), venue)

    assert Decimal("99.6") < quote.amount_out * token_out.usd_price < Decimal("99.9")  # less fee and a little impact
    assert decimal_places(quote.amount_out) <= token_out.decimals


@given(st.decimals(0, "0.999999999", places=9), st.decimals("0.001", "20000", places=9), st.sampled_from(VenueName))
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


@pytest.mark.parametrize(("venue", "reserve"), [(RAYDIUM, 33333), (METEORA, 20000)])
def test_more_than_the_pool_has_is_refused(venue: VenueName, reserve: int) -> None:
    quoted(an_order(amount_in=Decimal(reserve)), venue)

    with pytest.raises(InsufficientLiquidity, match=f"{venue} has {reserve} SOL in its pool, too few for 34000"):
        quoted(an_order(amount_in=Decimal(34_000)), venue)


def test_dust_that_buys_less_than_one_base_unit_is_refused() -> None:
    bonk = an_order(token_in="BONK", amount_in=Decimal("0.06"))  # noqa: S106 - a token to trade

    assert quoted(bonk, RAYDIUM).amount_out == Decimal("0.000001")
    with pytest.raises(AmountTooSmall, match=r"0\.05 BONK buy no USDC on raydium"):
        quoted(bonk.model_copy(update={"amount_in": Decimal("0.05")}), RAYDIUM)


@pytest.mark.parametrize("amount_in", ["0.000000001", "10000", "34000"])  # dust, half a pool, more than there is
def test_a_reason_that_both_venues_give_names_each_once(amount_in: str) -> None:
    order = an_order(amount_in=Decimal(amount_in))
    results: list[tuple[VenueName, QuoteResult]] = []
    for venue in VenueName:
        try:
            results.append((venue, quoted(order, venue)))
        except ExecutionError as error:
            results.append((venue, error))

    with pytest.raises(ExecutionError) as caught:
        choose(order, results)

    assert [str(caught.value).count(venue) for venue in VenueName] == [1, 1]


# --- the dice ---------------------------------------------------------------------------------------------------------


def test_the_dice_of_an_orders_attempt_always_fall_the_same_way() -> None:
    def fate(seed: str = "", luck: str = "1", request_id: str = "order/1", venue: VenueName = RAYDIUM) -> Fate:
        return draw(VenueConditions(error_rate=0.3, timeout_rate=0.3, seed=seed), luck, request_id, venue)

    assert fate() == fate() == fate(request_id="another order of this luck/1")
    assert len({fate(), fate("x"), fate(luck="2"), fate(request_id="order/2"), fate(venue=METEORA)}) == 5
    order = an_order()
    assert (luck_of(order), luck_of(an_order(client_order_id="mine"))) == (str(order.order_id), "mine")


def test_latencies_and_shares_lie_in_their_ranges() -> None:
    conditions = VenueConditions(quote_latency_ms=(200, 500), swap_latency_ms=(2000, 3000))
    fates = [draw(conditions, str(number), "/1", METEORA) for number in range(500)]

    assert all(0.2 <= fate.quote_seconds <= 0.5 and 2 <= fate.swap_seconds <= 3 for fate in fates)
    assert all(0 <= fate.price_share < 1 and 0 <= fate.slip_share < 1 for fate in fates)
    assert min(fate.price_share for fate in fates) < Decimal("0.02")
    assert max(fate.price_share for fate in fates) > Decimal("0.98")
    assert max(fate.quote_seconds for fate in fates) - min(fate.quote_seconds for fate in fates) > 0.28


@pytest.mark.parametrize(("error_rate", "timeout_rate"), [(0, 0), (0.2, 0.1), (0.0, 0.5), (1.0, 0.0), (0.5, 0.5)])
def test_faults_come_as_often_as_the_rates_say(error_rate: float, timeout_rate: float) -> None:
    conditions = VenueConditions(error_rate=error_rate, timeout_rate=timeout_rate, seed="rates")
    fates = [draw(conditions, str(number), "/1", RAYDIUM) for number in range(4000)]

    for seen in (Counter(fate.quote_fault for fate in fates), Counter(fate.submit_fault for fate in fates)):
        errors = seen[Fault.ERROR] + seen[Fault.RATE_LIMIT]
        timeouts = seen[Fault.TIMEOUT] + seen[Fault.TIMEOUT_AFTER_LANDING]
        assert errors / len(fates) == pytest.approx(error_rate, abs=0.03 if error_rate else 0)
        assert timeouts / len(fates) == pytest.approx(timeout_rate, abs=0.03 if timeout_rate else 0)


# --- transactions -----------------------------------------------------------------------------------------------------


def raydium(conditions: VenueConditions = AT_ONCE, clock: Timeline | None = None) -> MockVenue:
    """The venue on a chain in memory, whose calls take no time."""
    gate = Gate(clock or Timeline(), seconds=lambda _service: 0.0)
    return MockVenue(RAYDIUM, cast(MockChain, MemoryChain(gate, Ledger())), gate.timeline, conditions)


def built(
    order: Order, floor: str = "1", attempt: int = 1, out: str = "1490", by: MockVenue | None = None
) -> Transaction:
    request_id = f"{order.order_id}/{attempt}"
    return (by or raydium()).build(order, a_quote(amount_out=out), Decimal(floor), request_id)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Timeline:
    """A clock that moves only while the venue waits."""
    clock = Timeline()
    monkeypatch.setattr("order_engine.adapters.mock_market.venue.time.sleep", clock.wait)
    return clock


@pytest.mark.parametrize(
    ("token_in", "token_out", "steps"),
    [
        ("SOL", "USDC", ("wrap 10 SOL", "swap 10 SOL for USDC on raydium")),
        ("USDC", "SOL", ("swap 10 USDC for SOL on raydium", "unwrap SOL")),
        ("USDC", "BONK", ("swap 10 USDC for BONK on raydium",)),
        ("SOL", "MSOL", ("wrap 10 SOL", "swap 10 SOL for MSOL on raydium")),
    ],
)
def test_sol_is_wrapped_and_unwrapped(token_in: str, token_out: str, steps: tuple[str, ...]) -> None:
    assert built(an_order(token_in=token_in, token_out=token_out)).steps == steps


def test_only_a_repeated_attempt_and_quote_build_the_same_transaction() -> None:
    order, clock = an_order(), Timeline()
    later = raydium(clock=clock)
    clock.wait(1)

    others = [built(an_order()), built(order, attempt=2), built(order, out="1489"), built(order, by=later)]

    assert built(order) == built(order)
    assert len({one.tx_hash for one in (built(order), *others)}) == 5


def test_a_transaction_carries_what_was_signed_and_how_long_it_is_valid() -> None:
    transaction = built(an_order(), "1482.55", by=raydium(replace(AT_ONCE, validity_seconds=7)))

    signed = base64.b64decode(transaction.signed, validate=True)
    content = json.loads(signed)
    assert transaction.valid_until == START + timedelta(seconds=7)
    assert transaction.fee == Decimal("0.03")  # in units of SOL
    assert built(an_order(amount_in=Decimal("1e-9"))).fee == 0
    assert json.dumps(content, sort_keys=True, separators=(",", ":")).encode() == signed
    carried = {**content, "txHash": transaction.tx_hash, "signed": transaction.signed}
    assert Transaction.model_validate(carried) == transaction
    assert 85 <= len(transaction.tx_hash) <= 88  # as a Solana signature
    assert set(transaction.tx_hash) <= set("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")


@pytest.mark.parametrize("max_slip_bps", [0, 50])
@pytest.mark.parametrize("client_order_id", [None, "mine"])
def test_a_swap_pays_the_quote_less_a_slip_whoever_sends_it(max_slip_bps: int, client_order_id: str | None) -> None:
    order, conditions = an_order(client_order_id=client_order_id), replace(AT_ONCE, max_slip_bps=max_slip_bps)
    slip = draw(conditions, luck_of(order), "/1", RAYDIUM).slip_share * max_slip_bps / 10_000
    amount_out = floor_to_unit(1490 * (1 - slip), 6)
    journaled = Transaction.model_validate_json(built(order, floor=str(amount_out)).to_json())

    assert raydium(conditions).send(journaled, wait_seconds=1) == Landed(amount_out, amount_out / 10)


def test_a_swap_that_takes_longer_than_one_waits_is_in_flight(clock: Timeline) -> None:
    venue, transaction = raydium(SLOW, clock), built(an_order())

    assert venue.send(transaction, wait_seconds=3) == InFlight()
    assert venue.status(transaction, wait_seconds=1) == InFlight()
    assert clock() == START + timedelta(seconds=4)
    assert isinstance(venue.status(transaction, wait_seconds=8), Landed)
    assert clock() == START + timedelta(seconds=5)


def test_nobody_waits_for_a_swap_that_can_not_land_any_more(clock: Timeline) -> None:
    venue = raydium(replace(SLOW, validity_seconds=2), clock)
    transaction = built(an_order(), by=venue)

    assert venue.send(transaction, wait_seconds=8) == InFlight()
    assert clock() == transaction.valid_until == START + timedelta(seconds=2)
    assert venue.status(transaction, wait_seconds=8) == InFlight()
    assert clock() == transaction.valid_until


# --- faults -----------------------------------------------------------------------------------------------------------

UNRELIABLE = replace(SLOW, quote_latency_ms=(0, 0), error_rate=0.4, timeout_rate=0.4)


def order_meeting(quote: Fault | None = None, submit: Fault | None = None) -> Order:
    """An order whose first attempt on Raydium meets these faults."""
    orders = (an_order(order_id=UUID(int=number)) for number in range(10_000))
    fates = ((order, draw(UNRELIABLE, luck_of(order), "/1", RAYDIUM)) for order in orders)
    return next(order for order, fate in fates if (fate.quote_fault, fate.submit_fault) == (quote, submit))


@pytest.mark.parametrize(
    ("fault", "quoting", "sending", "arrives"),
    [
        (Fault.ERROR, VenueUnavailable, VenueUnavailable, False),
        (Fault.RATE_LIMIT, RateLimited, RateLimited, False),
        (Fault.TIMEOUT, VenueUnavailable, TransactionTimeout, False),
        (Fault.TIMEOUT_AFTER_LANDING, VenueUnavailable, TransactionTimeout, True),
    ],
)
@pytest.mark.parametrize("patience", [2, 8])
def test_a_fault_is_transient_and_its_transaction_may_have_arrived(
    fault: Fault, quoting: type[Exception], sending: type[Exception], arrives: bool, patience: float, clock: Timeline
) -> None:
    venue, transaction = raydium(UNRELIABLE, clock), built(order_meeting(submit=fault))

    with pytest.raises(quoting):
        venue.quote(order_meeting(quote=fault), "order/1")
    with pytest.raises(sending):
        venue.send(transaction, patience)
    assert clock() == START + timedelta(seconds=min(patience, 5) if sending is TransactionTimeout else 0)
    state = venue.status(transaction, wait_seconds=5)
    assert isinstance(state, Landed) if arrives else state == NotFound()


def test_a_quote_is_priced_by_its_own_pool_and_dice() -> None:
    order = order_meeting()
    share = draw(UNRELIABLE, luck_of(order), "/1", RAYDIUM).price_share

    assert raydium(UNRELIABLE).quote(order, "order/1") == quoted(order, RAYDIUM, share)


def test_a_venue_whose_chain_is_unavailable_is_unavailable_itself() -> None:
    venue, transaction = MockVenue(RAYDIUM, MockChain(None, ""), Timeline(), AT_ONCE), built(an_order())

    with limits.invocation(lambda: 0.0):
        for call in (venue.send, venue.status, lambda transaction, _seconds: venue.abandon(transaction)):
            with pytest.raises(VenueUnavailable, match="raydium is unavailable: chain"):
                call(transaction, 1.0)
