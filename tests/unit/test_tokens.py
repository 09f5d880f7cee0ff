"""The token table, and what a request may call a token."""

import pytest
from order_engine.domain.tokens import NATIVE, TOKENS, Token, resolve


@pytest.mark.parametrize("token", TOKENS.values(), ids=lambda token: str(token.symbol))
def test_a_token_is_found_by_its_symbol_in_any_case_and_by_its_mint(token: Token) -> None:
    base58 = set("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")

    assert resolve(token.symbol) == resolve(token.symbol.lower()) == resolve(token.mint) == token
    assert 32 <= len(token.mint) <= 44
    assert set(token.mint) <= base58


@pytest.mark.parametrize("name", ["", "DOGE", "SOL ", TOKENS["SOL"].mint.lower(), None, 1, True, [], ["SOL"], {}])
def test_anything_else_is_refused_with_the_symbols_that_there_are(name: object) -> None:
    with pytest.raises(ValueError, match="must be one of SOL, USDC, USDT"):
        resolve(name)


def test_the_native_token_is_traded_by_the_mint_of_wrapped_sol() -> None:
    assert resolve("So11111111111111111111111111111111111111112") is NATIVE
