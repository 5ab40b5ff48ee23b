"""A GPU whose driver is played, and what may befall it: the meters are the real ones, over the real pynvml.

The driver is the tests' own, `compiled` with cc: it integrates what is drawn, exactly,
and shows it as a driver does. What is drawn is told to it as a limit of power that an endless demand meets.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple
from unittest import mock

import pynvml

from greenbench.errors import Lost
from greenbench.machine import cpu_load
from greenbench.measure.recorder import Recorder
from greenbench.meters.meter import Meter, look_s
from greenbench.meters.nvml_counter import NvmlCounter
from greenbench.meters.nvml_power import NvmlPower
from greenbench.meters.sampled_power import PERIOD_S
from greenbench.schema.window import POWER_CAP
from greenbench.simulate.drawn_power import IDLE_W
from greenbench.simulate.moved_clock import MovedClock

SOURCE: Final = Path(__file__).parents[2] / "tests" / "helpers" / "fakes" / "nvml.c"
GPU: Final = "GPU-51515151-0000-1111-2222-333333333333"
SCRIPT: Final = (
    f"device {GPU}\nname Simulated GPU\npower 700\nlimit 700 20 700\ntemperature 44\n"
    "clocks 1980 2619\nprocess {pid} 1000\n"
)
LEAST_W: Final = 20.0
PART_S: Final = 0.05
"""Seconds in which power is the same under a fault, ..."""
CYCLE_S: Final = 0.1
"""... and of a sensor's cycle."""
CALL_S: Final = 0.03
DRIFT: Final = 0.05 / 200
"""Of power, a second."""


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
    """What the driver cannot play: gap, stall, stop, duty, call, load, drift, cap (at `watts`)."""


CALM: Final = Fault("nothing", None)


def compiled(folder: Path) -> Path:
    """The driver, in this folder."""
    library = folder / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-lm"], check=True)
    return library


class NvmlBench:
    """A GPU of the fake driver, on which one fault is planted."""

    def __init__(
        self,
        library: Path,
        folder: Path,
        fault: Fault = CALM,
        start_s: float = 0.0,
        sample_s: float = PERIOD_S,
    ) -> None:
        """`library`: the compiled driver, whose script lies in `folder`. Power is sampled each `sample_s`."""
        played = ctypes.CDLL(str(library))
        played.fake_nvml_time.argtypes = [ctypes.c_double]
        vars(pynvml)["nvmlLib"] = played
        self.fault, self.start_s, self.end_s = fault, start_s, start_s + fault.seconds
        self.watched: Collection[str] = cpu_load.ON_CPU if fault.way == "load" else ()
        self.opened_s = 0.0
        """When the meters were open, which is a recorder's zero."""
        self._sample_s, self._calling, self._stood = sample_s, False, False
        self._held = False
        self.clock = MovedClock(played.fake_nvml_time)
        self.clock.sleep(0)
        script, times = (
            folder / f"nvml-{os.getpid()}.txt",
            {"t": start_s, "u": self.end_s, "pid": os.getpid()},
        )
        script.write_text((SCRIPT + fault.script + "\n").format(**times))
        os.environ["FAKE_NVML"] = str(script)

    def meters(self) -> list[Meter]:
        """The counter and the sampled power that checks it, looked at as their threads would."""
        counter, sensor = (
            NvmlCounter([GPU], self.clock),
            NvmlPower([GPU], self.clock, self._sample_s),
        )
        self._handle = pynvml.nvmlDeviceGetHandleByUUID(GPU)
        self.draw(IDLE_W)
        self.clock.step_s = self._sample_s
        self.clock.listeners.append(lambda now_s: self._look(counter, sensor, now_s))
        self.opened_s = self.clock.now_s
        return [counter, sensor]

    def draw(self, watts: float) -> None:
        """From now on; of a GPU that vanished nothing is known."""
        with suppress(pynvml.NVMLError_GpuIsLost):
            drawn_mw = round(1000 * max(watts, LEAST_W))
            pynvml.nvmlDeviceSetPowerManagementLimit(self._handle, drawn_mw)
            pynvml.nvmlDeviceGetPowerManagementLimit(self._handle)  # it holds from this call on

    def work(self, watts: float, seconds: float) -> float:
        """In one piece, or in small parts while the fault may come."""
        begun_s, left_s = self.clock.now_s, seconds
        if begun_s + seconds <= self.start_s or begun_s >= self.end_s:
            self._work(watts, seconds, on=False)
            left_s = 0.0
        while left_s > 1e-9:
            on = self._is_on(self.clock.now_s)
            if on and self.fault.way in {"stall", "stop"} and not self._stood:
                self._stand()
            part_s = min(left_s, CYCLE_S if self.fault.way == "duty" else PART_S)
            self._work(watts, part_s * (self.fault.slow if on else 1.0), on)
            left_s -= part_s
        beside_w = (
            self.fault.watts if self._is_on(self.clock.now_s) and self.fault.way != "cap" else 0.0
        )
        self.draw(IDLE_W + beside_w)
        return self.clock.now_s - begun_s

    def fell_into(self, start_s: float, end_s: float) -> bool:
        """Whether the fault touched a window, in a recorder's seconds."""
        first_s, last_s = self.start_s - self.opened_s, self.end_s - self.opened_s
        return self.fault != CALM and start_s < last_s and end_s > first_s

    @contextmanager
    def played(self) -> Iterator[None]:
        """What the driver's script cannot play."""
        if self.fault.way == "call":
            slow = self._slow(pynvml.nvmlDeviceGetTotalEnergyConsumption)
            with mock.patch.object(pynvml, "nvmlDeviceGetTotalEnergyConsumption", slow):
                yield
        elif self.fault.way == "load":
            with mock.patch.object(cpu_load, "usage", self._usage):
                yield
        elif self.fault.way == "cap":
            reasons = self._holding(pynvml.nvmlDeviceGetCurrentClocksEventReasons)
            with mock.patch.object(pynvml, "nvmlDeviceGetCurrentClocksEventReasons", reasons):
                yield
        else:
            yield

    def join(self, recorder: Recorder) -> None:
        """There is no wall meter."""

    def _slow(self, count: Callable[[Any], int]) -> Callable[[Any], int]:
        def called(gpu: Any) -> int:
            if not self._calling:
                self.clock.sleep(CALL_S)
            return int(count(gpu))

        return called

    def _holding(self, reasons: Callable[[Any], int]) -> Callable[[Any], int]:
        def called(gpu: Any) -> int:
            return int(reasons(gpu)) | (POWER_CAP if self._held else 0)

        return called

    def _usage(self, _: object) -> cpu_load.Usage:
        others_s = min(max(self.clock.now_s - self.start_s, 0.0), self.fault.seconds)
        return cpu_load.Usage(self.clock.now_s, others_s * (os.cpu_count() or 1), 0.0, None)

    def _look(self, counter: NvmlCounter, sensor: NvmlPower, now_s: float) -> None:
        """As the meters' threads do; an error there may pass."""
        self._calling, before = True, self._calling
        with suppress(Lost):
            if not (self.fault.way == "gap" and self._is_on(now_s)):
                sensor.read()
            idle = self.fault.way != "call"  # one that waits for the driver holds the counter
            if idle and now_s % look_s(counter.tick_s) < sensor.period_s:
                counter.read()
        self._calling = before

    def _is_on(self, now_s: float) -> bool:
        return self.fault != CALM and self.start_s <= now_s < self.end_s

    def _stand(self) -> None:
        """The engine waits, or this process does, by a real signal and in real time."""
        self._stood = True
        self.draw(IDLE_W)
        if self.fault.way == "stop":
            script = f"sleep {self.fault.seconds}; kill -CONT {os.getpid()}"
            with subprocess.Popen(["sh", "-c", script]):
                os.kill(os.getpid(), signal.SIGSTOP)
        self.clock.sleep(self.fault.seconds)

    def _work(self, watts: float, seconds: float, on: bool) -> None:
        if self.fault.way == "duty":
            apart_s = -self.clock.now_s % CYCLE_S  # the load keeps step with the sensor's cycle
            self.clock.sleep(apart_s if apart_s < CYCLE_S - 1e-6 else 0.0)
            self.draw(1.6 * watts)
            self.clock.sleep(seconds / 4)
            self.draw(0.8 * watts)
            self.clock.sleep(seconds * 3 / 4)
            return
        if self.fault.way == "cap":
            self._held = watts > self.fault.watts
            self.draw(min(watts, self.fault.watts))  # as many joules, in longer time
            self.clock.sleep(seconds * max(watts / self.fault.watts, 1.0))
            self._held = False
            return
        drift = 1 + DRIFT * self.clock.now_s if self.fault.way == "drift" else 1.0
        share, beside_w = (self.fault.less, self.fault.watts) if on else (1.0, 0.0)
        self.draw(watts * drift * share + beside_w)
        self.clock.sleep(seconds)
