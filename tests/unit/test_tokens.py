"""The token table, and what a request may call a token."""

from hashlib import sha256

import pytest
from order_engine.domain.tokens import LAUNCHING, NATIVE, TOKENS, Token, resolve


@pytest.mark.parametrize("token", TOKENS.values(), ids=lambda token: str(token.symbol))
def test_a_token_is_found_by_its_symbol_in_any_case_and_by_its_mint(token: Token) -> None:
    base58 = set("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")

    assert resolve(token.symbol) == resolve(token.symbol.lower()) == resolve(token.mint) == token
    assert (token is NATIVE) == (token.mint == "So11111111111111111111111111111111111111112")  # wrapped SOL
    assert 32 <= len(token.mint) <= 44
    assert set(token.mint) <= base58


@pytest.mark.parametrize("name", ["", "DOGE", "SOL ", TOKENS["SOL"].mint.lower(), None, 1, True, [], ["SOL"], {}])
def test_anything_else_is_refused_with_the_symbols_that_there_are(name: object) -> None:
    with pytest.raises(ValueError, match="must be one of SOL, USDC, USDT"):
        resolve(name)


def test_made_up_mints_are_32_bytes_and_their_tokens_launch() -> None:
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

    def decoded(mint: str) -> int:
        return sum(alphabet.index(digit) * 58**place for place, digit in enumerate(reversed(mint)))

    for symbol in LAUNCHING:
        digest = sha256(f"order-engine/{symbol}".encode()).digest()
        assert decoded(TOKENS[symbol].mint) == int.from_bytes(digest)
    assert LAUNCHING == ("NOVA", "ORBIT")
