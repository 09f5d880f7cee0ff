"""Live updates: one writer at a time, every status in order, and no socket holds up an order."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from order_engine import limits
from order_engine.domain.errors import SocketUnreachable, UnknownOrder
from order_engine.domain.lifecycle import OrderStatus
from order_engine.domain.record import OrderRecord
from order_engine.domain.subscriber import CONNECTING, Subscriber

from tests.doubles.gate import Gate, Mode, Service, Troubles
from tests.doubles.platform import Platform
from tests.doubles.services import Socket
from tests.doubles.tables import OrderItem, Page, Tables
from tests.doubles.timeline import Timeline
from tests.support.builders import a_record, a_subscriber, advanced, an_order

ON_EACH_PAGE = pytest.mark.parametrize("page", [0, 1])


class Room:
    """One order, its worker's claim, and those who watch; everything runs as a function's invocation."""

    def __init__(self, record: OrderRecord | None = None) -> None:
        self.troubles = Troubles()
        record = record or OrderRecord.accepted(an_order())
        self.order_id = record.order.order_id
        gate = Gate(Timeline(record.last.timestamp), self.troubles)
        self.platform = Platform(gate, tables=Tables(page_size=10_000), by_hand=True)
        self.timeline = gate.timeline
        self.platform.tables.orders[self.order_id] = OrderItem(record)
        self.claim = self.platform.journal.claim(self.order_id)
        self.publisher = self.platform.executor().publisher

    def run(self, work: Callable[[], Any]) -> Any:
        ended: list[Any] = []
        self.platform.invoke("notify", lambda: ended.append(work()), ended.append)
        self.timeline.run()
        if isinstance(ended[0], BaseException):
            raise ended[0]
        return ended[0]

    def publish(self, times: int = 1) -> float:
        """Appends and posts events (`routing` may follow itself); returns how many seconds the last one took."""
        took: list[float] = [self.run(self._publish) for _ in range(times)]
        return took[-1]

    def _publish(self) -> float:
        began = self.timeline.seconds
        record = advanced(self.claim.record, OrderStatus.ROUTING, self.timeline(), attempt=1)
        self.claim = self.publisher.publish(self.claim, record)
        took = self.timeline.seconds - began
        self.timeline.wait(0.1)  # for what goes on aside, while the worker goes on
        return took

    def join(self, name: str, page: int = 0, **changes: Any) -> Socket:
        """Somebody watches, as `changes` say, on an open socket."""
        one = a_subscriber(self.order_id, name, **{"connected_at": self.timeline(), "page": page, **changes})
        order = self.platform.tables.orders[self.order_id]
        order.crowded |= page > 0
        item: OrderItem | Page = order
        if page:
            item = self.platform.tables.further.setdefault(self.order_id, {}).setdefault(page, Page())
        item.subscribers[name] = one
        socket = self.platform.sockets[name] = Socket()
        return socket

    def notify(self, name: str, generation: int | None = None) -> None:
        """Notify, for the subscriber as it stands, or for an earlier generation."""
        wanted = self.kept.get(name) or a_subscriber(self.order_id, name)
        self.run(lambda: self.platform.notify(replace(wanted, generation=generation or wanted.generation)))

    @property
    def kept(self) -> dict[str, Subscriber]:
        return self.platform.tables.watching(self.order_id)

    @property
    def asked(self) -> list[str]:
        return [one.connection_id for one in self.platform.notify_requests.requested]

    def calls(self, name: str) -> int:
        return sum(call.name == name for call, _ in self.platform.gate.story)


@pytest.fixture
def room() -> Room:
    return Room()


# --- the publisher ----------------------------------------------------------------------------------------------------


@ON_EACH_PAGE
def test_only_those_that_are_handed_over_get_the_event(room: Room, page: int) -> None:
    live, ahead, catching_up = (
        room.join(name, page, live_after=after) for name, after in (("live", 1), ("ahead", 2), ("behind", None))
    )

    room.publish(2)

    assert (live.sequences, ahead.sequences, catching_up.sequences) == ([2, 3], [3], [])
    assert live.received[-1][1]["message"] == "Comparing prices"


@ON_EACH_PAGE
def test_one_that_left_is_forgotten_and_the_others_go_on(room: Room, page: int) -> None:
    a, b, c = (room.join(name, page, live_after=1) for name in "abc")
    room.timeline.wait(CONNECTING.total_seconds())
    b.closed = True

    room.publish(2)

    assert a.sequences == c.sequences == [2, 3]
    assert set(room.kept) == {"a", "c"}


@ON_EACH_PAGE
def test_one_that_is_not_connected_yet_is_left_to_notify(room: Room, page: int) -> None:
    """It joined after the last status, so that notify had nothing to post, and handed it over during its handshake."""
    socket = room.join("a", page, live_after=1)
    socket.closed = True

    room.publish()

    assert room.kept["a"].live_after is None
    assert room.asked == ["a"]
    socket.closed = False
    room.notify("a")
    assert socket.sequences == [2]


@ON_EACH_PAGE
def test_who_is_not_reached_is_taken_back_in_one_write_and_asked_for(room: Room, page: int) -> None:
    fine = room.join("fine", page, live_after=1)
    sockets = [room.join(name, page, live_after=1) for name in ("throttled", "stuck")]
    sockets[0].deaf = sockets[1].stuck = (0, 1)

    room.publish()

    for name in ("throttled", "stuck"):
        assert (room.kept[name].live_after, room.kept[name].sent_through, room.kept[name].generation) == (None, 1, 2)
        room.timeline.wait(1)
        room.notify(name)
    room.publish()
    assert sorted(room.asked) == ["stuck", "throttled"]
    assert room.calls("take_back") == 1
    assert [one.sequences for one in (fine, *sockets)] == [[2, 3]] * 3


def test_however_many_sockets_hang_a_status_is_held_up_by_one_budget(room: Room) -> None:
    pages = range(25)
    for number in range(500):
        room.join(f"{number}", pages[number % 25], live_after=1).stuck = (0, 3600) if number % 2 else (0, 0)

    assert room.publish() < limits.POSTS + limits.TAKE_BACK + 0.1

    assert all(room.kept[f"{number}"].live_after is None for number in range(1, 500, 2))
    assert not room.claim.record.behind


@pytest.mark.parametrize("call", ["turn_page", "list_pages", "take_back", "request", "leave"])
def test_whatever_hangs_behind_a_push_an_order_goes_on(room: Room, call: str) -> None:
    """And who may lack an event gets it with the next one, or from notify."""
    fine, throttled = (room.join(name, 1, live_after=1) for name in ("fine", "throttled"))
    room.join("gone", 1, live_after=1).closed = True
    room.timeline.wait(CONNECTING.total_seconds())
    throttled.deaf = (room.timeline.seconds, room.timeline.seconds + 0.1)
    room.troubles.coming[call] = [Mode.HANG] * 9 if call == "request" else [Mode.HANG]

    assert room.publish() < limits.POSTS + limits.TAKE_BACK + 0.1
    room.timeline.wait(10)
    room.troubles.coming.clear()
    room.publish()
    if room.kept["throttled"].live_after is None:
        assert room.asked[-1] == "throttled"
        room.notify("throttled")

    assert list(dict.fromkeys(fine.sequences)) == [2, 3]
    assert throttled.sequences == [2, 3]


def test_an_order_whose_subscriber_may_lack_an_event_is_behind_until_it_has_it(room: Room) -> None:
    slow = room.join("slow", live_after=1)
    slow.deaf = (0, 5)
    room.troubles.away = {Service.JOURNAL}
    record = advanced(room.claim.record, OrderStatus.ROUTING, room.timeline(), attempt=1)
    room.platform.tables.orders[room.order_id].record = record
    watched = replace(record, subscribers=tuple(room.kept.values()))

    posted = room.run(lambda: room.publisher.post(watched))
    assert posted.behind
    assert room.run(lambda: room.publisher.finish(posted)).behind
    room.timeline.wait(5)

    assert not room.run(lambda: room.publisher.finish(posted)).behind
    assert slow.sequences == [2]


@ON_EACH_PAGE
def test_a_subscriber_whose_catch_up_was_lost_is_asked_for_once_more(room: Room, page: int) -> None:
    room.join("lost", page)
    room.publish()
    assert room.asked == []  # it may still be under way

    room.timeline.wait(CONNECTING.total_seconds() + 0.001)
    room.publish(2)

    assert room.asked == ["lost"]  # once in a delivery


def test_a_final_order_is_not_finished_before_everybody_is_asked_for(room: Room) -> None:
    room.join("behind", generation=2)
    record = replace(room.claim.record, subscribers=tuple(room.kept.values()))
    room.troubles.away = {Service.NOTIFY}
    assert room.run(lambda: room.publisher.finish(record)).behind
    room.troubles.away = set()

    assert not room.run(lambda: room.publisher.finish(record)).behind
    assert room.asked == ["behind"]


# --- notify -----------------------------------------------------------------------------------------------------------


@ON_EACH_PAGE
@pytest.mark.parametrize(("after", "sequences"), [(0, [1, 2, 3, 4, 5]), (2, [3, 4, 5]), (5, []), (9, [])])
def test_whoever_joins_late_gets_what_it_has_not_had(page: int, after: int, sequences: list[int]) -> None:
    room = Room(a_record(OrderStatus.CONFIRMED))
    socket = room.join("late", page, sent_through=after)

    room.notify("late")
    room.notify("late")

    assert socket.sequences == sequences
    assert room.kept["late"].live_after is not None


@ON_EACH_PAGE
def test_an_event_between_the_last_post_and_the_handover_is_posted_too(room: Room, page: int) -> None:
    socket = room.join("a", page)
    published: list[int] = []

    def an_event_comes(_service: Service, name: str) -> None:
        if name == "hand_over" and not published:
            published.append(1)
            record = advanced(room.claim.record, OrderStatus.ROUTING, room.timeline(), attempt=1)
            room.claim = room.publisher.publish(room.claim, record)

    room.platform.gate.before = an_event_comes
    room.notify("a")
    room.publish()

    assert socket.sequences == [1, 2, 3]


def test_an_event_that_was_promised_too_early_is_not_missed(room: Room) -> None:
    early = room.join("early", sent_through=7)

    room.notify("early")
    room.publish()

    assert early.sequences == [2]


@ON_EACH_PAGE
def test_who_was_taken_back_once_more_meanwhile_is_served(room: Room, page: int) -> None:
    """Nobody may have been asked for it since."""
    socket = room.join("a", page, generation=2)

    room.notify("a", generation=1)
    assert socket.sequences == [1]
    assert room.kept["a"].live_after == 1


def test_what_is_not_known_is_left_alone(room: Room) -> None:
    room.notify("nobody")
    with pytest.raises(UnknownOrder):
        room.run(lambda: room.platform.notifier().notify(a_subscriber(uuid4())))


@pytest.mark.parametrize("seconds", [0.3, 19.0])
def test_a_socket_whose_handshake_takes_long_is_waited_for(room: Room, seconds: float) -> None:
    socket = room.join("new")
    socket.opens_at = seconds

    room.notify("new")

    assert socket.sequences == [1]
    assert room.kept["new"].live_after == 1


@pytest.mark.parametrize("age_seconds", [0.0, CONNECTING.total_seconds()])
def test_a_socket_that_stays_gone_is_forgotten(room: Room, age_seconds: float) -> None:
    room.join("gone").closed = True
    room.timeline.wait(age_seconds)
    began = room.timeline.seconds

    room.notify("gone")

    assert room.kept == {}
    assert 0 <= room.timeline.seconds - began - (CONNECTING.total_seconds() - age_seconds) < 2


def test_a_client_that_left_during_its_handshake_is_not_waited_for(room: Room) -> None:
    socket = room.join("hasty")
    socket.opens_at = 99
    room.timeline.invoke(lambda: room.platform.subscribers.leave(room.kept["hasty"]), delay=1.0)

    room.notify("hasty")

    assert room.timeline.seconds < 3


@pytest.mark.parametrize(("until", "sequences"), [(0.2, [1, 2, 3]), (60.0, [])])
def test_a_socket_out_of_reach_is_tried_for_some_seconds(room: Room, until: float, sequences: list[int]) -> None:
    room.publish(2)
    slow = room.join("slow")
    slow.deaf = (0, until)

    if sequences:
        room.notify("slow")
    else:
        with pytest.raises(SocketUnreachable):
            room.notify("slow")
        room.timeline.wait(60)
        room.notify("slow")

    assert slow.sequences == [1, 2, 3]
