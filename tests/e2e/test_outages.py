"""What dies and comes back: workers, PostgreSQL, messages that nobody could work on."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import pytest

from local.client import Message
from local.hosts import FunctionHosts
from local.stack import ROOT, LocalStack
from tests.e2e.system import FIVE, System, an_order, sequences, statuses, wait_for

# Shorter than the template's 25 and 45 s, in which an order comes back after its worker has died; still longer than a
# worker needs here, and in the same order. The chaos tests wait for the real ones.
LEASE_SECONDS = "3"
VISIBILITY_TIMEOUT_SECONDS = "4"


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system that is slow enough for its workers to be killed in time, and quick to bring their orders back."""
    latencies = {"VenueQuoteLatencyMs": "500-600", "VenueSwapLatencyMs": "800-1000", "VenueValiditySeconds": "2"}
    with LocalStack(tmp_path_factory.mktemp("patient"), port=0, parameters=latencies) as stack:
        system = System(stack)
        hosts = FunctionHosts(stack.gateway, ROOT, stack.log)
        try:
            shorten_the_waits(system, hosts)
            yield system
        finally:
            hosts.stop()


def shorten_the_waits(system: System, hosts: FunctionHosts) -> None:
    """Deploys the workers anew with a shorter lease, and hides their messages for a shorter time."""
    name, lambda_ = system.stack.outputs["RouteExecuteFunctionName"], system.client("lambda")
    variables = lambda_.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    lambda_.update_function_configuration(
        FunctionName=name, Environment={"Variables": {**variables, "LEASE_SECONDS": LEASE_SECONDS}}
    )
    hosts.start({name: ("functions/route_execute", 10)})
    set_orders_queue(system, VisibilityTimeout=VISIBILITY_TIMEOUT_SECONDS)


def set_orders_queue(system: System, **attributes: str) -> None:
    system.client("sqs").set_queue_attributes(QueueUrl=system.stack.outputs["OrdersQueueUrl"], Attributes=attributes)


def kill_the_workers_at(system: System, status: str, order: Message, on_the_chain: list[str]) -> list[Message]:
    """Sends an order and kills every worker once it has got to a status, with these transactions on the chain; answers
    what its client saw to the end."""
    order_id = system.submit(order)["orderId"]
    with system.watching(order_id) as watcher:
        before = watcher.until(status)
        wait_for(lambda: system.chain_states(order_id) == on_the_chain, f"the chain has {on_the_chain}")
        for worker in system.workers():
            worker.kill()
        seen = before + watcher.to_the_end() + watcher.up_to_pong()
    assert times_logged(system, f'"orderId":"{order_id}"', "resuming an interrupted order"), "killed too late"
    return seen


def without_repeats(messages: list[Message]) -> list[Message]:
    """The messages, less those that a fault had sent twice: a repeat must be equal, and follow upon the first."""
    return [message for before, message in zip([None, *messages], messages, strict=False) if message != before]


def test_an_order_whose_worker_is_killed_after_submitting_is_confirmed_once_with_one_swap(patient: System) -> None:
    seen = kill_the_workers_at(patient, "submitted", an_order(), on_the_chain=["sent"])

    life = without_repeats(seen)
    assert statuses(life) == FIVE
    assert sequences(life) == [1, 2, 3, 4, 5]
    assert statuses(seen).count("confirmed") == 1
    assert patient.chain_states(life[0]["orderId"]) == ["landed"]
    row = patient.row_of(life[0]["orderId"])
    assert (row["status"], row["attempts"], row["tx_hash"]) == ("confirmed", 1, life[3]["txHash"])
    assert [event["details"] for event in patient.events_of(life[0]["orderId"])] == life


def test_an_order_whose_worker_is_killed_before_submitting_starts_its_attempt_again(patient: System) -> None:
    seen = kill_the_workers_at(patient, "routing", an_order(), on_the_chain=[])

    life = without_repeats(seen)
    assert statuses(life) == ["pending", "routing", *FIVE[1:]]
    assert sequences(life) == [1, 2, 3, 4, 5, 6]
    assert [message["attempt"] for message in life] == [0, 1, 1, 1, 1, 1]
    assert patient.chain_states(life[0]["orderId"]) == ["landed"]


@contextmanager
def one_delivery_only(system: System) -> Iterator[None]:
    """Sends a message to the dead letters after its first delivery, instead of its fifth."""
    queues, sqs = system.stack.outputs["OrdersQueueUrl"], system.client("sqs")
    answer = sqs.get_queue_attributes(QueueUrl=queues, AttributeNames=["RedrivePolicy"])
    policy = answer["Attributes"]["RedrivePolicy"]
    set_orders_queue(system, RedrivePolicy=json.dumps({**json.loads(policy), "maxReceiveCount": 1}))
    try:
        yield
    finally:
        set_orders_queue(system, RedrivePolicy=policy)


def test_an_order_that_kills_its_workers_ends_as_failed(patient: System) -> None:
    with one_delivery_only(patient):
        life = without_repeats(kill_the_workers_at(patient, "routing", an_order(), on_the_chain=[]))

    assert_given_up(patient, life, ["pending", "routing", "failed"])


def test_an_order_that_kills_its_workers_after_its_swap_has_landed_is_confirmed(patient: System) -> None:
    with one_delivery_only(patient):
        life = without_repeats(kill_the_workers_at(patient, "submitted", an_order(), on_the_chain=["sent"]))

    assert statuses(life) == FIVE
    assert patient.chain_states(life[0]["orderId"]) == ["landed"]
    assert patient.row_of(life[0]["orderId"])["status"] == "confirmed"


def assert_given_up(system: System, life: list[Message], expected: list[str]) -> None:
    """The order failed for want of a worker, its outcome is persisted, and nothing is left of its message."""
    failed = life[-1]
    assert statuses(life) == expected
    assert failed["code"] == "INTERNAL_ERROR"
    assert failed["error"]
    row = system.row_of(failed["orderId"])
    assert (row["status"], row["failure_code"], row["failure_reason"]) == ("failed", "INTERNAL_ERROR", failed["error"])
    assert [event["details"] for event in system.events_of(failed["orderId"])] == life
    assert system.chain_states(failed["orderId"]) == []
    wait_for(lambda: system.messages_in("DeadLettersQueueUrl") == 0, "the dead letter is dealt with")


@contextmanager
def orders_held_back(system: System) -> Iterator[None]:
    """Leaves orders in their queue."""
    lambda_, name = system.client("lambda"), system.stack.outputs["RouteExecuteFunctionName"]
    [mapping] = lambda_.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    lambda_.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        yield
    finally:
        lambda_.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def test_a_dead_letter_of_an_order_that_no_worker_took_up_goes_back(patient: System) -> None:
    with orders_held_back(patient):
        order_id = patient.submit(an_order())["orderId"]
        patient.client("sqs").purge_queue(QueueUrl=patient.stack.outputs["OrdersQueueUrl"])
        send_dead_letter(patient, json.dumps({"orderId": order_id}))
        wait_for(lambda: patient.messages_in("OrdersQueueUrl") == 1, "the order is back in its queue")
        assert patient.journal_item(order_id)["status"]["S"] == "pending"
    with patient.watching(order_id) as watcher:
        assert statuses(watcher.to_the_end()) == FIVE
    assert patient.messages_in("DeadLettersQueueUrl") == 0


@pytest.fixture
def hurried_dead_letters(patient: System) -> Iterator[None]:
    """Dropped letters that stay come again after a second, instead of five minutes; afterwards they are taken away."""
    queue, sqs = patient.stack.outputs["DeadLettersQueueUrl"], patient.client("sqs")
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1"})
    yield
    sqs.purge_queue(QueueUrl=queue)
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "300"})


@pytest.mark.usefixtures("hurried_dead_letters")
@pytest.mark.parametrize("body", ["no order", '{"orderId": 7}'])
def test_a_dead_letter_that_is_no_order_stays_for_an_operator_to_see(patient: System, body: str) -> None:
    message_id = send_dead_letter(patient, body)

    reported = ["a message that names no order", message_id]
    wait_for(lambda: times_logged(patient, *reported) >= 2, "the dead letter is looked at, and again")
    assert patient.messages_in("DeadLettersQueueUrl") == 1


@pytest.mark.usefixtures("hurried_dead_letters")
def test_a_dead_letter_about_an_unknown_order_stays_for_an_operator_to_see(patient: System) -> None:
    order_id = str(uuid4())

    send_dead_letter(patient, json.dumps({"orderId": order_id}))

    reported = ["an order that the journal does not have", f'"orderId":"{order_id}"']
    wait_for(lambda: times_logged(patient, *reported) >= 2, "the dead letter is looked at, and again")
    assert patient.messages_in("DeadLettersQueueUrl") == 1


def send_dead_letter(system: System, body: str) -> str:
    """Puts a message among the dead letters; answers its id."""
    answer = system.client("sqs").send_message(QueueUrl=system.stack.outputs["DeadLettersQueueUrl"], MessageBody=body)
    message_id: str = answer["MessageId"]
    return message_id


def times_logged(system: System, *words: str) -> int:
    """How many lines of the log have all of these words."""
    lines = system.stack.log.read_text().splitlines()
    return sum(all(word in line for word in words) for line in lines)


def test_orders_go_on_while_postgresql_is_away_and_every_row_is_there_when_it_is_back(system: System) -> None:
    earlier = system.life_of(an_order())
    system.row_of(earlier[0]["orderId"])

    system.stack.postgres.stop()
    try:
        with ThreadPoolExecutor(12) as clients:
            lives = list(clients.map(lambda _: system.life_of(an_order()), range(12)))
        unfilled = system.life_of(an_order(minAmountOut="1600"))
    finally:
        system.stack.postgres.start()
    later = system.life_of(an_order())

    assert [statuses(life) for life in lives] == [FIVE] * 12
    assert unfilled[-1]["status"] == "failed"
    for life in [earlier, *lives, unfilled, later]:
        order_id = life[0]["orderId"]
        assert system.row_of(order_id)["status"] == life[-1]["status"]
        assert [event["details"] for event in system.events_of(order_id)] == life
    assert system.messages_in("DeadLettersQueueUrl") == 0
    wait_for(lambda: system.messages_in("OrdersQueueUrl") == 0, "no message is left")
