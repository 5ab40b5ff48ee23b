"""The report while a sweep goes on."""

from pathlib import Path

import pytest

from greenbench.campaign.running_report import RunningReport
from greenbench.errors import UserError


class Said:
    """A console that remembers what it is told."""

    def __init__(self):
        self.lines = set()
        self.once = self.lines.add


def report(cost_s=0.0, clock=None, fails=False):
    written = []

    def write(results):
        if clock is not None:
            clock[0] += cost_s
        if fails:
            raise UserError("the disk is full.")
        written.append(results)

    said = Said()
    return RunningReport(said, write), written, said


def test_it_is_written_after_each_run_and_said_once():
    running, written, said = report()
    with running:
        running.after(Path("A"), 60.0)
        running.after(Path("A"), 60.0)
    assert written == [Path("A"), Path("A")]
    assert said.lines == {"what is done by now is in A/leaderboard.md"}


def ended_by(error, running, *folders):
    """A sweep whose runs take a minute, and which `error` ends."""
    with running:
        for folder in folders:
            running.after(Path(folder), 60.0)
        raise error


def test_a_report_that_takes_long_waits_for_what_ends_the_sweep(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    running, written, _ = report(cost_s=30.0, clock=clock)
    running.after(Path("A"), 60.0)  # how long it takes is not known yet
    running.after(Path("A"), 60.0)
    assert written == [Path("A")]
    with pytest.raises(KeyboardInterrupt):
        ended_by(KeyboardInterrupt(), running, "B")
    assert written == [Path("A"), Path("A"), Path("B")]


def test_what_is_written_already_is_not_written_again():
    running, written, _ = report()
    with pytest.raises(SystemExit):
        ended_by(SystemExit(143), running, "A")
    assert written == [Path("A")]


def test_a_report_that_cannot_be_written_neither_ends_the_sweep_nor_hides_what_does():
    running, _, said = report(fails=True)
    running.after(Path("A"), 60.0)
    assert said.lines == {"the report of what is done by now is not written: the disk is full."}
    with pytest.raises(KeyboardInterrupt):
        ended_by(KeyboardInterrupt(), running, "A")
