"""Jobs that never began, or whose machine does not see the results: told, and nothing of it is silent."""

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import campaign
from helpers.sound import sound

from greenbench.analysis.trust.checked import verified
from greenbench.campaign import dispatch
from greenbench.campaign.compose import plan
from greenbench.campaign.identity import run_key
from greenbench.campaign.launch import slurm
from greenbench.campaign.launch.launcher import UNSEEN, Call, Ended, Task, ended
from greenbench.campaign.launch.unbegun import NOWHERE, keep, unbegun
from greenbench.errors import UserError
from greenbench.records.store import Store
from greenbench.schema.resolved import ResolvedDevice


class Elsewhere:
    """Each task ends as the test says."""

    name = "elsewhere"

    def __init__(self, end):
        self.sent, self._end = [], end

    @contextmanager
    def running(self, tasks):
        self.sent += [task.number for task in tasks]
        yield map(self._end, tasks)


def lost(task):
    return Ended(task, "lost", "Slurm says NODE_FAIL")


@pytest.fixture
def jobs(shared_tiny_directory, tmp_path):
    def asked(*more):
        place = [
            "model=local",
            f"model.path={shared_tiny_directory}",
            f"results={tmp_path / 'results'}",
        ]
        return plan([*place, "task=smoke", "task.items=3", *more], multirun=True)

    return asked


@pytest.fixture
def send(monkeypatch):
    def to(launcher, jobs):
        monkeypatch.setattr(dispatch, "_launcher", lambda *_: launcher)
        return dispatch.send(jobs, print)

    return to


CPU = ("device=cpu", "launcher=slurm")


def test_a_job_that_is_lost_twice_before_it_begins_is_a_failure_with_its_reason(
    send, jobs, tmp_path, capsys
):
    launcher = Elsewhere(lost)
    records = send(launcher, jobs("seed=0,1", *CPU))
    assert launcher.sent == [1, 2, 1, 2]
    assert [record.failure.reason for record in records] == ["killed", "killed"]
    said = "Its job never began, and was sent twice: Slurm says NODE_FAIL."
    assert {record.failure.message for record in records} == {said}
    files = [Store(tmp_path / "results").record_path(record.key) for record in records]
    assert [verified(file).refused for file in files] == [None, None]
    assert said in (tmp_path / "results" / "leaderboard.md").read_text()
    assert "2 failed" in capsys.readouterr().err


def on_a_device(record):
    """The run of a job that never began, on the device that it came to at last."""
    spec = record.spec.model_copy(
        update={"device": ResolvedDevice(kind="cpu", name="Imaginary device")}
    )
    return sound(campaign.run("none", 1.0, spec=spec).model_copy(update={"key": run_key(spec)}))


def test_what_is_measured_stays_and_takes_the_place_of_a_failure(send, jobs, tmp_path):
    (failed,) = send(Elsewhere(lost), jobs(*CPU))
    assert failed.spec.device.name == NOWHERE
    store, done = Store(tmp_path / "results"), on_a_device(failed)
    keep(store, done)
    assert [file.stem for file in store.records.glob("*.json")] == [done.key]
    (again,) = send(Elsewhere(lost), jobs(*CPU))
    assert (again.key, again.status) == (done.key, "completed")
    (again,) = send(Elsewhere(lost), jobs("force=true", *CPU))
    assert (again.key, again.status) == (failed.key, "failed")
    assert [file.stem for file in store.records.glob("*.json")] == [done.key]


def test_a_gpu_that_nobody_saw_decides_nothing(jobs, tmp_path):
    (job,) = jobs("device=cuda", "technique=int8_bnb")
    for record in unbegun(job, 1, "it was killed", Store(tmp_path)):
        assert (record.spec.device.kind, record.spec.device.name) == ("cuda", NOWHERE)


def silent(task):
    return Ended(task, "ended")  # and neither its log nor its runs are here


def unlike(task):
    return ended(task, Call(["true"], "/nowhere/1.log")())


@pytest.mark.parametrize("end", [silent, unlike])
def test_a_folder_of_results_that_is_not_shared_is_one_sentence(send, jobs, tmp_path, end, capsys):
    launcher = Elsewhere(end)
    with pytest.raises(UserError) as caught:
        send(launcher, jobs("seed=0,1", *CPU))
    assert str(caught.value).startswith(
        f"2 of 2 jobs ran where {tmp_path / 'results'} is not the folder that it is here (1, 2): give "
    )
    assert launcher.sent == [1, 2]  # a second time would help nobody
    assert "no run was begun: its machine does not see" in capsys.readouterr().err
    assert not list((tmp_path / "results").glob("records/*"))


@pytest.mark.parametrize(
    ("state", "printed", "fate"),
    [
        ("FAILED", False, "unseen"),
        ("COMPLETED", False, "unseen"),
        ("FAILED", True, "lost"),
        ("NODE_FAIL", False, "lost"),
        ("CANCELLED", False, "cancelled"),
    ],
)
def test_what_slurm_says_of_a_job_without_an_answer(tmp_path, monkeypatch, state, printed, fate):
    """A job that prints nothing to a file here, though it ended by itself, has another folder there."""
    queue = tmp_path / "bin" / "squeue"
    queue.parent.mkdir()
    queue.write_text(f"#!/bin/sh\necho '7_0|{state}'\n")
    queue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{queue.parent}:/usr/bin:/bin")
    monkeypatch.setattr(slurm, "POLL_S", 0.0)
    output = tmp_path / "7_0_0_log.out"
    if printed:
        output.touch()
    paths = SimpleNamespace(result_pickle=Path("/nowhere"), stdout=output)
    task = Task(1, ("true",), tmp_path / "1.log")
    (found,) = slurm._ended({task: SimpleNamespace(job_id="7_0", paths=paths)})
    assert found.fate == fate


def test_a_call_where_its_folder_is_runs_to_its_end(tmp_path):
    assert Call(["sh", "-c", "echo told; exit 3"], str(tmp_path / "1.log"))() == 3
    assert (tmp_path / "1.log").read_text() == "told\n"
    assert Call(["true"], str(tmp_path / "gone" / "1.log"))() == UNSEEN
