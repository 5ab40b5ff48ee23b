"""Real runs on a tiny model: answers by difficulty where the work depends on the input, else none."""

import pytest

from greenbench.analysis import blocks
from greenbench.analysis.difficulty import BINS, NEW_TOKENS
from greenbench.campaign.compose import plan
from greenbench.run import story

QUICK = [
    "model=local", "task=smoke", "task.items=4", "workload=short", "workload.prompt_tokens=8",
    "workload.output_tokens=3", "protocol=smoke", "protocol.window_s=0.05", "protocol.idle_s=0",
    "protocol.warmup_s=0", "protocol.warmup_limit_s=0", "device=cpu", "meter=estimate",
]  # fmt: skip
EARLY = [
    "technique=early_exit", "technique.early_exit.threshold=0.5", "technique.early_exit.steps=2",
    "technique.early_exit.passages=4", "technique.early_exit.tokens=16",
]  # fmt: skip


@pytest.fixture
def run(tiny_directory):
    def found(*overrides):
        job, *_ = plan([*QUICK, f"model.path={tiny_directory}", *overrides], multirun=False)
        return story.run(job.spec, progress=lambda *_: None)

    return found


def test_a_technique_that_depends_on_the_input_is_measured_by_difficulty(run):
    found = run(*EARLY)
    answers = [w for w in found.windows if w.phase == "answer"]
    assert [(w.place.bin, w.who) for w in answers].count(("easy", "candidate")) == 2
    assert found.difficulty.of_rounds == 2
    assert [third.bin for third in found.difficulty.bins] == list(BINS)
    for third in found.difficulty.bins:
        made = sum(
            w.iterations for w in answers if (w.place.bin, w.who) == (third.bin, "candidate")
        )
        by_depth = third.observed["early_exit"]["tokens_by_depth"]
        assert sum(by_depth.values()) == made * (NEW_TOKENS - 1)
        assert set(by_depth) <= {"2", "3", "4"}
        assert third.mean_depth.value is not None
        assert third.ratios["energy_per_answer"].provenance == "estimated:model"
    known = [item.margin for score in found.quality for item in score.items]
    with_choices = [margin for margin in known if margin is not None]
    assert sum(third.items for third in found.difficulty.bins) == len(with_choices) > 0
    assert found.stages_s["difficulty"] > 0

    # The headline numbers, and what the technique showed, are those of the other windows.
    main = [w for w in found.windows if w.phase != "answer"]
    again = blocks.ratios(blocks.valid_blocks(main), "")
    assert found.ratios | again == found.ratios
    assert len(found.block_order) == 2
    generated = [w for w in main if (w.phase, w.who) == ("generate", "candidate")]
    warmed = found.warmup["candidate"].iterations
    steps = sum(w.iterations for w in generated) + warmed
    assert found.techniques[0].observed["tokens"] == steps * (3 - 1)


def test_drafts_are_counted_by_difficulty(run):
    found = run("technique=prompt_lookup").difficulty
    for third in found.bins:
        shown = third.observed["prompt_lookup"]
        passes = shown["rounds"] + shown["plain_passes"]
        assert passes + shown["accepted"] >= NEW_TOKENS
        assert third.accepted_per_pass.value is not None
        assert third.mean_depth.value is None


def test_a_static_technique_has_no_such_stage(run):
    found = run("technique=dtype", "technique.dtype.to=float16")
    assert found.difficulty is None
    assert "answer" not in {w.phase for w in found.windows}


@pytest.mark.slow
def test_models_in_turn_say_why_they_are_not_measured_so(run):
    found = run(*EARLY, "protocol.design=sequential")
    assert "protocol.design=sequential asks for it" in found.difficulty.reason
    assert found.difficulty.bins == []
    assert "answer" not in {w.phase for w in found.windows}
