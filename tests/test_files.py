"""What is written is whole or absent, whoever is killed on the way."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from greenbench.files import made_once, replaced, write_atomically

MAKE = """
import sys, time
from pathlib import Path
from greenbench.files import made_once

def make(folder):
    (folder / "first").write_text("half")
    print("begun", flush=True)
    time.sleep(float(sys.argv[2]))
    (folder / "second").write_text("whole")

made_once(Path(sys.argv[1]), make)
print("made", flush=True)
"""


def process(target, seconds):
    return subprocess.Popen(
        [sys.executable, "-c", MAKE, target, str(seconds)], stdout=subprocess.PIPE, text=True
    )


def test_what_a_block_wrote_takes_the_place_of_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    write_atomically(path, b"old")
    with replaced(path) as fresh:
        fresh.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    write_atomically(path, b"old", durable=False)

    def fail():
        with replaced(path) as fresh:
            fresh.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_made_once(tmp_path):
    made = []
    for _ in range(2):
        found = made_once(tmp_path / "deep" / "folder", made.append)
        assert found == tmp_path / "deep" / "folder"
        assert found.is_dir()
    assert len(made) == 1


def test_two_processes_make_a_folder_once_and_a_killed_one_leaves_none(tmp_path):
    target = tmp_path / "folder"
    first = process(target, 600)
    assert first.stdout.readline() == "begun\n"
    second = process(target, 0)
    assert not target.exists()
    first.send_signal(signal.SIGKILL)
    assert second.communicate(timeout=60)[0] == "begun\nmade\n"
    assert {file.name for file in Path(target).iterdir()} == {"first", "second"}
    first.communicate()
