"""What was claimed against what was true: every kind of claim, in made-up labs whose truth is known.

    python benchmarks/calibration.py [--labs 200] [--only WORD] [--processes 2]

The statistics, stopping rules, verdicts and analyses are GreenBench's own; docs/calibration.md says which
code a lab passes through, and keeps the table. Seeded: the same code gives the same table everywhere. Prints
markdown; progress goes to standard error.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from greenbench.simulate.claims import (
    frontier_chances,
    joint_coverage,
    ratio_coverage,
    sweep_words,
    under_load,
    whole_runs,
)
from greenbench.simulate.claims.said import Case, Told, lines, markdown, told
from greenbench.simulate.nvml_bench import NvmlBench, compiled

ROOMS = (ratio_coverage, sweep_words, frontier_chances, joint_coverage, under_load)
PART = 50
"""Labs that a process simulates before it tells."""


def main() -> int:
    """Simulate and print; exit 0 whatever the table says, as it is what is found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--labs", type=int, default=200, help="of the cheapest claims; fewer of others"
    )
    parser.add_argument("--only", default="", help="claims with this word in their name")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        bench = partial(NvmlBench, compiled(Path(name)), Path(name))
        rooms = [*(room.cases(given.labs) for room in ROOMS), whole_runs.cases(given.labs, bench)]
        cases = [each for room in rooms for each in room if given.only in each.claim]
        found = dict(enumerate(simulated(cases, given.processes)))
    rows = [line for n, case in enumerate(cases) for line in lines(case, found[n])]
    order = list(dict.fromkeys(row.claim for row in rows))
    print(markdown(sorted(rows, key=lambda row: order.index(row.claim))))
    print(f"\r{len(cases)} cases in {time.monotonic() - started_s:.0f} s", file=sys.stderr)
    return 0


def simulated(cases: Sequence[Case], processes: int) -> Iterator[list[Told]]:
    """What each case's labs say, by as many processes."""
    parts = [
        (n, range(first, min(first + PART, case.labs)))
        for n, case in enumerate(cases)
        for first in range(0, case.labs, PART)
    ]
    parts.sort(key=lambda part: -part[1].start)  # the longest cases do not end alone
    said: defaultdict[int, dict[int, list[Told]]] = defaultdict(dict)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        jobs = ((n, cases[n], labs) for n, labs in parts)
        for done, (n, first, some) in enumerate(pool.imap_unordered(_part, jobs)):
            said[n][first] = some
            print(f"\r{done + 1} of {len(parts)} parts", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    yield from (
        [each for first in sorted(said[n]) for each in said[n][first]] for n in range(len(cases))
    )


def _part(job: tuple[int, Case, range]) -> tuple[int, int, list[Told]]:
    n, case, labs = job
    return n, labs.start, told(case, labs)


if __name__ == "__main__":
    raise SystemExit(main())
