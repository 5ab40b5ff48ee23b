"""The whole run on the real small model, with the fake NVML attached as if the CPU were the GPU."""

import os
import subprocess
import sys

import pytest

from greenbench.analysis.blocks import valid_blocks
from greenbench.schema.record import Findings
from greenbench.stats.intervals import paired_ratio

UUID = "GPU-11111111-2222-3333-4444-555555555555"

RUN = """
import sys
import greenbench.run.story as story
from greenbench.campaign.compose import plan
from greenbench.machine.detect import Machine
story.detect = lambda device: Machine("cpu", "fake GPU", 1 << 34, uuids=("{uuid}",))
job, = plan(sys.argv[1:], multirun=False)
print(story.run(job.spec, progress=lambda *_: None).model_dump_json())
"""


def run(nvml_library, tmp_path, script, *overrides):
    """Findings of one run on a GPU that does what `script` says."""
    path = tmp_path / "gpu.txt"
    path.write_text(f"device {UUID}\n{script}")
    quick = [
        "task=smoke", "task.items=2", "workload=short", "workload.prompt_tokens=8",
        "workload.output_tokens=8", "protocol=smoke", "protocol.warmup_s=0", "protocol.warmup_limit_s=0",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(uuid=UUID), *quick, *overrides],
        env=os.environ | {"FAKE_NVML": str(path), "LD_LIBRARY_PATH": str(nvml_library.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return Findings.model_validate_json(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def thirty_percent_fewer_blocks(nvml_library, tmp_path_factory, smollm2):
    """At constant power, a model that takes less time takes exactly that much less energy."""
    return run(
        nvml_library, tmp_path_factory.mktemp("gpu"), "power 300\ntick 0.02\n",
        "technique=prune_depth", "technique.prune_depth.fraction=0.3",
        "technique.prune_depth.passages=2", "technique.prune_depth.tokens=32",
        "protocol.blocks=4", "protocol.max_blocks=4",
    )  # fmt: skip


def test_energy_at_constant_power_is_reported_as_the_time_it_took(thirty_percent_fewer_blocks):
    found = thirty_percent_fewer_blocks
    windows = [w for w in valid_blocks(found.windows) if w.phase == "generate"]
    seconds = {
        who: [(w.end_s - w.start_s) / w.tokens for w in windows if w.who == who]
        for who in ("baseline", "candidate")
    }
    truth = paired_ratio(seconds["baseline"], seconds["candidate"])
    ratio = found.ratios["energy_per_token"]
    assert truth.value < 1  # it is faster: 21 blocks instead of 30
    assert ratio.provenance == "measured:counter:nvml"
    assert ratio.value == pytest.approx(truth.value, rel=0.02)
    assert ratio.low <= truth.value <= ratio.high
    level = found.candidate.metrics["energy_per_token_j"]
    assert level.value == pytest.approx(300 * _mean(seconds["candidate"]), rel=0.03)


def _mean(values):
    return paired_ratio([1.0] * len(values), values).value


def test_the_record_of_a_gpu_run_keeps_check_trace_idle_and_budget(thirty_percent_fewer_blocks):
    found = thirty_percent_fewer_blocks
    assert found.meter.used == ["nvml", "nvml_power"]
    for window in found.windows:
        assert [span.meter for span in window.energy] == ["nvml", "nvml_power"]
        if window.end_s - window.start_s > 0.9:
            assert abs(window.residual) < 0.05
            assert window.trace.power_w
    assert found.idle["empty"].value == pytest.approx(300, rel=0.1)
    budget = found.uncertainty["ratio.energy_per_token"]
    assert budget.total is not None
    assert budget.gain is None  # it cancels
    assert found.verdicts["energy_per_token"].barred.startswith("tier smoke")
    assert found.stopping.metric == "energy_per_token"


def test_a_gpu_that_vanishes_leaves_what_was_measured_and_a_reason(nvml_library, tmp_path, smollm2):
    found = run(nvml_library, tmp_path, "power 300\ntick 0.02\nlost_at 12\n",
                "protocol.blocks=200", "protocol.max_blocks=200")  # fmt: skip
    assert found.failure.reason == "device_lost"
    assert found.codes == ["device_lost"]
    assert found.windows


def test_throttling_invalidates_the_run_it_happens_in(nvml_library, tmp_path, smollm2):
    found = run(nvml_library, tmp_path, "power 300\ntick 0.02\nthrottle 64\n")
    assert found.validity == "invalid"
    assert "throttled" in found.codes
    assert found.ratios["energy_per_token"].value is None
    assert found.ratios["energy_per_token"].reason


def test_a_power_limit_holds_in_the_candidates_windows_and_nowhere_else(
    nvml_library, tmp_path, smollm2
):
    """A GPU that draws 600 W, or its limit: the same seconds at half the watts."""
    found = run(
        nvml_library, tmp_path, "power 600\ntick 0.02\nlimit 700 200 700\nsetting_delay 0.05\n",
        "technique=power_limit", "technique.power_limit.watts=300", "protocol.blocks=2",
        "protocol.max_blocks=2", "protocol.window_s=0.4",
    )  # fmt: skip
    watts = {
        who: [
            (w.energy[0].end_j - w.energy[0].start_j) / (w.energy[0].end_s - w.energy[0].start_s)
            for w in found.windows
            if w.who == who and w.phase in ("prefill", "generate", "score")
        ]
        for who in ("baseline", "candidate")
    }
    scored_here = found.baseline_scored_at is None
    assert watts["baseline"] == pytest.approx([600] * (4 + scored_here), rel=0.05)
    assert watts["candidate"] == pytest.approx([300] * 5, rel=0.05)
    (applied,) = found.techniques
    assert applied.lossless
    assert applied.details["gpus"][0]["achieved_w"] == 300
    assert applied.details["gpus"][0]["waited_s"] >= 0.05
    # Once for each window, for scoring and for the warm-up.
    assert applied.observed["times_held"] >= 5
    assert applied.observed["lowest_w"] == applied.observed["highest_w"] == 300
    assert found.quality[0].change.value == 0
