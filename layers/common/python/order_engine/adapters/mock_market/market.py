"""Prices in time at the mock venues: seeded paths, each computed for any one moment without its history.

A path goes in straight lines between knots that lie a period apart. A knot's value is a hash of (VENUE_SEED, path,
index), so the same seed has the same history for ever and everywhere. Lines, because their pace is even: what a watcher
saw is about what a worker is quoted a second or two later.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from hashlib import sha256

from order_engine.adapters.mock_market.dice import VenueConditions
from order_engine.domain.amounts import EXACT
from order_engine.domain.swaps import VenueName
from order_engine.domain.tokens import TOKENS, Token

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# Periods of the paths. Knots are high and low by turns, so that by its swing a price comes back about once a minute: a
# limit slightly above it is soon reached. A drift takes it away from there; r has now one venue ahead, now the other.
_SWING = timedelta(seconds=30)
_DRIFT = timedelta(minutes=30)
_PRICE_SHARE = timedelta(minutes=10)

# How near to its bounds a swing turns: within this share of its range.
_MARGIN = Decimal("0.2")


def reference_price(conditions: VenueConditions, token_in: str, token_out: str, at: datetime) -> Decimal:
    """Return units of tokenOut per unit of tokenIn on the market as a whole, at a moment (aware).

    Each token stays within `volatility_bps` of its price in the token table, a stablecoin exactly there.
    """
    with localcontext(EXACT):
        return _usd_price(conditions, TOKENS[token_in], at) / _usd_price(conditions, TOKENS[token_out], at)


def price_share(conditions: VenueConditions, venue: VenueName, token_in: str, token_out: str, at: datetime) -> Decimal:
    """Return r (see `Pool`), in [0, 1), of a venue's pool at a moment; the same at every moment without volatility."""
    path = f"{conditions.seed}/{venue}/{token_in}/{token_out}"
    if not conditions.volatility_bps:
        return _share(path)
    return _along(path, _PRICE_SHARE, at, margin=Decimal(1))


def _usd_price(conditions: VenueConditions, token: Token, at: datetime) -> Decimal:
    if token.stable or not conditions.volatility_bps:
        return token.usd_price
    swing = _along(f"{conditions.seed}/{token.symbol}/swing", _SWING, at, _MARGIN)
    drift = _along(f"{conditions.seed}/{token.symbol}/drift", _DRIFT, at, margin=Decimal(1))
    return token.usd_price * (1 + Decimal(conditions.volatility_bps).scaleb(-4) * (swing + drift - 1))


def _along(path: str, period: timedelta, at: datetime, margin: Decimal) -> Decimal:
    """Return the path's value at a moment, in [0, 1). Its knots lie within `margin` of 0 and of 1 by turns."""
    unit = period // _MICROSECOND
    shift = int(_share(f"{path}/shift") * 2 * unit)  # else all paths would turn at the same moments
    index, rest = divmod((at - _EPOCH) // _MICROSECOND + shift, unit)
    before, after = (_knot(path, number, margin) for number in (index, index + 1))
    with localcontext(EXACT):
        return before + (after - before) * rest / unit


def _knot(path: str, index: int, margin: Decimal) -> Decimal:
    share = _share(f"{path}/{index}") * margin
    return share if index % 2 else 1 - margin + share


def _share(path: str) -> Decimal:
    """Return the hash of a path as a share in [0, 1), of 9 digits."""
    return Decimal(int.from_bytes(sha256(path.encode()).digest()) % 10**9).scaleb(-9)
