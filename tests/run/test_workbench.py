"""What a run's meters can know of the processes that do its work, and these of the run."""

import pytest
from helpers.fakes.openai_server import FakeOpenAI
from helpers.real_engines import build

from greenbench.campaign.compose import plan
from greenbench.engines.transformers.engine import Transformers
from greenbench.machine.detect import Machine
from greenbench.machine.processes import OwnProcesses
from greenbench.run.workbench import Bench, Stages, opened

CPU = Machine("cpu", "some CPU", 1 << 34)


def refused(*overrides):
    (job,) = plan(["meter.order=[nvml,estimate]", *overrides], multirun=False)
    with opened(job.spec, CPU, OwnProcesses()) as meters:
        return meters.refused, [meter.name for meter in meters.meters]


def test_joules_are_not_estimated_of_a_server_that_is_not_seen(monkeypatch):
    with FakeOpenAI() as server:
        asked = ["engine=openai", f"engine.url={server.url}"]
        of_candidate = [
            "technique=engine",
            "technique.engine.to=openai",
            f"technique.engine.knobs.url={server.url}",
        ]
        assert "estimate" not in refused(*asked)[0]
        monkeypatch.setattr("psutil.net_connections", lambda kind: [])
        for overrides, knob in (
            (asked, "engine.url"),
            (of_candidate, "technique.engine.knobs.url"),
        ):
            why, names = refused(*overrides)
            assert why["estimate"].startswith(f"{knob} is answered by no process that is seen here")
            assert not {"estimate", "estimate_dram"} & set(names)


class Told(Exception):
    """What a program is told at its start."""


def told(asked, path, monkeypatch):
    """The start of the baseline's program."""

    def serve(self, build, machine):
        raise Told(build.start)

    monkeypatch.setattr(Transformers, "serve", serve)
    (job,) = plan([*asked, "meter=estimate"], multirun=False)
    with opened(job.spec, CPU, OwnProcesses()) as meters:
        bench = Bench(job.spec, CPU, meters, OwnProcesses())
        stages = Stages(lambda *_: None)
        with pytest.raises(Told) as told, bench.serve(stages, "baseline", build(path)):
            pass
    return told.value.args[0]


@pytest.mark.parametrize(
    ("profile", "traced"), [("never", False), ("when_not_kept", True), ("always", True)]
)
def test_programs_are_told_at_their_start_that_they_may_be_profiled(
    profile, traced, tmp_path, monkeypatch
):
    assert told([f"protocol.profile={profile}"], tmp_path, monkeypatch).traced is traced


@pytest.mark.parametrize(
    ("asked", "queues", "seats"),
    [
        (["workload.batch_size=2"], False, 16),
        (["load.arrivals=poisson", "load.rate=1", "load.at_once=2"], True, 2),
    ],
)
def test_under_a_load_no_program_has_more_seats_than_were_asked_for(
    asked, queues, seats, tmp_path, monkeypatch
):
    start = told(asked, tmp_path, monkeypatch)
    assert (start.queues, start.seats(16)) == (queues, seats)
