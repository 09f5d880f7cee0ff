"""How much was tried: the tests add to it, and the run's summary says it."""

from collections import Counter

tried: Counter[str] = Counter()
