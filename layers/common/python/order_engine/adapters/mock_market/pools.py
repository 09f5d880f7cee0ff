"""The pools of the mock venues, and how they price a swap: by the constant-product rule."""

from dataclasses import dataclass
from decimal import Decimal, localcontext

from order_engine.domain.amounts import EXACT, floor_to_unit, price_of, to_wire
from order_engine.domain.errors import AmountTooSmall, InsufficientLiquidity
from order_engine.domain.order import Order
from order_engine.domain.swaps import Quote, VenueName
from order_engine.domain.tokens import TOKENS


@dataclass(frozen=True)
class Pool:
    """What sets a venue apart: its price is `lowest + r * spread` times the reference price, r uniform in [0, 1)."""

    lowest: Decimal
    spread: Decimal
    fee: Decimal
    depth_usd: Decimal  # of each side

    def price_now(self, reference: Decimal, price_share: Decimal) -> Decimal:
        """Return the price, in the reference price's units, where r is `price_share`."""
        return EXACT.multiply(reference, EXACT.add(self.lowest, EXACT.multiply(price_share, self.spread)))


# Price ranges and fees are the assignment's. Depths: 10 SOL move such a pool by a few hundredths of a per cent.
POOLS = {
    VenueName.RAYDIUM: Pool(Decimal("0.98"), Decimal("0.04"), Decimal("0.003"), Decimal(5_000_000)),
    VenueName.METEORA: Pool(Decimal("0.97"), Decimal("0.05"), Decimal("0.002"), Decimal(3_000_000)),
}


def price(order: Order, pool: Pool, venue: VenueName, price_now: Decimal) -> Quote:
    """Quote by the constant-product rule: out = reserveOut * in / (reserveIn + in), where `in` is after the fee.

    reserveIn is the pool's depth at the token table's price, so that an amount's price impact stays while the price
    moves; `price_now` is in units of tokenOut per unit of tokenIn. Raises InsufficientLiquidity for an amount above the
    pool's own, AmountTooSmall for one that buys less than one base unit.
    """
    token_in, token_out = TOKENS[order.token_in], TOKENS[order.token_out]
    with localcontext(EXACT):
        reserve_in = pool.depth_usd / token_in.usd_price
        amount_in = order.amount_in * (1 - pool.fee)
        if amount_in > reserve_in:
            raise InsufficientLiquidity(
                f"{venue} has {to_wire(floor_to_unit(reserve_in, 0))} {token_in.symbol} in its pool, "
                f"too few for {to_wire(order.amount_in)}"
            )
        share = amount_in / (reserve_in + amount_in)
        amount_out = floor_to_unit(reserve_in * price_now * share, token_out.decimals)
        if amount_out == 0:
            raise AmountTooSmall(f"{to_wire(order.amount_in)} {token_in.symbol} buy no {token_out.symbol} on {venue}")
        return Quote(
            venue=venue,
            price=price_of(price_now, Decimal(1)),
            fee=pool.fee,
            price_impact_pct=(share * 100).quantize(Decimal("0.0001")),
            amount_out=amount_out,
        )


def spot(pool: Pool, price_now: Decimal) -> Decimal:
    """Return what a quote's amountOut for one tokenIn comes to as its amount goes to zero: less the fee, no impact."""
    return price_of(EXACT.multiply(price_now, 1 - pool.fee), Decimal(1))
