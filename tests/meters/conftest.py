"""A fake libnvidia-ml compiled from C and attached to the real pynvml, on a clock we move."""

import ctypes

import pynvml
import pytest
from moved_clock import MovedClock


@pytest.fixture
def fake_nvml(nvml_library, tmp_path, monkeypatch):
    """Call with a script: pynvml then talks to that machine. Returns its clock."""
    library = ctypes.CDLL(str(nvml_library))
    library.fake_nvml_time.argtypes = [ctypes.c_double]
    monkeypatch.setattr(pynvml, "nvmlLib", library)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})

    def attach(script):
        path = tmp_path / "nvml.txt"
        path.write_text(script)
        monkeypatch.setenv("FAKE_NVML", str(path))
        clock = MovedClock(library.fake_nvml_time)
        clock.sleep(0)
        return clock

    yield attach
    while not library.nvmlShutdown():
        pass  # a test that failed may have left NVML open
