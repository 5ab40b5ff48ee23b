"""What is known of a run whose server is gone: its document, its log, and who has its number by now."""

import subprocess
import sys
from pathlib import Path

import pytest

from greenbench.agents.background import Background, Document, Started
from greenbench.agents.places import Places
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
    """A results directory; we are beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results" / "started").mkdir(parents=True)
    return tmp_path / "results"


def left(folder, pid, command=SLEEP):
    """The document of a run that another server has started."""
    told = Document(
        id="beef", pid=pid, command=command, overrides=[], started_at="2026-01-01T00:00:00+00:00"
    )
    return Started("results", folder, told).keep()


def test_a_run_goes_on_as_long_as_its_own_process_does(folder, sleeper):
    left(folder, sleeper.pid)
    known = Background(Places([Path("results")]))
    (told,) = known.status("beef")
    assert (told["state"], told["exit_status"]) == ("running", None)
    with pytest.raises(UserError, match="Run beef goes on in results, and nothing else may"):
        known.require_rest("nothing else may")
    told = known.stop("beef")
    assert (told["state"], told["exit_status"]) == ("stopped", None)
    assert sleeper.poll() is not None


def test_another_process_with_its_number_is_left_alone(folder, sleeper):
    left(folder, sleeper.pid, [*SLEEP, "else"])
    known = Background(Places([Path("results")]))
    assert known.status("beef")[0]["state"] == "ended"
    with pytest.raises(UserError, match="Run beef has ended already"):
        known.stop("beef")
    assert sleeper.poll() is None


def test_a_broken_document_hides_no_other(folder, sleeper):
    left(folder, sleeper.pid)
    (folder / "started" / "bad.json").write_text("{")
    assert [told["run"] for told in Background(Places([Path("results")])).status(None)] == ["beef"]


def test_of_a_log_that_is_gone_nothing_is_told(folder, sleeper):
    left(folder, sleeper.pid)
    (told,) = Background(Places([Path("results")])).status(None)
    assert (told["runs"], told["runs_ended"], told["last_lines"]) == (None, 0, [])
