"""A report on a disk that fills up while it is written: the old one stays whole."""

import resource
import shutil
import subprocess
import sys

import pytest
from helpers import campaign

from greenbench import report
from greenbench.errors import UserError
from greenbench.records.store import Store

WRITES = """
import sys
from pathlib import Path
from greenbench.errors import UserError
from greenbench.report import rebuild
try:
    rebuild([Path(sys.argv[1])], Path(sys.argv[1]))
except UserError as error:
    print(error)
"""


def records(*runs):
    return [campaign.run(name, ratio) for name, ratio in runs]


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kept(folder, new, limited):
    """What the directory holds before and after `limited` has tried to report on the `new` record too."""
    for record in records(("none", 1.0), ("saver", 0.7)):
        Store(folder).write(record)
    report.rebuild([folder], folder)
    Store(folder).write(new)
    before = files(folder)
    limited()
    return before, files(folder)


@pytest.fixture
def new():
    (record,) = records(("other", 0.8))
    return record


def test_no_file_may_grow_so_large(tmp_path, new):
    """The page is the largest file, and the text the first: a limit between the two stops the page."""

    def limit():
        most = (tmp_path / "index.html").stat().st_size // 2
        assert most > (tmp_path / "leaderboard.md").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    def limited():
        done = subprocess.run(
            [sys.executable, "-c", WRITES, str(tmp_path)],
            preexec_fn=limit, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "The report cannot be written to" in done.stdout
        assert done.stdout.count("\n") == 1

    before, after = kept(tmp_path, new, limited)
    assert after == before


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_the_disk_fills_up(small_disk, new):
    def limited():
        room = sum(len(data) for path, data in files(small_disk).items() if path.suffix != ".json")
        with (small_disk / "else").open("wb") as other:
            free = shutil.disk_usage(small_disk).free
            other.write(bytes(free - room // 2))
        with pytest.raises(
            UserError, match=r"No space left on device.*: free some space or choose"
        ):
            report.rebuild([small_disk], small_disk)
        (small_disk / "else").unlink()

    before, after = kept(small_disk, new, limited)
    assert after == before
    report.rebuild([small_disk], small_disk)
    assert b"other" in (small_disk / "leaderboard.md").read_bytes()
