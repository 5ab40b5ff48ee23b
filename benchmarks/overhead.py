"""What measuring costs: tokens per second with all meters and the sampler on, over off.

    python benchmarks/overhead.py [--blocks N] [--window-s S]

One process, the embedded model, randomized blocks that measure both once each, the paired ratio
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
from pathlib import Path
from typing import Any, Literal

import transformers

from greenbench import models, texts
from greenbench.config import plan
from greenbench.machine import Machine, detect
from greenbench.measure.windows import Recorder
from greenbench.measure.workloads import Iteration, Requests, generate
from greenbench.meters import OpenMeters, open_meters
from greenbench.specs import BenchSpec, Device, MeterSpec
from greenbench.stats import paired_ratio

GOAL = 0.995
FAKE = Path(__file__).resolve().parent.parent / "tests" / "fakes" / "nvml.c"
UUID = "GPU-aaaaaaaa-0000-1111-2222-333333333333"
SCRIPT = f"device {UUID}\nname fake H100\npower 300\n"
Side = Literal["on", "off"]


def main() -> int:
    """Measure and print; the exit status is 0 whatever the ratio is, as a busy machine blurs it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--window-s", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        machine = detect(Device.auto)
        uuids = machine.uuids or attach_fake(Path(work))
        speeds = compare(machine, uuids, arguments.blocks, arguments.window_s, arguments.seed)
    print(summary(speeds, fake=not machine.uuids))
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


def compare(
    machine: Machine, uuids: tuple[str, ...], blocks: int, window_s: float, seed: int
) -> dict[Side, list[float]]:
    """Tokens per second of each block, by side."""
    (job,) = plan(["technique=none", "workload=short"], multirun=False)
    work = request(job.spec, machine)
    speeds: dict[Side, list[float]] = {"on": [], "off": []}
    dice = random.Random(seed)
    window(machine, uuids, work, window_s, on=False)  # warms up
    for block in range(blocks):
        for side in dice.sample(list(speeds), 2):
            speeds[side].append(window(machine, uuids, work, window_s, on=side == "on"))
        if sys.stderr.isatty():
            print(f"\rblock {block + 1} of {blocks} ", end="", file=sys.stderr, flush=True)
    return speeds


def request(spec: BenchSpec, machine: Machine) -> Any:
    """A function that runs request `index` of the embedded model."""
    transformers.utils.logging.disable_progress_bar()
    loaded = models.load(spec.model, models.directory(spec.model), machine.torch_device)
    requests = Requests(loaded.tokenizer, texts.passages("prompt"), spec.workload, spec.seed)

    def run(index: int) -> Iteration:
        return generate(loaded.model, requests.batch(index), spec.workload.output_tokens)

    return run


def window(machine: Machine, uuids: tuple[str, ...], work: Any, window_s: float, on: bool) -> float:
    """Tokens per second of one window, with the meters of the GPUs `uuids` on, or opened and closed.

    Both sides open them and run a request before, so that they differ in nothing else.
    """
    with open_meters(MeterSpec(), uuids) as opened:
        if "nvml_power" not in (meter.name for meter in opened.meters):
            raise SystemExit(f"The power sampler does not run: {opened.refused}")
        if on:
            return timed(machine, opened, work, window_s)
    return timed(machine, OpenMeters(), work, window_s)


def timed(machine: Machine, opened: OpenMeters, work: Any, window_s: float) -> float:
    """Tokens per second of requests with what is in `opened`, after one request to warm up."""
    work(0)
    taken = Recorder(opened, machine.torch_device).repeat(
        "generate", "baseline", work, window_s=window_s, min_iterations=1, block=0, position=0
    )
    return taken.tokens / sum(taken.iteration_s)


def summary(speeds: dict[Side, list[float]], *, fake: bool) -> str:
    """The result for a person."""
    value, low, high, n, reason = paired_ratio(speeds["off"], speeds["on"])
    interval = f"{low:.4f} to {high:.4f}" if low is not None and high is not None else reason
    library = "the tests' fake NVML" if fake else "the NVIDIA driver"
    off = sum(speeds["off"]) / n
    return (
        f"tokens/s with all meters and the sampler on over off: {value:.4f} "
        f"(95 % interval {interval}, {n} blocks, off: {off:.1f} token/s, meters on {library}); "
        f"goal {GOAL} or more"
    )


if __name__ == "__main__":
    raise SystemExit(main())
