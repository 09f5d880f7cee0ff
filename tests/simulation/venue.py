"""A venue that does what a plan says, on a chain like a real one: it lands by itself, and has no guard of its own."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import NoReturn

from order_engine.adapters.mock_market.chain import Execution
from order_engine.domain.amounts import floor_to_unit, price_of
from order_engine.domain.errors import (
    AmountTooSmall,
    InsufficientLiquidity,
    RateLimited,
    TransactionTimeout,
    VenueUnavailable,
)
from order_engine.domain.order import Order
from order_engine.domain.swaps import InFlight, NotFound, Quote, Transaction, TransactionState, VenueName

from tests.doubles.venues import FEE, Market, ScriptedVenue, attempt_of
from tests.simulation.plan import Answer, Broadcast, Fate, OrderPlan

_DECIMALS = 6  # of what is paid out: USDC's, and enough for NOVA
_POOL = Decimal(100_000)  # SOL
_SHARES = {Broadcast.REVERTS: Decimal("0.4"), Broadcast.SHORT: Decimal("0.4")}
_NO_ANSWER_SECONDS = 1.0
VENUES = tuple(VenueName)


@dataclass
class PlannedMarket(Market):
    """What the plan has for each order, by its amount; `sent` counts how often a transaction was sent, `seen_at` says
    when its venue sees it."""

    orders: dict[Decimal, OrderPlan] = field(default_factory=dict)
    validity: float = 10.0
    sent: Counter[str] = field(default_factory=Counter)
    seen_at: dict[str, float] = field(default_factory=dict)

    def planned(self, amount_in: Decimal, attempt: int) -> Fate:
        """The fate of an attempt."""
        order = self.orders.get(amount_in)
        return order.fates[attempt - 1] if order and 0 < attempt <= len(order.fates) else Fate()


def _share(amount_in: Decimal) -> Decimal:
    """Of its other side, what an amount takes from the pool."""
    return amount_in / (_POOL + amount_in)


class PlannedVenue(ScriptedVenue):
    """Implements `ports.Venue` by the plan's fates."""

    market: PlannedMarket

    def _quote(self, order: Order, request_id: str) -> Quote:
        answer = self.market.planned(order.amount_in, attempt_of(request_id)).quotes[VENUES.index(self.name)]
        price = self.price_now(order.token_in, order.token_out)
        amount_out = floor_to_unit(self.nets(order, price / self.PRICES[self.name]), _DECIMALS)
        impact = (_share(order.amount_in) * 100).quantize(Decimal("0.0001"))
        if answer is Answer.NOTHING:
            amount_out = Decimal(0)
        elif answer is Answer.IMPACT:
            impact = Decimal(60)
        elif answer is not Answer.OK:
            self._refuse(answer)
        return Quote(venue=self.name, price=price, fee=FEE, price_impact_pct=impact, amount_out=amount_out)

    def nets(self, order: Order, level: Decimal) -> Decimal:
        """See `ScriptedVenue.nets`."""
        return _POOL * self.PRICES[self.name] * level * (1 - FEE) * _share(order.amount_in)

    def _build(self, order: Order, quote: Quote, min_amount_out: Decimal, request_id: str) -> Transaction:
        answer = self.market.planned(order.amount_in, attempt_of(request_id)).build
        if answer is not Answer.OK:
            self._refuse(answer)
        # A real transaction is another one whenever it is built again.
        name = f"{request_id}/{self.name}/{self.market.called['build']}"
        built = super()._build(order, quote, min_amount_out, request_id)
        valid_until = self.gate.timeline() + timedelta(seconds=self.market.validity)
        return built.model_copy(update={"tx_hash": name, "valid_until": valid_until})

    def _send(self, transaction: Transaction, wait_seconds: float) -> TransactionState:
        market, timeline, tx_hash = self.market, self.gate.timeline, transaction.tx_hash
        fate = market.planned(transaction.amount_in, attempt_of(transaction.request_id))
        market.sent[tx_hash] += 1
        match fate.broadcast:
            case Broadcast.UNAVAILABLE | Broadcast.RATE_LIMITED | Broadcast.UNFORESEEN | Broadcast.HANGS:
                self._refuse(Answer[fate.broadcast.name])
            case Broadcast.TIMES_OUT:
                timeline.wait(_NO_ANSWER_SECONDS)
                raise TransactionTimeout(f"{self.name} did not respond in time")
            case Broadcast.LOST if market.sent[tx_hash] == 1:
                timeline.wait(wait_seconds)
                return NotFound()
            case Broadcast.LOST_FOR_GOOD:
                timeline.wait(wait_seconds)
                return InFlight()
        found = self._chain_errors(lambda: self.chain.send(transaction, self._planned(transaction, fate), timeline()))
        market.seen_at.setdefault(tx_hash, timeline.seconds + fate.blind)
        if fate.broadcast is Broadcast.SHORT and tx_hash in self.chain.ledger.sent:
            self.chain.ledger.sent[tx_hash].ends_as = "landed"
        if fate.broadcast is Broadcast.HANGS_AFTER:
            self.gate.hang(None)
        if fate.broadcast is Broadcast.TIMES_OUT_AFTER:
            timeline.wait(_NO_ANSWER_SECONDS)
            raise TransactionTimeout(f"{self.name} did not respond in time")
        return self._await_end(transaction, found, wait_seconds)

    def _status(self, transaction: Transaction, wait_seconds: float) -> TransactionState:
        if self.market.seen_at.get(transaction.tx_hash, 0.0) > self.gate.timeline.seconds:
            return NotFound()
        return super()._status(transaction, wait_seconds)

    def _planned(self, transaction: Transaction, fate: Fate) -> Execution:
        share = _SHARES.get(fate.broadcast, Decimal("0.9999"))
        amount_out = floor_to_unit(transaction.quoted_amount_out * share, _DECIMALS)
        return Execution(
            lands_at=self.gate.timeline() + timedelta(seconds=fate.seconds),
            amount_out=amount_out,
            executed_price=price_of(amount_out, transaction.amount_in),
        )

    def _refuse(self, answer: Answer) -> NoReturn:
        match answer:
            case Answer.RATE_LIMITED:
                raise RateLimited(f"{self.name} asks for fewer calls")
            case Answer.TOO_LITTLE:
                raise InsufficientLiquidity(f"{self.name} has too little")
            case Answer.TOO_SMALL:
                raise AmountTooSmall(f"{self.name} gives nothing for so little")
            case Answer.UNFORESEEN:
                raise KeyError(self.name)
            case Answer.HANGS:
                self.gate.hang(None)
        raise VenueUnavailable(f"{self.name} is unavailable")
