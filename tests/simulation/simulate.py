"""`make simulate`: whole lives of many orders on a virtual clock, seed after seed; a failing one is shrunk to a story.

    python tests/simulation/simulate.py [--seconds N | --seeds N] [--seed FIRST] [--jobs 2]

With SEED in the environment that seed alone is run, shrunk if it fails, and told.
"""

import argparse
import gc
import math
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import count

from tests.doubles.platform import Parts
from tests.doubles.quiet import quiet
from tests.simulation.drawing import draw
from tests.simulation.simulation import Simulation
from tests.simulation.story import judge, recorded, shrunk, tell, told
from tests.simulation.tally import Tally

CHUNK = 50  # seeds that a process runs at once
_MOST_STORIES = 3


def run_seeds(first: int, many: int = CHUNK, parts: Parts | None = None) -> Tally:
    """Runs successive seeds."""
    tally = Tally()
    gc.freeze()
    gc.disable()  # a world is full of cycles: they are collected all at once
    with quiet():
        for seed in range(first, first + many):
            world = Simulation(draw(seed), parts).run()
            tally.add(seed, world, (breach.rule for breach in world.breaches()))
            if seed % 10 == 0:
                gc.collect()
    gc.enable()
    gc.unfreeze()
    return tally


def replay(seed: int) -> bool:
    """Runs one seed and prints its story, shrunk if it fails; returns whether it does not."""
    with quiet():
        breaches = judge(draw(seed))
        plan = shrunk(seed, breaches[0].rule) if breaches else recorded(seed)
        print(f"seed {seed}: {len(breaches)} breaches")
        print(*told(breaches), *tell(plan), sep="\n")
    return not breaches


def sweep(first: int, seeds: float, seconds: float, jobs: int) -> Tally:
    """Runs seeds on several processes, until so many are done or the time is over."""
    begun, tally = time.monotonic(), Tally()
    starts: Iterator[int] = count(first, CHUNK)
    running: set[Future[Tally]] = set()
    with ProcessPoolExecutor(jobs) as pool:
        given = 0
        while True:
            while len(running) < jobs and given < seeds and time.monotonic() - begun < seconds:
                running.add(pool.submit(run_seeds, next(starts), min(CHUNK, int(min(seeds - given, CHUNK)))))
                given += CHUNK
            if not running:
                return tally
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                tally += future.result()
                for seed in sorted(set(tally.failed) & set(future.result().failed)):
                    print(f"seed {seed} fails: {tally.failed[seed][0]}   (SEED={seed} make simulate)", flush=True)


def main() -> int:
    """Returns the exit code: 1 if a seed failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to go on (60)")
    parser.add_argument("--seeds", type=int, help="run so many seeds instead, however long it takes")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (2)")
    parser.add_argument("--replay", type=int, default=os.environ.get("SEED") or None, help="run this seed alone (SEED)")
    given = parser.parse_args()
    if given.replay is not None:
        return 0 if replay(given.replay) else 1
    seeds, seconds = (given.seeds, math.inf) if given.seeds else (math.inf, given.seconds)
    begun = time.monotonic()
    tally = sweep(given.seed, seeds, seconds, given.jobs)
    seconds = time.monotonic() - begun
    print(f"{tally.summary()}\n{tally.lives / seconds:,.0f} lives a second on {given.jobs} processes, {seconds:.0f} s")
    print(*tally.table(), sep="\n")
    stories = {rules[0]: seed for seed, rules in sorted(tally.failed.items(), reverse=True)}
    for seed in sorted(stories.values())[:_MOST_STORIES]:
        print()
        replay(seed)
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
