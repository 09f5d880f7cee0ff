"""Open the pools of a token that has not been launched: on the mock market an operator does that."""

from dataclasses import dataclass
from datetime import datetime

from order_engine.domain.refusals import FieldError, InvalidRequest
from order_engine.domain.tokens import LAUNCHING
from order_engine.ports import Clock, Launchpad


@dataclass(frozen=True)
class Launches:
    """The use case of `launch`."""

    chain: Launchpad
    now: Clock

    def open(self, symbol: object) -> datetime:
        """Open both venues' pools of a token now, for every pair with it. Return when they opened, which is earlier if
        they were opened before. Raises InvalidRequest unless it is a token that launches."""
        if symbol not in LAUNCHING:
            raise InvalidRequest.of(FieldError("token", f"must be one of {', '.join(LAUNCHING)}"))
        return self.chain.launch(str(symbol), self.now())
