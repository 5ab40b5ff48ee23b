"""A full disk behind ``>``, and a reader who goes: real processes, as only those have real streams."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import campaign

from greenbench.records.store import Store

FULL = Path("/dev/full")
COMMANDS = [
    ["--help"],
    ["--version"],
    ["bench", "--help"],
    ["bench", "--cfg"],
    ["bench", "--list", "task=smoke"],
    ["report"],
    ["report", "--schema"],
    ["compare", "results", "results"],
    ["advise"],
    ["export"],
    ["export", "-o", "out.csv"],
    ["completion", "bash"],
]
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


@pytest.fixture
def there(tmp_path):
    Store(tmp_path / "results").write(campaign.run("saver", 0.7))
    return tmp_path


def call(words, there, *, at_once="", **streams):
    """`at_once`: whether Python holds no output back."""
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": at_once}
    return subprocess.run(
        [sys.executable, "-m", "greenbench", *words],
        cwd=there, env=os.environ | paths, check=False, **streams,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "at_once"),
    [*((words, "") for words in COMMANDS), (["--version"], "1"), (["export"], "1")],
    ids=str,
)
def test_a_full_disk_is_one_sentence(words, at_once, there):
    with FULL.open("w") as full:
        done = call(words, there, at_once=at_once, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.stderr == (
        "greenbench: The output cannot be written (No space left on device): free some space or send it "
        "elsewhere.\n"
    )
    assert done.returncode == 2


@pytest.mark.parametrize("words", [["export"], ["export", "nowhere"], ["nope"]])
def test_where_nothing_can_be_said_the_status_says_it(words, there):
    with FULL.open("w") as full:
        assert call(words, there, stdout=full, stderr=full).returncode == 2


def test_a_reader_who_goes_is_no_mistake(there):
    reading, writing = os.pipe()
    os.close(reading)
    done = call(["report", "--schema"], there, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_who_wants_no_output_gets_none(there):
    line = f'"{sys.executable}" -m greenbench export >&-'
    done = subprocess.run(
        line, shell=True, cwd=there, stderr=subprocess.PIPE, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
