"""The journal in memory, with the conditions of the DynamoDB adapter (test_contract.py)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from order_engine.adapters.aws import CONTENDED
from order_engine.adapters.journal.journal import KEPT
from order_engine.domain.errors import BackingOff, LeaseHeld, LeaseLost, OrderClosed, ServiceUnavailable, UnknownOrder
from order_engine.domain.record import OrderRecord
from order_engine.domain.refusals import ClientOrderIdReused
from order_engine.ports import KEY_LIFETIME, Claim, Clock

from tests.doubles.gate import Gate, Service, outside
from tests.doubles.tables import Key, OrderItem, Tables

LEASE = timedelta(seconds=25)


class MemoryJournal:
    """Implements `ports.Journal` for one process, by whose clock it goes; all that share `tables` see the same."""

    def __init__(self, gate: Gate, tables: Tables, now: Clock | None = None) -> None:
        self.gate = gate
        self.tables = tables
        self._now = now or gate.timeline

    def create(self, record: OrderRecord, fingerprint: str) -> OrderRecord:
        key = record.order.client_order_id
        if key is None:
            self._put(record)
            return record
        taken = f"{record.order.owner}#{key}"
        holder = self.gate.call(
            Service.JOURNAL, "create", lambda: self._put_with_key(taken, record, fingerprint), CONTENDED
        )
        if holder is None:
            return record
        if holder.fingerprint != fingerprint:
            raise ClientOrderIdReused(key)
        try:
            return self.read(holder.order_id)
        except UnknownOrder as missing:
            raise ServiceUnavailable(f"order {missing} of a clientOrderId can't be seen") from missing

    @outside(Service.JOURNAL)
    def _put(self, record: OrderRecord) -> None:
        self.tables.orders.setdefault(record.order.order_id, OrderItem(record))

    def _put_with_key(self, key: str, record: OrderRecord, fingerprint: str) -> Key | None:
        holder = self.tables.keys.get(key)
        if holder and holder.expires_at >= int(self._now().timestamp()):
            return holder
        expires_at = int((record.order.created_at + KEY_LIFETIME).timestamp())
        self.tables.keys[key] = Key(record.order.order_id, fingerprint, expires_at)
        self.tables.orders[record.order.order_id] = OrderItem(record)
        return None

    @outside(Service.JOURNAL)
    def read(self, order_id: UUID) -> OrderRecord:
        return self._item(order_id).read()

    @outside(Service.JOURNAL)
    def named(self, owner: str, client_order_id: str) -> UUID | None:
        holder = self.tables.keys.get(f"{owner}#{client_order_id}")
        return holder.order_id if holder else None

    @outside(Service.JOURNAL)
    def withdraw(self, order_id: UUID) -> bool:
        there = self.tables.orders.get(order_id)
        if there and (there.touched or there.sequence != 1):
            return False
        self.tables.orders.pop(order_id, None)
        return True

    @outside(Service.JOURNAL)
    def decide(self, record: OrderRecord) -> bool:
        there = self._item(record.order.order_id)
        if there.record.last == record.last:
            return True
        if there.sequence != record.sequence - 1 or there.record.transaction is not None:
            return False
        there.record = replace(there.record, events=record.events, behind=True)
        there.lease_owner, there.not_before = None, 0
        return True

    @outside(Service.JOURNAL)
    def claim(self, order_id: UUID) -> Claim:
        there, now = self._item(order_id), self._now()
        if there.closed:
            raise OrderClosed(str(order_id))
        if there.lease_owner and there.lease_until >= _milliseconds(now):
            raise LeaseHeld(order_id, _moment(there.lease_until))
        if there.not_before > _milliseconds(now):
            raise BackingOff(order_id, _moment(there.not_before))
        interrupted = there.lease_owner is not None
        owner = str(uuid4())
        there.touched, there.lease_owner, there.lease_until = True, owner, _milliseconds(now + LEASE)
        there.not_before = 0
        return Claim(there.read(), owner, interrupted)

    @outside(Service.JOURNAL)
    def append(self, claim: Claim, record: OrderRecord) -> Claim:
        there = self._leased(claim)
        if there.sequence != record.sequence - 1:
            raise LeaseLost(str(record.order.order_id))
        there.record = replace(
            there.record,
            events=(*there.record.events, record.last),
            transaction=record.transaction or there.record.transaction,
            errors=record.errors,
            behind=record.behind,
        )
        seen = there.read()
        return Claim(
            replace(record, subscribers=seen.subscribers, crowded=seen.crowded), claim.owner, interrupted=False
        )

    @outside(Service.JOURNAL)
    def release(self, claim: Claim, closed: bool = False, not_before: datetime | None = None) -> None:
        there = self._leased(claim)
        seen = claim.record
        there.record = replace(there.record, errors=seen.errors, behind=seen.behind, misses=seen.misses)
        there.lease_owner = None
        if not_before:
            there.not_before = _milliseconds(not_before)
        if closed:
            there.closed, there.expires_at = True, self._now() + KEPT

    def _item(self, order_id: UUID) -> OrderItem:
        if order_id not in self.tables.orders:
            raise UnknownOrder(str(order_id))
        return self.tables.orders[order_id]

    def _leased(self, claim: Claim) -> OrderItem:
        there = self.tables.orders.get(claim.record.order.order_id)
        if there is None or there.lease_owner != claim.owner:
            raise LeaseLost(str(claim.record.order.order_id))
        return there


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
