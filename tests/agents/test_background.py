"""What is known of a run whose server is gone: its document, its log, and who has its number by now.

The document may be anybody's, as a results directory may; the user's own cache says which runs are theirs.
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from greenbench.agents import ownership
from greenbench.agents.background import Background, Document, Started
from greenbench.agents.places import Places
from greenbench.campaign.bench import Asked
from greenbench.errors import UserError

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def sleeper():
    """A process that another server has started."""
    process = subprocess.Popen(SLEEP)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A results directory; we are beside it, and have a cache of our own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "results" / "started").mkdir(parents=True)
    return tmp_path / "results"


RUN = "0000beef"


def left(folder, pid, command=SLEEP, ours=True):
    """The document of a run that another server has started: one of `ours`, or somebody else's."""
    told = Document(
        id=RUN, pid=pid, command=command, overrides=[], started_at="2026-01-01T00:00:00+00:00"
    )
    if ours:
        ownership.mark(RUN, folder, pid, command)
    return Started("results", folder, told).keep()


def known():
    """What a new server makes of it."""
    return Background(Places([Path("results")]))


def changed(folder, **values):
    """The document, with values that no server has written."""
    path = folder / "started" / f"{RUN}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_run_goes_on_as_long_as_its_own_process_does(folder, sleeper):
    left(folder, sleeper.pid)
    (told,) = known().status(RUN)
    assert (told["state"], told["exit_status"], told["pid"]) == ("running", None, sleeper.pid)
    with pytest.raises(UserError, match=f"Run {RUN} goes on in results, and nothing else may"):
        known().require_rest("nothing else may")
    told = known().stop(RUN)
    assert (told["state"], told["exit_status"]) == ("stopped", None)
    assert sleeper.poll() is not None


def test_another_process_with_its_number_is_left_alone(folder, sleeper):
    left(folder, sleeper.pid, [*SLEEP, "else"])
    assert known().status(RUN)[0]["state"] == "ended"
    with pytest.raises(UserError, match=f"Run {RUN} has ended already"):
        known().stop(RUN)
    assert sleeper.poll() is None


def test_a_broken_document_hides_no_other(folder, sleeper):
    left(folder, sleeper.pid)
    (folder / "started" / "bad.json").write_text("{")
    assert [told["run"] for told in known().status(None)] == [RUN]


def test_of_a_log_that_is_gone_nothing_is_told(folder, sleeper):
    left(folder, sleeper.pid)
    (told,) = known().status(None)
    assert (told["runs"], told["runs_ended"], told["last_lines"]) == (None, 0, [])


def test_a_process_that_only_a_document_claims_is_neither_running_nor_stopped(folder, sleeper):
    left(folder, sleeper.pid, ours=False)
    (told,) = known().status(None)
    assert (told["state"], told["pid"]) == ("unknown", None)
    known().require_rest("nothing else may")
    with pytest.raises(UserError, match=f"Run {RUN} is not one that you have started on this"):
        known().stop(RUN)
    assert sleeper.poll() is None
    assert not json.loads((folder / "started" / f"{RUN}.json").read_text())["stopped"]


def test_a_mark_is_of_one_directory_one_process_and_one_user(
    folder, sleeper, tmp_path, monkeypatch
):
    left(folder, sleeper.pid)
    (tmp_path / "copied").mkdir()
    copied = (tmp_path / "copied" / "started").absolute()
    copied.symlink_to(folder / "started")
    assert not Background(Places([Path("copied")])).status(None)  # a link is not followed
    copied.unlink()
    copied.mkdir()
    (copied / f"{RUN}.json").write_bytes((folder / "started" / f"{RUN}.json").read_bytes())
    assert Background(Places([Path("copied")])).status(RUN)[0]["state"] == "unknown"
    both = Background(Places([Path("results"), Path("copied")]))
    assert both.status(RUN)[0]["state"] == "running"
    assert len(both.status(None)) == 2
    changed(folder, pid=os.getpid())
    assert known().status(RUN)[0]["state"] == "ended"
    changed(folder, pid=sleeper.pid)
    assert known().status(RUN)[0]["state"] == "running"
    for module, name, other in ((os, "geteuid", 54321), (platform, "node", "other")):
        with monkeypatch.context() as elsewhere:  # with the same cache
            elsewhere.setattr(module, name, lambda other=other: other)
            assert known().status(RUN)[0]["state"] == "unknown"
    assert known().status(RUN)[0]["state"] == "running"


BROKEN = {
    "a way out": {"id": "../../out/app"},
    "another name": {"id": "0000dead"},
    "no id of ours": {"id": "beef"},
    "no moment": {"started_at": "x"},
    "a moment nowhere": {"started_at": "2026-01-01T00:00:00"},
    "a moment before time": {"started_at": "0001-01-01T00:00:00+23:59"},
    "no process": {"pid": -1},
    "a list": {"overrides": "x"},
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_document_that_no_server_writes_is_passed_over(folder, sleeper, tmp_path, case):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "app.log").write_text("secret")
    left(folder, sleeper.pid)
    changed(folder, **BROKEN[case])
    assert known().status(None) == []
    known().require_rest("nothing else may")
    with pytest.raises(UserError, match="is unknown"):
        known().stop(BROKEN[case].get("id", RUN))
    assert sleeper.poll() is None
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["app.log"]


def test_no_link_and_no_pipe_is_read(folder, sleeper, tmp_path):
    left(folder, sleeper.pid)
    (tmp_path / "secret").write_text("secret")
    log = folder / "started" / f"{RUN}.log"
    log.symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "started" / "00000000.json")
    (folder / "started" / "00000001.json").symlink_to(folder / "started" / f"{RUN}.json")
    (folder / "records").mkdir()
    (folder / "records" / "lost.json").symlink_to(tmp_path / "nowhere")
    (told,) = known().status(None)
    assert (told["run"], told["last_lines"], told["records"]) == (RUN, [], [])


def test_nothing_is_started_through_a_link(folder, tmp_path):
    (folder / "started").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (folder / "started").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"results/started is a link, .*: remove it"):
        known().start("results", folder, Asked(["technique=none"]))
    assert not list((tmp_path / "elsewhere").iterdir())


def test_marks_of_runs_that_are_gone_are_taken_away(folder, sleeper, tmp_path):
    left(folder, sleeper.pid)
    sleeper.kill()
    sleeper.wait()
    marks = tmp_path / "cache" / "started"
    ownership.mark("00000001", folder, os.getpid(), ["other"])
    assert {path.stem for path in marks.iterdir()} == {RUN, "00000001"}
    (folder / "started" / f"{RUN}.json").unlink()
    ownership.mark("00000002", folder, os.getpid(), ["other"])
    assert RUN not in {path.stem for path in marks.iterdir()}
