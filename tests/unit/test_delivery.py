"""Live updates: one writer at a time, every status in order, and no socket holds up an order."""

import logging
from dataclasses import replace
from uuid import uuid4

import pytest
from order_engine import limits
from order_engine.domain.errors import SocketUnreachable, UnknownOrder
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.record import OrderRecord
from order_engine.domain.subscriber import CONNECTING, Connection

from tests.doubles.gate import Mode, Service
from tests.doubles.tables import Socketed, Tables
from tests.support.builders import a_record, a_subscriber, advanced
from tests.unit.deployment import Deployment

ON_EACH_PAGE = pytest.mark.parametrize("page", [0, 1])
HANDSHAKE = CONNECTING.total_seconds()
BUDGET = limits.POSTS + limits.TAKE_BACK + 0.1


class Room(Deployment):
    """One order, its worker's claim, and those who watch."""

    def __init__(self, record: OrderRecord | None = None) -> None:
        super().__init__(record, Tables(page_size=10_000))
        self.claim = self.platform.journal.claim(self.order_id)
        self.publisher = self.platform.executor().publisher

    def routed(self) -> OrderRecord:
        """The record with one more event; `routing` may follow itself."""
        return advanced(self.claim.record, OrderStatus.ROUTING, self.timeline(), attempt=1)

    def failed(self) -> OrderRecord:
        """The record with its final event."""
        return advanced(self.claim.record, OrderStatus.FAILED, self.timeline())

    def publish(self, times: int = 1, final: bool = False) -> float:
        """Append and post events; return how many seconds the last one took."""

        def work() -> float:
            began = self.timeline.seconds
            self.claim = self.publisher.publish(self.claim, self.failed() if final else self.routed())
            took = self.timeline.seconds - began
            self.timeline.wait(0.1)  # for what runs in the background
            return took

        return [self.run(work) for _ in range(times)][-1]

    def dismiss(self) -> float:
        """Close the sockets; return how many seconds it took."""

        def work() -> float:
            began = self.timeline.seconds
            self.publisher.dismiss(self.claim.record)
            return self.timeline.seconds - began

        return self.run(work)

    def notify(self, name: str, generation: int | None = None) -> None:
        """Notify, for the subscriber as it stands, or for an earlier generation."""
        wanted = self.kept.get(name) or a_subscriber(self.order_id, name)
        self.run(lambda: self.platform.notify(replace(wanted, generation=generation or wanted.generation)))


@pytest.fixture
def room() -> Room:
    return Room()


# --- the publisher ----------------------------------------------------------------------------------------------------


@ON_EACH_PAGE
def test_only_those_that_are_handed_over_get_the_event(room: Room, page: int) -> None:
    after = {"live": 1, "ahead": 2, "catching up": None}
    sockets = [room.watch(name, page, live_after=live_after) for name, live_after in after.items()]

    room.publish(2)

    assert [socket.sequences for socket in sockets] == [[2, 3], [3], []]


@ON_EACH_PAGE
def test_one_that_is_not_connected_yet_is_left_to_notify(room: Room, page: int) -> None:
    """It joined after the last status, so that notify had nothing to post, and handed it over during its handshake."""
    socket = room.watch("a", page, live_after=1)
    socket.closed = True

    room.publish()

    assert room.kept["a"].live_after is None
    assert room.requested == ["a"]
    socket.closed = False
    room.notify("a")
    assert socket.sequences == [2]


@ON_EACH_PAGE
def test_subscribers_that_are_not_reached_are_taken_back_in_one_write(room: Room, page: int) -> None:
    fine, throttled, stuck = (room.watch(name, page, live_after=1) for name in ("fine", "throttled", "stuck"))
    throttled.deaf = stuck.stuck = (0, 1)

    room.publish()

    assert sorted(room.requested) == ["stuck", "throttled"]
    assert [call.name for call, _ in room.platform.gate.story].count("take_back") == 1
    room.timeline.wait(1)
    for name in room.requested:
        assert (room.kept[name].live_after, room.kept[name].sent_through, room.kept[name].generation) == (None, 1, 2)
        room.notify(name)
    room.publish()
    assert fine.sequences == throttled.sequences == stuck.sequences == [2, 3]


def test_however_many_sockets_hang_a_status_is_held_up_by_one_budget(room: Room) -> None:
    for number in range(500):
        room.watch(f"{number}", page=number % 25, live_after=1).stuck = (0, 3600) if number % 2 else (0, 0)

    assert room.publish() < BUDGET

    assert all(room.kept[f"{number}"].live_after is None for number in range(1, 500, 2))
    assert not room.claim.record.behind


@pytest.mark.parametrize("call", ["list_pages", "fan_out_page", "take_back", "leave", "send"])
def test_whatever_hangs_behind_a_push_an_order_goes_on(room: Room, call: str) -> None:
    """And who may lack an event gets it with the next one, or from notify."""
    fine, throttled = (room.watch(name, 1, live_after=1) for name in ("fine", "throttled"))
    room.watch("gone", 1, live_after=1).closed = True
    room.timeline.wait(HANDSHAKE)
    throttled.deaf = (room.timeline.seconds, room.timeline.seconds + 0.1)
    room.troubles.coming[call] = [Mode.HANG]

    assert room.publish() < BUDGET
    assert room.troubles.coming[call] == []
    room.timeline.wait(10)
    room.publish()
    if room.kept["throttled"].live_after is None:
        assert room.requested[-1] == "throttled"
        room.notify("throttled")

    assert list(dict.fromkeys(fine.sequences)) == [2, 3]
    assert throttled.sequences == [2, 3]
    assert "gone" not in room.kept


def test_an_order_is_behind_until_a_subscriber_has_what_it_may_lack(room: Room) -> None:
    slow = room.watch("slow", live_after=1)
    slow.deaf = (0, 5)
    room.troubles.away = {Service.JOURNAL}
    room.item.record = room.routed()
    watched = room.item.read()

    posted = room.run(lambda: room.publisher.post(watched))
    assert posted.behind
    assert room.run(lambda: room.publisher.finish(posted)).behind
    room.timeline.wait(5)

    assert not room.run(lambda: room.publisher.finish(posted)).behind
    assert slow.sequences == [2]


@ON_EACH_PAGE
def test_notify_is_requested_again_for_an_overdue_subscriber(room: Room, page: int) -> None:
    room.watch("lost", page)
    room.publish()
    assert room.requested == []  # it may still be under way

    room.timeline.wait(HANDSHAKE + 0.001)
    room.publish(2)

    assert room.requested == ["lost"]  # once in a delivery


@ON_EACH_PAGE
def test_whoever_has_the_final_status_is_closed(room: Room, page: int) -> None:
    fine, throttled, later = (room.watch(name, page, live_after=1) for name in ("fine", "throttled", "later"))
    room.watch("catching up", page)
    room.publish()
    room.dismiss()
    assert [socket.dismissed for socket in room.platform.sockets.values()] == [False] * 4
    throttled.deaf = later.stuck = (room.timeline.seconds, room.timeline.seconds + 0.5)

    assert room.publish(final=True) < BUDGET
    room.dismiss()

    assert [name for name, socket in room.platform.sockets.items() if socket.dismissed] == ["fine"]
    for name in ("throttled", "later"):
        room.notify(name)
    assert [socket.sequences for socket in (fine, throttled, later)] == [[2, 3]] * 3
    assert throttled.dismissed and later.dismissed


@pytest.mark.parametrize("mode", [Mode.FAIL_BEFORE, Mode.FAIL_AFTER, Mode.HANG, Mode.LATE])
def test_one_that_may_lack_the_final_status_is_not_closed(room: Room, mode: Mode) -> None:
    socket = room.watch("a", live_after=1)
    room.troubles.coming["post"] = [mode]

    room.publish(final=True)
    room.dismiss()

    assert not socket.dismissed
    assert room.requested == ["a"]


@pytest.mark.parametrize("mode", [Mode.FAIL_BEFORE, Mode.HANG, Mode.HANG_AFTER, Mode.LATE])
def test_a_socket_that_can_not_be_closed_costs_nothing(
    room: Room, mode: Mode, caplog: pytest.LogCaptureFixture
) -> None:
    """However many there are: nobody is taken back or posted to again."""
    sockets = [room.watch(f"{number}", number % 3, live_after=1) for number in range(200)]
    room.troubles.coming["close"] = [mode] * 200
    room.publish(final=True)

    assert room.dismiss() < limits.CLOSES + 0.1

    assert room.requested == []
    assert [socket.sequences for socket in sockets] == [[2]] * 200
    assert max(record.levelno for record in caplog.records) == logging.INFO
    if mode is Mode.FAIL_BEFORE:
        assert [record.message for record in caplog.records].count("socket not closed") == 200


# --- notify -----------------------------------------------------------------------------------------------------------


@ON_EACH_PAGE
@pytest.mark.parametrize(("after", "sequences"), [(0, [1, 2, 3]), (1, [2, 3]), (2, [3]), (9, [3])])
def test_a_late_subscriber_gets_what_it_has_not_had(page: int, after: int, sequences: list[int]) -> None:
    room = Room(a_record(OrderStatus.ROUTING))
    socket = room.watch("late", page, sent_through=after)

    room.notify("late")
    room.notify("late")
    assert room.kept["late"].live_after is not None
    room.publish()

    assert socket.sequences == sequences


@ON_EACH_PAGE
@pytest.mark.parametrize("after", [0, 2, 3, 9])
def test_a_subscriber_of_an_order_that_is_final_is_closed_once_it_is_connected(page: int, after: int) -> None:
    room = Room(a_record(OrderStatus.FAILED))
    socket = room.watch("late", page, sent_through=after)
    socket.opens_at = 2.0

    room.notify("late")

    assert socket.sequences == [1, 2, 3][after:]
    assert socket.dismissed
    assert room.timeline.seconds < 4
    *_, handed_over, closed = [call.at for call, _ in room.platform.gate.story if call.function == "notify"]
    assert closed - handed_over >= 0.5 or after >= 3  # the gateway has passed on what it was sent


@ON_EACH_PAGE
def test_a_client_that_left_before_it_could_be_closed_is_not_waited_for(page: int) -> None:
    room = Room(a_record(OrderStatus.FAILED))
    room.watch("hasty", page, sent_through=3).opens_at = 99
    room.timeline.invoke(lambda: room.platform.subscribers.leave(room.kept["hasty"]), delay=1.0)

    room.notify("hasty")

    assert room.timeline.seconds < 4


def test_a_handshake_that_never_ends_is_not_waited_for_for_ever() -> None:
    room = Room(a_record(OrderStatus.FAILED))
    room.watch("nobody", sent_through=3).closed = True

    room.notify("nobody")

    assert 0 <= room.timeline.seconds - HANDSHAKE < 2


@pytest.mark.parametrize("trouble", ["deaf", "stuck"])
def test_a_socket_that_notify_can_not_close_is_left_open(trouble: str) -> None:
    room = Room(a_record(OrderStatus.FAILED))
    setattr(room.watch("open", sent_through=3), trouble, (0, 60))

    room.notify("open")

    assert room.timeline.seconds < 2
    assert room.kept["open"].live_after == 3


@ON_EACH_PAGE
def test_a_replay_of_an_order_that_is_final_ends_with_the_close(page: int) -> None:
    room = Room(a_record(OrderStatus.FAILED))
    socket = room.watch("again", page, live_after=3)
    connection = Connection("again", room.timeline(), {room.order_id: page})
    room.platform.tables.connections["again"] = Socketed(connection)

    room.run(lambda: room.platform.subscription().replay(connection, room.order_id, 1))
    room.notify("again")

    assert socket.sequences == [2, 3]
    assert socket.dismissed


@ON_EACH_PAGE
@pytest.mark.parametrize("by", ["the publisher", "notify"])
def test_a_socket_for_many_orders_outlives_each(page: int, by: str) -> None:
    room = Room()
    socket = room.watch("desk", page, **({"live_after": 1} if by == "the publisher" else {}))
    connection = Connection("desk", room.timeline(), {room.order_id: page, uuid4(): 0}, lasting=True)
    room.platform.tables.connections["desk"] = Socketed(connection)

    room.publish(final=True)
    if by == "notify":
        room.notify("desk")
    room.dismiss()

    assert socket.statuses[-1] == "failed"
    assert not socket.closed
    assert room.kept == {}
    left = room.platform.tables.connections["desk"].connection.orders
    assert room.order_id not in left
    assert len(left) == 1


@ON_EACH_PAGE
def test_a_subscriber_taken_back_again_meanwhile_is_served(room: Room, page: int) -> None:
    """Notify may not have been requested for it since."""
    room.publish()
    socket = room.watch("a", page, generation=2, sent_through=1)

    room.notify("a", generation=1)

    assert socket.sequences == [2]
    assert room.kept["a"].live_after == 2


def test_for_an_unknown_subscriber_or_order_nothing_is_posted(room: Room) -> None:
    room.notify("nobody")

    with pytest.raises(UnknownOrder):
        room.run(lambda: room.platform.notifier().notify(a_subscriber(uuid4())))


@pytest.mark.parametrize("seconds", [0.3, HANDSHAKE - 1])
def test_a_socket_whose_handshake_takes_long_is_waited_for(room: Room, seconds: float) -> None:
    socket = room.watch("new")
    socket.opens_at = seconds

    room.notify("new")

    assert socket.sequences == [1]
    assert room.kept["new"].live_after == 1


@pytest.mark.parametrize("age_seconds", [0.0, HANDSHAKE])
def test_a_socket_that_stays_gone_is_forgotten(room: Room, age_seconds: float) -> None:
    room.watch("gone").closed = True
    room.timeline.wait(age_seconds)

    room.notify("gone")

    assert room.kept == {}
    assert 0 <= room.timeline.seconds - HANDSHAKE < 2


def test_a_client_that_left_during_its_handshake_is_not_waited_for(room: Room) -> None:
    room.watch("hasty").opens_at = 99
    room.timeline.invoke(lambda: room.platform.subscribers.leave(room.kept["hasty"]), delay=1.0)

    room.notify("hasty")

    assert room.timeline.seconds < 3


@pytest.mark.parametrize("trouble", ["deaf", "stuck"])
@pytest.mark.parametrize("until", [0.2, 60.0])
def test_a_socket_that_can_not_be_reached_is_retried_for_some_seconds(room: Room, trouble: str, until: float) -> None:
    slow = room.watch("slow")
    setattr(slow, trouble, (0, until))

    if until == 60.0:
        with pytest.raises(SocketUnreachable):
            room.notify("slow")
        assert 3 < room.timeline.seconds < 8
        room.timeline.wait(until)
    room.notify("slow")

    assert slow.sequences == [1]
