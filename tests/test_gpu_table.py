"""The table that a GPU's tests leave: of all that was reached, whatever hangs."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "gpu"
SUITE = """
import signal, time
import pytest

pytestmark = pytest.mark.gpu


def test_kernel_adds():
    pass


def test_kernel_fails():
    raise ValueError("odd\\nand long")


def test_kernel_is_skipped_without_a_word():
    pytest.skip("")


@pytest.mark.parametrize("text", ["a b|c"])
def test_kernel_skips(text):
    pytest.skip("no | here")


def test_kernel_zz_last():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as what waits for a GPU that never answers
    time.sleep({sleeps})
"""


@pytest.fixture
def checkout(tmp_path):
    """Call with the seconds that the last test sleeps: a place with these tests and a python."""

    def make(sleeps):
        shutil.copytree(HERE, tmp_path / "tests" / "gpu")
        (tmp_path / "tests" / "test_some.py").write_text(SUITE.replace("{sleeps}", str(sleeps)))
        (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  gpu: needs one\n")
        python = tmp_path / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        return tmp_path

    return make


def rows(place):
    lines = (place / "build" / "gpu" / "table.md").read_text().splitlines()
    assert re.match(r"On .*:$", lines[0])
    return {
        cells[1]: cells[2:] for cells in (re.split(r" ?(?<!\\)\| ?", each) for each in lines[4:])
    }


def ran(place, *words):
    begun_s = time.monotonic()
    done = subprocess.run(
        ["bash", str(place / "tests" / "gpu" / "run.sh"), *words],
        cwd="/", env={**os.environ, "PYTEST_ADDOPTS": "-p no:cacheprovider"},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return done, time.monotonic() - begun_s


def test_each_test_has_a_line(checkout):
    place = checkout(0)
    done, _ = ran(place)
    assert done.returncode == 1, done.stderr
    found = rows(place)
    assert found["test_kernel_adds"][0] == "passed"
    assert found["test_kernel_fails"] == ["failure", "0", "ValueError: odd", ""]
    assert found["test_kernel_is_skipped_without_a_word"][0] == "skipped"
    assert "torch 2" in (place / "build" / "gpu" / "table.md").read_text()
    assert found["test_kernel_zz_last"][0] == "passed"
    assert found["test_kernel_skips[a b|c]".replace("|", "\\|")][0] == "skipped"
    assert found["test_kernel_skips[a b|c]".replace("|", "\\|")][2] == r"no \| here"


def test_what_hangs_leaves_a_table_of_what_came_before_it_within_the_limit(checkout):
    place = checkout(600)
    done, took_s = ran(place, "20")
    assert done.returncode == 1
    assert took_s < 25  # this machine may be busy with other tests
    outcomes = {name: cells[0] for name, cells in rows(place).items()}
    assert outcomes == {
        "test_kernel_adds": "passed", "test_kernel_fails": "failed",
        "test_kernel_is_skipped_without_a_word": "skipped",
        "test_kernel_skips[a b\\|c]": "skipped", "test_kernel_zz_last": "hung",
    }  # fmt: skip
    assert done.stdout.endswith((place / "build" / "gpu" / "table.md").read_text())


def test_a_message_may_be_empty(tmp_path):
    (tmp_path / "device.txt").write_text("")
    (tmp_path / "1.log").write_text("tests/test_a.py::test_a FAILED [100%]\n")
    (tmp_path / "1.xml").write_text(
        "<testsuites><testsuite><testcase name='test_a' time='1.6'><failure message=''/></testcase>"
        "<testcase name='test_b' time='0'><error message='&#10;'/></testcase></testsuite></testsuites>"
    )
    table = [sys.executable, str(HERE / "table.py"), str(tmp_path)]
    said = subprocess.run(table, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0] == "On a device that did not answer:"
    assert said[4:] == ["| test_a | failure | 2 |  |", "| test_b | error | 0 |  |"]
