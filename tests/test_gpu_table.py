"""The table that a GPU's tests leave: the most telling first, and of all whatever hangs or is cut."""

import os
import re
import shutil
import signal
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


def test_adds():
    pass


def test_fails():
    raise ValueError("odd\\nand long")


def test_is_skipped_without_a_word():
    pytest.skip("")


@pytest.mark.parametrize("text", ["a b|c"])
def test_skips(text):
    pytest.skip("no | here")


def test_sleeps():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as what waits for a GPU that never answers
    time.sleep({sleeps})


@pytest.fixture
def broken():
    yield
    raise OSError("cannot end")


def test_is_last(broken):
    pass


def test_the_energy_counter_agrees():
    pass
"""
EMPTY = """
import pytest

pytestmark = pytest.mark.gpu


def test_has_nothing_to_say():
    raise AssertionError
"""


@pytest.fixture
def checkout(tmp_path):
    """Call with the seconds that a test sleeps: a place with these tests and a python."""

    def make(sleeps):
        shutil.copytree(HERE, tmp_path / "tests" / "gpu")
        (tmp_path / "tests" / "test_some.py").write_text(SUITE.replace("{sleeps}", str(sleeps)))
        (tmp_path / "tests" / "test_other.py").write_text("import no_such  # mark.gpu\n")
        (tmp_path / "tests" / "test_empty.py").write_text(EMPTY)
        (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  gpu: needs one\n")
        python = tmp_path / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        return tmp_path

    return make


def rows(place):
    """Cells by the test's name, and how many said what."""
    lines = (place / "build" / "gpu" / "table.md").read_text().splitlines()
    assert re.match(r"On .*:$", lines[0])
    cells = [re.split(r" ?(?<!\\)\| ?", each)[1:-1] for each in lines[6:]]
    return {name: rest for name, *rest in cells}, lines[2]


def started(place, *words):
    return subprocess.Popen(
        ["bash", str(place / "tests" / "gpu" / "run.sh"), *words],
        cwd="/", env={**os.environ, "PYTEST_ADDOPTS": "-p no:cacheprovider"},
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def test_each_test_has_a_line_and_one_that_hangs_stops_no_other(checkout):
    place = checkout(600)
    script = started(place, "240", "4")
    said, _ = script.communicate(timeout=200)
    assert script.returncode == 1
    found, counts = rows(place)
    outcomes = {name: cells[0] for name, cells in found.items()}
    assert outcomes == {
        "tests/test_other.py": "failed", "test_the_energy_counter_agrees": "passed",
        "test_has_nothing_to_say": "failed", "test_adds": "passed", "test_fails": "failed",
        "test_is_skipped_without_a_word": "skipped", "test_skips[a b\\|c]": "skipped",
        "test_sleeps": "not ended", "test_is_last": "failed",
    }  # fmt: skip
    assert list(outcomes)[1] == "test_the_energy_counter_agrees"  # the others as they stand
    assert counts == "4 failed, 2 passed, 2 skipped, 1 not ended"
    assert found["test_fails"][2] == "ValueError: odd"
    assert found["test_is_last"][2] == "OSError: cannot end"
    assert "no_such" in found["tests/test_other.py"][2]
    assert found["test_skips[a b\\|c]"][2] == r"no \| here"
    assert found["test_is_skipped_without_a_word"][2] == ""
    assert said.splitlines() == (place / "build" / "gpu" / "table.md").read_text().splitlines()


def test_what_is_killed_leaves_what_it_had_and_what_it_had_not_reached(checkout):
    place = checkout(600)
    script = started(place)
    table = place / "build" / "gpu" / "table.md"
    until_s = time.monotonic() + 120
    while not (table.exists() and "test_sleeps | not ended" in table.read_text()):
        assert script.poll() is None
        assert time.monotonic() < until_s
        time.sleep(0.05)
    os.killpg(script.pid, signal.SIGKILL)
    script.wait()
    found, counts = rows(place)
    assert found["test_adds"][0] == "passed"
    assert found["test_sleeps"][0] == "not ended"
    assert found["test_is_last"][0] == "not reached"
    assert counts.endswith("1 not ended, 1 not reached")


def test_all_that_was_reached_and_passed_is_a_success(tmp_path):
    shutil.copy(HERE / "table.py", tmp_path)
    for name, state, said in (
        ("good", '{"tests/test_a.py::test_a": ["passed", 1.6, ""]}', "| test_a | passed | 2 |  |"),
        ("skipped", '{"tests/test_a.py::test_a": ["skipped", 0, "no GPU"]}', "1 skipped"),
        ("none", "{}", "nothing was reached"),
    ):
        place = tmp_path / name
        place.mkdir()
        (place / "state.json").write_text(state)
        done = subprocess.run(
            [sys.executable, str(HERE / "table.py")], env={**os.environ, "GPU_TABLE": str(place)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == (name != "good")
        assert said in done.stdout.splitlines()
        assert done.stdout.startswith("On a device that did not answer:")
