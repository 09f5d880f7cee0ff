"""An order's whole story, for whoever has to find out what went wrong."""

import json
from collections.abc import Iterator
from typing import Any

from tests.chaos.world import World

_MOST_SOCKETS = 12


def story(world: World, order_id: str) -> str:
    """Everything that is known of one order: its requests, journal, chain, rows, and each socket's transcript."""
    return "\n".join(_lines(world, order_id))


def _lines(world: World, order_id: str) -> Iterator[str]:
    yield f"the story of order {order_id}"
    for posted in world.posted:
        if posted.accepted == order_id:
            yield f"  {posted.at:.3f} POST {_text(posted.body)} -> {posted.status} {_text(posted.answer)}"
    journaled = world.journal.get(order_id)
    if journaled is None:
        yield "  journal: nothing"
    else:
        yield f"  journal: {journaled.status}, closed {journaled.closed}, lease {journaled.lease or 'free'}"
        yield from (f"    {_text(event)}" for event in journaled.events)
    yield from (f"  chain: {transaction}" for transaction in world.chain_of(order_id))
    yield f"  PostgreSQL: {_text(world.rows.get(order_id))}"
    yield from (f"    {_text(row)}" for row in world.event_rows if row["order_id"] == order_id)
    watched = [transcript for transcript in world.transcripts if transcript.order_id == order_id]
    if len(watched) > _MOST_SOCKETS:
        yield f"  {len(watched)} sockets; those that had least:"
    for transcript in sorted(watched, key=lambda one: (one.left, one.seen))[:_MOST_SOCKETS]:
        end = "left" if transcript.left else transcript.broken or "open to the end"
        asked = f"after {transcript.after}, replays {transcript.replays}" if transcript.replays else transcript.after
        yield f"  socket opened {transcript.opened_at:.3f}, after {asked}, {end}"
        yield from (f"    {at:.3f} {_text(message)}" for at, message in transcript.messages)
        yield from (f"    noise: {text}" for text in transcript.noise)
    yield from (f"  dead letter: {body}" for body in world.dead_letters if order_id in body)


def _text(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
