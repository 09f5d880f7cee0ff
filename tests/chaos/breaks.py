"""What tests break in the world of `samples`, each time one promise."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from tests.chaos.samples import FAILED, LIMIT, REFUSED
from tests.chaos.world import Cancel, OnChain, Posted, Transcript, World

Break = Callable[[World], World]
UNKNOWN = "44444444-4444-4444-8444-444444444444"


def having(**changes: Callable[[World], Any]) -> Break:
    """With these parts of the world, each made of it."""
    return lambda world: replace(world, **{name: change(world) for name, change in changes.items()})


def journal(order_id: str, **changes: Any) -> Break:
    """With an order that is journaled otherwise."""
    return having(journal=lambda w: {**w.journal, order_id: replace(w.journal[order_id], **changes)})


def event(order_id: str, *numbers: int, **changes: Any) -> Break:
    """Change events everywhere: in the journal, in PostgreSQL and on the sockets."""

    def broken(world: World) -> World:
        copies = list(world.journal[order_id].events)
        copies += [row["details"] for row in world.event_rows if row["order_id"] == order_id]
        sockets = [one for one in world.transcripts if one.order_id == order_id]
        copies += [message for socket in sockets for _, message in socket.messages]
        for event in copies:
            if event["sequence"] in numbers:
                event.update(changes)
        return world

    return broken


def row(order_id: str, **changes: Any) -> Break:
    """With another row in PostgreSQL."""
    return having(rows=lambda w: {**w.rows, order_id: {**w.rows.get(order_id, {}), **changes}})


def on_chain(tx_hash: str, order_id: str, state: str, *numbers: int) -> Break:
    """With this transaction, in the place of the one of the same hash."""
    amount_out, price = map(Decimal, numbers or (0, 0))
    transaction = OnChain(tx_hash, order_id, state, amount_out, price)
    return having(chain=lambda w: [*(one for one in w.chain if one.tx_hash != tx_hash), transaction])


def posted(body: Any, status: int, answer: Any = None, expected: str = "accept", at: float = 1, era: int = 0) -> Break:
    return having(posted=lambda w: [*w.posted, Posted(at, body, expected, status, answer or {}, era=era)])


def seen(index: int, *sequences: int, **changes: Any) -> Break:
    """Another transcript for one socket: these events, in this order."""

    def changed(world: World) -> list[Transcript]:
        one = world.transcripts[index]
        messages = [(float(number), dict(world.journal[one.order_id].events[number - 1])) for number in sequences]
        return [*world.transcripts[:index], replace(one, messages=messages, **changes), *world.transcripts[index + 1 :]]

    return having(transcripts=changed)


def failed_with(code: str) -> Break:
    """FAILED fails with another code, everywhere but in PostgreSQL's row."""
    return event(FAILED, 5, code=code, error="no", attempts=[{"attempt": 1, "code": code, "error": "no"}])


def both(*breaks: Break) -> Break:
    return lambda world: breaks[1](breaks[0](world))


def lied(world: World) -> list[Posted]:
    """Whoever got no response was told that nothing was accepted."""
    return [one if one.status else replace(one, status=503, answer=REFUSED) for one in world.posted]


def cancel(order_id: str, status: int) -> Break:
    """Its owner has cancelled it, and was answered so."""
    return having(cancels=lambda _: [Cancel(order_id, status)])


def ordered(order_id: str, **changes: Any) -> Break:
    """As if an order had been asked for with something else besides."""

    def changed(world: World) -> World:
        return journal(order_id, order={**world.journal[order_id].order, **changes})(world)

    return changed


def cancelled(order_id: str, status: int) -> Break:
    return both(cancel(order_id, status), journal(order_id, status="cancelled"))


def reopened(times: int) -> Break:
    """LIMIT goes back to rest so many times."""

    def changed(world: World) -> World:
        events = list(world.journal[LIMIT].events)
        events[4:4] = events[1:4] * (times - 1)
        return journal(LIMIT, events=events)(world)

    return changed


def had_a_time(world: World) -> list[Posted]:
    """LIMIT was asked for until a moment."""
    until = {"expiresAt": "2026-01-02T03:05:06Z"}
    return [replace(one, body={**one.body, **until}) if one.accepted == LIMIT else one for one in world.posted]


def paid_less(world: World) -> list[OnChain]:
    """A little less than its limitPrice has landed for LIMIT."""
    return [replace(one, amount_out=Decimal("1479.99")) if one.order_id == LIMIT else one for one in world.chain]
