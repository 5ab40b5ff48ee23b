"""The device of a run, where torch says what it is."""

import os
from types import SimpleNamespace

import pytest
import torch

from greenbench.errors import Unsupported
from greenbench.machine.detect import detect


@pytest.fixture
def two_gpus(monkeypatch):
    gpus = [
        SimpleNamespace(name="Example GPU", total_memory=80, major=9, minor=minor, uuid=f"u{minor}")
        for minor in (0, 1)
    ]
    initialized = []

    def is_available():  # by which CUDA is initialized, and the variable looked at for the last time
        initialized.append(os.environ.get("CUDA_VISIBLE_DEVICES"))
        return True

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90"])
    monkeypatch.setattr(torch.cuda, "get_device_properties", gpus.__getitem__)
    return initialized


def test_one_gpu_is_a_run_unless_all_are_asked_for(two_gpus):
    one = detect("auto")
    assert (one.device, one.device_name, one.uuids) == ("cuda", "Example GPU", ("GPU-u0",))
    assert one.device_map == {"": torch.device("cuda")}


def test_a_model_spread_over_all_gpus_is_one_device_whose_joules_are_summed(two_gpus):
    both = detect("cuda_all")
    assert both.device_name == "2 x Example GPU"
    assert both.uuids == ("GPU-u0", "GPU-u1")  # NVML meters sum over these
    assert (both.memory_bytes, both.capability, both.device_map) == (160, (9, 0), "auto")


def test_all_gpus_of_none_are_refused_in_one_sentence():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(Unsupported, match="device=cuda_all was asked for"):
        detect("cuda_all")


@pytest.mark.parametrize(
    ("visible", "device", "hidden"),
    [
        (None, "cuda:1", "1"),
        ("3,5", "cuda:1", "5"),
        ("GPU-a,GPU-b", "cuda:0", "GPU-a"),
    ],
)
def test_one_of_several_gpus_is_all_that_a_run_and_its_servers_see(
    two_gpus, monkeypatch, visible, device, hidden
):
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert detect(device).device == "cuda"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == hidden
    assert set(two_gpus) == {hidden}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # what is undone in the end


def test_a_gpu_that_is_not_there_is_one_sentence(two_gpus, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(
        Unsupported, match=r"cuda:2 .* torch sees 2 GPUs here: say cuda:0 to cuda:1"
    ):
        detect("cuda:2")
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
