"""The chain in memory, with the calls and conditions of `adapters.mock_market.chain` (test_contract.py)."""

from dataclasses import dataclass, field
from datetime import datetime

from order_engine.adapters.mock_market.chain import Execution, Sent, refusal_of
from order_engine.domain.errors import FailureCode
from order_engine.domain.swaps import Dropped, Ended, InFlight, Landed, NotFound, Reverted, Transaction
from order_engine.limits import DYNAMODB

from tests.doubles.gate import Gate, Service, outside


@dataclass
class Broadcast:
    """A transaction on the chain: `state` goes from sent to landed, reverted or dead, once and for good. `lands_at` is
    None where its validity ends before its time comes."""

    transaction: Transaction
    state: str
    execution: Execution | None = None
    lands_at: datetime | None = None
    ends_as: str = "dead"

    def ended(self) -> Ended:
        """How it ended."""
        if self.state == "landed" and self.execution:
            return Landed(self.execution.amount_out, self.execution.executed_price)
        if self.state == "reverted" and self.execution:
            reason = refusal_of(self.transaction, self.execution)
            return Reverted(str(reason), FailureCode.SLIPPAGE_EXCEEDED)
        return Dropped()

    def standing(self) -> Sent | Ended:
        """How it stands."""
        return Sent(self.transaction.tx_hash, self.lands_at, self.ends_as) if self.state == "sent" else self.ended()

    def settle(self, now: datetime) -> None:
        """Ends it if its time has come."""
        if self.state == "sent" and self.lands_at and self.lands_at <= now:
            self.state = self.ends_as


@dataclass
class Ledger:
    """What is on the chain. The mock chain proper has `one_per_order`, a guard that lets an order have one transaction
    which can land, and lands what is due when somebody looks (not `by_itself`); real chains have no guard, and wait for
    nobody. One that is `careless` does not see to it that a swap gives its floor."""

    one_per_order: bool = True
    by_itself: bool = False
    careless: bool = False
    sent: dict[str, Broadcast] = field(default_factory=dict)
    guards: dict[str, str] = field(default_factory=dict)
    launches: dict[str, datetime] = field(default_factory=dict)

    def of(self, tx_hash: str, now: datetime) -> Broadcast | None:
        """A transaction, as it stands at a moment."""
        there = self.sent.get(tx_hash)
        if there and self.by_itself:
            there.settle(now)
        return there

    def settle(self, now: datetime) -> None:
        """Ends everything whose time has come; what has not landed while it was valid is dead."""
        for there in self.sent.values():
            there.settle(now)
            if there.state == "sent" and _has_passed(there.transaction, now):
                there.state = "dead"


class MemoryChain:
    """The mock chain's operations; every one of its calls to DynamoDB is one here."""

    def __init__(self, gate: Gate, ledger: Ledger) -> None:
        self.gate = gate
        self.ledger = ledger

    def send(self, transaction: Transaction, execution: Execution, now: datetime) -> Sent | Ended | NotFound:
        """See `MockChain.send`."""
        taken = None if _has_passed(transaction, now) else self._broadcast(transaction, execution)
        return taken.standing() if taken else self.look_up(transaction.tx_hash)

    @outside(Service.CHAIN)
    def _broadcast(self, transaction: Transaction, execution: Execution) -> Broadcast | None:
        ledger, order_id = self.ledger, str(transaction.order_id)
        if transaction.tx_hash in ledger.sent or (ledger.one_per_order and order_id in ledger.guards):
            return None
        lands_at = None if _has_passed(transaction, execution.lands_at) else execution.lands_at
        ends_as = "reverted" if refusal_of(transaction, execution) and not ledger.careless else "landed"
        sent = Broadcast(transaction, "sent", execution, lands_at, ends_as)
        ledger.sent[transaction.tx_hash], ledger.guards[order_id] = sent, transaction.tx_hash
        return sent

    @outside(Service.CHAIN)
    def look_up(self, tx_hash: str) -> Sent | Ended | NotFound:
        """See `MockChain.look_up`."""
        there = self.ledger.of(tx_hash, self.gate.timeline())
        return there.standing() if there else NotFound()

    @outside(Service.CHAIN)
    def land(self, transaction: Sent) -> Ended:
        """See `MockChain.land`."""
        there = self.ledger.sent[transaction.tx_hash]
        if there.state == "sent":
            there.state = transaction.ends_as
        return there.ended()

    def declare_dead(self, transaction: Transaction, now: datetime) -> Ended | InFlight:
        """See `MockChain.declare_dead`."""
        found = self.look_up(transaction.tx_hash)
        if isinstance(found, Sent) and found.lands_at and found.lands_at <= now:
            return self.land(found)
        if not isinstance(found, Sent | NotFound):
            return found
        if not _has_passed(transaction, now):
            return InFlight()
        died = self._forestall(transaction) if isinstance(found, NotFound) else self._stop(transaction)
        return Dropped() if died else self.declare_dead(transaction, now)

    def launch(self, symbol: str, at: datetime) -> datetime:
        """See `MockChain.launch`: an operator's call, not a venue's."""
        opens_at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        take = lambda: self.ledger.launches.setdefault(symbol, opens_at)  # noqa: E731
        return self.gate.call(Service.CHAIN, "launch", take, DYNAMODB)

    @outside(Service.CHAIN)
    def opens_at(self, symbol: str) -> datetime | None:
        """See `MockChain.opens_at`."""
        return self.ledger.launches.get(symbol)

    @outside(Service.CHAIN)
    def _forestall(self, transaction: Transaction) -> bool:
        if transaction.tx_hash in self.ledger.sent:
            return False
        self.ledger.sent[transaction.tx_hash] = Broadcast(transaction, "dead")
        return True

    @outside(Service.CHAIN)
    def _stop(self, transaction: Transaction) -> bool:
        there = self.ledger.of(transaction.tx_hash, self.gate.timeline())
        if there is None or there.state != "sent":
            return False
        there.state = "dead"
        self.ledger.guards.pop(str(transaction.order_id), None)
        return True


def _has_passed(transaction: Transaction, moment: datetime) -> bool:
    return transaction.valid_until is None or moment > transaction.valid_until
