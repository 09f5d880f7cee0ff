"""Workers that crash: their orders go on where they were, or are given up if they kill every worker."""

from collections.abc import Iterator

import pytest

from tests.e2e.system import FIVE, System, an_order, sequences, statuses, wait_for
from tests.support.raw_client import Message

# The lease and the visibility timeout are shorter than the template's 25 and 45 s, after which a crashed worker's order
# is redelivered; still longer than a worker needs here. `make chaos ARGS=--recovery` measures the real ones.
SLOW = {"VENUE_QUOTE_LATENCY_MS": "500-600", "VENUE_SWAP_LATENCY_MS": "800-1000", "VENUE_VALIDITY_SECONDS": 2}
LEASE = {"LEASE_SECONDS": 3}
VISIBILITY_SECONDS = 4
Lives = dict[str, list[Message]]  # by the status in which the worker was killed


@pytest.fixture(scope="module")
def patient(system: System) -> Iterator[System]:
    """The system, slow enough for its workers to be killed in time, and quick to redeliver their orders."""
    before = system.queue("OrdersQueueUrl")["VisibilityTimeout"]
    system.set_queue("OrdersQueueUrl", VisibilityTimeout=VISIBILITY_SECONDS)
    with system.rehosted(SLOW | LEASE):
        yield system
    system.set_queue("OrdersQueueUrl", VisibilityTimeout=before)


def kill_the_workers(system: System) -> Lives:
    """Kill every worker while one order is `submitted`, its swap sent, and another one is `routing`."""
    sent = system.submit(an_order())["orderId"]
    with system.watching(sent) as one:
        first = one.until("building")
        routed = system.submit(an_order())["orderId"]
        with system.watching(routed) as other:
            first += one.until("submitted")
            second = other.until("routing")
            wait_for(lambda: system.chain_states(sent) == ["sent"], "the transaction is on the chain")
            for worker in system.workers("route_execute"):
                worker.kill()
            second += other.to_the_close()
        first += one.to_the_close()
    lines = system.stack.log.read_text().splitlines()
    for order_id in (sent, routed):
        resumed = [line for line in lines if order_id in line and "resuming an interrupted order" in line]
        assert resumed, "killed too late"
    return {"submitted": without_repeats(first), "routing": without_repeats(second)}


def without_repeats(messages: list[Message]) -> list[Message]:
    """The messages, less those that a fault had sent twice: a repeat must be equal, and follow upon the first."""
    return [message for before, message in zip([None, *messages], messages, strict=False) if message != before]


@pytest.fixture(scope="module")
def resumed(patient: System) -> Lives:
    return kill_the_workers(patient)


@pytest.fixture(scope="module")
def given_up(patient: System) -> Lives:
    """As if each order had killed five workers: one delivery is all that a message has."""
    patient.set_queue("OrdersQueueUrl", receives=1)
    lives = kill_the_workers(patient)
    patient.set_queue("OrdersQueueUrl", receives=5)
    return lives


def test_a_worker_killed_after_submitting_leaves_one_swap(patient: System, resumed: Lives) -> None:
    life = resumed["submitted"]
    assert statuses(life) == FIVE
    assert sequences(life) == [1, 2, 3, 4, 5]
    assert patient.chain_states(life[0]["orderId"]) == ["landed"]
    row = patient.row_of(life[0]["orderId"])
    assert (row["status"], row["attempts"], row["tx_hash"]) == ("confirmed", 1, life[3]["txHash"])
    assert [event["details"] for event in patient.events_of(life[0]["orderId"])] == life


def test_an_attempt_whose_worker_is_killed_early_starts_again(patient: System, resumed: Lives) -> None:
    life = resumed["routing"]
    assert statuses(life) == ["pending", "routing", *FIVE[1:]]
    assert sequences(life) == [1, 2, 3, 4, 5, 6]
    assert [message["attempt"] for message in life] == [0, 1, 1, 1, 1, 1]
    assert patient.chain_states(life[0]["orderId"]) == ["landed"]


def test_an_order_that_kills_its_workers_fails(patient: System, given_up: Lives) -> None:
    life = given_up["routing"]
    failed = life[-1]
    assert statuses(life) == ["pending", "routing", "failed"]
    assert (failed["code"], bool(failed["error"])) == ("INTERNAL_ERROR", True)
    row = patient.row_of(failed["orderId"])
    assert (row["status"], row["failure_code"], row["failure_reason"]) == ("failed", "INTERNAL_ERROR", failed["error"])
    assert [event["details"] for event in patient.events_of(failed["orderId"])] == life
    assert patient.chain_states(failed["orderId"]) == []
    wait_for(lambda: patient.length("DeadLettersQueueUrl") == 0, "the dead letters are dealt with")


def test_an_order_is_not_given_up_once_its_swap_has_landed(patient: System, given_up: Lives) -> None:
    life = given_up["submitted"]
    assert statuses(life) == FIVE
    assert patient.chain_states(life[0]["orderId"]) == ["landed"]
    assert patient.row_of(life[0]["orderId"])["status"] == "confirmed"
