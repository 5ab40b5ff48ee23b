"""quanto's code is built in our cache: the installation stays as it was, and builders wait."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from optimum import quanto

from greenbench.paths import cache_dir

INSTALLED = Path(quanto.__file__).parent
LOAD = """
import sys
import torch
from greenbench.techniques.quantization.quanto_kernels import load_kernels
print("ready", flush=True)
sys.stdin.readline()
load_kernels(torch.device("cpu"))
from optimum.quanto.library import extensions
print(extensions.get_extension("quanto_cpp").lib.__file__)
print(torch.ops.quanto.unpack(torch.tensor([0x21], dtype=torch.uint8), 4).tolist())
"""


@pytest.fixture
def loader():
    """Starts a process that loads the kernels once it is told to go."""
    started = []

    def start():
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [sys.executable, "-B", "-c", LOAD], stdin=pipe, stdout=pipe, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def loaded(process):
    """Where the code lies that the process has loaded; it works."""
    said, _ = process.communicate("go\n", timeout=280)
    assert process.returncode == 0
    place, unpacked = said.splitlines()
    assert unpacked == "[1, 2]"
    return Path(place)


def installation():
    """What lies in the package, and when each file was written: root may write anywhere."""
    return {path: path.stat().st_mtime_ns for path in INSTALLED.rglob("*")}


def test_the_code_is_built_in_the_cache_and_the_installation_left_alone(loader):
    before = installation()
    place = loaded(loader())
    assert place.parent.parent == cache_dir() / "quanto"
    assert installation() == before
    built = place.stat().st_mtime_ns
    (place.parent / "lock").touch()  # what torch leaves where a build was killed
    assert loaded(loader()) == place
    assert place.stat().st_mtime_ns == built
    assert not (place.parent / "lock").exists()


@pytest.mark.slow
def test_of_two_processes_one_waits_for_the_other(loader):
    place = loaded(loader())
    with FileLock(f"{place.parent}.lock"):
        waiting = loader()
        waiting.stdin.write("go\n")
        waiting.stdin.flush()
        time.sleep(3)
        assert waiting.poll() is None
    assert loaded(waiting) == place


def test_another_compiler_builds_in_another_folder(monkeypatch):
    import torch

    from greenbench.techniques.quantization.quanto_kernels import _build_in_cache

    folders = set()
    for compiler in ("c++", "/bin/true", "no-such-compiler"):
        monkeypatch.setenv("CXX", compiler)
        folders.add(_build_in_cache(torch.device("cpu")))
    assert len(folders) == 3
