"""The doubles' own machinery: virtual time, what dies together, and the template's numbers."""

from concurrent.futures import wait
from functools import partial
from typing import Any

import pytest
from order_engine import limits
from order_engine.domain.errors import OutOfTime, ServiceUnavailable

from tests.doubles import platform
from tests.doubles.gate import Gate, Mode, Service, planned
from tests.doubles.pool import VirtualPool
from tests.doubles.timeline import Killed, Timeline
from tests.template.reading import functions, on_aws, resources


@pytest.fixture
def timeline() -> Timeline:
    """An empty one."""
    return Timeline()


def test_processes_have_their_turns_as_their_times_come(timeline: Timeline) -> None:
    seen: list[tuple[str, float]] = []

    def process(name: str, pause: float) -> None:
        for _ in range(3):
            timeline.wait(pause)
            seen.append((name, timeline.seconds))

    timeline.invoke(partial(process, "slow", 2.0))
    timeline.invoke(partial(process, "quick", 1.0), delay=0.5)
    timeline.run()

    assert seen == [("quick", 1.5), ("slow", 2.0), ("quick", 2.5), ("quick", 3.5), ("slow", 4.0), ("slow", 6.0)]


def test_a_pool_works_at_the_same_time_and_leaves_behind_what_hangs(timeline: Timeline) -> None:
    found: list[Any] = []

    def slowly(seconds: float) -> float:
        timeline.wait(seconds)
        return seconds

    def main() -> None:
        pool = VirtualPool(timeline, 3)
        futures = [pool.submit(slowly, seconds) for seconds in (0.5, 1.0, 99.0, 0.7)]  # the last one when one is free
        done, _ = wait(futures, timeout=2)
        found.append((timeline.seconds, sorted(future.result() for future in done)))
        with pytest.raises(TimeoutError):
            pool.submit(slowly, 3.0).result(timeout=1)

    timeline.invoke(main)
    timeline.run()

    assert found == [(2.0, [0.5, 0.7, 1.0])]
    assert timeline.seconds == 3.0


@pytest.mark.parametrize(("mode", "out_of_time"), [(Mode.KILL_AFTER, []), (Mode.HANG, ["function"])])
def test_an_invocation_dies_as_a_whole(timeline: Timeline, mode: Mode, out_of_time: list[str]) -> None:
    gate, survived, ends = Gate(timeline, planned({1: mode})), list[str](), list[BaseException | None]()

    def other() -> None:
        timeline.wait(50)
        survived.append("other")

    def main() -> None:
        pool = VirtualPool(timeline)
        pool.submit(other)
        pool.submit(gate.call, Service.CHAIN, "send", lambda: None).result()

    timeline.invoke(main, name="function", lasts=20, ended=ends.append)
    timeline.run()

    assert isinstance(ends[0], Killed)
    assert survived == []
    assert timeline.out_of_time == out_of_time


def test_a_call_hangs_for_its_limit_and_acts_late(timeline: Timeline) -> None:
    gate, seen = Gate(timeline, planned({1: Mode.LATE})), list[float]()

    def main() -> None:
        with pytest.raises(ServiceUnavailable):
            gate.call(Service.JOURNAL, "append", lambda: seen.append(timeline.seconds))
        assert timeline.seconds == pytest.approx(limits.DYNAMODB, abs=0.01)
        with limits.invocation(lambda: 4.99), pytest.raises(OutOfTime):
            gate.call(Service.JOURNAL, "append", lambda: None)

    timeline.invoke(main)
    timeline.run()

    assert seen == [pytest.approx(7.0, abs=0.01)]
    assert gate.calls == 1


def test_what_goes_round_in_circles_is_told() -> None:
    timeline = Timeline(enough=100)

    def again() -> None:
        timeline.invoke(again, 1.0)

    timeline.invoke(again)
    with pytest.raises(AssertionError, match="never ends"):
        timeline.run()


def test_the_platform_is_the_templates() -> None:
    found, queues = resources("AWS::Serverless::Function"), resources("AWS::SQS::Queue")
    times = {folder: on_aws(found[name]["Properties"]).get("Timeout") for folder, name in functions().items()}
    assert {folder: times[folder] for folder in platform.FUNCTIONS} == platform.FUNCTIONS
    orders, dead = (queues[name]["Properties"] for name in ("OrdersQueue", "DeadLettersQueue"))
    assert orders["VisibilityTimeout"] == platform.VISIBILITY_SECONDS
    assert orders["RedrivePolicy"]["maxReceiveCount"] == platform.MAX_RECEIVES
    assert dead["VisibilityTimeout"] == platform.DEAD_LETTER_SECONDS
