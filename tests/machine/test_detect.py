"""The device of a run, where torch says what it is."""

import os
from itertools import takewhile
from types import SimpleNamespace

import pynvml
import pytest
import torch

from greenbench.errors import Unsupported
from greenbench.machine.detect import detect


def uuid(number):
    return f"{number}{number * 7}-0000-1111-2222-333333333333"


NVML = "".join(f"device GPU-{uuid(number)}\nname Example GPU\n" for number in (1, 2, 3))


@pytest.fixture
def cuda(monkeypatch):
    """Call with the UUIDs of the GPUs that are there: a CUDA that looks at its variable as it is initialized,
    and never again. Gives what it saw."""

    def there(*uuids, nvml=True):
        told, seen, looks = list(uuids), [], []

        def now():
            """As the driver counts: up to the first entry that is none."""
            text = os.environ.get("CUDA_VISIBLE_DEVICES")
            if text is None:
                return told
            entries = text.split(",")
            known = {str(n): each for n, each in enumerate(told)} | {f"GPU-{e}": e for e in told}
            return [known[e] for e in takewhile(known.__contains__, entries)]

        def initialize():
            if not looks:
                looks.append(os.environ.get("CUDA_VISIBLE_DEVICES"))
                seen.extend(now())

        def is_available():
            initialize()
            return bool(seen)

        def device_count():  # by NVML until CUDA is initialized, and where NVML fails by CUDA itself
            if nvml and not looks:
                return len(now())
            initialize()
            return len(seen)

        def properties(index):
            initialize()
            return SimpleNamespace(
                name="Example GPU", total_memory=80, major=9, minor=told.index(seen[index]), uuid=seen[index]
            )  # fmt: skip

        def no_nvml():
            raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

        if not nvml:
            monkeypatch.setattr(pynvml, "nvmlInit", no_nvml)
        monkeypatch.setattr(torch.cuda, "is_available", is_available)
        monkeypatch.setattr(torch.cuda, "device_count", device_count)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90"])
        monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
        return looks

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # what is undone in the end
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    return there


@pytest.fixture
def two_gpus(cuda):
    return cuda("u0", "u1")


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


@pytest.mark.parametrize("nvml", [True, False])
@pytest.mark.parametrize(
    ("visible", "device", "hidden", "chosen"),
    [
        (None, "cuda:1", "1", 2),
        (None, "cuda:0", "0", 1),
        ("2,0", "cuda:0", "2", 3),
        ("2,0,-1,1", "cuda:1", "0", 1),
        (f"GPU-{uuid(2)},GPU-{uuid(1)}", "cuda:0", f"GPU-{uuid(2)}", 2),
        ("1", "cuda:0", "1", 2),
    ],
)
def test_one_of_several_gpus_is_all_that_a_run_and_its_servers_see(
    cuda, fake_nvml, monkeypatch, visible, device, hidden, chosen, nvml
):
    """Without NVML too, where torch counts GPUs by initializing CUDA."""
    if nvml:
        fake_nvml(NVML)
    looks = cuda(uuid(1), uuid(2), uuid(3), nvml=nvml)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = detect(device)
    assert (found.device, found.uuids) == ("cuda", (f"GPU-{uuid(chosen)}",))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == hidden
    assert looks == [hidden]


@pytest.mark.parametrize("visible", ["", "-1", "-1,0"])
def test_gpus_that_are_hidden_stay_hidden(cuda, monkeypatch, visible):
    looks = cuda(uuid(1), uuid(2))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(Unsupported, match=rf"CUDA_VISIBLE_DEVICES={visible} hides all GPUs: unset"):
        detect("cuda:0")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible
    assert looks == []
    assert detect("auto").device == "cpu"


@pytest.mark.parametrize("nvml", [True, False])
def test_where_cuda_was_started_before_no_other_gpu_is_measured_in_its_place(cuda, fake_nvml, nvml):
    """It would be GPU 0, whichever was asked for."""
    if nvml:
        fake_nvml(NVML)
    cuda(uuid(1), uuid(2), uuid(3))
    torch.cuda.is_available()
    remedy = f"GPU-{uuid(3)}" if nvml else r"the UUID of that GPU \(nvidia-smi -L\)"
    with pytest.raises(
        Unsupported,
        match=rf"^device=cuda:2 .* use GPU-{uuid(1)}, of 3 that it sees, .* to {remedy} and say",
    ):
        detect("cuda:2")


def test_one_gpu_that_is_another_than_was_asked_for_is_refused(cuda, fake_nvml, monkeypatch):
    fake_nvml(NVML)
    cuda(uuid(1), uuid(2), uuid(3))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    torch.cuda.is_available()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with pytest.raises(Unsupported, match=rf"GPU-{uuid(1)}, of 1 .* to GPU-{uuid(2)} and say"):
        detect("cuda:1")


def test_a_slice_of_a_gpu_is_no_other_gpu(cuda, fake_nvml):
    """NVML names the whole of it, and CUDA the slice."""
    fake_nvml(NVML)
    cuda("51ce0000-0000-1111-2222-333333333333")
    assert detect("cuda:0").uuids == ("GPU-51ce0000-0000-1111-2222-333333333333",)


def test_a_gpu_that_is_not_there_is_one_sentence(cuda, fake_nvml):
    fake_nvml(NVML)
    cuda(uuid(1), uuid(2), uuid(3))
    with pytest.raises(
        Unsupported, match=r"cuda:3 .* torch sees 3 GPUs here: say cuda:0 to cuda:2"
    ):
        detect("cuda:3")
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_one_that_was_not_left_visible_is_one_sentence(cuda, monkeypatch):
    cuda(uuid(1), uuid(2), nvml=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pytest.raises(Unsupported, match=r"cuda:1 .* torch sees 1 GPU here: say cuda:0\."):
        detect("cuda:1")
