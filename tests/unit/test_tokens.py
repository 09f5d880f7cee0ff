"""The token table, and what a request may call a token."""

import pytest
from order_engine.domain.tokens import NATIVE, TOKENS, resolve


@pytest.mark.parametrize("symbol", sorted(TOKENS))
def test_a_token_is_found_by_its_symbol_in_any_case_and_by_its_mint(symbol: str) -> None:
    token = TOKENS[symbol]

    assert resolve(symbol) == resolve(symbol.lower()) == resolve(token.mint) == token


@pytest.mark.parametrize("name", ["", "DOGE", "SOL ", TOKENS["SOL"].mint.lower(), None, 1, True, [], ["SOL"], {}])
def test_anything_else_is_refused_with_the_symbols_that_there_are(name: object) -> None:
    with pytest.raises(ValueError, match="must be one of SOL, USDC, USDT"):
        resolve(name)


def test_every_mint_is_a_distinct_solana_address() -> None:
    mints = {token.mint for token in TOKENS.values()}
    base58 = set("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")

    assert len(mints) == len(TOKENS)
    assert all(32 <= len(mint) <= 44 and set(mint) <= base58 for mint in mints)


def test_the_native_token_is_traded_by_the_mint_of_wrapped_sol() -> None:
    assert resolve("So11111111111111111111111111111111111111112") is NATIVE
