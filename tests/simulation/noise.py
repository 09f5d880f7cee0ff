"""Random numbers that depend on nothing but a seed and a name: what is left out of a run changes no other's luck."""

import random
from zlib import crc32

_SIZE = 1 << 16
_DICE = random.Random("noise")
_NUMBERS = [_DICE.random() for _ in range(_SIZE)]


def noise(seed: int, name: str, n: int = 0) -> float:
    """The n-th number of a name, in [0, 1)."""
    return _NUMBERS[(crc32(f"{seed}/{name}".encode()) + n * 40503) % _SIZE]
