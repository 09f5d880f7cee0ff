"""Interleavings: processes that work on one order at once stop before every call, and go on in every order.

Schedules are complete up to a number of preemptions (a process left for another before its end), with leases that run
out in the middle; Hypothesis goes on beyond that number.
"""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.doubles.gate import Gate, Mode, Service
from tests.doubles.lives import Visit
from tests.reliability import scenarios
from tests.reliability.scenarios import Scenario
from tests.reliability.schedules import Chooser, every_schedule, run_tasks
from tests.reliability.search import (
    Cast,
    Plan,
    everybody,
    interleaved,
    scheduled,
    two_workers,
    watcher_and_workers,
    watchers_and_owner,
    worker_again_and_notify,
    worker_again_and_owner,
    worker_and_notify,
    worker_and_owner,
    worker_watcher_and_owner,
    workers_and_owner,
)
from tests.reliability.tally import tried


def none(
    what: str, scenario: Scenario, cast: Cast, preemptions: int, expiries: int = 0, plan: Plan | None = None
) -> None:
    """No schedule breaches anything."""
    assert not next(interleaved(what, scenario, cast, preemptions, expiries, plan=plan), None)


def test_the_search_is_complete() -> None:
    """Two tasks of two calls each: six orders, or those with one preemption."""

    def runs(preemptions: int) -> set[str]:
        def run(choose: Chooser) -> str:
            gate, done = Gate(), list[str]()

            def hook(before_call: Callable[[], None]) -> None:
                gate.before = lambda _service, _name: before_call()

            def work(name: str) -> None:
                for _ in range(2):
                    gate.call(Service.QUEUE, "send", lambda: done.append(name))

            run_tasks([lambda: work("a"), lambda: work("b")], hook, choose, preemptions)
            return "".join(done)

        return set(every_schedule(run, 100))

    assert runs(9) == {"aabb", "abab", "abba", "baab", "baba", "bbaa"}
    assert runs(0) == {"aabb", "bbaa"}


def test_two_workers_hold_the_same_message() -> None:
    """One gets the order; the other's message comes again. Also when the lease runs out under the first one."""
    none("schedules of two workers", scenarios.PLAIN, two_workers, 2, 1)
    none("schedules of two workers", scenarios.NO_LIQUIDITY, two_workers, 1, 2)


def test_two_workers_and_a_transaction_in_doubt() -> None:
    """One takes the other's transaction over while that one is still about to send it, or to give it up."""
    none("schedules of two workers", scenarios.TIMEOUT_BEFORE, two_workers, 1, 1)
    none("schedules of two workers", scenarios.SLOW, two_workers, 1, 1)
    none("schedules of two workers", scenarios.REVERTS, two_workers, 1, 1)
    none("schedules of two workers", scenarios.LOOKED_AT, two_workers, 1, 1)


def test_one_of_two_workers_dies() -> None:
    """At each call, while the other one has been turned away or waits to begin."""
    for number in range(3, 18):
        none("schedules of two workers", scenarios.PLAIN, two_workers, 1, plan={number: Mode.KILL_AFTER})


def test_a_worker_and_the_orders_owner() -> None:
    """Either nothing is ever sent, or it was too late."""
    for scenario in (scenarios.WATCHED_ONCE, scenarios.REVERTS, scenarios.SLOW):
        none("schedules of a worker and the owner", scenario, worker_and_owner, 3)
    none("schedules of a worker and the owner", scenarios.PLAIN, worker_and_owner, 2, 1)
    none("schedules of two workers and the owner", scenarios.PLAIN, workers_and_owner, 2, 1)


def test_workers_watchers_and_the_owner_of_an_order_at_rest() -> None:
    """Whoever finds it due, it is executed once or cancelled; whoever finds it over, it ends."""
    what = "schedules of an order at rest"
    none(what, scenarios.LIMIT_DUE, two_workers, 1, 1)
    none(what, scenarios.LIMIT_DUE, worker_and_owner, 2)
    none(what, scenarios.LIMIT_DUE, workers_and_owner, 1)
    for scenario in (scenarios.REACHED, scenarios.OVER):
        none(what, scenario, worker_watcher_and_owner, 1, 1)
        none(what, scenario, watchers_and_owner, 1)
        none(what, scenario, watcher_and_workers, 1, 1)
        none(what, scenario, worker_again_and_owner, 2)
    none(what, scenarios.REACHED_WATCHED, worker_again_and_notify, 1)


def test_a_worker_dies_with_an_order_at_rest() -> None:
    """At each call, with the watcher or the owner in between."""
    for number in range(3, 18):
        plan = {number: Mode.KILL_AFTER}
        none("schedules of an order at rest", scenarios.REACHED, worker_watcher_and_owner, 0, plan=plan)
        none("schedules of an order at rest", scenarios.REACHED, watcher_and_workers, 1, plan=plan)


def test_publisher_and_notify_on_one_connection() -> None:
    """Each status reaches the subscriber by the one or by the other, in order."""
    none("schedules of publisher and notify", scenarios.NO_LIQUIDITY, worker_and_notify, 4)
    none("schedules of publisher and notify", scenarios.REVERTS, worker_and_notify, 2)


def test_publisher_and_notify_on_further_pages() -> None:
    """Turning a page and handing over on it exclude each other, as on the order's own."""
    none("schedules of publisher and notify", scenarios.CROWDED_AT_ONCE, worker_and_notify, 2)


def test_publisher_and_notify_on_a_socket_that_is_throttled() -> None:
    """The publisher gives the connection back to notify while that one runs."""
    deaf = Scenario("deaf at first", "failed", scenarios.REVERTS.fates, (Visit("deaf", 0.0, deaf=(0.3, 0.6)),))
    none("schedules of publisher and notify", deaf, worker_and_notify, 2)


@settings(max_examples=150)
@given(st.lists(st.integers(0, 4), max_size=60), st.sampled_from([scenarios.WATCHED, scenarios.TIMEOUT_AFTER]))
def test_two_workers_and_notify(choices: list[int], scenario: Scenario) -> None:
    """Any schedule at all, of three processes, with leases that run out at any time."""
    tried["schedules of two workers and notify, drawn by Hypothesis"] += 1
    assert not scheduled(scenario, everybody, Chooser(choices), preemptions=99, expiries=2)
