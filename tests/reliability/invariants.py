"""The invariants, judged from what a run left behind: JSON and plain values, and nothing of the engine's.

A breach names its invariant. `nothing lost` is about orders that were answered with 202; the others hold for every
order in the journal.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Any


class Invariant(StrEnum):
    """Section by section of the promise."""

    ONE_EXECUTION = "one execution"
    NOTHING_LOST = "nothing lost"
    FINAL_IS_FINAL = "final is final"
    IN_ORDER = "in order, without gaps"
    NEVER_WORSE = "never worse than asked"
    AGREEMENT = "journal, history, chain and sockets agree"
    AT_REST = "nothing left claimed or queued"
    DEAD_LETTERS = "only poison among the dead letters"


@dataclass(frozen=True)
class Breach:
    """An invariant that does not hold, and what shows it."""

    invariant: Invariant
    found: str


@dataclass(frozen=True)
class Journaled:
    """One order in the journal: its events as JSON objects, whether it is closed, whether somebody has the lease."""

    order: dict[str, Any]
    events: Sequence[dict[str, Any]]
    closed: bool
    claimed: bool


@dataclass(frozen=True)
class OnChain:
    """A transaction: `state` is sent, landed, reverted or dead."""

    tx_hash: str
    order_id: str
    state: str
    amount_out: Decimal | None
    executed_price: Decimal | None


@dataclass(frozen=True)
class Persisted:
    """One order in PostgreSQL."""

    columns: dict[str, Any]
    events: dict[int, dict[str, Any]]


@dataclass(frozen=True)
class Transcript:
    """What a subscriber received, in order, over all its connections; it asked for what comes after `after`."""

    name: str
    order_id: str
    connected: bool
    messages: Sequence[str]
    after: int = 0


@dataclass(frozen=True)
class Evidence:
    """What a run left behind. `max_attempts`: how often an order is tried before a transient error fails it."""

    accepted: frozenset[str]
    journal: dict[str, Journaled]
    chain: Sequence[OnChain]
    history: dict[str, Persisted]
    transcripts: Sequence[Transcript]
    queued: Sequence[str]
    dead_letters: Sequence[str]
    max_attempts: int = 3


_FINAL = ("confirmed", "failed")
_MOVES = {
    "pending": ("routing", "failed"),
    "routing": ("building", "routing", "failed"),
    "building": ("submitted", "routing", "failed"),
    "submitted": ("confirmed", "routing", "failed"),
    "confirmed": (),
    "failed": (),
}
_TRANSIENT = ("VENUE_UNAVAILABLE", "TRANSACTION_TIMEOUT", "RATE_LIMITED")


def breaches(evidence: Evidence) -> list[Breach]:
    """Every breach that the evidence shows."""
    found = [
        Breach(Invariant.NOTHING_LOST, f"{order_id} was accepted, and the journal does not have it")
        for order_id in evidence.accepted - evidence.journal.keys()
    ]
    for order_id, journaled in evidence.journal.items():
        found += _of_lifecycle(order_id, journaled, evidence)
        found += _of_execution(order_id, journaled, evidence)
        if order_id in evidence.accepted:
            found += _of_history(order_id, journaled, evidence)
        if journaled.claimed:
            found.append(Breach(Invariant.AT_REST, f"{order_id} is still claimed"))
    for order_id in evidence.history.keys() - evidence.journal.keys():
        found.append(Breach(Invariant.AGREEMENT, f"{order_id} is in the history only"))
    for transcript in evidence.transcripts:
        found += _of_transcript(transcript, evidence)
    found += [Breach(Invariant.AT_REST, f"{order_id} is still queued") for order_id in evidence.queued]
    found += [
        Breach(Invariant.DEAD_LETTERS, f"{order_id} is a dead letter")
        for order_id in evidence.dead_letters
        if order_id in evidence.journal
    ]
    return found


def _of_lifecycle(order_id: str, journaled: Journaled, evidence: Evidence) -> Iterator[Breach]:
    events = journaled.events
    statuses = [str(event["status"]) for event in events]
    if [event["sequence"] for event in events] != list(range(1, len(events) + 1)):
        yield Breach(Invariant.IN_ORDER, f"the journal's sequences are {[event['sequence'] for event in events]}")
    for before, after in pairwise(statuses):
        if after not in _MOVES[before]:
            which = Invariant.FINAL_IS_FINAL if before in _FINAL else Invariant.IN_ORDER
            yield Breach(which, f"{order_id} went from {before} to {after}")
    finals = [status for status in statuses if status in _FINAL]
    if len(finals) > 1:
        yield Breach(Invariant.FINAL_IS_FINAL, f"{order_id} has the final statuses {finals}")
    if order_id in evidence.accepted and not finals:
        yield Breach(Invariant.NOTHING_LOST, f"{order_id} was accepted and ended as {statuses[-1]}")
    if order_id in evidence.accepted and not journaled.closed:
        yield Breach(Invariant.AT_REST, f"{order_id} is not closed")
    last = events[-1]
    if last["status"] == "failed" and last["code"] in _TRANSIENT:
        tried = {error["attempt"] for error in last["attempts"]}
        if tried != set(range(1, evidence.max_attempts + 1)):
            yield Breach(Invariant.FINAL_IS_FINAL, f"{order_id} failed for {last['code']} after attempts {tried}")


def _of_execution(order_id: str, journaled: Journaled, evidence: Evidence) -> Iterator[Breach]:
    landed = [one for one in evidence.chain if one.order_id == order_id and one.state == "landed"]
    if len(landed) > 1:
        yield Breach(Invariant.ONE_EXECUTION, f"{order_id} landed {len(landed)} times")
    last = journaled.events[-1]
    if last["status"] == "failed" and landed:
        yield Breach(Invariant.ONE_EXECUTION, f"{order_id} failed, and {landed[0].tx_hash} landed")
    if last["status"] != "confirmed":
        return
    if not landed:
        yield Breach(Invariant.AGREEMENT, f"{order_id} is confirmed, and nothing landed")
    for one in landed[:1]:
        said = (last["txHash"], Decimal(last["amountOut"]), Decimal(last["executedPrice"]))
        if said != (one.tx_hash, one.amount_out, one.executed_price):
            yield Breach(Invariant.AGREEMENT, f"{order_id} is confirmed as {said}, and the chain has {one}")
    building = [event for event in journaled.events if event["status"] == "building"]
    floors = [event["minAmountOut"] for event in building[-1:]] + [journaled.order.get("minAmountOut")]
    for floor in floors:
        if floor is not None and Decimal(last["amountOut"]) < Decimal(floor):
            yield Breach(Invariant.NEVER_WORSE, f"{order_id} received {last['amountOut']}, less than {floor}")


def _of_history(order_id: str, journaled: Journaled, evidence: Evidence) -> Iterator[Breach]:
    persisted = evidence.history.get(order_id)
    if persisted is None:
        yield Breach(Invariant.NOTHING_LOST, f"{order_id} is not in the history")
        return
    last = journaled.events[-1]
    for name, value in persisted.columns.items():
        if last.get(name) != value:
            yield Breach(Invariant.AGREEMENT, f"{name}: {value!r} in the history, {last.get(name)!r} in the journal")
    if list(journaled.events) != [event for _, event in sorted(persisted.events.items())]:
        yield Breach(Invariant.AGREEMENT, f"the events of {order_id} differ between history and journal")


def _of_transcript(transcript: Transcript, evidence: Evidence) -> Iterator[Breach]:
    messages = [json.loads(message) for message in transcript.messages]
    events = evidence.journal[transcript.order_id].events if transcript.order_id in evidence.journal else []
    first_sightings: list[int] = []
    for message in messages:
        sequence = message["sequence"]
        if sequence not in first_sightings:
            first_sightings.append(sequence)
        if not 0 < sequence <= len(events) or message != events[sequence - 1]:
            yield Breach(Invariant.AGREEMENT, f"{transcript.name} saw {message}, and the journal does not have it")
    expected = list(range(transcript.after + 1, len(events) + 1))
    seen = [sequence for sequence in first_sightings if sequence > transcript.after]
    if seen != (expected if transcript.connected else expected[: len(seen)]):
        yield Breach(Invariant.IN_ORDER, f"{transcript.name} saw {seen} of {expected}")
