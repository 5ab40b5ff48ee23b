"""What measuring costs: tokens per second with all meters and the sampler on, over off.

    python benchmarks/overhead.py [--blocks N]

One process, the embedded model, randomized blocks of one request each way, the paired ratio
with its 95 % interval; the goal is 0.995 or more. Without an NVIDIA GPU the model runs on the CPU
and the tests' fake libnvidia-ml is compiled and loaded, so that the counter and the background
sampler really run, on the cores that the model uses: harder than beside a GPU, save for the time
that a real driver takes to answer. Needs a C compiler then.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Literal, NamedTuple

from greenbench.campaign.compose import plan
from greenbench.campaign.invocation import BenchSpec
from greenbench.engines.engine import Build, Completion, Served
from greenbench.engines.transformers.engine import Transformers
from greenbench.machine.detect import Machine, detect
from greenbench.measure.recorder import Recorder
from greenbench.measure.requests import Requests
from greenbench.meters import OpenMeters
from greenbench.meters.nvml_counter import NvmlCounter
from greenbench.meters.nvml_power import NvmlPower
from greenbench.models import files, texts
from greenbench.schema.window import Place
from greenbench.stats.intervals import paired_ratio

GOAL = 0.995
FAKE = Path(__file__).resolve().parent.parent / "tests" / "helpers" / "fakes" / "nvml.c"
UUID = "GPU-aaaaaaaa-0000-1111-2222-333333333333"
SCRIPT = f"device {UUID}\nname fake H100\npower 300\n"
Side = Literal["on", "off"]
Work = Callable[[int], list[Completion]]


class Measured(NamedTuple):
    """Tokens per second of each block by side, and the sampler's own share of a core."""

    speeds: dict[Side, list[float]]
    sampler_share: float


def main() -> int:
    """Measure and print; the exit status is 0 whatever the ratio is, as a busy machine blurs it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        machine = detect("auto")
        uuids = machine.uuids or attach_fake(Path(work))
        found = compare(machine, uuids, arguments.blocks, arguments.seed)
    print(summary(found, fake=not machine.uuids))
    return 0


def attach_fake(work: Path) -> tuple[str, ...]:
    """Compile the fake and load it under the name by which pynvml asks for it."""
    library, script = work / "libnvidia-ml.so.1", work / "nvml.txt"
    script.write_text(SCRIPT)
    os.environ["FAKE_NVML"] = str(script)
    named = f"-Wl,-soname,{library.name}"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", named, "-o", library, FAKE, "-lm"], check=True)
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    return (UUID,)


def compare(machine: Machine, uuids: tuple[str, ...], blocks: int, seed: int) -> Measured:
    """Tokens per second of each block, by side, one request a side."""
    (job,) = plan(["technique=none", "workload=short"], multirun=False)
    speeds: dict[Side, list[float]] = {"on": [], "off": []}
    dice = random.Random(seed)
    with served(job.spec, machine) as model, closing(NvmlCounter(uuids)) as counter:
        # The counter is opened once, as its probe takes seconds.
        work = request(job.spec, model)
        timed(model, OpenMeters(), work, 0)  # warms up
        for block in range(blocks):
            for side in dice.sample(list(speeds), 2):
                with closing(NvmlPower(uuids)) as sampler:  # both sides open it, one starts it
                    meters = OpenMeters([counter, sampler.start()] if side == "on" else [])
                    speeds[side].append(timed(model, meters, work, block))
            if sys.stderr.isatty():
                print(f"\rblock {block + 1} of {blocks} ", end="", file=sys.stderr, flush=True)
        with closing(NvmlPower(uuids)) as sampler:
            return Measured(speeds, reading_s(sampler) / sampler.tick_s)


def reading_s(sampler: NvmlPower, readings: int = 400) -> float:
    """CPU seconds of one sample, with telemetry as seldom as in a run."""
    start_s = time.thread_time()
    for _ in range(readings):
        time.sleep(sampler.tick_s)
        sampler.read()
    return (time.thread_time() - start_s) / readings


def served(spec: BenchSpec, machine: Machine) -> AbstractContextManager[Served]:
    """The embedded model, answering."""
    directory = files.directory(spec.model)
    return Transformers().serve(Build(spec.model, "safetensors", directory, directory), machine)


def request(spec: BenchSpec, model: Served) -> Work:
    """A function that runs request `index`."""
    requests = Requests(model.tokenizer, texts.passages("prompt"), spec.workload, spec.seed)
    return lambda index: model.complete(requests.batch(index))


def timed(model: Served, opened: OpenMeters, work: Work, first: int) -> float:
    """Tokens per second of request `first`, metered by what is in `opened`."""
    taken = Recorder(opened).repeat(
        "generate",
        "baseline",
        model,
        lambda index: work(first + index),
        window_s=0,
        min_iterations=1,
        place=Place(series="block", unit=0, position=0),
    )
    return taken.tokens / sum(taken.iteration_s)


def summary(found: Measured, *, fake: bool) -> str:
    """The result for a person."""
    speeds = found.speeds
    value, low, high, n, reason = paired_ratio(speeds["off"], speeds["on"])
    interval = f"{low:.4f} to {high:.4f}" if low is not None and high is not None else reason
    library = "the tests' fake NVML" if fake else "the NVIDIA driver"
    off = sum(speeds["off"]) / n
    return (
        f"tokens/s with all meters and the sampler on over off: {value:.4f} "
        f"(95 % interval {interval}, {n} blocks, off: {off:.1f} token/s, meters on {library}); "
        f"goal {GOAL} or more; the sampler needs {100 * found.sampler_share:.2f} % of one core"
    )


if __name__ == "__main__":
    raise SystemExit(main())
