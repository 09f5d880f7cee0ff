"""Orders that no venue can fill as asked: they fail at once, with the reason, and nothing is swapped."""

from decimal import Decimal

import pytest

from local.client import Message
from tests.e2e.system import System, an_order, sequences, statuses


def assert_failed_once(system: System, life: list[Message], code: str) -> None:
    """It failed in its first attempt, and the socket, the chain and PostgreSQL agree on that."""
    failed = life[-1]
    assert statuses(life).count("failed") == 1
    assert sequences(life) == list(range(1, len(life) + 1))
    assert failed["code"] == code
    assert failed["error"]
    assert [(error["attempt"], error["code"]) for error in failed["attempts"]] == [(1, code)]
    row = system.row_of(failed["orderId"])
    assert (row["status"], row["failure_code"], row["failure_reason"]) == ("failed", code, failed["error"])
    assert (row["attempts"], row["tx_hash"], row["amount_out"]) == (1, None, None)
    assert [event["details"] for event in system.events_of(failed["orderId"])] == life


def test_a_swap_that_slips_further_than_allowed_is_reverted_and_not_tried_again(system: System) -> None:
    life = system.life_of(an_order(slippageBps=0))

    assert statuses(life) == ["pending", "routing", "building", "submitted", "failed"]
    assert Decimal(life[2]["minAmountOut"]) == max(Decimal(quote["amountOut"]) for quote in life[2]["quotes"])
    assert_failed_once(system, life, "SLIPPAGE_EXCEEDED")
    assert system.chain_states(life[0]["orderId"]) == ["reverted"]


def test_an_order_that_asks_for_more_than_the_best_quote_sends_no_transaction(system: System) -> None:
    life = system.life_of(an_order(minAmountOut="1600"))

    assert statuses(life) == ["pending", "routing", "failed"]
    assert_failed_once(system, life, "SLIPPAGE_EXCEEDED")
    assert "1600" in life[-1]["error"]
    assert system.chain_states(life[0]["orderId"]) == []


@pytest.mark.parametrize(
    ("token_in", "token_out", "amount", "code"),
    [
        ("SOL", "USDC", "1000000", "INSUFFICIENT_LIQUIDITY"),
        ("SOL", "USDC", "10000", "PRICE_IMPACT_TOO_HIGH"),
        ("BONK", "MSOL", "0.00001", "AMOUNT_TOO_SMALL"),
    ],
)
def test_an_amount_that_no_pool_can_fill_fails_without_a_transaction(
    system: System, token_in: str, token_out: str, amount: str, code: str
) -> None:
    life = system.life_of(an_order(tokenIn=token_in, tokenOut=token_out, amountIn=amount))

    assert statuses(life) == ["pending", "routing", "failed"]
    assert_failed_once(system, life, code)
    assert system.chain_states(life[0]["orderId"]) == []
