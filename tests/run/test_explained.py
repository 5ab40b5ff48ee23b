"""A run that is asked why: profiled after all else, and nothing of it is lost by that."""

from __future__ import annotations

import pytest

from greenbench.campaign.compose import plan
from greenbench.engines.transformers.served import InProcess
from greenbench.run import story
from greenbench.run.explained import ENDED

QUICK = [
    "model=local", "task=smoke", "task.items=2", "workload=short", "workload.prompt_tokens=8",
    "workload.output_tokens=3", "protocol=smoke", "protocol.window_s=0.05", "protocol.idle_s=0",
    "protocol.warmup_s=0", "protocol.warmup_limit_s=0", "device=cpu", "meter=estimate",
]  # fmt: skip


class Kept:
    """Who hears of a run, and keeps what it is given."""

    def __init__(self):
        self.stages, self.found = [], None

    def __call__(self, stage, done, total, known=""):
        self.stages.append(stage)

    def keep(self, findings):
        self.found = findings


@pytest.fixture
def run(tiny_directory):
    def run(*overrides):
        job, *_ = plan([*QUICK, f"model.path={tiny_directory}", *overrides], multirun=False)
        kept = Kept()
        return story.run(job.spec, progress=kept), kept

    return run


def test_both_models_are_profiled_after_all_blocks_and_what_was_measured_is_kept_before(run):
    found, kept = run(
        "technique=prune_depth", "technique.prune_depth.fraction=0.5", "protocol.profile=always"
    )
    profile = found.profile
    assert profile.reason is None
    assert profile.tokens == 3
    for side in (profile.baseline, profile.candidate):
        assert sum(each[0] for each in side.kinds_s.values()) > 0
        assert {"products", "python", "launches"} <= side.kinds_s.keys()
    assert profile.candidate.multiplications < profile.baseline.multiplications
    assert kept.found.profile.reason == ENDED
    assert kept.found.windows == found.windows
    assert kept.found.ratios == found.ratios
    assert kept.stages.index("profile") > kept.stages.index("measure")


def test_a_profile_that_fails_is_a_reason(run, monkeypatch):
    def fails(self, batch):
        raise RuntimeError("no counters")

    monkeypatch.setattr(InProcess, "traced", fails)
    found, _ = run("technique=none", "protocol.profile=always")
    assert found.profile.reason == "the profile failed: RuntimeError: no counters"
    assert found.ratios


def test_a_run_that_promised_nothing_is_not_asked_why(run):
    found, kept = run("technique=none", "protocol.profile=when_not_kept")
    assert found.profile is None
    assert "profile" not in kept.stages
