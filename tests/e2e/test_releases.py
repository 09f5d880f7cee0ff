"""An update while orders are on their way: this release and the one before work on the same orders, in turns."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from local.stack import ROOT
from tests.e2e.system import FIVE, System, an_order, sequences, statuses, wait_for
from tests.e2e.test_cancelling import ask
from tests.e2e.test_outages import VISIBILITY_SECONDS, without_repeats
from tests.support.releases import release_before

FUNCTIONS = ("submit", "route_execute", "ws_connect", "notify", "cancel", "orders")
SLOW = {"LEASE_SECONDS": 3, "VENUE_QUOTE_LATENCY_MS": 1500, "VENUE_SWAP_LATENCY_MS": 4000, "VENUE_VALIDITY_SECONDS": 6}
QUICK = {"LEASE_SECONDS": 3}


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return release_before(tmp_path_factory.mktemp("before"))


@pytest.fixture(scope="module")
def patient(system: System) -> Iterator[System]:
    """The system, quick to redeliver the orders of workers that died."""
    visibility = system.queue("OrdersQueueUrl")["VisibilityTimeout"]
    system.set_queue("OrdersQueueUrl", VisibilityTimeout=VISIBILITY_SECONDS)
    yield system
    system.set_queue("OrdersQueueUrl", VisibilityTimeout=visibility)


@pytest.mark.parametrize("first", ["before", "ours"])
def test_orders_are_finished_by_releases_that_take_turns(patient: System, before: Path, first: str) -> None:
    """Three turns, the workers of two of which are killed: one order is `submitted` at the first's end and one at the
    second's, one is `routing` at the first's, one waits in the queue, one rests and is cancelled by the second."""
    turns = [before, ROOT, before] if first == "before" else [ROOT, before, ROOT]
    with ExitStack() as watching, ExitStack() as last, ExitStack() as second, ExitStack() as hosted:
        # From the last turn to the first, as each ends by what was there before it.
        last.enter_context(patient.rehosted(QUICK, FUNCTIONS, root=turns[2]))
        second.enter_context(patient.rehosted(SLOW, FUNCTIONS, root=turns[1]))
        hosted.enter_context(patient.rehosted(SLOW, FUNCTIONS, root=turns[0]))

        def placed(**terms: object) -> str:
            return str(patient.submit(an_order(**terms))["orderId"])

        sent, rests = placed(), placed(orderType="limit", limitPrice="1000")
        watchers = {
            name: watching.enter_context(patient.watching(one)) for name, one in [("sent", sent), ("rests", rests)]
        }
        heard = {"sent": watchers["sent"].until("building"), "rests": watchers["rests"].until("open")}
        routed = placed()
        watchers["routed"] = watching.enter_context(patient.watching(routed))
        heard["sent"] += watchers["sent"].until("submitted")
        heard["routed"] = watchers["routed"].until("routing")
        wait_for(lambda: patient.chain_states(sent) == ["sent"], "the transaction is on the chain")
        patient.consume("route_execute", False)
        waiting = placed()
        hosted.close()

        assert ask(patient, "DELETE", rests).json()["status"] == "cancelled"
        patient.consume("route_execute", True)
        watchers["waiting"] = watching.enter_context(patient.watching(waiting))
        heard["waiting"] = watchers["waiting"].until("pending")
        heard["routed"] += watchers["routed"].until("submitted")
        shown = {one: ask(patient, "GET", one).json()["status"] for one in (sent, routed, waiting, rests)}
        second.close()

        for name, watcher in watchers.items():
            heard[name] += watcher.to_the_close()

    assert shown[rests] == "cancelled"
    assert set(shown.values()) <= {*FIVE, "cancelled"}
    lines = patient.stack.log.read_text().splitlines()
    for order_id in (sent, routed):
        assert [line for line in lines if order_id in line and "resuming an interrupted order" in line], "too late"
    for name, order_id in {"sent": sent, "routed": routed, "waiting": waiting}.items():
        told = without_repeats(heard[name])
        assert sequences(told) == [*range(1, len(told) + 1)], name
        assert [status for status in FIVE if status in statuses(told)] == FIVE, name
        assert patient.chain_states(order_id).count("landed") == 1, name
        assert patient.row_of(order_id)["status"] == "confirmed", name
        assert [row["sequence"] for row in patient.events_of(order_id)] == sequences(told), name
    assert statuses(without_repeats(heard["rests"])) == ["pending", "open", "cancelled"]
    assert patient.chain_states(rests) == []
    assert patient.row_of(rests)["status"] == "cancelled"
