"""The meters of a run: what they can know of the processes that do its work."""

from helpers.fakes.openai_server import FakeOpenAI

from greenbench.campaign.compose import plan
from greenbench.machine.detect import Machine
from greenbench.machine.processes import OwnProcesses
from greenbench.run.workbench import opened

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
