"""The checker's rules about what each socket saw."""

from collections.abc import Iterator

from tests.chaos.world import FINAL, Breach, Transcript, World


def in_order(world: World) -> Iterator[Breach]:
    """Each socket's first sightings are after + 1, after + 2, …, each as it is in the journal, nothing new after a
    final one; whatever comes again is the same as the first time."""
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
    """A socket that stayed open to the end has seen all, unless it was made mute, and none was cut by the system."""
    for transcript in world.transcripts:
        if transcript.broken:
            yield Breach("no socket is cut", transcript.order_id, transcript.broken)
        elif not (transcript.left or transcript.mute):
            yield from _missed(transcript, world)


def _missed(transcript: Transcript, world: World) -> Iterator[Breach]:
    journaled = world.journal.get(transcript.order_id)
    if journaled is not None and transcript.seen < journaled.sequence:
        yield Breach(
            "a socket that stays sees all", transcript.order_id, f"{transcript.seen} of {journaled.sequence} events"
        )
