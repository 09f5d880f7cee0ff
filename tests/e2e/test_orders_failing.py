"""Orders that can't be filled as asked, and venues that fail: which calls fail is drawn from the clientOrderId, and so
known beforehand."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial

import pytest
from order_engine.adapters.mock_market.dice import Fate, Fault, VenueConditions, draw
from order_engine.domain.swaps import VenueName

from tests.e2e.system import FIVE, System, an_order, sequences, statuses
from tests.support.raw_client import Message

UNRELIABLE = VenueConditions(error_rate=0.3, timeout_rate=0.3)
REFUSALS = (Fault.ERROR, Fault.RATE_LIMIT)
TRANSIENT = {"VENUE_UNAVAILABLE", "RATE_LIMITED"}


@pytest.mark.parametrize(
    ("changes", "code", "through"),
    [
        ({"slippageBps": 0}, "SLIPPAGE_EXCEEDED", 4),
        ({"minAmountOut": "1600"}, "SLIPPAGE_EXCEEDED", 2),
        ({"amountIn": "1000000"}, "INSUFFICIENT_LIQUIDITY", 2),
        ({"tokenOut": "NOVA"}, "NO_POOL", 2),
        ({"amountIn": "10000"}, "PRICE_IMPACT_TOO_HIGH", 2),
        ({"tokenIn": "BONK", "tokenOut": "MSOL", "amountIn": "0.00001"}, "AMOUNT_TOO_SMALL", 2),
    ],
)
def test_an_order_that_cannot_be_filled_as_asked_fails_at_once(
    system: System, changes: dict[str, object], code: str, through: int
) -> None:
    life = system.life_of(an_order(**changes))

    failed = life[-1]
    assert statuses(life) == [*FIVE[:through], "failed"]
    assert sequences(life) == list(range(1, len(life) + 1))
    assert (failed["code"], bool(failed["error"])) == (code, True)
    assert [(error["attempt"], error["code"]) for error in failed["attempts"]] == [(1, code)]
    assert str(changes.get("minAmountOut", "")) in failed["error"]
    row = system.row_of(failed["orderId"])
    assert (row["status"], row["failure_code"], row["failure_reason"]) == ("failed", code, failed["error"])
    assert (row["attempts"], row["tx_hash"], row["amount_out"]) == (1, None, None)
    assert [event["details"] for event in system.events_of(failed["orderId"])] == life
    assert system.chain_states(failed["orderId"]) == ["reverted"] * (through == 4)
    if through == 4:
        assert Decimal(life[2]["minAmountOut"]) == max(Decimal(quote["amountOut"]) for quote in life[2]["quotes"])


@pytest.fixture(scope="module")
def unreliable(system: System) -> Iterator[System]:
    """The system with venues that are UNRELIABLE; send it orders whose luck is known."""
    rates = {"VENUE_ERROR_RATE": UNRELIABLE.error_rate, "VENUE_TIMEOUT_RATE": UNRELIABLE.timeout_rate}
    with system.rehosted(rates, ["route_execute"]):
        yield system


Luck = Callable[[str, VenueName], Fate]  # what an attempt ("/1") meets at a venue


def no_quotes(luck: Luck, *attempts: int) -> bool:
    return all(luck(f"/{attempt}", venue).quote_fault for venue in VenueName for attempt in attempts)


def swap_meets(luck: Luck, attempt: int, *faults: Fault | None) -> bool:
    """Whether both venues give a quote, and sending the swap to either meets one of these faults."""
    fates = [luck(f"/{attempt}", venue) for venue in VenueName]
    return all(not fate.quote_fault and fate.submit_fault in faults for fate in fates)


def lucky(system: System, label: str, wanted: Callable[[Luck], bool]) -> list[Message]:
    """The life of an order that has this luck."""
    for number in range(1_000_000):
        luck = partial(draw, UNRELIABLE, key := f"{label} {number}")
        if wanted(luck):
            return system.life_of(an_order(clientOrderId=key))
    raise AssertionError("no order is that lucky")


def test_an_order_whose_first_two_attempts_fail_is_confirmed_by_the_third(unreliable: System) -> None:
    life = lucky(unreliable, "third time", lambda luck: no_quotes(luck, 1, 2) and swap_meets(luck, 3, None))

    order_id = life[0]["orderId"]
    assert statuses(life) == ["pending", "routing", "routing", *FIVE[1:]]
    assert sequences(life) == [1, 2, 3, 4, 5, 6, 7]
    assert [message["attempt"] for message in life] == [0, 1, 2, 3, 3, 3, 3]
    row = unreliable.row_of(order_id)
    assert (row["status"], row["attempts"], row["failure_code"]) == ("confirmed", 3, None)
    assert [event["details"] for event in unreliable.events_of(order_id)] == life
    assert unreliable.chain_states(order_id) == ["landed"]
    errors = [json.loads(error["S"]) for error in unreliable.journal_item(order_id)["errors"]["L"]]
    assert [error["attempt"] for error in errors] == [1, 2]
    assert {error["code"] for error in errors} <= TRANSIENT


def test_an_order_fails_after_its_last_attempt_and_only_then(unreliable: System) -> None:
    life = lucky(unreliable, "hopeless", lambda luck: no_quotes(luck, 1, 2, 3))

    failed, attempts = life[-1], life[-1]["attempts"]
    row = unreliable.row_of(failed["orderId"])
    assert statuses(life) == ["pending", "routing", "routing", "routing", "failed"]
    assert sequences(life) == [1, 2, 3, 4, 5]
    with unreliable.watching(failed["orderId"], after=5) as watcher:
        assert watcher.to_the_close() == []
    assert [attempt["attempt"] for attempt in attempts] == [1, 2, 3]
    assert {attempt["code"] for attempt in attempts} <= TRANSIENT
    assert (attempts[-1]["code"], attempts[-1]["error"]) == (failed["code"], failed["error"])
    assert (row["status"], row["attempts"]) == ("failed", 3)
    assert (row["failure_code"], row["failure_reason"]) == (failed["code"], failed["error"])
    assert unreliable.events_of(failed["orderId"])[-1]["details"] == failed
    assert unreliable.chain_states(failed["orderId"]) == []


@pytest.mark.parametrize(("down", "up"), [("raydium", "meteora"), ("meteora", "raydium")])
def test_an_order_goes_to_the_other_venue_while_one_is_down(unreliable: System, down: str, up: str) -> None:
    def only_one_is_up(luck: Luck) -> bool:
        fate = luck("/1", VenueName(up))
        return not (fate.quote_fault or fate.submit_fault) and luck("/1", VenueName(down)).quote_fault is not None

    life = lucky(unreliable, f"without {down}", only_one_is_up)

    building = life[2]
    assert statuses(life) == FIVE
    assert (building["venue"], life[-1]["venue"]) == (up, up)
    assert [quote["venue"] for quote in building["quotes"]] == [up]
    assert [rejected["venue"] for rejected in building["rejected"]] == [down]
    assert building["rejected"][0]["code"] in TRANSIENT
    assert f"{down} gave no quote" in building["message"]


@pytest.mark.parametrize("faults", [REFUSALS, (Fault.TIMEOUT,)], ids=["refused", "lost on its way"])
def test_a_swap_is_tried_again_once_the_first_transaction_is_dead(
    unreliable: System, faults: tuple[Fault, ...]
) -> None:
    label = f"again {faults}"
    life = lucky(unreliable, label, lambda luck: swap_meets(luck, 1, *faults) and swap_meets(luck, 2, None))

    assert statuses(life) == [*FIVE[:4], *FIVE[1:]]
    assert life[3]["txHash"] != life[-1]["txHash"]
    assert unreliable.chain_states(life[0]["orderId"]) == ["dead", "landed"]
    assert unreliable.row_of(life[0]["orderId"])["tx_hash"] == life[-1]["txHash"]


def test_a_swap_that_timed_out_but_landed_is_not_sent_again(unreliable: System) -> None:
    life = lucky(unreliable, "landed unseen", lambda luck: swap_meets(luck, 1, Fault.TIMEOUT_AFTER_LANDING))

    assert statuses(life) == FIVE
    assert unreliable.chain_states(life[0]["orderId"]) == ["landed"]
    assert unreliable.row_of(life[0]["orderId"])["attempts"] == 1
