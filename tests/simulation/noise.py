"""Random numbers that depend on nothing but a seed and a name: what is left out of a run changes no other's luck."""

import random
from zlib import crc32

_SIZE = 1 << 16
_DICE = random.Random("noise")
_NUMBERS = [_DICE.random() for _ in range(_SIZE)]


class Noise:
    """A sequence of numbers in [0, 1) for each name."""

    def __init__(self, seed: int, name: str) -> None:
        self._at = crc32(f"{seed}/{name}".encode())

    def __call__(self, n: int) -> float:
        """The n-th number."""
        return _NUMBERS[(self._at + n * 40503) % _SIZE]
