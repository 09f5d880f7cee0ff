"""What a run is told by: the table of what was injected and found, and the verdict."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.story import story
from tests.chaos.world import Breach, World

# Lines of the functions' logs that tell of a fault which was got over.
_TOLD = {
    "resuming an interrupted order": "orders resumed after their worker died",
    "the order is not due": "deliveries of an order that was leased or backing off",
    "another worker took the order over": "workers whose order another one took over",
    "a service is unavailable; the order is sent anew": "deliveries put off because a service was unavailable",
    "order is closed already": "deliveries of an order that was closed",
    "outcome not persisted yet": "rows deferred because PostgreSQL was unavailable",
    "the transaction may still land": "transactions looked up again later",
    "no worker ever took the order up; it goes back to the queue": "dead letters that went back to the workers",
    "socket unreachable": "posts of workers that failed",
    "a subscriber could not be served": "subscribers that a worker could not take back or ask for in time",
    "the worker failed; the message is redelivered": "unforeseen errors of workers",
}


def print_table(console: Console, injected: Mapping[str, int], found: Mapping[str, int]) -> None:
    """Prints both halves."""
    table = Table("", "how many", title=None)
    for what, count in sorted(injected.items()):
        table.add_row(f"injected: {what}", f"{count}")
    table.add_section()
    for what, count in found.items():
        table.add_row(f"found: {what}", f"{count}")
    console.print(table)


def found(world: World, log: Path) -> dict[str, int]:
    """What came of it: by the world at the end, and by what the functions logged."""
    return {**_counted(world), **_told(log)}


def _counted(world: World) -> dict[str, int]:
    finals: Counter[str] = Counter()
    retried = 0
    for journaled in world.journal.values():
        last = journaled.events[-1]
        finals[f"orders {last['status']}" + (f" ({last['code']})" if last.get("code") else "")] += 1
        retried += last["attempt"] > 1
    posts = Counter(
        f"POSTs answered {posted.status}" if posted.status else "POSTs without an answer" for posted in world.posted
    )
    repeats = sum(
        len(one.messages) - len({message["sequence"] for _, message in one.messages}) for one in world.transcripts
    )
    states = Counter(f"transactions {transaction.state}" for transaction in world.chain)
    return {
        **dict(sorted(posts.items())),
        "orders accepted": len(world.accepted),
        **dict(sorted(finals.items())),
        "orders with a second or third attempt": retried,
        **dict(sorted(states.items())),
        "sockets": len(world.transcripts),
        "sockets that came back with ?after=": sum(one.after > 0 for one in world.transcripts),
        "sockets whose posts were made to hang": sum(one.mute for one in world.transcripts),
        "sockets open to the end": sum(not (one.left or one.broken) for one in world.transcripts),
        "statuses received": sum(len(one.messages) for one in world.transcripts),
        "of them repeats": repeats,
        "dead letters": len(world.dead_letters),
    }


def _told(log: Path) -> dict[str, int]:
    text = log.read_text(errors="replace")
    return {meaning: text.count(f'"message":"{line}"') for line, meaning in _TOLD.items()}


def judge(console: Console, world: World, breaches: list[Breach]) -> int:
    """Says what the checker found; answers the exit code."""
    if not breaches:
        console.print(f"no breach: {len(world.accepted)} orders accepted, and every promise kept")
        return 0
    first = breaches[0]
    console.print(f"{len(breaches)} breach(es); the first: {first.rule}: {first.detail}", markup=False)
    if first.order_id:
        console.print(story(world, first.order_id), highlight=False, markup=False)
    for rule, many in Counter(breach.rule for breach in breaches).most_common():
        console.print(f"{many} × {rule}", highlight=False, markup=False)
    for breach in breaches[1:20]:
        console.print(f"also: {breach.rule}: {breach.order_id} {breach.detail}"[:300], highlight=False, markup=False)
    return 1
