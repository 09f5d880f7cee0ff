"""The tokens that can be traded, and how a request names them."""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Token:
    """`mint` is its address on Solana, `decimals` fixes its base unit, `usd_price` is what the mock venues price by.

    A `stable` token is always worth that much. One that `launches` is known from the first, but no venue has a pool for
    it before its launch.
    """

    symbol: str
    mint: str
    decimals: int
    usd_price: Decimal
    stable: bool = False
    launches: bool = False


# Mints and decimals: the Solana token list (on-chain facts). USD prices: round figures of autumn 2025; the mock
# venues need only their ratio to be plausible. SOL's mint is that of wrapped SOL, which is what pools hold.
_TABLE = (
    Token("SOL", "So11111111111111111111111111111111111111112", 9, Decimal(150)),
    Token("USDC", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGkZwyTDt1v", 6, Decimal(1), stable=True),
    Token("USDT", "Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB", 6, Decimal(1), stable=True),
    Token("RAY", "4k3Dyjzvzp8eMZWUXbBCjEvwSkkk59S5iCNLY3QrkX6R", 6, Decimal("2.4")),
    Token("JUP", "JUPyiwrYJFskUPiHa7hkeR8VUtAeFoSYbKedZNsDvCN", 6, Decimal("0.45")),
    Token("BONK", "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263", 5, Decimal("0.00002")),
    Token("MSOL", "mSoLzYCxHdYgdzU16g5QSh3i5K3z3KZK7ytfqcJm7So", 9, Decimal(190)),
    # Made up, so that there is something to launch: a mint is base58 of the SHA-256 of "order-engine/NOVA", and so on.
    Token("NOVA", "545B7PGvyGhQq633wSABBo8ZTCnpf1ZaCXc9TAKKbkAe", 9, Decimal("0.05"), launches=True),
    Token("ORBIT", "36Kq8x3ggWqnAvnspVo6xZu19ZNf7NWLjmQENBtkL9U5", 6, Decimal(2), launches=True),
)

TOKENS = {token.symbol: token for token in _TABLE}
_BY_MINT = {token.mint: token for token in _TABLE}

NATIVE = TOKENS["SOL"]

# Symbols of the tokens that launch.
LAUNCHING = tuple(token.symbol for token in _TABLE if token.launches)


def resolve(name: object) -> Token:
    """Return the token of a symbol (any case) or a mint address (exact).

    Raises ValueError with a message that lists the symbols.
    """
    if isinstance(name, str) and name.isascii():  # other letters have ASCII capitals too
        found = _BY_MINT.get(name) or TOKENS.get(name.upper())
        if found:
            return found
    raise ValueError(f"must be one of {', '.join(TOKENS)}, or the mint address of one of them")
