"""A GPU that torch cannot use is said before a run, lest the CPU be measured in its place."""

import pytest

from greenbench.errors import Unsupported
from greenbench.machine import unused_gpu
from greenbench.machine.detect import detect, detect_used
from greenbench.machine.unused_gpu import require_kernels, unused

GPU = "device GPU-19191919-0000-1111-2222-333333333333\nname NVIDIA H100\n"


@pytest.mark.parametrize(
    ("driver", "build", "said"),
    [
        ("550.54.15", "13.0", "built for CUDA 13.0, which needs a driver of 580 or newer.* 550.54.15"),
        ("525.60.13", "13.0", r"take an earlier build \(make setup TORCH=cu128\)"),
        ("470.82.01", "13.0", "update the driver, or say device=cpu"),
        ("580.65.06", "13.0", "new enough for CUDA 13.0: check nvidia-smi"),
        ("525.60.13", "12.8", "new enough for CUDA 12.8"),
        ("470.82.01", "12.6", "needs a driver of 525 or newer"),
        ("580.65.06", None, "is a build without CUDA; install the CUDA build"),
    ],
)  # fmt: skip
def test_driver_and_build_are_set_beside_each_other(fake_nvml, monkeypatch, driver, build, said):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake_nvml(f"driver {driver}\n{GPU}capability 89\n")
    why = unused("2.13.0", build)
    assert why.startswith(
        "NVIDIA H100 (compute capability 8.9) is here, and torch 2.13.0 cannot use it"
    )
    assert "\n" not in why
    with pytest.raises(Unsupported, match=said):
        raise Unsupported(why)
    assert "device=cpu" in why


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_what_is_hidden_on_purpose_is_not_missed(fake_nvml, monkeypatch, hidden):
    fake_nvml(GPU)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert unused("2.13.0", "13.0") is None


def test_a_driver_that_does_not_answer_shows_by_its_nodes(monkeypatch, tmp_path):
    def none(*_):
        raise OSError("no such library")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("ctypes.CDLL", none)
    monkeypatch.setattr(unused_gpu, "NODES", tmp_path)
    assert unused("2.13.0", "13.0") is None
    (tmp_path / "nvidia-uvm").touch()
    assert unused("2.13.0", "13.0") is None
    (tmp_path / "nvidia0").touch()
    assert "An NVIDIA GPU is here" in unused("2.13.0", "13.0")
    assert "the driver does not answer" in unused("2.13.0", "13.0")


def test_the_cpu_is_measured_where_it_is_asked_for_or_there_is_no_gpu(fake_nvml, monkeypatch):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake_nvml(GPU)
    assert detect_used("cpu").device == "cpu"
    assert detect("auto").device == "cpu"  # who only looks around is not hindered
    for device in ("auto", "cuda"):
        with pytest.raises(Unsupported, match=r"H100 \(compute capability 9.0\) is here"):
            detect_used(device)
    fake_nvml("")
    assert detect_used("auto").device == "cpu"


def test_a_gpu_older_than_all_kernels_is_one_sentence():
    built = ["sm_75", "sm_80", "sm_90", "sm_100", "sm_120a", "compute_120"]
    require_kernels("Some", (7, 5), built)
    require_kernels("Some", (6, 0), [])
    with pytest.raises(
        Unsupported, match=r"V100 has compute capability 7\.0.*kernels for 7\.5 and.*TORCH=cu126"
    ):
        require_kernels("V100", (7, 0), built)


def test_make_chooses_no_sweep_where_a_gpu_goes_unused(gpu_environment, monkeypatch):
    import subprocess
    import sys
    from pathlib import Path

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    root = Path(__file__).parents[2]
    told = {}
    for device in ("auto", "cpu"):
        told[device] = subprocess.run(
            [sys.executable, "tools/default_sweep.py", device],
            cwd=root, env=gpu_environment(f"driver 550.1\n{GPU}") | {"PYTHONPATH": str(root)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (told["cpu"].returncode, told["cpu"].stdout) == (0, "frontier-cpu\n")
    assert (told["auto"].returncode, told["auto"].stdout) == (1, "")
    assert told["auto"].stderr.startswith("make: NVIDIA H100 (compute capability 9.0) is here")
    assert "Traceback" not in told["auto"].stderr
