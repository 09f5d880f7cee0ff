"""Every call to AWS that an order causes stands in docs/performance.md, with what it is needed for.

`make cost` writes the numbers anew (REWRITE=1 here); what each call is needed for is written there by hand.
"""

import difflib
import os
from contextlib import closing
from typing import Any

import pytest
from order_engine.adapters.aws import client

from local.postgres import EmbeddedPostgres
from tests.cost.figures import TABLE, reasons_in, with_calls
from tests.cost.lives import LIVES, Life, world_of
from tests.integration.conftest import API_KEYS, CHAIN, CLIENT_ORDER_IDS, CONNECTIONS, JOURNAL, SUBSCRIBER_PAGES, WATCH
from tests.support.database import Connections

# Powertools says so at every invocation that counts nothing; observability.py ignores it, but pytest resets filters.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

Lives = dict[str, Life]

ENDS = {
    "alone": "confirmed",
    "watched": "confirmed",
    "keyed": "confirmed",
    "rests": "confirmed",
    "cancelled": "cancelled",
}


def lived(name: str, dynamodb: Any, postgres: EmbeddedPostgres) -> Life:
    environment = {
        "JOURNAL_TABLE": JOURNAL,
        "CLIENT_ORDER_IDS_TABLE": CLIENT_ORDER_IDS,
        "CONNECTIONS_TABLE": CONNECTIONS,
        "SUBSCRIBER_PAGES_TABLE": SUBSCRIBER_PAGES,
        "CHAIN_TABLE": CHAIN,
        "WATCH_TABLE": WATCH,
        "API_KEYS_TABLE": API_KEYS,
        "ORDERS_QUEUE_URL": client("sqs").create_queue(QueueName=name)["QueueUrl"],
        "NOTIFY_FUNCTION": "notify",
        "ACCESS": "keys" if name == "keyed" else "open",
        "OWNER_ORDERS_PER_MINUTE": "600",
        "OWNER_STREAMS": "500",
        "STREAM_URL": "wss://stream.example.com/live",
        "VENUE_QUOTE_LATENCY_MS": "0",
        "VENUE_SWAP_LATENCY_MS": "0",
        "VENUE_SEED": "cost",
    }
    with closing(Connections(postgres.url)) as connections, world_of(name, environment, connections) as world:
        if name == "keyed":
            world.with_key(dynamodb, API_KEYS)
        LIVES[name](world)
        return world.end()


@pytest.fixture(scope="module")
def lives(dynamodb: Any, postgres: EmbeddedPostgres) -> Lives:
    found = {name: lived(name, dynamodb, postgres) for name in LIVES}
    if os.environ.get("REWRITE"):
        TABLE.write_text(with_calls(TABLE.read_text(), found))
    return found


def test_each_life_takes_the_course_that_is_meant(lives: Lives) -> None:
    assert {name: life.statuses[-1] for name, life in lives.items()} == ENDS
    assert lives["rests"].statuses.count("open") == 1


def test_an_order_causes_the_calls_that_the_table_has(lives: Lives) -> None:
    document = TABLE.read_text()

    told, caused = (text.splitlines() for text in (document, with_calls(document, lives)))

    differing = "\n".join(difflib.unified_diff(told, caused, "told", "caused", lineterm="", n=0))
    assert not differing, f"`make cost` writes the numbers anew; then say what a new call is needed for\n{differing}"


def test_the_table_says_what_each_call_is_needed_for() -> None:
    reasons = reasons_in(TABLE.read_text())

    assert reasons
    assert [call for call, reason in reasons.items() if not reason] == []
