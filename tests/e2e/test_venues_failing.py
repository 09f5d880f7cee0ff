"""Venues that fail: what the engine then does. Which calls fail is known beforehand (see `fates`)."""

import json

import pytest
from order_engine.adapters.mock_market.dice import Fault
from order_engine.domain.swaps import VenueName

from tests.e2e.fates import REFUSALS, client_order_id
from tests.e2e.system import FIVE, System, an_order, sequences, statuses

TRANSIENT = {"VENUE_UNAVAILABLE", "RATE_LIMITED"}


def test_an_order_whose_first_two_attempts_fail_is_confirmed_by_the_third(unreliable: System) -> None:
    key = client_order_id(
        "third time lucky", lambda luck: luck.no_quotes(1) and luck.no_quotes(2) and luck.undisturbed(3)
    )

    life = unreliable.life_of(an_order(clientOrderId=key))

    assert statuses(life) == ["pending", "routing", "routing", *FIVE[1:]]
    assert sequences(life) == [1, 2, 3, 4, 5, 6, 7]
    assert [message["attempt"] for message in life] == [0, 1, 2, 3, 3, 3, 3]
    row = unreliable.row_of(life[0]["orderId"])
    assert (row["status"], row["attempts"], row["failure_code"]) == ("confirmed", 3, None)
    assert [event["details"] for event in unreliable.events_of(life[0]["orderId"])] == life
    assert unreliable.chain_states(life[0]["orderId"]) == ["landed"]


def test_the_journal_keeps_why_earlier_attempts_of_a_confirmed_order_failed(unreliable: System) -> None:
    key = client_order_id("errors kept", lambda luck: luck.no_quotes(1) and luck.no_quotes(2) and luck.undisturbed(3))

    life = unreliable.life_of(an_order(clientOrderId=key))

    errors = [json.loads(error["S"]) for error in unreliable.journal_item(life[0]["orderId"])["errors"]["L"]]
    assert life[-1]["status"] == "confirmed"
    assert [error["attempt"] for error in errors] == [1, 2]
    assert {error["code"] for error in errors} <= TRANSIENT


def test_an_order_fails_only_after_its_last_attempt_and_then_once(unreliable: System) -> None:
    key = client_order_id("hopeless", lambda luck: all(luck.no_quotes(attempt) for attempt in (1, 2, 3)))

    order_id = unreliable.submit(an_order(clientOrderId=key))["orderId"]
    with unreliable.watching(order_id) as watcher:
        life = watcher.to_the_end()
        row = unreliable.row_of(order_id)
        more = watcher.up_to_pong()

    failed = life[-1]
    assert statuses(life) == ["pending", "routing", "routing", "routing", "failed"]
    assert sequences(life) == [1, 2, 3, 4, 5]
    assert more == []
    assert failed["code"] in TRANSIENT
    assert [attempt["attempt"] for attempt in failed["attempts"]] == [1, 2, 3]
    assert {attempt["code"] for attempt in failed["attempts"]} <= TRANSIENT
    assert (failed["attempts"][-1]["code"], failed["attempts"][-1]["error"]) == (failed["code"], failed["error"])
    assert (row["status"], row["attempts"], row["failure_code"], row["failure_reason"]) == (
        "failed",
        3,
        failed["code"],
        failed["error"],
    )
    assert unreliable.events_of(order_id)[-1]["details"] == failed
    assert unreliable.chain_states(order_id) == []


@pytest.mark.parametrize(("down", "up"), [("raydium", "meteora"), ("meteora", "raydium")])
def test_an_order_goes_to_the_other_venue_while_one_is_down(unreliable: System, down: str, up: str) -> None:
    key = client_order_id(
        f"without {down}",
        lambda luck: (
            luck.at(VenueName(down), 1).quote_fault is not None
            and luck.at(VenueName(up), 1).quote_fault is None
            and luck.at(VenueName(up), 1).submit_fault is None
        ),
    )

    life = unreliable.life_of(an_order(clientOrderId=key))

    building = life[2]
    assert statuses(life) == FIVE
    assert (building["venue"], life[-1]["venue"]) == (up, up)
    assert [quote["venue"] for quote in building["quotes"]] == [up]
    assert [rejected["venue"] for rejected in building["rejected"]] == [down]
    assert building["rejected"][0]["code"] in TRANSIENT
    assert f"{down} gave no quote" in building["message"]


def test_a_swap_that_is_refused_is_tried_again_once_the_first_transaction_is_dead(unreliable: System) -> None:
    key = client_order_id(
        "refused", lambda luck: luck.all_quotes(1) and luck.swap_meets(1, *REFUSALS) and luck.undisturbed(2)
    )

    life = unreliable.life_of(an_order(clientOrderId=key))

    assert statuses(life) == [*FIVE[:4], *FIVE[1:]]
    assert life[3]["txHash"] != life[-1]["txHash"]
    assert unreliable.chain_states(life[0]["orderId"]) == ["dead", "landed"]
    assert unreliable.row_of(life[0]["orderId"])["tx_hash"] == life[-1]["txHash"]


def test_a_swap_that_timed_out_before_it_arrived_is_tried_again(unreliable: System) -> None:
    key = client_order_id(
        "lost", lambda luck: luck.all_quotes(1) and luck.swap_meets(1, Fault.TIMEOUT) and luck.undisturbed(2)
    )

    life = unreliable.life_of(an_order(clientOrderId=key))

    assert statuses(life) == [*FIVE[:4], *FIVE[1:]]
    assert unreliable.chain_states(life[0]["orderId"]) == ["dead", "landed"]


def test_a_swap_that_timed_out_but_landed_is_confirmed_and_not_sent_again(unreliable: System) -> None:
    key = client_order_id(
        "landed unseen", lambda luck: luck.all_quotes(1) and luck.swap_meets(1, Fault.TIMEOUT_AFTER_LANDING)
    )

    life = unreliable.life_of(an_order(clientOrderId=key))

    assert statuses(life) == FIVE
    assert unreliable.chain_states(life[0]["orderId"]) == ["landed"]
    assert unreliable.row_of(life[0]["orderId"])["attempts"] == 1
