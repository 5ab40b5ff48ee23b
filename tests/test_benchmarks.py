"""Each program that reproduces a claim still starts: it imports what it measures."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_it_starts(program):
    command = [sys.executable, program, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")


def test_the_generators_own_cost_is_told_of_each_rate():
    """Briefly: what it is at 500 requests/s says the documentation, of a quiet machine."""
    program = next(path for path in PROGRAMS if path.stem == "load_generator")
    short = ["--rates", "20", "50", "--tokens", "2", "--seconds", "1"]
    done = subprocess.run(
        [sys.executable, program, *short], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    lines = [line for line in told if re.match(r"2 tokens, (20|50) requests/s: ", line)]
    assert len(lines) == 2, done.stdout
    assert all("ms of CPU a request" in line and "ms late (p99 " in line for line in lines)


def test_planted_disturbances_are_said_and_leave_the_ratio_right():
    """The whole table is in docs/protocol.md."""
    program = next(path for path in PROGRAMS if path.stem == "disturbances")
    command = [sys.executable, program, "--runs", "2", "--only", "0.1 s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [row for row in done.stdout.splitlines() if "0.1 s" in row]
    codes = [row.split("|")[2].strip() for row in rows]
    assert codes == ["`throttled`", "`foreign_process`", "`throttled`"]
    assert all(row.split("|")[3].strip() == "2 of 2" for row in rows), done.stdout
    assert all(row.split("|")[4].strip() == "none" for row in rows), done.stdout
    assert all(row.split("|")[5].strip().startswith("0 of ") for row in rows), done.stdout
