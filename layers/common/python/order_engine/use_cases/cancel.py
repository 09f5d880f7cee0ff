"""Cancel an order."""

from dataclasses import dataclass
from uuid import UUID

from order_engine.domain.access import Caller
from order_engine.domain.decisions import cancelled
from order_engine.domain.errors import ServiceUnavailable
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.record import OrderRecord
from order_engine.domain.refusals import NotNowAvailable
from order_engine.observability import count, log_context, logger
from order_engine.ports import Clock, Journal, OrderQueue

# How often an order is read anew that has moved on while it was to be cancelled; up to `submitted` it moves four times.
_TRIES = 10

# An order at rest has no message on its way, and once cancelled no watcher finds it: should this function crash between
# its decision and its message, one that was sent ahead brings the order to a worker, after the function's end.
_AHEAD_SECONDS = 20


@dataclass(frozen=True)
class Cancellation:
    """The use case of `cancel`. An order that is another owner's is as unknown as none."""

    journal: Journal
    queue: OrderQueue
    now: Clock

    def cancel(self, order_id: UUID, caller: Caller) -> OrderRecord:
        """Cancel an order, and return its record as it is then; repeated, it does so again.

        When this returns, no transaction of the order will ever be sent, whoever has it and whatever crashes: that is
        decided by one conditional write. A worker is then told to publish and to persist it.

        Raises TooLateToCancel and UnknownOrder, and NotNowAvailable if it is not known what came of it.
        """
        with log_context(order_id, caller.owner):
            for _ in range(_TRIES):
                record = self._read(order_id, caller)
                ended = cancelled(record, self.now())
                try:
                    if ended is not record:
                        if record.status is OrderStatus.OPEN:
                            self.queue.send(order_id, delay_seconds=_AHEAD_SECONDS)
                        if not self.journal.decide(ended):
                            continue  # it has moved on
                        count("OrdersCancelled")
                        logger.info("cancel decided", extra={"sequence": ended.sequence})
                    if not record.closed:
                        self.queue.send(order_id)
                except ServiceUnavailable as fault:
                    raise NotNowAvailable("whether the order is cancelled is not known") from fault
                return ended
            raise NotNowAvailable(f"the order moved on {_TRIES} times while it was to be cancelled")

    def _read(self, order_id: UUID, caller: Caller) -> OrderRecord:
        try:
            record = self.journal.read(order_id)
        except ServiceUnavailable as fault:
            raise NotNowAvailable("the journal did not respond") from fault
        caller.check_owns(order_id, record.order.owner)
        return record
