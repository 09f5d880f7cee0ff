"""Submit an order: write it to the journal as pending, then put it on the queue."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import uuid4

from order_engine.domain.access import StreamSecrets
from order_engine.domain.amounts import to_wire
from order_engine.domain.errors import ServiceUnavailable
from order_engine.domain.order import Order, OrderTerms
from order_engine.domain.order_types import rests
from order_engine.domain.quota import Allowance
from order_engine.domain.record import OrderRecord
from order_engine.domain.refusals import (
    AcceptanceUnknown,
    FieldError,
    InvalidRequest,
    NothingAccepted,
    TooManyRequests,
)
from order_engine.observability import count, log_context, logger
from order_engine.ports import Clock, Journal, OrderQueue, Quotas
from order_engine.use_cases.pause import PauseCheck

# The fields that the first release had. A field added since is left out at its default: a request repeated after an
# update must be equal to what the release before took.
_ALWAYS_HASHED = {"order_type", "token_in", "token_out", "amount_in", "slippage_bps", "min_amount_out"}


def fingerprint_of(terms: OrderTerms) -> str:
    """Return the same text for requests that ask for the same thing, however they spell tokens and numbers."""
    defaults = {name: field.default for name, field in type(terms).model_fields.items()}
    asked = {
        name: value
        for name, value in terms.model_dump(exclude={"client_order_id"}).items()
        if name in _ALWAYS_HASHED or value != defaults[name]
    }
    canonical = {key: _plain(value) for key, value in asked.items()}
    return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()


def _plain(value: object) -> object:
    match value:
        case Decimal():
            return to_wire(value)
        case datetime():
            return value.isoformat()
    return value


def outage(detail: str, key: str | None) -> NothingAccepted | AcceptanceUnknown:
    """Return what is known of a request that a service's outage ended before it was queued: with a clientOrderId an
    earlier request may have been accepted; without one nobody can have queued it, and nobody will."""
    return AcceptanceUnknown(detail, key) if key else NothingAccepted(detail)


@dataclass(frozen=True)
class Submission:
    """The use case of `submit`. `stream_base` is the WebSocket's URL; no order rests for longer than
    `longest_rest`; without `quotas` every owner may place as many
    orders as it likes, and without `pause_check` nobody can pause the engine."""

    journal: Journal
    queue: OrderQueue
    now: Clock
    stream_base: str = ""
    quotas: Quotas | None = None
    longest_rest: timedelta = timedelta(days=30)
    pause_check: PauseCheck | None = None

    def admit(self, terms: OrderTerms, owner: str) -> Allowance | None:
        """Count an order of an owner, before it is submitted. Return what is left; None without a quota.

        Raises EnginePaused, TooManyRequests, and what `outage` says if nobody could count."""
        if self.pause_check:
            self.pause_check.require_running()
        if self.quotas is None:
            return None
        try:
            allowance = self.quotas.take(owner)
        except ServiceUnavailable as fault:
            raise outage("the owner's quota could not be looked up", terms.client_order_id) from fault
        if allowance.retry_seconds:
            raise TooManyRequests(allowance)
        return allowance

    def submit(self, terms: OrderTerms, owner: str) -> OrderRecord:
        """Accept an owner's order: when this returns, it is journaled and queued, and will end in one final status.

        A request with a clientOrderId may be repeated: it returns the same order, with the status that it has by now,
        and queues it again (harmless) unless that is final.
        Raises InvalidRequest for an order that would rest too long, ClientOrderIdReused if the key belongs to another
        body, NothingAccepted if the order is not executed and
        never will be, and AcceptanceUnknown if a service did not say what became of it.
        """
        record = self._journaled(terms, owner)
        count("OrdersAccepted")
        with log_context(record.order.order_id, owner):
            logger.info("order accepted")
        return record

    def stream_url(self, order: Order, streams: StreamSecrets | None = None) -> str:
        """Return where the order's statuses are streamed, ready to connect to; with a token where one is needed."""
        token = f"&token={streams.token(order.order_id, self.now())}" if streams else ""
        return f"{self.stream_base}?orderId={order.order_id}{token}"

    def _journaled(self, terms: OrderTerms, owner: str) -> OrderRecord:
        now = self.now()
        order = Order(order_id=uuid4(), created_at=now, owner=owner, **terms.model_dump())
        if rests(order):
            order = order.model_copy(update={"expires_at": self._end_of_rest(terms, now)})
        try:
            record = self.journal.create(OrderRecord.accepted(order), fingerprint_of(terms))
        except ServiceUnavailable as fault:
            raise outage("the journal did not respond", terms.client_order_id) from fault
        if not record.is_final:
            try:
                self.queue.send(record.order.order_id)
            except ServiceUnavailable as fault:
                self._withdraw(record.order, fault)
        return record

    def _end_of_rest(self, terms: OrderTerms, now: datetime) -> datetime:
        latest = now + self.longest_rest
        if terms.expires_at and terms.expires_at > latest:
            days = f"{self.longest_rest / timedelta(days=1):g} days"
            message = f"must be within {days}, the longest that an order rests: by {latest:%Y-%m-%dT%H:%M:%SZ}"
            raise InvalidRequest.of(FieldError("expiresAt", message))
        return terms.expires_at or latest

    def _withdraw(self, order: Order, fault: ServiceUnavailable) -> None:
        """Take an order that could not be queued out of the journal again.

        A failed call may have queued it all the same. Then either a worker has it by now, and it is accepted after
        all; or the message finds no order and ends as a dead letter. An order with a clientOrderId stays: its client
        can repeat the request.
        """
        if order.client_order_id is not None:
            raise AcceptanceUnknown("the queue did not respond", order.client_order_id) from fault
        try:
            withdrawn = self.journal.withdraw(order.order_id)
        except ServiceUnavailable:
            logger.warning("an order that could not be queued is left in the journal")
            raise AcceptanceUnknown("the queue did not respond", None) from fault
        if withdrawn:
            raise NothingAccepted("the queue did not take the order") from fault
