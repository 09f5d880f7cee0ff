"""What a run is told by: the table of what was injected and found, the verdict, and an order's story."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.world import Breach, World

_MOST_SOCKETS = 12
# Lines of the functions' logs that tell of a fault which was got over.
_TOLD = {
    "resuming an interrupted order": "orders resumed after their worker died",
    "the order is not due": "deliveries of an order that was leased or backing off",
    "the order was taken over, or cancelled": "workers whose order was taken over, or cancelled",
    "a service is unavailable; the order is sent anew": "deliveries put off because a service was unavailable",
    "order is closed already": "deliveries of an order that was closed",
    "the market could not be looked at": "looks at the market that failed",
    "the watch ends": "runs of the watcher that came to their end",
    "outcome not persisted yet": "rows deferred because PostgreSQL was unavailable",
    "the transaction may still land": "transactions looked up again later",
    "no worker ever took the order up; it goes back to the queue": "dead letters that went back to the workers",
    "socket unreachable": "posts of workers that failed",
    "socket not closed": "sockets that could not be closed",
    "a subscriber could not be served": "subscribers that a worker could not take back or ask for in time",
    "the worker failed; the message is redelivered": "unforeseen errors of workers",
}


def print_table(console: Console, injected: Mapping[str, int], found: Mapping[str, int]) -> None:
    table = Table("", "how many", title=None)
    for what, count in sorted(injected.items()):
        table.add_row(f"injected: {what}", f"{count}")
    table.add_section()
    for what, count in found.items():
        table.add_row(f"found: {what}", f"{count}")
    console.print(table)


def found(world: World, log: Path) -> dict[str, int]:
    """What came of it: by the world at the end, and by what the functions logged."""
    lasts = [journaled.events[-1] for journaled in world.journal.values()]
    posts = Counter(
        f"POSTs answered {posted.status}" if posted.status else "POSTs without an answer" for posted in world.posted
    )
    finals = Counter(f"orders {last['status']}" + (f" ({last['code']})" if "code" in last else "") for last in lasts)
    states = Counter(f"transactions {transaction.state}" for transaction in world.chain)
    lives = [(one.order["orderType"], [event["status"] for event in one.events]) for one in world.journal.values()]
    rested = Counter(f"triggers of {kind}" for kind, life in lives for status in life if status == "triggered")
    rested["times that an order rested again"] = sum(max(life.count("open") - 1, 0) for _, life in lives)
    rested |= Counter(f"{kind} orders {life[-1]}" for kind, life in lives if "open" in life)
    sockets, text = world.transcripts, log.read_text(errors="replace")
    repeats = sum(len(one.messages) - len({message["sequence"] for _, message in one.messages}) for one in sockets)
    return {
        **dict(sorted(posts.items())),
        "orders accepted": len(world.accepted),
        **dict(sorted(finals.items())),
        "orders with a second or third attempt": sum(last["attempt"] > 1 for last in lasts),
        **dict(sorted(rested.items())),
        **dict(sorted(states.items())),
        "sockets": sum(not one.shared for one in sockets),
        "orders on a socket for many": sum(one.shared for one in sockets),
        "sockets that came back with ?after=": sum(one.after > 0 for one in sockets),
        "sockets whose posts were made to hang": sum(one.mute for one in sockets),
        "sockets that the server closed": sum(one.closed for one in sockets),
        "sockets open to the end": sum(not (one.left or one.closed or one.broken) for one in sockets),
        "statuses received": sum(len(one.messages) for one in sockets),
        "of them repeats": repeats,
        "dead letters": len(world.dead_letters),
        **{
            meaning: text.count(f'"message":"{line}"') + text.count(f'"reason":"{line}')
            for line, meaning in _TOLD.items()
        },
    }


def judge(console: Console, world: World, breaches: list[Breach]) -> int:
    """Print what the checker found; return the exit code."""
    if not breaches:
        console.print(f"no breach: {len(world.accepted)} orders accepted, and every promise kept")
        return 0
    first = breaches[0]
    lines = [f"{len(breaches)} breach(es); the first: {first.rule}: {first.detail}"]
    lines += [story(world, first.order_id)] if first.order_id else []
    lines += [f"{many} × {rule}" for rule, many in Counter(breach.rule for breach in breaches).most_common()]
    firsts = {breach.rule: breach for breach in reversed(breaches)}
    others = [*[one for rule, one in firsts.items() if rule != first.rule], *breaches[1:20]]
    lines += [f"also: {breach.rule}: {breach.order_id} {breach.detail}"[:300] for breach in others]
    console.print("\n".join(lines), highlight=False, markup=False)
    return 1


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
        end = "left" if transcript.left else "closed" if transcript.closed else transcript.broken or "open to the end"
        asked = f"after {transcript.after}, replays {transcript.replays}" if transcript.replays else transcript.after
        yield f"  socket opened {transcript.opened_at:.3f}, after {asked}, {end}"
        yield from (f"    {at:.3f} {_text(message)}" for at, message in transcript.messages)
        yield from (f"    noise: {text}" for text in transcript.noise)
    yield from (f"  dead letter: {body}" for body in world.dead_letters if order_id in body)


def _text(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
