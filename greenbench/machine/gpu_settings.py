"""Settings of GPUs that a run changes through NVML, and that always come back.

Before a setting is changed, a journal on disk says what it was, by the GPU and this boot of the machine. The
process that changed it holds a lock and gives it back; where that process is gone, however it went, `restore`
does: a sweep calls it after every run and when it starts, and a watchdog where no sweep is left to.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pynvml
from filelock import FileLock, Timeout
from pydantic import ValidationError

from greenbench.errors import Lost, Unavailable, Unsupported, UserError
from greenbench.files import write_atomically
from greenbench.machine.clock import Clock
from greenbench.machine.device_lock import machine_key
from greenbench.machine.gpus import Gpu, open_gpus
from greenbench.paths import cache_dir
from greenbench.schema.quantity import Part

PATIENCE_S = 2.0  # drivers take up to some 100 ms until a setting holds
POLL_S = 0.01
LOCK_POLL_S = 0.05
REFUSALS = (
    pynvml.NVMLError_NoPermission,
    pynvml.NVMLError_NotSupported,
    pynvml.NVMLError_FunctionNotFound,
    pynvml.NVMLError_InvalidArgument,
)
_watchdogs: dict[int, subprocess.Popen[bytes]] = {}
"""By process: what was forked has none."""


class Setting(NamedTuple):
    """What can be set of a GPU, in NVML's own whole numbers, `scale` of which are a `unit`."""

    name: str
    unit: str
    scale: int
    before: Callable[[Any], int | None]
    """What is to be given back; null where NVML does not tell, and its default is."""
    change: Callable[[Any, int], object]
    give_back: Callable[[Any, int | None], object]
    reported: Callable[[Any], int]
    """What holds at this moment."""
    step: int
    """Values are rounded to multiples of it."""
    by_hand: str
    """The command that gives it back."""

    def text(self, value: int | None) -> str:
        """A value for a person."""
        return "its default" if value is None else f"{value / self.scale:g} {self.unit}"


POWER_LIMIT = Setting(
    name="power limit",
    unit="W",
    scale=1000,
    before=pynvml.nvmlDeviceGetPowerManagementLimit,
    change=pynvml.nvmlDeviceSetPowerManagementLimit,
    give_back=pynvml.nvmlDeviceSetPowerManagementLimit,
    reported=pynvml.nvmlDeviceGetEnforcedPowerLimit,
    step=1,
    by_hand="nvidia-smi -i {uuid} -pl {value:g}",
)
CLOCK_LOCK = Setting(
    name="clock lock",
    unit="MHz",
    scale=1,
    before=lambda gpu: None,
    change=lambda gpu, mhz: pynvml.nvmlDeviceSetGpuLockedClocks(gpu, mhz, mhz),
    give_back=lambda gpu, _: pynvml.nvmlDeviceResetGpuLockedClocks(gpu),
    reported=lambda gpu: int(pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM)),
    step=15,
    by_hand="nvidia-smi -i {uuid} -rgc",
)
SETTINGS = {setting.name: setting for setting in (POWER_LIMIT, CLOCK_LOCK)}


class Held(NamedTuple):
    """A setting of one GPU while it is changed."""

    uuid: str
    before: int | None
    asked: int
    achieved: int
    """What was reported when it was what was asked, or when patience ended."""
    waited_s: float


class Journal(Part):
    """A change that is to be undone: by who holds the lock beside it, and by anyone once that is free."""

    setting: str
    uuid: str
    before: int | None
    asked: int


@contextmanager
def hold(setting: Setting, wanted: Mapping[str, int], clock: Clock = time) -> Iterator[list[Held]]:
    """Have `setting` at a value on each GPU (by UUID) in the block, once it really holds there.

    Raises Unsupported where the driver or the user's rights forbid it, Lost if a GPU vanishes.
    """
    gpus = open_gpus(list(wanted))
    try:
        with ExitStack() as changes:
            before = [
                changes.enter_context(_changed(setting, gpu, wanted[gpu.uuid], clock))
                for gpu in gpus
            ]
            yield [
                Held(gpu.uuid, was, wanted[gpu.uuid], *_wait(setting, gpu, wanted[gpu.uuid], clock))
                for gpu, was in zip(gpus, before, strict=True)
            ]
    finally:
        pynvml.nvmlShutdown()


@contextmanager
def _changed(setting: Setting, gpu: Gpu, value: int, clock: Clock) -> Iterator[int | None]:
    """One GPU's setting at `value` in the block; gives what it was."""
    path = journals_folder() / f"{gpu.uuid}-{setting.name.replace(' ', '-')}.json"
    _have_watchdog()
    with ExitStack() as owned:
        with _locked():
            _refuse_taken(path, setting, gpu)
            owned.enter_context(_owner(path))
            with explained(setting, gpu):
                before = setting.before(gpu.handle)
                held = setting.reported(gpu.handle)
                _write(
                    path, Journal(setting=setting.name, uuid=gpu.uuid, before=before, asked=value)
                )
                try:
                    setting.change(gpu.handle, value)
                except REFUSALS:
                    path.unlink()  # nothing was changed
                    raise
        try:
            yield before
        finally:
            with _locked(), explained(setting, gpu):
                setting.give_back(gpu.handle, before)
                path.unlink()
            if before is not None:  # what clocks return to is the driver's choice
                _wait(setting, gpu, held, clock)


def _wait(setting: Setting, gpu: Gpu, value: int, clock: Clock) -> tuple[int, float]:
    """Wait until `value` holds, but not for ever; what holds then, and the seconds it took."""
    start_s = clock.monotonic()
    while True:
        with explained(setting, gpu):
            reported = setting.reported(gpu.handle)
        waited_s = clock.monotonic() - start_s
        if abs(reported - value) < setting.step or waited_s >= PATIENCE_S:
            return reported, waited_s
        clock.sleep(POLL_S)


def require_rights(setting: Setting, gpu: Gpu) -> None:
    """Raise Unsupported where this user may not change settings of `gpu`. Changes none.

    It sets the power limit to what it is, and to what no other run has changed meanwhile: all settings need
    the same rights.
    """
    with _locked(), explained(setting, gpu):
        limit = pynvml.nvmlDeviceGetPowerManagementLimit(gpu.handle)
        try:
            pynvml.nvmlDeviceSetPowerManagementLimit(gpu.handle, limit)
        except pynvml.NVMLError_NotSupported:
            if setting is POWER_LIMIT:
                raise


@contextmanager
def explained(setting: Setting, gpu: Gpu) -> Iterator[None]:
    """Turn what NVML refuses about `gpu` into Unsupported, and a vanished GPU into Lost."""
    try:
        yield
    except pynvml.NVMLError_NoPermission:
        raise Unsupported(
            f"The {setting.name} of {gpu.uuid} ({gpu.name}) may not be changed by this user: run as "
            "root, in a container with the capability SYS_ADMIN too."
        ) from None
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        raise Unsupported(
            f"{gpu.uuid} ({gpu.name}) has no {setting.name} that its driver can change, as many "
            "notebook and virtual GPUs have none: leave the technique out or use another GPU."
        ) from None
    except pynvml.NVMLError as error:
        raise Lost(
            f"NVML failed on the {setting.name} of {gpu.uuid} ({gpu.name}): {error}; look for Xid "
            "errors in dmesg and reset the GPU or reboot."
        ) from None


def restore() -> list[str]:
    """Give back what processes that are gone have left changed; one sentence for each."""
    if not any(journals_folder().glob("*.json")):
        return []
    with _locked():
        journals = sorted(journals_folder().glob("*.json"))
        return [said for said in map(_restored, journals) if said]


def _restored(path: Path) -> str | None:
    """What became of one journal; null where its owner lives."""
    try:
        journal = Journal.model_validate_json(path.read_bytes())
        setting = SETTINGS[journal.setting]
    except (OSError, ValidationError, KeyError):
        return f"{path.name} is no journal of a GPU's setting that can be read: delete it."
    owner = _owner(path)
    try:
        owner.acquire(timeout=0)
    except Timeout:
        return None
    owner.release()  # all of this holds the lock of the folder
    before = setting.text(journal.before)
    subject = f"The {setting.name} of {journal.uuid}"
    try:
        _give_back(journal, setting)
    except (Unavailable, pynvml.NVMLError) as error:
        command = setting.by_hand.format(
            uuid=journal.uuid, value=(journal.before or 0) / setting.scale
        )
        return (
            f"{subject} is still at the {setting.text(journal.asked)} of a run that is gone, and "
            f"cannot be set back to {before} ({error}): run `{command}` as root."
        )
    path.unlink()
    return f"{subject} was set back to {before}, as the run that had changed it is gone."


def _give_back(journal: Journal, setting: Setting) -> None:
    (gpu,) = open_gpus([journal.uuid])
    try:
        setting.give_back(gpu.handle, journal.before)
    finally:
        pynvml.nvmlShutdown()


def _refuse_taken(path: Path, setting: Setting, gpu: Gpu) -> None:
    """Give back what a run that is gone has left; raise UserError where that cannot be."""
    if not path.exists():
        return
    said = _restored(path) or (
        f"The {setting.name} of {gpu.uuid} is held by another run: wait until that has ended."
    )
    if path.exists():
        raise UserError(said)


def _have_watchdog() -> None:
    """One for this process, until that ends: at its other end of the pipe that is then cut."""
    if os.getpid() not in _watchdogs:
        _watchdogs[os.getpid()] = subprocess.Popen(
            [sys.executable, "-m", "greenbench.machine.settings_watchdog"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # what ends the run's group leaves it
        )


def _write(path: Path, journal: Journal) -> None:
    write_atomically(path, journal.model_dump_json(indent=1).encode())


def journals_folder() -> Path:
    """Of this boot, as settings do not outlast one; of machines that share a home each has its own."""
    return cache_dir() / "settings" / machine_key()


def _owner(journal: Path) -> FileLock:
    """The lock that whoever changed the setting holds; who dies lets go."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(journal.with_suffix(".owner"), poll_interval=LOCK_POLL_S)


def _locked() -> FileLock:
    """Held while journals or what they speak of change. A holder that dies lets go."""
    journals_folder().mkdir(parents=True, exist_ok=True)
    return FileLock(journals_folder() / ".lock", poll_interval=LOCK_POLL_S)
