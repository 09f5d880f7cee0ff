"""Live updates: one writer at a time, every status in order, and no socket holds up an order."""

import threading
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from order_engine.delivery import CONNECTING, CatchUp, Publisher
from order_engine.errors import LeaseLost, ServiceUnavailable, SocketGone, SocketUnreachable, UnknownOrder
from order_engine.orders import JournalEntry
from order_engine.ports import Claim
from order_engine.status import OrderStatus

from tests.support.builders import a_subscriber, accepted, an_entry, an_order
from tests.support.fakes import FixedClock, MemoryCatchUps, MemoryJournal, MemorySockets, MemorySubscribers


class Room:
    """One order, its worker's claim, and the people who watch."""

    def __init__(self, entry: JournalEntry | None = None) -> None:
        entry = entry or accepted(an_order())
        self.order_id: UUID = entry.order.order_id
        self.journal, self.sockets, self.catch_ups = MemoryJournal(entry), MemorySockets(), MemoryCatchUps()
        self.subscribers = MemorySubscribers(self.journal)
        self.clock = FixedClock(entry.last.timestamp)
        self.publisher = Publisher(self.journal, self.subscribers, self.sockets, self.catch_ups)
        self.notify = CatchUp(self.journal, self.subscribers, self.sockets, self.clock, pauses=(0.0, 0.0, 0.0))
        self.claim: Claim = self.journal.claim(self.order_id)

    def publish(self, times: int = 1) -> None:
        """Appends and posts events; `routing` may follow itself."""
        for _ in range(times):
            entry = self.claim.entry.advanced(OrderStatus.ROUTING, self.clock(), "Comparing prices", attempt=1)
            self.claim = self.publisher.publish(self.claim, entry)

    def join(self, connection_id: str, live_after: int | None = None, sent_through: int = 0) -> None:
        self.subscribers.join(
            a_subscriber(
                self.order_id,
                connection_id,
                connected_at=self.clock(),
                live_after=live_after,
                sent_through=sent_through,
            )
        )

    def bring_up_to_date(self, connection_id: str, generation: int = 1) -> None:
        self.notify.bring_up_to_date(self.order_id, connection_id, generation)

    def live_after(self, connection_id: str) -> int | None:
        return self.subscribers.of(self.order_id)[connection_id].live_after


@pytest.fixture
def room() -> Room:
    return Room()


# --- the publisher --------------------------------------------------------------------------------------------


def test_an_event_is_journaled_before_it_is_posted(room: Room) -> None:
    room.join("a", live_after=1)
    journaled: list[int] = []
    room.sockets.after_post = lambda: journaled.append(room.journal.read(room.order_id).sequence)

    room.publish(2)

    assert journaled == [2, 3]


def test_what_can_not_be_journaled_is_not_posted(room: Room) -> None:
    room.join("a", live_after=1)
    room.journal.die_holding(room.order_id)

    with pytest.raises(LeaseLost):
        room.publish()
    assert room.sockets.received["a"] == []


def test_only_those_that_are_handed_over_get_the_event(room: Room) -> None:
    room.join("live", live_after=1)
    room.join("catching up")

    room.publish()

    assert room.sockets.sequences("live") == [2]
    assert room.sockets.received["catching up"] == []


def test_an_event_that_a_subscriber_has_had_is_not_posted_again(room: Room) -> None:
    room.join("ahead", live_after=2)

    room.publish(2)

    assert room.sockets.sequences("ahead") == [3]


def test_a_post_is_the_events_wire_form(room: Room) -> None:
    room.join("a", live_after=1)

    room.publish()

    assert room.sockets.received["a"] == [room.claim.entry.last.to_json()]


def test_of_three_subscribers_one_that_left_is_forgotten_and_the_others_go_on(room: Room) -> None:
    for name in ("a", "b", "c"):
        room.join(name, live_after=1)
    room.sockets.faults["b"] = [SocketGone("b")]

    room.publish(2)

    assert room.sockets.sequences("a") == room.sockets.sequences("c") == [2, 3]
    assert room.sockets.received["b"] == []
    assert set(room.subscribers.of(room.order_id)) == {"a", "c"}


@pytest.mark.parametrize("others", [0, 2])
def test_a_socket_out_of_reach_is_given_back_to_notify_and_the_order_goes_on(room: Room, others: int) -> None:
    for number in range(others):
        room.join(f"other-{number}", live_after=1)
    room.join("slow", live_after=1)
    room.sockets.faults["slow"] = [SocketUnreachable("throttled")]

    room.publish()

    behind = room.subscribers.of(room.order_id)["slow"]
    assert (behind.live_after, behind.sent_through, behind.generation) == (None, 1, 2)
    assert room.catch_ups.requested == [behind]
    for number in range(others):
        assert room.sockets.sequences(f"other-{number}") == [2]


def test_a_socket_given_back_gets_what_it_missed_from_notify_and_the_rest_live(room: Room) -> None:
    room.join("slow", live_after=1)
    room.sockets.faults["slow"] = [SocketUnreachable("throttled")]
    room.publish(2)

    room.bring_up_to_date("slow", room.catch_ups.requested[0].generation)
    room.publish()

    assert room.sockets.sequences("slow") == [2, 3, 4]


def test_a_socket_out_of_reach_whose_subscriber_left_meanwhile_is_nobodys(room: Room) -> None:
    room.join("slow", live_after=1)
    room.sockets.faults["slow"] = [SocketUnreachable("throttled")]
    claim = room.journal.append(
        room.claim, room.claim.entry.advanced(OrderStatus.ROUTING, room.clock(), "Comparing prices", attempt=1)
    )
    room.subscribers.leave("slow")

    room.publisher.post(claim.entry)

    assert room.catch_ups.requested == []


def test_an_order_goes_on_when_a_lost_subscriber_can_not_be_forgotten(room: Room) -> None:
    room.join("gone", live_after=1)
    room.sockets.faults["gone"] = [SocketGone("gone")]
    room.subscribers.away = {"leave"}

    room.publish(2)

    assert room.journal.read(room.order_id).sequence == 3


def test_an_order_goes_on_when_notify_can_not_be_asked_for(room: Room) -> None:
    room.join("slow", live_after=1)
    room.sockets.faults["slow"] = [SocketUnreachable("throttled")]
    room.catch_ups.away = True

    room.publish()

    assert room.live_after("slow") is None


@pytest.mark.parametrize("others", [0, 2])
def test_a_subscriber_that_was_not_reached_and_can_not_be_marked_so_stops_the_worker(room: Room, others: int) -> None:
    for number in range(others):
        room.join(f"other-{number}", live_after=1)
    room.join("slow", live_after=1)
    room.sockets.faults["slow"] = [SocketUnreachable("throttled")]
    room.subscribers.away = {"take_back"}

    with pytest.raises(ServiceUnavailable):
        room.publish()


def test_a_subscriber_whose_catch_up_was_lost_is_asked_for_once_more_at_the_next_event(room: Room) -> None:
    room.join("lost")
    room.publish()
    assert room.catch_ups.requested == []  # it may still be under way

    room.clock.advance(CONNECTING.total_seconds() + 0.001)
    room.publish()

    assert [one.connection_id for one in room.catch_ups.requested] == ["lost"]


def test_a_subscriber_that_was_given_back_is_asked_for_at_every_event_until_it_is_handed_over(room: Room) -> None:
    room.join("slow", live_after=1)
    room.sockets.faults["slow"] = [SocketUnreachable("throttled")]
    room.catch_ups.away = True
    room.publish()
    room.catch_ups.away = False

    room.publish()
    room.bring_up_to_date("slow", room.catch_ups.requested[0].generation)
    room.publish()

    assert len(room.catch_ups.requested) == 1
    assert room.sockets.sequences("slow") == [2, 3, 4]


# --- notify ---------------------------------------------------------------------------------------------------


def test_a_subscriber_that_joins_after_the_end_gets_all_statuses_at_once() -> None:
    room = Room(an_entry(OrderStatus.CONFIRMED))
    room.join("late")

    room.bring_up_to_date("late")

    assert room.sockets.statuses("late") == ["pending", "routing", "building", "submitted", "confirmed"]
    assert room.live_after("late") == 5


def test_after_a_sequence_only_what_follows_is_posted() -> None:
    room = Room(an_entry(OrderStatus.CONFIRMED))
    room.join("again", sent_through=2)

    room.bring_up_to_date("again")

    assert room.sockets.sequences("again") == [3, 4, 5]


def test_after_a_sequence_that_is_still_to_come_nothing_is_posted_until_the_next_event(room: Room) -> None:
    room.join("early", sent_through=7)

    room.bring_up_to_date("early")
    room.publish()

    assert room.sockets.sequences("early") == [2]


def test_a_subscriber_is_handed_over_after_its_last_post_and_then_served_live(room: Room) -> None:
    room.publish()
    room.join("a")

    room.bring_up_to_date("a")
    assert room.live_after("a") == 2
    room.publish(2)

    assert room.sockets.sequences("a") == [1, 2, 3, 4]


def test_an_event_that_comes_between_the_last_post_and_the_handover_is_posted_too(room: Room) -> None:
    room.join("a")
    between = iter([1])

    def an_event_comes() -> None:
        room.publish(next(between, 0))

    room.sockets.after_post = an_event_comes
    room.bring_up_to_date("a")

    assert room.sockets.sequences("a") == [1, 2]
    assert room.live_after("a") == 2


@given(
    before=st.integers(0, 3),
    between=st.lists(st.integers(0, 3), max_size=6),
    after=st.integers(0, 3),
    unreachable=st.sets(st.integers(0, 12), max_size=4),
)
def test_however_events_and_catch_up_interleave_every_status_comes_once_and_in_order(
    before: int, between: list[int], after: int, unreachable: set[int]
) -> None:
    room = Room()
    schedule = iter(between)

    class Flaky(MemorySockets):
        posts = 0

        def post(self, connection_id: str, message: str) -> None:
            self.posts += 1
            if self.posts in unreachable:
                raise SocketUnreachable("throttled")
            super().post(connection_id, message)

    sockets = Flaky()
    room.publisher = Publisher(room.journal, room.subscribers, sockets, room.catch_ups)
    room.notify = CatchUp(room.journal, room.subscribers, sockets, room.clock, pauses=(0.0,) * 9)

    def notify(generation: int) -> None:
        sockets.after_post = lambda: room.publish(next(schedule, 0))
        room.bring_up_to_date("a", generation)
        sockets.after_post = lambda: None

    room.publish(before)
    room.join("a")
    notify(generation=1)
    room.publish(after)
    while room.catch_ups.requested:
        notify(room.catch_ups.requested.pop(0).generation)

    assert sockets.sequences("a") == list(range(1, room.claim.entry.sequence + 1))


def test_a_subscriber_misses_nothing_while_a_worker_publishes_as_fast_as_it_can(room: Room) -> None:
    names = [f"subscriber-{number}" for number in range(4)]
    for name in names:
        room.join(name)
    start = threading.Barrier(len(names) + 1, timeout=10)
    faults: list[BaseException] = []

    def catch_up(name: str) -> None:
        try:
            start.wait()
            room.bring_up_to_date(name)
        except BaseException as fault:  # noqa: BLE001 - reported by the test's own thread
            faults.append(fault)

    threads = [threading.Thread(target=catch_up, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    start.wait()
    room.publish(100)
    for thread in threads:
        thread.join(10)

    assert faults == []
    for name in names:
        assert room.sockets.sequences(name) == list(range(1, 102))


def test_only_the_generation_that_was_asked_for_is_served(room: Room) -> None:
    room.join("a")
    taken = room.subscribers.take_back(a_subscriber(room.order_id, "a"), sent_through=0)
    assert taken is not None

    room.bring_up_to_date("a", generation=1)
    assert room.sockets.received["a"] == []

    room.bring_up_to_date("a", generation=taken.generation)
    assert room.sockets.sequences("a") == [1]


def test_a_repeated_invocation_finds_nothing_to_do(room: Room) -> None:
    room.join("a")

    room.bring_up_to_date("a")
    room.bring_up_to_date("a")

    assert room.sockets.sequences("a") == [1]


def test_a_replay_asked_for_in_the_middle_of_a_catch_up_starts_over_and_no_handover_comes_between() -> None:
    room = Room(an_entry(OrderStatus.CONFIRMED))
    room.join("a")
    interruptions = iter([True])

    def replay_at_the_first_post() -> None:
        if next(interruptions, False):
            room.subscribers.take_back(a_subscriber(room.order_id, "a"), sent_through=3)

    room.sockets.after_post = replay_at_the_first_post
    room.bring_up_to_date("a", generation=1)
    assert room.live_after("a") is None

    room.sockets.received.clear()
    room.bring_up_to_date("a", generation=2)
    assert room.sockets.sequences("a") == [4, 5]


def test_a_connection_that_is_not_kept_is_left_alone(room: Room) -> None:
    room.bring_up_to_date("nobody")

    assert room.sockets.received["nobody"] == []


def test_an_order_that_is_not_known_is_the_callers_to_report(room: Room) -> None:
    with pytest.raises(UnknownOrder):
        room.notify.bring_up_to_date(uuid4(), "a", 1)


def test_a_socket_that_is_not_connected_yet_is_tried_again(room: Room) -> None:
    room.join("new")
    room.sockets.faults["new"] = [SocketGone("new"), SocketGone("new")]

    room.bring_up_to_date("new")

    assert room.sockets.sequences("new") == [1]
    assert room.live_after("new") == 1


def test_a_socket_that_stays_gone_is_forgotten(room: Room) -> None:
    room.join("gone")
    room.sockets.faults["gone"] = [SocketGone("gone") for _ in range(10)]

    room.bring_up_to_date("gone")

    assert room.subscribers.of(room.order_id) == {}
    assert len(room.sockets.faults["gone"]) == 6  # it was tried once, and again after each of the three pauses


def test_a_socket_that_was_connected_long_ago_is_gone_at_the_first_410(room: Room) -> None:
    room.join("old")
    room.clock.advance(CONNECTING.total_seconds())
    room.sockets.faults["old"] = [SocketGone("old")]

    room.bring_up_to_date("old")

    assert room.subscribers.of(room.order_id) == {}
    assert room.sockets.received["old"] == []


def test_a_socket_that_was_out_of_reach_for_a_moment_gets_everything(room: Room) -> None:
    room.publish(2)
    room.join("slow")
    room.sockets.faults["slow"] = [SocketUnreachable("throttled"), SocketUnreachable("throttled")]

    room.bring_up_to_date("slow")

    assert room.sockets.sequences("slow") == [1, 2, 3]


def test_a_socket_that_stays_out_of_reach_fails_the_invocation_so_that_it_is_repeated(room: Room) -> None:
    room.publish(2)
    room.join("slow")
    room.sockets.faults["slow"] = [SocketUnreachable("throttled") for _ in range(4)]

    with pytest.raises(SocketUnreachable):
        room.bring_up_to_date("slow")
    assert room.live_after("slow") is None

    room.bring_up_to_date("slow")
    assert room.sockets.sequences("slow") == [1, 2, 3]


def test_the_patience_with_a_socket_is_shorter_than_a_functions_time() -> None:
    room = Room()
    pauses = CatchUp(room.journal, room.subscribers, room.sockets, room.clock).pauses

    assert list(pauses) == sorted(pauses)
    assert timedelta(seconds=1) < timedelta(seconds=sum(pauses)) < CONNECTING
