"""Where the mock market stands, for whoever waits for a price: this machine can compute it, as the venues do."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import cached_property

from order_client import Status
from order_engine.bootstrap import Bootstrap
from order_engine.domain.amounts import to_wire
from order_engine.domain.errors import ExecutionError
from order_engine.domain.tokens import resolve
from order_engine.ports import Venue
from order_engine.settings import Settings

from local.gateway import client
from local.stack import Endpoints

_SHORT = Context(prec=8)
_SERVICES = ("dynamodb", "lambda")
_PROMPT = {"VENUE_QUOTE_LATENCY_MS": "0", "VENUE_ERROR_RATE": "0", "VENUE_TIMEOUT_RATE": "0"}


@dataclass(frozen=True)
class Ticker:
    """The best market price of a pair, by the settings of a running stack."""

    stack: Endpoints
    token_in: str
    token_out: str

    def tell(self, opened: Status) -> str:
        """Say where the market is, to whoever waits at an `open` status."""
        prices = []
        for venue in self._venues:
            try:
                prices.append(venue.spot(resolve(self.token_in).symbol, resolve(self.token_out).symbol))
            except ExecutionError as error:
                why = str(error)
        if not prices:
            return why
        now, due = (to_wire(_SHORT.plus(price)) for price in (max(prices), opened.reference_price or Decimal()))
        return f"the market is at {now}" + (f", the order is due at {due}" if Decimal(due) else "")

    @cached_property
    def _venues(self) -> Sequence[Venue]:
        """Those of the watcher, without their latencies and faults; asked for when first needed."""
        dynamodb, functions = (client(one, self.stack.aws["AWS_ENDPOINT_URL"], self.stack.aws) for one in _SERVICES)
        name = self.stack.outputs["WatchMarketFunctionName"]
        variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        parts = Bootstrap(Settings({**variables, **_PROMPT}))
        parts.dynamodb = dynamodb
        return parts.venues
