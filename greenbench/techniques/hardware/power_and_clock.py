"""The GPU's own settings, held only while the candidate runs: the same output, at other watts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from greenbench.engines.engine import Engine
from greenbench.errors import Lost, Unsupported, UserError
from greenbench.machine import gpu_settings
from greenbench.machine.detect import Machine
from greenbench.machine.gpu_settings import Held, Setting
from greenbench.machine.gpus import Gpu, clock_limits_mhz, opened, power_limits_mw
from greenbench.schema.ranges import require
from greenbench.schema.technique import Promise
from greenbench.techniques.technique import MachineSetting, Traits


class _GpuSetting(MachineSetting):
    """What the techniques share that set something of all GPUs of the run."""

    setting: ClassVar[Setting]

    def traits(self) -> Traits:
        """The same computation."""
        return Traits(lossless=True)

    @abstractmethod
    def target(self, gpu: Gpu) -> int:
        """What to set on `gpu`, in NVML's unit. Raises UserError outside what it allows."""

    def check(self, machine: Machine, engine: Engine) -> None:
        """The GPUs must allow the value, and the driver this user to set it. Nothing is changed."""
        if not machine.uuids:
            raise Unsupported(
                f"{self.name} sets NVIDIA GPUs, and this run is on {machine.device_name}: run it with "
                "device=cuda on a machine that has one."
            )
        with opened(machine.uuids) as gpus:
            for gpu in gpus:
                with gpu_settings.explained(self.setting, gpu):
                    self.target(gpu)
                gpu_settings.require_rights(self.setting, gpu)

    def tried(self, machine: Machine) -> dict[str, Any]:
        """What it achieves on each GPU when it is held once."""
        with gpu_settings.hold(self.setting, self._wanted(machine)) as held:
            return {"gpus": [self._told(gpu) for gpu in held]}

    @contextmanager
    def hold(self, machine: Machine, observed: dict[str, Any]) -> Iterator[None]:
        """The setting holds on every GPU, and is as before afterwards."""
        with gpu_settings.hold(self.setting, self._wanted(machine)) as held:
            self._observe(observed, held)
            yield

    def _wanted(self, machine: Machine) -> dict[str, int]:
        """What to set on each GPU. They were there when it was checked: else one has vanished."""
        wanted = {}
        try:
            with opened(machine.uuids) as gpus:
                for gpu in gpus:
                    with gpu_settings.explained(self.setting, gpu):
                        wanted[gpu.uuid] = self.target(gpu)
        except Unsupported as reason:
            raise Lost(str(reason)) from None
        return wanted

    def _observe(self, observed: dict[str, Any], held: Sequence[Held]) -> None:
        """Count the times it was held, with the extremes of what that achieved and how long it took."""
        lowest, highest = f"lowest_{self._unit}", f"highest_{self._unit}"
        achieved = [gpu.achieved / self.setting.scale for gpu in held]
        longest_s = max(gpu.waited_s for gpu in held)
        observed["times_held"] = observed.get("times_held", 0) + 1
        observed[lowest] = min(*achieved, observed.get(lowest, achieved[0]))
        observed[highest] = max(*achieved, observed.get(highest, achieved[0]))
        observed["longest_wait_s"] = max(round(longest_s, 3), observed.get("longest_wait_s", 0.0))

    def _told(self, gpu: Held) -> dict[str, Any]:
        scale = self.setting.scale
        return {
            "uuid": gpu.uuid,
            f"before_{self._unit}": None if gpu.before is None else gpu.before / scale,
            f"requested_{self._unit}": gpu.asked / scale,
            f"achieved_{self._unit}": gpu.achieved / scale,
            "waited_s": round(gpu.waited_s, 3),
        }

    @property
    def _unit(self) -> str:
        return self.setting.unit.lower()

    def _within(self, value: int, knob: str, low: int, high: int, gpu: Gpu) -> int:
        scale = self.setting.scale
        if not low <= value <= high:
            raise UserError(
                f"technique.{self.name}.{knob}={getattr(self, knob)} asks for "
                f"{self.setting.text(value)}, which {gpu.name} does not allow: its "
                f"{self.setting.name} can be {low / scale:g} to {high / scale:g} {self.setting.unit}."
            )
        return value


@dataclass(frozen=True)
class PowerLimit(_GpuSetting):
    """A lower limit of the GPU's power (Zeus, arXiv 2208.06102), all else left to its governor."""

    name: ClassVar[str] = "power_limit"
    summary: ClassVar[str] = "the GPU may draw less power, so that it clocks lower under load"
    paper: ClassVar[str | None] = "arXiv:2208.06102"
    setting: ClassVar[Setting] = gpu_settings.POWER_LIMIT

    fraction: float = 0.7
    """Share of the GPU's default limit."""
    watts: float | None = None
    """The limit itself; null: by `fraction`."""

    def __post_init__(self) -> None:
        require(self.fraction > 0, "technique.power_limit.fraction", self.fraction, "above 0")
        if self.watts is not None:
            require(self.watts > 0, "technique.power_limit.watts", self.watts, "above 0")

    def target(self, gpu: Gpu) -> int:
        """Milliwatts, within the GPU's constraints."""
        low, high, default = power_limits_mw(gpu)
        if self.watts is not None:
            return self._within(round(1000 * self.watts), "watts", low, high, gpu)
        return self._within(round(self.fraction * default), "fraction", low, high, gpu)

    def promise(self) -> Promise:
        """The same computation."""
        limit = f"{self.fraction:g} of the default" if self.watts is None else f"{self.watts:g} W"
        return Promise(bytes_ratio=1.0, flops_ratio=1.0, note=f"power limit {limit}")


@dataclass(frozen=True)
class ClockLock(_GpuSetting):
    """The SM clock locked to one frequency (as DynamoLLM does, arXiv 2408.00741).

    NVML cannot tell of a lock from before, which would be lost: that there is none is the user's to say.
    """

    name: ClassVar[str] = "clock_lock"
    summary: ClassVar[str] = "the GPU's SM clock is locked to one frequency"
    paper: ClassVar[str | None] = "arXiv:2408.00741"
    setting: ClassVar[Setting] = gpu_settings.CLOCK_LOCK

    fraction: float = 0.7
    """Share of the SM clock's maximum."""
    mhz: int | None = None
    """The frequency itself; null: by `fraction`."""
    unlocked: bool = False
    """That nobody has locked the clocks, so that nothing is lost when they are unlocked afterwards."""

    def __post_init__(self) -> None:
        require(
            0 < self.fraction <= 1,
            "technique.clock_lock.fraction",
            self.fraction,
            "above 0, at most 1",
        )
        if self.mhz is not None:
            require(self.mhz > 0, "technique.clock_lock.mhz", self.mhz, "above 0")

    def check(self, machine: Machine, engine: Engine) -> None:
        """As any GPU setting's; and a lock of an administrator's must not be undone."""
        super().check(machine, engine)
        if not self.unlocked:
            raise Unsupported(
                "technique=clock_lock unlocks the clocks afterwards, and NVML does not tell whether someone "
                "has locked them: unlock them (nvidia-smi -rgc), and say technique.clock_lock.unlocked=true "
                "(or technique=clock_lock_unlocked in a sweep)."
            )

    def target(self, gpu: Gpu) -> int:
        """Megahertz, within the GPU's constraints; the driver rounds to its own steps."""
        lowest, highest = clock_limits_mhz(gpu)
        if self.mhz is not None:
            return self._within(self.mhz, "mhz", lowest, highest, gpu)
        return self._within(round(self.fraction * highest), "fraction", lowest, highest, gpu)

    def promise(self) -> Promise:
        """The same computation."""
        clock = f"{self.fraction:g} of the maximum" if self.mhz is None else f"{self.mhz} MHz"
        return Promise(bytes_ratio=1.0, flops_ratio=1.0, note=f"SM clock {clock}")
