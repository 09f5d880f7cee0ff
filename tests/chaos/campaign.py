"""A fault campaign on the real local stack: `python tests/chaos/campaign.py [--seconds 120] [--orders N] [--seed S]`.

Orders arrive and are watched while workers are killed, PostgreSQL stops or hangs, what the functions call hangs, is
late, cut or throttled, messages are redelivered, and venues fail. When everything is settled, or the time for that is
over, the checker judges. `--recovery`, `--burst N` and `--variants` do something else instead. The exit code is 1 on a
breach, with the story of the order that it is about.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from local.signals import interrupt_once
from local.stack import LocalStack
from tests.chaos import measures, plan, variants
from tests.chaos.report import found, judge, print_table
from tests.chaos.running import Timings, run, unhosted
from tests.chaos.world import Terms

VENUES = {
    "VenueQuoteLatencyMs": "20-150",
    "VenueSwapLatencyMs": "100-1200",
    "VenueErrorRate": "0.12",
    "VenueTimeoutRate": "0.12",
    "VenueMaxSlipBps": "56",  # above the usual tolerance of 50, so that some swaps revert
    "VenueValiditySeconds": "3",
    "RetryBaseSeconds": "1",
    "OrderMaxAgeSeconds": "45",
    "MarketVolatilityBps": "400",  # a watched price is another one soon
}
# A back-off is half its base at the least; posts may take 3 s, and then quotes 2 s. An order expires early when a
# transaction was built that could land too late. One that is due comes back after a minute at the most.
TERMS = Terms(back_off_seconds=0.5, validity_seconds=3, latest_seconds=3.1, status_seconds=5.5, overdue_seconds=75)
TIMINGS = Timings(function_seconds=20, lease_seconds=21, visibility_seconds=23)
ORDERS_PER_SECOND = 4


def main() -> int:
    """Do what the command line asks for; return the exit code."""
    options = argparse.ArgumentParser(description="Faults on the real local stack, and an independent checker.")
    options.add_argument("--seconds", type=float, default=120, help="for how long orders arrive (default: 120)")
    options.add_argument("--orders", type=int, help=f"how many (default: {ORDERS_PER_SECOND} a second)")
    options.add_argument("--seed", type=int, default=1, help="of requests, faults and venues (default: 1)")
    options.add_argument("--recovery", action="store_true", help="measure recovery times, with default timings")
    options.add_argument("--burst", type=int, metavar="N", help="send N orders at once, without faults")
    options.add_argument("--variants", action="store_true", help="show that the checker catches broken engines")
    options.add_argument("--log", type=Path, help="where to keep the stack's log")
    given = options.parse_args()
    console = Console(soft_wrap=True, highlight=False)
    interrupt_once()
    if given.variants:
        return variants.all_caught(console, VENUES, TERMS)
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        try:
            if given.recovery:
                with LocalStack(state, port=0) as stack:
                    return measures.recovery(stack, console)
            if given.burst:
                with LocalStack(state, port=0, parameters=measures.AT_ONCE) as stack:
                    return measures.burst(stack, console, given.burst, given.seed)
            with unhosted(state, {**VENUES, "VenueSeed": str(given.seed)}) as stack:
                orders = given.orders or int(given.seconds * ORDERS_PER_SECOND)
                return _campaign(stack, console, given.seed, given.seconds, orders)
        finally:
            if given.log:
                shutil.copy(state / "stack.log", given.log)


def _campaign(stack: LocalStack, console: Console, seed: int, seconds: float, orders: int) -> int:
    console.print(f"seed {seed}: {orders} requests in {seconds:g} s; venues: {VENUES}")
    console.print(f"shorter than the template's, set by API for this run: {TIMINGS}")
    outcome = run(stack, plan.draw(seed, seconds, orders), TIMINGS, TERMS, console)
    results = {**found(outcome.world, stack.log), "handshakes that had to be repeated": outcome.handshakes_repeated}
    print_table(console, outcome.injected, results)
    console.print(f"settled {outcome.settled_seconds:.1f} s after the last fault")
    return judge(console, outcome.world, outcome.breaches)


if __name__ == "__main__":
    sys.exit(main())
