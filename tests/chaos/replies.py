"""The checker's rules about what clients received: responses to their requests, and statuses on their sockets."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime

from tests.chaos.outcome import number
from tests.chaos.world import FINAL, Breach, Journaled, Message, Posted, World

# What makes one request without a clientOrderId another than the next.
_ASKED = (
    *("orderType", "tokenIn", "tokenOut", "amountIn", "slippageBps", "maxPriceImpactBps", "minAmountOut"),
    *("limitPrice", "triggerPrice", "timeInForce", "expiresAt"),
)
_DEFAULTS = {"slippageBps": 50, "maxPriceImpactBps": 1000, "orderType": "market"}


def responses(world: World) -> Iterator[Breach]:
    """A request got a response that fits it; one that was not accepted because of the system was told so."""
    for posted in world.posted:
        match posted.expected, posted.status:
            case ("accept", 202) if posted.answer.get("status") not in _had(world, posted.accepted):
                yield Breach("the 202 names a status of its order", posted.accepted or "", f"{posted.answer}")
            case ("refuse", status) if 0 < status < 400:
                yield Breach("an invalid order is refused", posted.accepted or "", f"{status} for {posted.body}")
            case ("conflict", status) if status != 409 and status < 500 and status not in (0, 429):
                yield Breach("another body under a taken key is a conflict", posted.accepted or "", f"{status}")
            case ("accept", status) if 400 <= status < 500 and status != 429:
                yield Breach("a valid order is accepted", "", f"{status} for {posted.body}: {posted.answer}")


def keys(world: World) -> Iterator[Breach]:
    """One clientOrderId is one order for as long as it lives, however often it is sent, and another one afterwards; an
    order is one request's, and as it was asked."""
    orders: dict[tuple[str, int], set[tuple[str, str]]] = defaultdict(set)
    requests: dict[str, list[Posted]] = defaultdict(list)
    for posted in world.posted:
        if order_id := posted.accepted:
            requests[order_id].append(posted)
            if posted.key:
                orders[posted.key, posted.era].add((order_id, str(posted.answer.get("createdAt"))))
    for (key, era), answered in orders.items():
        if len(answered) > 1:
            yield Breach("one key is one order", min(answered)[0], f"{key}, era {era}: {sorted(answered)}")
    for order_id, same in requests.items():
        if len({posted.era for posted in same}) > 1:
            yield Breach("an expired key is another order", order_id, f"{[(one.at, one.era) for one in same]}")
        if len({posted.key for posted in same}) > 1 or (len(same) > 1 and not same[0].key):
            yield Breach("one order is one request", order_id, f"{[posted.body for posted in same]}")
        if order_id in world.journal:
            order = {**_DEFAULTS, **world.journal[order_id].order}
            for name, asked in {**_DEFAULTS, **same[0].body, "createdAt": same[0].answer.get("createdAt")}.items():
                stored = order.get(name)
                if _plain(name, stored) != _plain(name, asked):
                    yield Breach("the order is what was asked for", order_id, f"{name}: {stored!r}, not {asked!r}")


def unasked(world: World) -> Iterator[Breach]:
    """Every order is some request's: that of a client that was told so, or of one that got no clear answer. One that
    was told that nothing was accepted is no longer executed."""
    failed = [posted for posted in world.posted if posted.expected == "accept" and posted.status not in (202, 429)]
    open_keys = {posted.key for posted in failed}
    open_bodies = Counter(_content(posted.body) for posted in failed if not posted.key)
    unclear = Counter(_content(posted.body) for posted in failed if not posted.key and posted.unclear)
    for order_id in sorted(set(world.journal) - world.accepted):
        journaled = world.journal[order_id]
        # Stored without a time in force, an order is gtc; a request that names an end is gtd.
        content, executed = _content({"timeInForce": "gtc", **journaled.order}), _executed(journaled)
        key = journaled.order.get("clientOrderId")
        if key not in open_keys if key else not open_bodies[content]:
            yield Breach("no order without a request", order_id, f"{journaled.order} was never sent unanswered")
        elif not key:
            open_bodies[content] -= 1
            unclear[content] -= executed
            if unclear[content] < 0:
                yield Breach("nothing accepted is nothing executed", order_id, "every request for it was told so")
        if not executed and (world.rows.get(order_id) or world.chain_of(order_id) or journaled.lease):
            yield Breach("an order that nobody was promised is not half done", order_id, "it has left pending's traces")


def nothing_accepted(world: World) -> Iterator[Breach]:
    """Whoever was told that nothing was accepted under a key was told so while no order had it that is executed."""
    eras = {posted.accepted: posted.era for posted in world.posted}
    for posted in world.posted:
        if not (posted.nothing_accepted and posted.key):
            continue
        for order_id, journaled in world.journal.items():
            same = journaled.order.get("clientOrderId") == posted.key and eras.get(order_id, posted.era) == posted.era
            created = datetime.fromisoformat(journaled.order["createdAt"]).timestamp()
            if same and created < posted.until and _executed(journaled):
                yield Breach("nothing accepted under a key means no order", order_id, f"{posted}")


def in_order(world: World) -> Iterator[Breach]:
    """Each socket's first sightings are after + 1, after + 2, …, each as it is in the journal, nothing new after a
    final one; a repeat is the same as the first time."""
    for transcript in world.transcripts:
        journaled = world.journal.get(transcript.order_id)
        if journaled is None:
            yield Breach("a socket is some order's", transcript.order_id, "the journal has no such order")
            continue
        known = {event["sequence"]: event for event in journaled.events}
        seen, first, ended = transcript.after, min([transcript.after, *transcript.replays]), False
        for _, message in transcript.messages:
            sequence = message.get("sequence")
            if not isinstance(sequence, int) or not first < sequence <= seen + 1:
                yield Breach("in order, without gaps", transcript.order_id, f"{sequence} after {seen}")
                break
            if message != known.get(sequence):
                yield Breach("what is seen is journaled", transcript.order_id, f"{message}, not {known.get(sequence)}")
            if ended and sequence > seen:
                yield Breach("nothing new after a final status", transcript.order_id, f"{message}")
            seen = max(seen, sequence)
            ended = ended or message["status"] in FINAL


def to_the_end(world: World) -> Iterator[Breach]:
    """A socket that stayed open to the end has seen all, unless it was made mute. The system closes none before its
    subscriber has had the final status, and cuts none."""
    for one in world.transcripts:
        journaled = world.journal.get(one.order_id)
        if one.broken:
            yield Breach("no socket is cut", one.order_id, one.broken)
        elif one.closed and one.shared:
            yield Breach("a socket for many orders is not closed", one.order_id, f"after {one.seen} events")
        elif one.closed and not (one.final or one.ended_before):
            yield Breach("a socket is closed after its final status", one.order_id, f"{one.seen} events")
        elif not (one.left or one.mute) and journaled and one.seen < journaled.sequence:
            yield Breach("a socket that stays sees all", one.order_id, f"{one.seen} of {journaled.sequence} events")


def _had(world: World, order_id: str | None) -> set[str]:
    """The statuses that an order has had; every one begins as pending."""
    journaled = world.journal.get(order_id or "")
    return {"pending", *(event["status"] for event in journaled.events)} if journaled else set()


def _executed(journaled: Journaled) -> bool:
    return journaled.sequence > 1


def _content(asked: Message) -> tuple[object, ...]:
    """What a body or an order asks for, however it spells its numbers."""
    words = {**_DEFAULTS, "timeInForce": "gtd" if asked.get("expiresAt") else "gtc", **asked}
    if words["timeInForce"] == "gtc":
        words.pop("expiresAt", None)  # an order that rests has one all the same
    return tuple(_plain(name, words.get(name)) for name in _ASKED)


def _plain(name: str, value: object) -> object:
    """A field's value, however it is spelled."""
    if value is not None and name.endswith("At"):
        return datetime.fromisoformat(str(value))
    return number(value) if "amount" in name.lower() or name.endswith("Price") else value
