"""The mock market in time: how its prices move, what a venue's spot says of its quotes, and tokens that launch."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from order_engine import limits
from order_engine.adapters.mock_market.chain import MockChain
from order_engine.adapters.mock_market.dice import VenueConditions, draw, luck_of
from order_engine.adapters.mock_market.market import price_share, reference_price
from order_engine.adapters.mock_market.pools import POOLS, price, spot
from order_engine.adapters.mock_market.venue import MockVenue
from order_engine.bootstrap import Bootstrap
from order_engine.domain.errors import NoPool, RateLimited, VenueUnavailable
from order_engine.domain.swaps import Quote, VenueName
from order_engine.domain.tokens import LAUNCHING, TOKENS
from order_engine.settings import MissingSetting, Settings

from tests.doubles.chain import Ledger, MemoryChain
from tests.doubles.gate import Gate
from tests.doubles.timeline import Timeline
from tests.support.builders import START, an_order

RAYDIUM, METEORA = VenueName
MOVING = VenueConditions(quote_latency_ms=(0, 0))
STILL = replace(MOVING, volatility_bps=0)
TEN_SOL = an_order(amount_in=Decimal(10))
SECOND = timedelta(seconds=1)

moments = st.datetimes(datetime(2020, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - see timezones
symbols = st.sampled_from(sorted(TOKENS))


def price_at(
    at: datetime, conditions: VenueConditions = MOVING, venue: VenueName = RAYDIUM, pair: str = "SOL USDC"
) -> Decimal:
    """A venue's price before fee and impact."""
    token_in, token_out = pair.split()
    share = price_share(conditions, venue, token_in, token_out, at)
    return POOLS[venue].price_now(reference_price(conditions, token_in, token_out, at), share)


def best_net(at: datetime, conditions: VenueConditions) -> Decimal:
    """What ten SOL fetch at the better venue, in USDC for one SOL."""
    quotes = [price(TEN_SOL, POOLS[venue], venue, price_at(at, conditions, venue)) for venue in VenueName]
    return max(quote.amount_out for quote in quotes) / 10


# --- prices in time ---------------------------------------------------------------------------------------------------


def test_the_same_seed_has_the_same_history_and_another_seed_another_one() -> None:
    def history(**changes: object) -> list[Decimal]:
        conditions = replace(MOVING, **changes)  # type: ignore[arg-type]  # settings by name
        return [price_at(START + second * SECOND, conditions) for second in range(0, 3600, 60)]

    assert history() == history() == history(max_slip_bps=0, error_rate=0.5)
    assert not set(history()) & set(history(seed="x"))


def test_the_history_of_a_seed_stays_from_release_to_release() -> None:
    prices = {pair: str(round(price_at(START, pair=pair), 8)) for pair in ("SOL USDC", "USDC SOL", "BONK JUP")}

    assert prices == {"SOL USDC": "152.50260817", "USDC SOL": "0.00664130", "BONK JUP": "0.00004401"}


def test_a_price_depends_on_seed_venue_pair_and_time() -> None:
    others = [
        price_at(START + SECOND),
        price_at(START, replace(MOVING, seed="x")),
        price_at(START, venue=METEORA),
        price_at(START, pair="SOL USDT"),
        1 / price_at(START, pair="USDC SOL"),
    ]

    assert len({price_at(START), *others}) == 6


@given(moments, symbols, symbols, st.sampled_from([1, 150, 5000]))
def test_prices_stay_within_their_bounds_for_years(
    at: datetime, token_in: str, token_out: str, volatility_bps: int
) -> None:
    conditions = replace(MOVING, volatility_bps=volatility_bps)
    given, got = (TOKENS[symbol] for symbol in (token_in, token_out))
    of_given, of_got = (0 if token.stable else Decimal(volatility_bps) / 10_000 for token in (given, got))

    moved = reference_price(conditions, token_in, token_out, at) / (given.usd_price / got.usd_price)

    assert (1 - of_given) / (1 + of_got) <= moved <= (1 + of_given) / (1 - of_got)
    assert all(0 <= price_share(conditions, venue, token_in, token_out, at) < 1 for venue in VenueName)


def test_a_path_is_continuous_from_one_line_to_the_next() -> None:
    path = [price_at(START + timedelta(milliseconds=ms)) for ms in range(0, 620_000, 200)]

    assert max(abs(after / before - 1) for before, after in pairwise(path)) < Decimal("0.00013")
    assert max(path) / min(path) > Decimal("1.012")  # and all the same it goes somewhere


@pytest.mark.parametrize("venue", VenueName)
def test_the_whole_price_range_of_a_venue_is_visited(venue: VenueName) -> None:
    shares = [price_share(MOVING, venue, "SOL", "USDC", START + minute * 60 * SECOND) for minute in range(3000)]

    assert min(shares) < Decimal("0.05")
    assert max(shares) > Decimal("0.95")


def test_now_one_venue_is_ahead_and_now_the_other() -> None:
    ahead = [
        price_share(MOVING, RAYDIUM, "SOL", "USDC", at) > price_share(MOVING, METEORA, "SOL", "USDC", at)
        for at in (START + minute * 60 * SECOND for minute in range(600))
    ]

    assert 0.25 < sum(ahead) / len(ahead) < 0.75


@pytest.mark.parametrize(
    "start", [START, datetime(2026, 12, 1, 12, tzinfo=UTC), datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)], ids=str
)
def test_a_limit_slightly_above_the_best_price_is_reached_within_a_minute(start: datetime) -> None:
    def is_reached(conditions: VenueConditions) -> bool:
        limit = best_net(start, conditions) * Decimal("1.001")
        return any(best_net(start + second * SECOND, conditions) >= limit for second in range(1, 61))

    reached = sum(is_reached(replace(MOVING, seed=str(seed))) for seed in range(100))

    assert reached >= 85


def test_between_a_look_and_a_quote_the_price_hardly_moves() -> None:
    moves = sorted(
        abs(best_net(at + 2 * SECOND, conditions) / best_net(at, conditions) - 1)
        for conditions in (replace(MOVING, seed=str(seed)) for seed in range(30))
        for at in (START + minute * 61 * SECOND for minute in range(10))
    )

    assert moves[len(moves) // 2] < Decimal("0.0008")
    assert moves[len(moves) * 95 // 100] < Decimal("0.001")


def test_without_volatility_the_market_stands_still() -> None:
    later = START + timedelta(days=100)

    assert reference_price(STILL, "SOL", "USDC", START) == reference_price(STILL, "SOL", "USDC", later) == 150
    assert price_at(START, STILL) == price_at(later, STILL)
    assert len({price_at(START, replace(STILL, seed=str(seed))) for seed in range(20)}) == 20
    assert price_at(START, STILL, METEORA, "JUP RAY") != price_at(START, STILL, METEORA, "RAY JUP")


# --- quotes and spots -------------------------------------------------------------------------------------------------


def a_venue(
    conditions: VenueConditions = MOVING, name: VenueName = RAYDIUM, clock: Timeline | None = None
) -> MockVenue:
    """The venue on a chain in memory, whose calls take no time."""
    gate = Gate(clock or Timeline(), seconds=lambda _service: 0.0)
    return MockVenue(name, cast(MockChain, MemoryChain(gate, Ledger())), gate.timeline, conditions)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Timeline]:
    """A clock that moves while the venue waits."""
    clock = Timeline()
    monkeypatch.setattr("order_engine.adapters.mock_market.venue.time.sleep", clock.wait)
    yield clock


def test_in_a_market_that_moves_every_order_and_attempt_is_quoted_alike() -> None:
    venue = a_venue()

    quotes = {venue.quote(an_order(), f"order/{attempt}").to_json() for attempt in (1, 2, 3)}

    assert quotes == {price(an_order(), POOLS[RAYDIUM], RAYDIUM, price_at(START)).to_json()}


def test_in_a_market_that_stands_still_every_attempt_draws_its_price() -> None:
    order = an_order()

    for attempt in ("/1", "/2"):
        share = draw(STILL, luck_of(order), attempt, RAYDIUM).price_share
        price_now = POOLS[RAYDIUM].price_now(Decimal(150), share)
        assert a_venue(STILL).quote(order, attempt) == price(order, POOLS[RAYDIUM], RAYDIUM, price_now)


@pytest.mark.parametrize("venue", VenueName)
def test_a_quote_is_of_the_moment_in_which_it_comes(venue: VenueName, clock: Timeline) -> None:
    slow = replace(MOVING, quote_latency_ms=(500, 500))

    quote = a_venue(slow, venue, clock).quote(an_order(), "/1")
    price_now = a_venue(slow, venue, clock).spot("SOL", "USDC") / (1 - POOLS[venue].fee)

    assert round(quote.price, 9) == round(price_at(START + SECOND / 2, venue=venue), 9)
    assert round(price_now, 9) == round(price_at(START + SECOND, venue=venue), 9)


def test_the_price_impact_of_an_amount_stays_while_the_price_moves() -> None:
    clock, quotes = Timeline(), list[Quote]()
    for _ in range(5):
        quotes.append(a_venue(clock=clock).quote(TEN_SOL, "/1"))
        clock.wait(20)

    assert {quote.price_impact_pct for quote in quotes} == {Decimal("0.0299")}
    assert len({quote.price for quote in quotes}) == 5


@pytest.mark.parametrize("name", VenueName)
@pytest.mark.parametrize(
    ("token_in", "token_out", "amount_in"),
    [("SOL", "USDC", "0.1"), ("USDC", "SOL", "15"), ("BONK", "MSOL", "700000"), ("USDC", "BONK", "2")],
)
def test_a_small_orders_quote_is_just_below_the_spot(
    name: VenueName, token_in: str, token_out: str, amount_in: str
) -> None:
    venue, order = a_venue(name=name), an_order(token_in=token_in, token_out=token_out, amount_in=Decimal(amount_in))

    share = venue.quote(order, "/1").amount_out / order.amount_in / venue.spot(token_in, token_out)

    assert Decimal("0.99998") < share < 1


def test_the_spot_of_a_market_that_stands_still_is_drawn_by_seed_venue_and_pair() -> None:
    def of(name: VenueName = RAYDIUM, seed: str = "", after: float = 0, pair: str = "SOL USDC") -> Decimal:
        clock = Timeline()
        clock.wait(after)
        return a_venue(replace(STILL, seed=seed), name, clock).spot(*pair.split())

    assert of() == of(after=1000) == spot(POOLS[RAYDIUM], price_at(START, STILL))
    assert len({of(), of(METEORA), of(seed="x"), of(pair="SOL USDT")}) == 4


def test_a_spot_takes_a_quotes_time_and_fails_as_often(clock: Timeline) -> None:
    venue = a_venue(replace(MOVING, quote_latency_ms=(200, 500), error_rate=0.2, timeout_rate=0.1), clock=clock)
    failed, times = list[type[Exception]](), list[float]()
    for _ in range(1000):
        before = clock()
        try:
            venue.spot("SOL", "USDC")
        except (VenueUnavailable, RateLimited) as error:
            failed.append(type(error))
        times.append((clock() - before).total_seconds())

    assert 250 < len(failed) < 350
    assert {*failed} == {VenueUnavailable, RateLimited}
    assert 0.2 <= min(times) < 0.21 < 0.49 < max(times) <= 0.5


# --- launches ---------------------------------------------------------------------------------------------------------

PAIRS = [("SOL", "NOVA"), ("NOVA", "USDC"), ("ORBIT", "NOVA")]


def trade(venue: MockVenue, token_in: str, token_out: str) -> None:
    """Ask for a quote and for a spot; both raise NoPool, or neither does."""
    refused = 0
    for ask in (
        lambda: venue.quote(an_order(token_in=token_in, token_out=token_out), "/1"),
        lambda: venue.spot(token_in, token_out),
    ):
        try:
            ask()
        except NoPool as error:
            assert (error.code, error.transient) == ("NO_POOL", False)
            refused += 1
    assert refused in (0, 2)
    if refused:
        raise NoPool


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize("name", VenueName)
def test_a_token_that_has_not_launched_has_no_pool(name: VenueName, pair: tuple[str, str]) -> None:
    with pytest.raises(NoPool):
        trade(a_venue(name=name), *pair)


@pytest.mark.parametrize("by", ["setting", "command", "both"])
@pytest.mark.parametrize("name", VenueName)
def test_a_token_has_pools_from_its_launch_on(name: VenueName, by: str) -> None:
    clock, opens_at = Timeline(), START.replace(microsecond=0) + 5 * SECOND
    by_itself = {"setting": opens_at, "command": opens_at + 60 * SECOND, "both": opens_at + SECOND}[by]
    venue = a_venue(replace(MOVING, launches={"NOVA": by_itself}), name, clock)
    if by != "setting":
        venue.chain.launch("NOVA", opens_at)

    clock.wait((opens_at - START).total_seconds() - 0.001)
    with pytest.raises(NoPool):
        trade(venue, "SOL", "NOVA")
    clock.wait(0.001)
    trade(venue, "SOL", "NOVA")
    trade(venue, "NOVA", "BONK")
    with pytest.raises(NoPool):  # the other one has not launched
        trade(venue, "ORBIT", "NOVA")


def test_the_chain_is_read_only_for_a_token_whose_launch_is_open() -> None:
    no_chain = MockVenue(
        RAYDIUM, MockChain(None, ""), Timeline(), replace(MOVING, launches={"NOVA": START - SECOND, "ORBIT": START})
    )

    trade(no_chain, "SOL", "USDC")
    trade(no_chain, "ORBIT", "NOVA")
    waiting = replace(no_chain, conditions=MOVING)
    with limits.invocation(lambda: 0.0), pytest.raises(VenueUnavailable, match="raydium is unavailable: chain"):
        waiting.spot("SOL", "NOVA")


# --- settings ---------------------------------------------------------------------------------------------------------


def test_the_venues_are_built_by_the_settings() -> None:
    def conditions(**settings: str) -> list[VenueConditions]:
        bootstrap = Bootstrap(Settings({"CHAIN_TABLE": "chain", **settings}))
        bootstrap.dynamodb = None
        assert [venue.name for venue in bootstrap.venues] == list(VenueName)
        return [cast(MockVenue, venue).conditions for venue in bootstrap.venues]

    assert conditions() == [VenueConditions()] * 2
    launches = {"NOVA": datetime(2026, 12, 1, 12, tzinfo=UTC)}
    given = conditions(MARKET_VOLATILITY_BPS="0", MARKET_LAUNCHES="NOVA=2026-12-01T12:00:00Z", VENUE_SEED="x")
    assert given == [VenueConditions(volatility_bps=0, launches=launches, seed="x")] * 2
    assert set(LAUNCHING) == {symbol for symbol, token in TOKENS.items() if token.launches}
    for name, wrong in {"MARKET_VOLATILITY_BPS": "5001", "MARKET_LAUNCHES": "SOL=2026-12-01T12:00:00Z"}.items():
        with pytest.raises(MissingSetting, match=f"{name} must be"):
            conditions(**{name: wrong})
