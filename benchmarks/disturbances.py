"""What disturbs a run and what is said of it: planted faults, on a made-up GPU and CPU and a moved clock.

    python benchmarks/disturbances.py [--runs 20] [--only WORD]

Each run is the product's own, from pynvml or the kernel's powercap files through meters, windows, codes and
blocks that make up for spoilt ones to the record; made up are the driver (tests/helpers/fakes/nvml.c, which
is compiled here with cc), or those files, and the model, which draws 420 W, and 0.8 of them as the candidate.
A fault begins at a random moment of the blocks. Told are how many runs say its code, of a window that it
fell into or of the whole; which other codes any run says; how many windows without it have any code; and of
the runs that are not invalid by how much the ratio is off, against half of its 95 % interval. Seeded; prints
markdown.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np

from greenbench.errors import Lost
from greenbench.schema.record import Record
from greenbench.simulate import rapl_bench
from greenbench.simulate.measured_run import Lab, Truth, run
from greenbench.simulate.nvml_bench import CALM, Fault, NvmlBench, compiled
from greenbench.simulate.rapl_bench import RaplBench
from greenbench.simulate.weather import Weather

TRUTH = Truth(watts=0.8)
WEATHER = Weather(spread=0.006)
FROM_S, TO_S = 65.0, 255.0
"""When faults begin, within the planned blocks of protocol `dev`."""
LONG_S = 2000.0


class Planted(NamedTuple):
    """A fault, and where it is measured."""

    fault: Fault
    lab: Lab = Lab(WEATHER)
    always: bool = False
    """From the start on."""


IN_TURN = Lab(WEATHER, in_turn=True)
FAULTS = (
    Planted(CALM),
    Planted(CALM._replace(name="nothing, models in turn"), IN_TURN),
    Planted(Fault("throttled by heat, 3 s", "throttled", "throttle 0 {t} 64 {u}", slow=1.5, less=0.7)),
    Planted(Fault("throttled by heat, 0.1 s", "throttled", "throttle 0 {t} 64 {u}", 0.1, slow=1.5, less=0.7)),
    Planted(Fault("clock falls for good", "clock_change", "clocks 1980 2619 {t} 1400 2619", LONG_S, slow=1.4,
                  less=0.8)),
    Planted(Fault("another process computes, 3 s", "foreign_process", "process 1 1 60 {t} {u}", watts=150)),
    Planted(Fault("another process computes, 0.1 s", "foreign_process", "process 1 1 60 {t} {u}", 0.1, 150)),
    Planted(Fault("another process that the driver hides, 3 s", None, watts=150)),
    Planted(Fault("another process holds memory", "idle_neighbour", "process 1 5000 0 {t} {u}", LONG_S),
            always=True),
    Planted(Fault("power limit of 380 W, which one model meets", "power_capped", watts=380, seconds=LONG_S,
                  way="cap"), always=True),
    Planted(Fault("a model that waits draws 30 W", "waiting_costs", seconds=LONG_S),
            Lab(WEATHER, waiting_w=30.0), always=True),
    Planted(Fault("power goes unsampled, 1 s", "sampler_gap", seconds=1.0, way="gap")),
    Planted(Fault("counter stands, 3 s", "counter_stalled", "stall_at {t} {u}")),
    Planted(Fault("counter starts again", "counter_reset", "start_mj 900000000\nreset_at {t}", 0.1)),
    Planted(Fault("counter jumps by 1 kJ", "counter_jump", "jump_at {t} 1000000", 0.1)),
    Planted(Fault("counter jumps by 0.3 kJ", "residual", "jump_at {t} 300000", 0.1)),
    Planted(Fault("counter shows 8 % too little", "residual", "gain 0.92", LONG_S), always=True),
    Planted(Fault("other programs take the CPUs, 30 s", "other_load", seconds=30.0, way="load")),
    Planted(Fault("the engine stands still, 3 s", None, way="stall")),
    Planted(Fault("GreenBench itself is stopped, 1.5 s", "stalled", seconds=1.5, way="stop")),
    Planted(Fault("power drifts up by 5 % in 200 s", None, seconds=LONG_S, way="drift"), always=True),
    Planted(Fault("power drifts up by 5 % in 200 s, models in turn", "drift", seconds=LONG_S, way="drift"),
            IN_TURN, always=True),
    Planted(Fault("sensor looks 25 of 100 ms, in step", "residual_high", "sample 0.1 0.025", LONG_S,
                  way="duty"), always=True),
    Planted(Fault("a call to the driver takes 30 ms", None, seconds=LONG_S, way="call"), always=True),
    Planted(Fault("the GPU vanishes", "device_lost", "lost_at {t}", LONG_S)),
)  # fmt: skip


class Seen(NamedTuple):
    """What came of one run."""

    hit: bool
    others: frozenset[str] = frozenset()
    """Codes that were said beside it, of windows or of the run."""
    alarms: int = 0
    spared: int = 0
    """Windows that the fault did not fall into; `alarms` of them have a code."""
    off: float | None = None
    """The ratio over the true one, less 1; null of a run that is invalid, or has none."""
    half: float = 0.0
    held: bool = False
    """Whether its interval holds the truth."""


def on_gpu(planted: Planted, library: Path, seed: int) -> Seen:
    """One run with the fault."""
    dice = np.random.default_rng([*planted.fault.name.encode(), seed])
    start_s = 0.0 if planted.always else float(dice.uniform(FROM_S, TO_S))
    bench = NvmlBench(library, library.parent, planted.fault, start_s)
    return measured(bench, planted.lab, dice)


def on_cpu(fault: rapl_bench.Fault, folder: Path, seed: int) -> Seen:
    """One run with the fault."""
    dice = np.random.default_rng([*fault.name.encode(), seed])
    bench = RaplBench(folder / f"{fault.name} {seed}", fault, float(dice.uniform(FROM_S, TO_S)))
    return measured(bench, Lab(WEATHER), dice)


def measured(bench: NvmlBench | RaplBench, lab: Lab, dice: np.random.Generator) -> Seen:
    """One run on that bench."""
    try:
        return seen(run("disturbed", TRUTH, lab, dice, bench=bench), bench)
    except Lost:
        return Seen(bench.fault.code == "device_lost")


def seen(record: Record, bench: NvmlBench | RaplBench) -> Seen:
    """What the record says."""
    touched = [bench.fell_into(w.start_s, w.end_s) for w in record.windows]
    code, both = bench.fault.code, list(zip(touched, record.windows, strict=True))
    hit = code in record.codes or any(on and code in w.codes for on, w in both)
    spared = [w for on, w in both if not on]
    codes = {*record.codes, *(code for w in record.windows for code in w.codes)}
    others = frozenset(codes - {code})
    said = Seen(hit, others, sum(bool(w.codes) for w in spared), len(spared))
    found = record.ratios["energy_per_token"]
    if record.validity == "invalid" or found.value is None or found.bounds is None:
        return said
    low, high = found.bounds
    return said._replace(
        off=found.value / TRUTH.energy - 1,
        half=(high - low) / 2 / found.value,
        held=low <= TRUTH.energy <= high,
    )


def row(fault: Fault | rapl_bench.Fault, found: Sequence[Seen]) -> str:
    """One line of the table."""
    hit = f"{sum(s.hit for s in found)} of {len(found)}" if fault.code else ""
    counts = Counter(code for s in found for code in s.others)
    others = ", ".join(f"`{code}` {n}" for code, n in sorted(counts.items())) or "none"
    spared = sum(s.spared for s in found)
    alarms = f"{sum(s.alarms for s in found)} of {spared}" if spared else ""
    known = [(abs(s.off), s.half) for s in found if s.off is not None]
    off = f"{100 * mean(o for o, _ in known):.2f} %" if known else ""
    half = f"{100 * mean(h for _, h in known):.2f} %" if known else ""
    within = f"{sum(s.held for s in found)} of {len(known)}" if known else "none is left"
    code = f"`{fault.code}`" if fault.code else ""
    return f"| {' | '.join([fault.name, code, hit, others, alarms, off, half, within])} |"


COLUMNS = (
    "code", "said by", "other codes, by runs", "other windows with a code", "off by", "half-width",
    "holds the truth",
)  # fmt: skip


def head(where: str) -> str:
    """Of the table of one machine."""
    return f"| {' | '.join([where, *COLUMNS])} |\n|{'---|' * (1 + len(COLUMNS))}"


def main() -> int:
    """Plant, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20, help="of each fault")
    parser.add_argument("--only", default="", help="faults with this word in their name")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = compiled(folder)
        tables: list[list[tuple[Fault | rapl_bench.Fault, Callable[[int], Seen]]]] = [
            [(each.fault, partial(on_gpu, each, library)) for each in FAULTS],
            [(each, partial(on_cpu, each, folder)) for each in rapl_bench.FAULTS],
        ]
        for where, table in zip(("GPU, NVML", "CPU, RAPL"), tables, strict=True):
            print(head(where))
            for fault, once in (each for each in table if given.only in each[0].name):
                print(row(fault, [once(seed) for seed in range(given.runs)]), flush=True)
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
