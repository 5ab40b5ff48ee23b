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
