"""Which torch `make setup` installs, as make itself says it; nothing is run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def planned(*words):
    """What make would do in a place where nothing is installed."""
    command = ["make", "--dry-run", "setup", "VENV=build/nowhere", *words]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "installed"),
    [
        ([], "torch==2.13.0"),
        (["TORCH=cu128"], "torch==2.10.0"),
        (["TORCH=cu126", "TORCH_INDEX=https://a.b/c"], "--index-url https://a.b/c torch==2.10.0"),
    ],
)
def test_the_cuda_that_is_asked_for_decides_the_torch(words, installed):
    assert f"{installed}\n" in planned(*words).stdout


def test_a_build_that_is_there_needs_no_index(tmp_path):
    """Else every later target would ask for it."""
    (tmp_path / ".ready-cu126").touch()
    done = planned(f"VENV={tmp_path}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "device"),
    [
        ([], None),
        (["DEVICE=cuda:2"], "device=cuda:2"),
    ],
)
def test_the_device_that_is_asked_for_is_the_sweeps(words, device):
    for line in sweeps(*words):
        assert [word for word in line.split() if word.startswith("device=")] == (
            [device] if device else []
        )


def sweeps(*words):
    """The lines that list a later sweep and that run each."""
    said = planned("bench", "EXPERIMENT=runtime", *words).stdout.splitlines()
    lines = [each for each in said if "+experiments=" in each]
    assert ["--list" in line for line in lines] == [True, False]
    return lines


@pytest.mark.parametrize(
    ("gpus", "said"), [("all", "devices=all"), ("1", "devices=1"), ("0,2", "devices=[0,2]")]
)
def test_the_gpus_that_are_asked_for_are_the_sweeps_devices(gpus, said):
    assert all(f"'{said}'" in line for line in sweeps(f"GPUS={gpus}"))


def test_what_a_later_sweep_takes_is_said_before_the_first(tmp_path):
    listed = "*--list*) echo '# 3 runs to measure'"
    told = f"case $* in *default_sweep*) echo one two;; {listed};; *) echo ran $*;; esac"
    lines = made(tmp_path, told).stdout.splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("ran "))
    assert lines.index("after that, two:") < lines.index("# 3 runs to measure") < first
    assert sum(line.startswith("ran ") for line in lines) == 2


def test_where_no_sweep_can_be_chosen_make_fails(tmp_path):
    """As where a GPU would go unused: the chooser says why, and names none."""
    done = made(tmp_path, "exit 1")
    assert done.returncode == 2
    assert not (tmp_path / "swept").exists()


def test_a_sweep_that_a_signal_ended_is_no_success(tmp_path):
    done = made(
        tmp_path, "case $1 in *default_sweep*) echo runtime;; *) touch swept; exit 137;; esac"
    )
    assert (tmp_path / "swept").exists()
    assert done.returncode == 2


def made(folder, python):
    """`make bench` with a program in the place of Python."""
    programs = folder / "venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "greenbench"):
        (programs / name).write_text(f"#!/bin/sh\ncd {folder}\n{python}\n")
        (programs / name).chmod(0o755)
    (folder / "venv" / ".ready-cu130").touch()
    os.utime(folder / "venv" / ".ready-cu130", (2**33, 2**33))  # nothing it is made of is newer
    command = ["make", "bench", f"VENV={folder / 'venv'}"]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("word", "said"),
    [("TORCH=cu126", "add TORCH_INDEX=URL"), ("TORCH=cu90", "say cu130, cu128 or cu126")],
)
def test_what_cannot_be_had_is_said_before_anything_is_installed(word, said):
    refused = planned(word)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert not refused.stdout


def test_an_environment_of_another_python_is_made_anew(tmp_path):
    """As one that an older Python left: its programs would be of the one, and its modules of the other."""
    place = tmp_path / "engine"
    (place / "bin").mkdir(parents=True)
    for name in ("python", "pip"):
        (place / "bin" / name).write_text("#!/bin/sh\necho /nowhere\n")
        (place / "bin" / name).chmod(0o755)
    made = tmp_path / "made"
    python = tmp_path / "python3"
    python.write_text(f"#!/bin/sh\ncase $1 in -m) echo $* >>{made};; *) echo /here;; esac\n")
    python.chmod(0o755)
    command = ["make", "compressor", f"PYTHON={python}", f"GREENBENCH_COMPRESSOR={place}"]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, check=False)
    assert made.read_text() == f"-m venv --clear {place}\n"
    (place / "bin" / "python").write_text("#!/bin/sh\necho /here\n")
    (place / ".ready").unlink(missing_ok=True)
    subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, check=False)
    assert made.read_text().count("\n") == 1  # of this one it is kept
