"""The orders queue against SQS."""

from typing import Any
from uuid import uuid4

import pytest
from order_engine.adapters.aws import client
from order_engine.adapters.queue import SqsOrderQueue, order_id_of
from order_engine.domain.errors import ServiceUnavailable


@pytest.fixture
def sqs(aws: None) -> Any:
    return client("sqs")


@pytest.fixture
def url(sqs: Any) -> str:
    return str(sqs.create_queue(QueueName=f"orders-{uuid4()}")["QueueUrl"])


def test_what_is_sent_names_the_order_when_it_is_received(sqs: Any, url: str) -> None:
    order_id = uuid4()

    SqsOrderQueue(sqs, url).send(order_id)

    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    assert order_id_of(message["Body"]) == order_id


def test_a_delayed_message_is_not_there_before_its_time(sqs: Any, url: str) -> None:
    SqsOrderQueue(sqs, url).send(uuid4(), delay_seconds=900)

    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    counted = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessagesDelayed"])
    assert counted["Attributes"]["ApproximateNumberOfMessagesDelayed"] == "1"


def test_a_queue_that_is_not_there_is_unavailable(sqs: Any, url: str) -> None:
    with pytest.raises(ServiceUnavailable, match="order queue"):
        SqsOrderQueue(sqs, url + "-of-somebody-else").send(uuid4())
