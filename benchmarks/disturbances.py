"""What disturbs a run and what is said of it: planted faults, on the fake NVML library and a moved clock.

    python benchmarks/disturbances.py [--runs 20] [--only WORD]

Each run is the product's own: pynvml, the counter, the sampled power that checks it, windows, codes, blocks
and statistics; made up are the driver (tests/helpers/fakes/nvml.c, compiled here with cc) and the model,
which draws 300 W, and 0.8 of them as the candidate. A fault begins at a random moment of the run. For each:
how many runs say its code of a window that it fell into, how many windows without it have any code, and by
how much the run's ratio is off, of the blocks that are left without invalid ones, against half of its 95 %
interval. Seeded; prints markdown.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple
from unittest import mock

import pynvml

from greenbench.analysis.blocks import block_ratios
from greenbench.analysis.disturbances import with_clock_codes
from greenbench.engines.engine import Completion
from greenbench.errors import Lost
from greenbench.machine import cpu_load
from greenbench.measure.recorder import Recorder
from greenbench.measure.schedule import schedule
from greenbench.meters import OpenMeters
from greenbench.meters.meter import look_s
from greenbench.meters.nvml_counter import NvmlCounter
from greenbench.meters.nvml_power import NvmlPower
from greenbench.schema.window import Place, Window
from greenbench.simulate.moved_clock import MovedClock
from greenbench.stats.intervals import paired_ratio

FAKE = Path(__file__).parents[1] / "tests" / "helpers" / "fakes" / "nvml.c"
GPU = "GPU-51515151-0000-1111-2222-333333333333"
SCRIPT = (
    f"device {GPU}\nname Simulated GPU\npower 700\nlimit 700 20 700\ntemperature 44\n"
    "clocks 1980 2619\nprocess {pid} 1000\n"
)
IDLE_W, LEAST_W, BUSY_W, TRUE = 70.0, 20.0, 300.0, 0.8
NOISE = 0.004
"""Standard deviation of a window's power."""
BLOCKS, WINDOW_S, REQUEST_S = 5, 10.0, 0.5
PART_S, CYCLE_S = 0.05, 0.1
"""Seconds in which power is the same, and of a sensor's cycle."""
FROM_S, TO_S = 5.0, 95.0
"""When faults begin."""


class Fault(NamedTuple):
    """What is planted, from one moment until `seconds` later."""

    name: str
    code: str | None
    """What should be said; null: nothing sees it."""
    script: str = ""
    """Lines for the driver: {t} and {u} are its start and end."""
    seconds: float = 3.0
    watts: float = 0.0
    """Drawn beside the model's."""
    slow: float = 1.0
    """How much longer the model's requests take."""
    less: float = 1.0
    """The share of its power that either model draws then, so that their ratio is as true as before."""
    way: str = ""
    """What the driver cannot play: gap, stall, stop, duty, call, load, drift."""


FAULTS = (
    Fault("nothing", None),
    Fault("throttled by heat, 3 s", "throttled", "throttle 0 {t} 64 {u}", slow=1.5, less=0.7),
    Fault("throttled by heat, 0.1 s", "throttled", "throttle 0 {t} 64 {u}", 0.1, slow=1.5, less=0.7),
    Fault("clock falls for good", "clock_change", "clocks 1980 2619 {t} 1400 2619", 200, slow=1.4, less=0.8),
    Fault("another process computes, 3 s", "foreign_process", "process 1 1 60 {t} {u}", watts=150),
    Fault("another process computes, 0.1 s", "foreign_process", "process 1 1 60 {t} {u}", 0.1, 150),
    Fault("another process that the driver hides, 3 s", None, watts=150),
    Fault("power goes unsampled, 1 s", "sampler_gap", seconds=1.0, way="gap"),
    Fault("counter stands, 3 s", "counter_stalled", "stall_at {t} {u}"),
    Fault("counter starts again", "counter_reset", "start_mj 900000000\nreset_at {t}", 0.1),
    Fault("counter jumps by 1 kJ", "counter_jump", "jump_at {t} 1000000", 0.1),
    Fault("counter jumps by 0.2 kJ", "residual", "jump_at {t} 200000", 0.1),
    Fault("other programs take the CPUs, 30 s", "other_load", seconds=30.0, way="load"),
    Fault("the engine stands still, 3 s", None, way="stall"),
    Fault("GreenBench itself is stopped, 1.5 s", "stalled", seconds=1.5, way="stop"),
    Fault("power drifts up by 10 %", None, seconds=200, way="drift"),
    Fault("sensor looks 25 of 100 ms, in step", "residual_high", "sample 0.1 0.025", 200, way="duty"),
    Fault("a call to the driver takes 30 ms", None, seconds=200, way="call"),
    Fault("the GPU vanishes", "device_lost", "lost_at {t}", 200),
)  # fmt: skip


class Seen(NamedTuple):
    """What came of one run."""

    hit: bool
    alarms: int
    spared: int
    """Windows that the fault did not fall into; `alarms` of them have a code."""
    off: float | None
    """The ratio over the true one, less 1; null where no block is left."""
    half: float | None


class Run:
    """One run with one fault."""

    def __init__(self, library: Any, fault: Fault, seed: int, folder: Path) -> None:
        self._dice, self._fault = random.Random(f"{fault.name} {seed}"), fault
        always = fault.way in {"drift", "duty", "call"}
        self._start_s = 0.0 if always else self._dice.uniform(FROM_S, TO_S)
        self._end_s = self._start_s + fault.seconds
        self.clock = MovedClock(library.fake_nvml_time)
        self._calling = self._stood = False
        times = {"t": self._start_s, "u": self._end_s, "pid": os.getpid()}
        path = folder / "nvml.txt"
        path.write_text((SCRIPT + fault.script + "\n").format(**times))
        os.environ["FAKE_NVML"] = str(path)
        self.clock.sleep(0)

    def measure(self) -> Seen:
        """Five blocks of both models."""
        counter, sensor = NvmlCounter([GPU], self.clock), NvmlPower([GPU], self.clock)
        opened = OpenMeters([counter, sensor])
        watched = cpu_load.ON_CPU if self._fault.way == "load" else ()
        recorder, self._origin_s = (
            Recorder(opened, clock=self.clock, watched=watched),
            self.clock.now_s,
        )
        self.clock.step_s = sensor.period_s
        self.clock.listeners.append(lambda now_s: self._look(counter, sensor, now_s))
        self._handle = pynvml.nvmlDeviceGetHandleByUUID(GPU)
        with opened, self._played():
            try:
                self._blocks(recorder)
            except Lost:
                return Seen(self._fault.code == "device_lost", 0, 0, None, None)
        return self._seen(with_clock_codes(recorder.windows))

    def _blocks(self, recorder: Recorder) -> None:
        for block, order in enumerate(
            schedule(BLOCKS, self._dice.getrandbits(32), [("generate", None)])
        ):
            for position, (who, (phase, _)) in enumerate(order):
                watts = BUSY_W * (TRUE if who == "candidate" else 1.0) * self._dice.gauss(1, NOISE)
                recorder.repeat(
                    phase, who, None, partial(self._request, watts),
                    window_s=WINDOW_S, place=Place(series="block", unit=block, position=position),
                )  # fmt: skip

    def _look(self, counter: NvmlCounter, sensor: NvmlPower, now_s: float) -> None:
        """As the meters' threads do; an error there may pass."""
        self._calling, before = True, self._calling
        try:
            if not (self._fault.way == "gap" and self._is_on(now_s)):
                sensor.read()
            idle = self._fault.way != "call"  # one that waits for the driver holds the counter
            if idle and now_s % look_s(counter.tick_s) < sensor.period_s:
                counter.read()
        except Lost:
            pass
        self._calling = before

    def _is_on(self, now_s: float) -> bool:
        return self._start_s <= now_s < self._end_s

    def _request(self, watts: float, _: int) -> list[Completion]:
        """Half a second of work, or more under a fault: ten tokens."""
        start_s, left_s = self.clock.now_s, REQUEST_S
        while left_s > 1e-9:
            on = self._is_on(self.clock.now_s)
            if on and self._fault.way in {"stall", "stop"} and not self._stood:
                self._stood = True
                self._draw(IDLE_W)
                if self._fault.way == "stop":
                    stop_for(self._fault.seconds)
                self.clock.sleep(self._fault.seconds)
            part_s = min(left_s, CYCLE_S if self._fault.way == "duty" else PART_S)
            self._work(watts, part_s * (self._fault.slow if on else 1.0), on)
            left_s -= part_s
        self._draw(IDLE_W + (self._fault.watts if self._is_on(self.clock.now_s) else 0.0))
        took_s = self.clock.now_s - start_s
        return [Completion(10, 10, 0.0, (took_s,) * 10, took_s)]

    def _work(self, watts: float, seconds: float, on: bool) -> None:
        drift = 1 + 0.1 * self.clock.now_s / 100 if self._fault.way == "drift" else 1.0
        if self._fault.way == "duty":
            phase_s = -self.clock.now_s % CYCLE_S  # in step with the sensor's cycle
            self.clock.sleep(phase_s)
            self._draw(2 * watts)
            self.clock.sleep(seconds / 4)
            self._draw(watts / 2)
            self.clock.sleep(seconds * 3 / 4)
            return
        share, beside_w = (self._fault.less, self._fault.watts) if on else (1.0, 0.0)
        self._draw(watts * drift * share + beside_w)
        self.clock.sleep(seconds)

    def _draw(self, watts: float) -> None:
        with suppress(pynvml.NVMLError_GpuIsLost):
            pynvml.nvmlDeviceSetPowerManagementLimit(
                self._handle, round(1000 * max(watts, LEAST_W))
            )
            pynvml.nvmlDeviceGetPowerManagementLimit(self._handle)  # it holds from this call on

    @contextmanager
    def _played(self) -> Iterator[None]:
        """What the driver's script cannot play."""
        count = pynvml.nvmlDeviceGetTotalEnergyConsumption

        def slow(gpu: Any) -> int:
            if not self._calling:
                self.clock.sleep(0.03)
            return int(count(gpu))

        def usage(_: Any) -> cpu_load.Usage:
            others_s = min(max(self.clock.now_s - self._start_s, 0.0), self._fault.seconds)
            return used(self.clock.now_s, others_s)

        if self._fault.way == "call":
            with mock.patch.object(pynvml, "nvmlDeviceGetTotalEnergyConsumption", slow):
                yield
        elif self._fault.way == "load":
            with mock.patch.object(cpu_load, "usage", usage):
                yield
        else:
            yield

    def _seen(self, windows: Sequence[Window]) -> Seen:
        start_s, end_s = self._start_s - self._origin_s, self._end_s - self._origin_s
        touched = [w.start_s < end_s and w.end_s > start_s for w in windows]
        if self._fault.name == "nothing":
            touched = [False] * len(windows)
        hit = any(
            on and self._fault.code in w.codes for on, w in zip(touched, windows, strict=True)
        )
        spared = [w for on, w in zip(touched, windows, strict=True) if not on]
        by_block = block_ratios(windows, "energy_per_token")
        if len(by_block) < 2:
            return Seen(hit, sum(bool(w.codes) for w in spared), len(spared), None, None)
        found = paired_ratio([1.0] * len(by_block), by_block)
        low, high = found.bounds or (found.value, found.value)
        off, half = found.value / TRUE - 1, (high - low) / 2 / found.value
        return Seen(hit, sum(bool(w.codes) for w in spared), len(spared), off, half)


def stop_for(seconds: float) -> None:
    """Stop this process, by a real signal and in real time."""
    script = f"sleep {seconds}; kill -CONT {os.getpid()}"
    with subprocess.Popen(["sh", "-c", script]):
        os.kill(os.getpid(), signal.SIGSTOP)


def used(now_s: float, others_s: float) -> cpu_load.Usage:
    """Of all CPUs, which others take for so long."""
    return cpu_load.Usage(now_s, others_s * (os.cpu_count() or 1), 0.0, None)


def row(fault: Fault, seen: Sequence[Seen]) -> str:
    """One line of the table."""
    hit = f"{sum(s.hit for s in seen)} of {len(seen)}" if fault.code else "no code"
    spared = sum(s.spared for s in seen)
    alarms = f"{sum(s.alarms for s in seen)} of {spared}" if spared else ""
    known = [(s.off, s.half) for s in seen if s.off is not None and s.half]
    off = f"{100 * mean(abs(o) for o, _ in known):.2f} %" if known else ""
    half = f"{100 * mean(h for _, h in known):.2f} %" if known else ""
    within = f"{sum(abs(o) <= h for o, h in known)} of {len(known)}" if known else "no ratio"
    code = f"`{fault.code}`" if fault.code else ""
    return f"| {' | '.join([fault.name, code, hit, alarms, off, half, within])} |"


HEAD = """| planted | code | said in its window | others with a code | off by | half-width | holds the truth |
|---|---|---|---|---|---|---|"""


def main() -> int:
    """Plant, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20, help="of each fault")
    parser.add_argument("--only", default="", help="faults with this word in their name")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "libnvidia-ml.so.1"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", file, FAKE, "-lm"], check=True)
        library = ctypes.CDLL(str(file))
        library.fake_nvml_time.argtypes = [ctypes.c_double]
        vars(pynvml)["nvmlLib"] = library
        print(HEAD)
        for fault in (each for each in FAULTS if given.only in each.name):
            print(
                row(fault, [Run(library, fault, n, folder).measure() for n in range(given.runs)]),
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
