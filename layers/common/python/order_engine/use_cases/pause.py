"""Refuse orders while an operator has paused the engine."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from order_engine.domain.errors import ServiceUnavailable
from order_engine.domain.refusals import EnginePaused
from order_engine.observability import logger
from order_engine.ports import Pauses

# For so long an execution environment may go on taking orders after a pause, or refusing them after its end.
CACHE_SECONDS = 2.0


@dataclass
class PauseCheck:
    """Asks `pauses` at most every CACHE_SECONDS, which `monotonic` counts."""

    pauses: Pauses
    monotonic: Callable[[], float] = time.monotonic
    _asked_at: float = -math.inf
    _is_paused: bool = False

    def require_running(self) -> None:
        """Raise EnginePaused if the engine is paused. If that can't be looked up, it is as it was."""
        if self.monotonic() - self._asked_at >= CACHE_SECONDS:
            try:
                self._is_paused = self.pauses.read() is not None
            except ServiceUnavailable as fault:
                logger.warning("whether the engine is paused could not be looked up", extra={"reason": str(fault)})
            self._asked_at = self.monotonic()
        if self._is_paused:
            raise EnginePaused
