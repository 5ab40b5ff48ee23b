"""A run that is asked why: profiled after all else, and nothing of it is lost by that."""

from __future__ import annotations

import time
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from helpers import examples

from greenbench.analysis.energy.causes import WAITS
from greenbench.analysis.energy.lost_time import split
from greenbench.analysis.energy.promises import claim
from greenbench.campaign.compose import plan
from greenbench.engines.engine import Request
from greenbench.errors import Lost
from greenbench.run import story
from greenbench.run.explained import AT_THE_WALL, UNDER_LOAD, explained
from greenbench.run.workbench import Stages
from greenbench.schema.enums import Profiling
from greenbench.schema.profile import ENDED, Profile
from greenbench.schema.record import Findings
from greenbench.techniques.pruning.depth import PruneDepth

QUICK = [
    "model=local", "task=smoke", "task.names=[sst2]", "task.items=1", "workload=short",
    "workload.prompt_tokens=8", "workload.output_tokens=3", "protocol=smoke", "protocol.window_s=0.05",
    "protocol.idle_s=0", "protocol.warmup_s=0", "protocol.warmup_limit_s=0", "device=cpu", "meter=estimate",
]  # fmt: skip


class Kept:
    """Who hears of a run, and keeps what it is given."""

    def __init__(self):
        self.stages, self.found = [], []

    def __call__(self, stage, done, total, known=""):
        self.stages.append(stage)

    def keep(self, findings):
        self.found.append(findings)


def sleepy(edit):
    """`edit`, and a planted cause: the model sleeps before each step."""

    def edited(self, model, work):
        model.register_forward_pre_hook(lambda *_: time.sleep(0.03))
        return edit(self, model, work)

    return edited


def test_where_the_promise_is_not_kept_both_models_are_profiled_after_all_blocks(
    tiny_directory, monkeypatch
):
    monkeypatch.setattr(PruneDepth, "edit", sleepy(PruneDepth.edit))
    half = ["technique=prune_depth", "technique.prune_depth.fraction=0.5"]
    many = [
        "protocol.blocks=6",
        "protocol.max_blocks=6",
    ]  # so that a busy machine hides no such cause
    profiled = [*half, *many, "protocol.profile=when_not_kept", f"model.path={tiny_directory}"]
    job, *_ = plan([*QUICK, *profiled], multirun=False)
    kept = Kept()
    found = story.run(job.spec, progress=kept)
    profile = found.profile
    assert profile.reason is None
    assert profile.tokens == 3
    for side in (profile.baseline, profile.candidate):
        assert sum(each[0] for each in side.kinds_s.values()) > 0
        assert {"products", "outside operators", "launches"} <= side.kinds_s.keys()
    assert profile.candidate.multiplications < profile.baseline.multiplications
    assert split(profile, claim(found)).causes[0].name == WAITS
    before, after = kept.found
    assert before.profile.reason == ENDED
    assert after.profile == profile
    assert before.windows == after.windows == found.windows
    assert before.ratios == after.ratios == found.ratios
    assert kept.stages.index("profile") > kept.stages.index("measure")


class Served:
    """One of both models, whose profiler does as it is told."""

    tool = "a profiler"

    def __init__(self, fails):
        self.fails = fails

    def traced(self, batch):
        raise self.fails


class Pair:
    """Of two that are alike."""

    def __init__(self, fails):
        self.served = Served(fails)

    def use(self, who):
        return nullcontext(self.served)


def asked(profile, fails=None, *, is_closed=True, wall_log=None, ratio=1.1):
    """The profile of a run that took `ratio` of the time, half of which was promised; what was kept of it."""
    spec = SimpleNamespace(
        protocol=SimpleNamespace(profile=profile),
        load=SimpleNamespace(is_closed=is_closed),
        meter=SimpleNamespace(wall_log=wall_log),
    )
    bench = SimpleNamespace(spec=spec, machine=SimpleNamespace(device="cpu"))
    record = examples.completed(energy=ratio)
    (part,) = record.techniques
    promise = part.promise.model_copy(update={"bytes_ratio": 0.5})
    fields = {name: getattr(record, name) for name in Findings.model_fields}
    known = Findings(**fields | {"techniques": [part.model_copy(update={"promise": promise})]})
    kept = Kept()
    requests = SimpleNamespace(batch=lambda index: [Request((1,), 16)])

    def told(found):
        return known.model_copy(update={"profile": found})

    try:
        found = explained(bench, Pair(fails), requests, told, Stages(kept))
    except Lost as lost:
        found = lost
    return found, kept.found


def test_a_profile_that_fails_is_a_reason_and_kept():
    failed = RuntimeError("no counters")
    for profile in (Profiling.always, Profiling.when_not_kept):
        found, (before, after) = asked(profile, failed)
        assert found.reason == "the profile failed: RuntimeError: no counters"
        assert (before.profile.reason, after.profile) == (ENDED, found)
        assert after.ratios


def test_a_device_that_is_lost_meanwhile_leaves_what_was_kept():
    lost, (before,) = asked(Profiling.always, Lost("the GPU is gone"))
    assert isinstance(lost, Lost)
    assert before.profile.ended(str(lost)).reason == f"{ENDED}: the GPU is gone"


@pytest.mark.parametrize("profile", [None, Profile(reason=ENDED)], ids=["before", "once kept"])
def test_a_run_whose_device_is_lost_is_what_it_had_kept(tiny_directory, monkeypatch, profile):
    def lost(bench, stages):
        if profile:
            stages.keep(Findings(profile=profile))
        raise Lost("the GPU is gone")

    monkeypatch.setattr(story, "_tell", lost)
    job, *_ = plan([*QUICK, "technique=none", f"model.path={tiny_directory}"], multirun=False)
    found = story.run(job.spec, progress=Kept())
    if profile:
        assert found.profile.reason == f"{ENDED}: the GPU is gone"
        assert (found.failure, found.validity) == (None, Findings().validity)
    else:
        assert (found.failure.reason, found.validity) == ("device_lost", "invalid")


def test_a_run_that_kept_its_promise_or_is_not_to_be_asked_is_not():
    for profile, ratio in ((Profiling.when_not_kept, 0.5), (Profiling.never, 1.1)):
        assert asked(profile, ratio=ratio) == (None, [])


def test_a_run_under_load_or_at_the_wall_says_why_it_is_not_profiled():
    under, at_the_wall = (
        asked(Profiling.always, **how)[0] for how in ({"is_closed": False}, {"wall_log": "log.csv"})
    )
    assert (under.reason, at_the_wall.reason) == (UNDER_LOAD, AT_THE_WALL)
