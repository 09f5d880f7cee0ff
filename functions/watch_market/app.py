"""Watches the market once a second, and brings back the resting orders that are due; invoked each minute."""

import math
from typing import Any

from order_engine.bootstrap import Bootstrap
from order_engine.entrypoints.handler import entrypoint
from order_engine.use_cases.watch import Watcher


@entrypoint(Bootstrap.watcher)
def handler(watcher: Watcher, event: dict[str, Any], _context: object) -> dict[str, Any]:
    """The schedule's event, or `{"looks": 3}`, to look no more than so many times. Returns how often it did, once that
    is done, the next invocation has taken over, or its time is over."""
    return {"looks": watcher.run(event.get("looks", math.inf))}
