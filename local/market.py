"""Where the mock market stands, for whoever waits for a price: this machine can compute it, as the venues do."""

from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any

from order_engine.adapters.mock_market.chain import MockChain
from order_engine.adapters.mock_market.dice import VenueConditions
from order_engine.adapters.mock_market.venue import MockVenue
from order_engine.domain.amounts import to_wire
from order_engine.domain.errors import ExecutionError
from order_engine.domain.swaps import VenueName
from order_engine.domain.tokens import resolve

from local.gateway import client
from local.stack import Endpoints

_SHORT = Context(prec=8)


class Ticker:
    """The best market price of a pair, by the seed and the volatility of a running stack."""

    def __init__(self, stack: Endpoints, token_in: str, token_out: str) -> None:
        self._pair = resolve(token_in).symbol, resolve(token_out).symbol
        configuration = client("lambda", stack.aws["AWS_ENDPOINT_URL"], stack.aws).get_function_configuration(
            FunctionName=stack.outputs["WatchMarketFunctionName"]
        )
        given = configuration["Environment"]["Variables"]
        conditions = VenueConditions(
            quote_latency_ms=(0, 0),
            seed=given["VENUE_SEED"],
            volatility_bps=int(given["MARKET_VOLATILITY_BPS"]),
        )
        chain = MockChain(client("dynamodb", stack.aws["AWS_ENDPOINT_URL"], stack.aws), stack.outputs["ChainTableName"])
        self._venues = [MockVenue(name, chain, lambda: datetime.now(UTC), conditions) for name in VenueName]

    def tell(self, opened: dict[str, Any]) -> str:
        """Say where the market is, to whoever waits at an `open` status."""
        prices = []
        for venue in self._venues:
            try:
                prices.append(venue.spot(*self._pair))
            except ExecutionError as error:
                why = str(error)
        if not prices:
            return why
        now, due = (to_wire(_SHORT.plus(price)) for price in (max(prices), Decimal(opened["referencePrice"])))
        return f"the market is at {now}" + (f", the order is due at {due}" if Decimal(due) else "")
