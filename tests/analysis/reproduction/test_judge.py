"""Planted truths get the right word, and what measures something else gets none."""

import numpy as np
import pytest
from helpers import campaign, graded, sound
from helpers.published import GROSS, LEVEL_J, NET, judge, table
from hypothesis import given
from hypothesis import strategies as st

from greenbench.analysis.reproduction.judge import judged, widened, zone
from greenbench.schema.quantity import Quantity
from greenbench.stats.intervals import mean_interval


def words(tmp_path, row, *records, **common):
    found = judge(tmp_path, row, *records, **common)
    return found.word, "; ".join(found.why)


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ({"after": GROSS}, "reproduced"),
        ({"before": 10.0, "after": 7.05}, "reproduced"),  # within a tenth of the effect
        ({"after": 0.8}, "contradicted"),
        ({"after": 1.3}, "contradicted"),
        ({"after": 0.8, "sd": 0.12, "n": 5}, "reproduced"),
        ({"before": 10.0, "after": 8.0, "before_sd": 0.1, "after_sd": 0.1, "n": 5}, "contradicted"),
        ({"after": NET, "basis": "net"}, "reproduced"),
        ({"after": GROSS, "basis": "net"}, "contradicted"),
        ({"after": NET}, "contradicted"),
    ],
)
def test_planted_numbers(row, word, tmp_path):
    assert judge(tmp_path, row).word == word


def test_both_numbers_are_told_in_the_tables_own_basis(tmp_path):
    gross, net = judged(
        table(tmp_path, {"after": 0.7}, {"after": 0.6, "basis": "net"}), [sound.run()]
    )
    assert gross.ours.value == pytest.approx(GROSS, abs=1e-3)
    assert net.ours.value == pytest.approx(NET, abs=2e-3)
    assert net.row.interval.value == 0.6


def test_an_interval_across_the_edge_decides_nothing(tmp_path):
    wide = sound.run(spread=0.09)
    assert words(tmp_path, {"after": 0.75}, wide) == (
        "undecided", "our interval lies across the edge of what the number allows"
    )  # fmt: skip


def test_a_smoke_run_claims_nothing(tmp_path):
    assert words(tmp_path, {"after": GROSS}, sound.run(tier="smoke")) == (
        "undecided", "tier smoke claims nothing"
    )  # fmt: skip


def test_above_idle_power_is_not_told_of_a_run_without_idle_windows(tmp_path):
    record = campaign.run("saver", GROSS)
    kept = [window for window in record.windows if window.phase != "idle"]
    without = sound.sound(record.model_copy(update={"windows": kept, "idle": {}}))
    word, why = words(tmp_path, {"after": NET, "basis": "net"}, without)
    assert word == "not comparable"
    assert why.startswith("basis (above idle there, and here idle power was not measured")
    assert judge(tmp_path, {"after": GROSS}, without).word == "reproduced"


@pytest.mark.parametrize(
    ("common", "why"),
    [
        ({"engine": "vllm"}, "engine (vllm there, transformers here)"),
        ({"engine": "sglang"}, "engine (sglang there, transformers here)"),
        ({"batch": 8}, "batch (8 there, 1 here)"),
        ({"batch": None}, "batch (not told there, 1 here)"),
        ({"arrivals": "concurrent"}, "arrivals (concurrent there, closed here)"),
        ({"device": "NVIDIA H100"}, "device class (NVIDIA H100 there, Imaginary GPU here)"),
        (
            {"device": "8 x Imaginary GPU"},
            "device class (8 x Imaginary GPU there, Imaginary GPU here)",
        ),
        ({"model": "Qwen/Qwen3-8B"}, "model (Qwen/Qwen3-8B there, smollm2-135m here)"),
        ({"dtype": "float32"}, "model's dtype (float32 there, bfloat16 here)"),
        ({"prompt_tokens": 2048}, "prompt tokens (2048 there, 64 here)"),
        ({"output_tokens": 256}, "answer tokens (256 there, 32 here)"),
        ({"boundary": "wall"}, "boundary of joules (wall there, gpu here)"),
        ({"apart": "two tasks"}, "two tasks"),
        ({"technique": "other"}, "no run of other"),
        ({"knobs": {"bits": 4}}, "no run of saver"),
    ],
)
def test_what_measures_something_else_is_not_compared(common, why, tmp_path):
    assert words(tmp_path, {"after": GROSS}, **common) == ("not comparable", why)


def test_an_estimate_is_never_set_against_what_was_measured(tmp_path):
    guessed = sound.run(meters={"estimate": ("cpu_package", "estimated:model", 1.0)})
    word, why = words(tmp_path, {"after": GROSS}, guessed)
    assert word == "not comparable"
    assert "joules (measured there, estimated here)" in why
    speed = {"metric": "tokens_per_s", "after": 1.0}
    assert words(tmp_path, speed, guessed) == ("reproduced", "")  # a clock is none


def test_the_run_that_is_nearest_is_taken(tmp_path):
    far = sound.run(ratio=0.9)
    far = far.model_copy(
        update={
            "key": "f" * 16,
            "spec": far.spec.model_copy(
                update={"workload": far.spec.workload.model_copy(update={"batch_size": 8})}
            ),
        }
    )
    assert judge(tmp_path, {"after": GROSS}, far, sound.run()).word == "reproduced"


def test_a_level_allows_for_twins_of_a_gpu(tmp_path):
    plain = {"technique": None, "unit": "J/token"}
    for after, basis, word in (
        (1.15 * LEVEL_J, "gross", "reproduced"),
        (1.5 * LEVEL_J, "gross", "contradicted"),
        (LEVEL_J - 0.6, "net", "reproduced"),
    ):
        row = {"after": after, "basis": basis}
        assert judge(tmp_path, row, **plain).word == word


def other_model(factor):
    """A run of a larger model, whose plain tokens take `factor` times the joules."""
    record = campaign.run("none", 1.001)
    scaled = [
        window.model_copy(
            update={
                "energy": [
                    span.model_copy(update={"end_j": span.start_j + factor * (span.end_j - span.start_j)})
                    for span in window.energy
                ]
            }
        )
        for window in record.windows
    ]  # fmt: skip
    model = record.spec.model.model_copy(update={"name": "big"})
    return sound.sound(
        record.model_copy(
            update={
                "windows": scaled,
                "key": "b" * 16,
                "spec": record.spec.model_copy(update={"model": model}),
            }
        )
    )


def test_one_model_over_another(tmp_path):
    both = {"technique": None, "against": "Org/big"}
    runs = [sound.run(), other_model(2.5)]
    assert judge(tmp_path, {"after": 0.4}, *runs, **both).word == "reproduced"
    assert judge(tmp_path, {"after": 0.9}, *runs, **both).word == "contradicted"
    word, why = words(tmp_path, {"after": 0.4}, runs[0], **both)
    assert (word, why) == ("not comparable", "no runs of both Org/smollm2-135m and Org/big")


def test_joules_per_answer_are_per_token_times_their_tokens(tmp_path):
    record = sound.sound(graded.run()).model_copy(update={"validity": "valid"})
    found = record.solved[-1].ratio
    expected = found.energy_per_token.value * found.tokens_per_answer.value
    row = {"after": expected, "metric": "energy_per_answer"}
    (name,) = [each.name for each in record.spec.technique]
    mine = judge(tmp_path, row, record, technique=name)
    assert mine.ours.value == pytest.approx(expected)
    assert mine.ours.low < expected < mine.ours.high
    assert judge(tmp_path, row).ours.reason == "no questions were answered in words (task=answers)"


def test_noise_contradicts_one_table_in_twenty_at_most():
    """Of six true numbers each, with intervals of eight blocks."""
    draw, rows, tables = np.random.default_rng(0), 6, 600
    false = 0
    for _ in range(tables):
        logs = draw.normal(0.0, 0.05, (rows, 8))
        for each in logs:
            value, low, high, n, _ = mean_interval(each.tolist())
            own = Quantity(
                value=np.exp(value), low=np.exp(low), high=np.exp(high), unit="ratio", n=n,
                provenance="measured:clock",
            )  # fmt: skip
            low, high = widened(own, rows)
            if not low <= 1.0 <= high:
                false += 1
                break
    assert false / tables < 0.05 + 3 * (0.05 * 0.95 / tables) ** 0.5


@given(st.floats(0.05, 20), st.floats(0.001, 0.5), st.integers(2, 30), st.integers(1, 40))
def test_more_looks_widen_and_one_does_not(value, half, n, looks):
    own = Quantity(
        value=value, low=value * np.exp(-half), high=value * np.exp(half), unit="ratio", n=n,
        provenance="measured:clock",
    )  # fmt: skip
    one, many = widened(own, 1), widened(own, looks)
    assert one == pytest.approx((own.low, own.high))
    assert many[0] <= one[0] * (1 + 1e-9)
    assert many[1] >= one[1] * (1 - 1e-9)


@given(value=st.floats(0.05, 20), sd=st.one_of(st.none(), st.floats(0.001, 0.3)))
def test_a_zone_holds_its_number_and_two_per_cent(value, sd, tmp_path_factory):
    spread = {} if sd is None else {"sd": sd * value, "n": 3}
    row = table(tmp_path_factory.mktemp("zone"), {"after": value, **spread}).rows[0]
    found = zone(row)
    assert found.low <= value / 1.02 * (1 + 1e-9)
    assert found.high >= value * 1.02 * (1 - 1e-9)
    if sd is None and abs(np.log(value)) > 0.5:
        assert np.log(found.high / value) == pytest.approx(abs(np.log(value)) / 10)
