"""Orders whose luck at the mock venues is known beforehand, because it is drawn from their clientOrderId."""

from collections.abc import Callable
from dataclasses import dataclass

from order_engine.adapters.mock_market.dice import Fate, Fault, VenueConditions, draw
from order_engine.domain.swaps import VenueName

UNRELIABLE = VenueConditions(error_rate=0.3, timeout_rate=0.3)
REFUSALS = (Fault.ERROR, Fault.RATE_LIMIT)


@dataclass(frozen=True)
class Luck:
    """What will happen to an order at venues that are UNRELIABLE."""

    client_order_id: str

    def at(self, venue: VenueName, attempt: int) -> Fate:
        """What one attempt meets at one venue."""
        return draw(UNRELIABLE, self.client_order_id, f"/{attempt}", venue)

    def no_quotes(self, attempt: int) -> bool:
        """Neither venue gives a quote."""
        return all(self.at(venue, attempt).quote_fault for venue in VenueName)

    def all_quotes(self, attempt: int) -> bool:
        """Both venues give a quote."""
        return not any(self.at(venue, attempt).quote_fault for venue in VenueName)

    def swap_meets(self, attempt: int, *faults: Fault | None) -> bool:
        """Whichever venue is chosen, sending the swap meets one of these faults."""
        return all(self.at(venue, attempt).submit_fault in faults for venue in VenueName)

    def undisturbed(self, attempt: int) -> bool:
        """Nothing goes wrong."""
        return self.all_quotes(attempt) and self.swap_meets(attempt, None)


def client_order_id(label: str, wanted: Callable[[Luck], bool]) -> str:
    """A clientOrderId whose order will have this luck."""
    names = (f"{label} {number}" for number in range(1_000_000))
    return next(name for name in names if wanted(Luck(name)))
