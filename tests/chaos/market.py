"""The mock market's prices, by the venues' own functions: for the campaign's clients, and for its judgement."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Self
from uuid import uuid4

from order_engine.adapters.mock_market.dice import VenueConditions
from order_engine.adapters.mock_market.market import price_share, reference_price
from order_engine.adapters.mock_market.pools import POOLS, price, spot
from order_engine.domain.order import Order
from order_engine.domain.swaps import VenueName

from tests.chaos.plan import Request
from tests.chaos.world import Message

_PRICES = {"limit": "limitPrice", "sniper": "limitPrice", "stop": "triggerPrice", "takeProfit": "triggerPrice"}
_DIGITS = Decimal("1e-15")
_STEP_SECONDS = 0.5


class Market:
    """The venues' prices at any moment, whether a token of the pair has launched or not."""

    def __init__(self, conditions: VenueConditions) -> None:
        self._conditions = conditions

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Self:
        """The market of a function with these environment variables."""
        volatility = int(variables.get("MARKET_VOLATILITY_BPS") or VenueConditions.volatility_bps)
        return cls(VenueConditions(seed=variables.get("VENUE_SEED", ""), volatility_bps=volatility))

    def body(self, request: Request) -> Message:
        """What a request asks for if it is sent now: with a price by the present one, and the end of its time."""
        body, now = dict(request.body), datetime.now(UTC)
        if request.price_bps is not None:
            with localcontext(prec=40):
                asked = self.net(body, now) * (1 + Decimal(request.price_bps).scaleb(-4))
            body[_PRICES[body["orderType"]]] = f"{max(asked.quantize(_DIGITS), _DIGITS):f}"
        if request.lasts is not None:
            body["timeInForce"] = "gtd"
            body["expiresAt"] = (now + timedelta(seconds=request.lasts)).isoformat().replace("+00:00", "Z")
        return body

    def net(self, body: Message, at: datetime) -> Decimal:
        """The best price of the whole of an order: tokenOut for one tokenIn, after fee and price impact."""
        amount, pair = Decimal(str(body["amountIn"])), (body["tokenIn"], body["tokenOut"])
        order = Order(
            order_id=uuid4(),
            created_at=at,
            order_type="market",
            token_in=pair[0],
            token_out=pair[1],
            amount_in=amount,
            slippage_bps=0,
        )
        quotes = [price(order, POOLS[venue], venue, self._price(venue, pair, at)) for venue in VenueName]
        return max(quote.amount_out for quote in quotes) / amount

    def span(self, pair: tuple[str, str], at: float, seconds: float = 0.0) -> tuple[Decimal, Decimal]:
        """The least and the greatest market price of any venue in so many seconds before a moment (epoch seconds)."""
        steps = [at - n * _STEP_SECONDS for n in range(int(seconds / _STEP_SECONDS) + 1)]
        moments = [datetime.fromtimestamp(moment, UTC) for moment in steps]
        spots = [spot(POOLS[venue], self._price(venue, pair, moment)) for venue in VenueName for moment in moments]
        return min(spots), max(spots)

    def spans(self, sides: Collection[str], at: float, seconds: float) -> dict[str, tuple[Decimal, Decimal]]:
        """The spans of the pairs of these sides (SOL/USDC#rise), by pair (SOL/USDC)."""
        pairs = {side.partition("#")[0] for side in sides}
        return {name: self.span(_pair(name), at, seconds) for name in pairs}

    def is_due(self, side: str, price: Decimal, at: float) -> bool:
        """Whether an order on this side that waits for that market price is due, whichever venue it is quoted by, and
        whatever a moment makes of it."""
        name, _, direction = side.partition("#")
        lowest, highest = self.span(_pair(name), at)
        return lowest * Decimal("0.995") > price if direction == "rise" else highest * Decimal("1.005") < price

    def _price(self, venue: VenueName, pair: tuple[str, str], at: datetime) -> Decimal:
        reference = reference_price(self._conditions, *pair, at)
        return POOLS[venue].price_now(reference, price_share(self._conditions, venue, *pair, at))


def _pair(name: str) -> tuple[str, str]:
    token_in, _, token_out = name.partition("/")
    return token_in, token_out
