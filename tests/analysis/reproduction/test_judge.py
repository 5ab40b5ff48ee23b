"""Planted truths get the right word, and what measures something else gets none."""

import numpy as np
import pytest
from helpers import campaign, graded, sound
from helpers.published import GROSS, LEVEL_J, NET, judge, table
from hypothesis import given
from hypothesis import strategies as st

from greenbench.analysis.reproduction.judge import judged, widened, zone
from greenbench.analysis.reproduction.measured import ours
from greenbench.schema.quantity import Quantity
from greenbench.schema.record import EngineFacts
from greenbench.schema.resolved import Chosen
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
        ({"knobs": {"bits": 4}}, "no run of saver with the same knobs"),
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


def changed(record, **parts):
    """`record` with other parts of its spec, each merged with what it was."""
    spec = record.spec
    new = {name: getattr(spec, name).model_copy(update=update) for name, update in parts.items()}
    return record.model_copy(update={"spec": spec.model_copy(update=new)})


@pytest.mark.parametrize("metric", ["energy_per_token", "tokens_per_s"])
@pytest.mark.parametrize("missing", ["prompt_tokens", "output_tokens"])
@pytest.mark.parametrize("after", [GROSS, 5.0])
def test_a_number_whose_lengths_were_not_told_decides_nothing(metric, missing, after, tmp_path):
    row = {"after": after, "metric": metric}
    assert words(tmp_path, row, **{missing: None}) == (
        "undecided", "its lengths were not told"
    )  # fmt: skip


def test_a_number_that_can_decide_nothing_widens_no_other(tmp_path):
    edge, run = {"after": 0.75}, [sound.run()]
    able, unable = [{"after": GROSS}] * 200, [{"after": GROSS, "prompt_tokens": None}] * 200
    found = [judged(table(tmp_path, *rows, edge), run)[-1].word for rows in ([], unable, able)]
    assert found == ["contradicted", "contradicted", "undecided"]


def test_a_knob_that_the_row_does_not_name_is_as_by_default(tmp_path):
    usual = {
        "int8_bnb": {"threshold": 6.0},
        "int4_bnb": {"quant_type": "nf4", "double_quant": False},
    }
    for name, knobs in usual.items():
        for key, other in {"threshold": 0.0, "double_quant": True}.items():
            if key not in knobs:
                continue
            record = sound.run(name)
            stacks = [[Chosen(name=name, **each)] for each in (knobs, knobs | {key: other})]
            plain, odd = (
                record.model_copy(
                    update={"spec": record.spec.model_copy(update={"technique": stack})}
                )
                for stack in stacks
            )
            common = {"technique": name}
            assert judge(tmp_path, {"after": GROSS}, plain, **common).word == "reproduced"
            assert words(tmp_path, {"after": GROSS}, odd, **common) == (
                "not comparable", f"no run of {name} with the same knobs"
            )  # fmt: skip
            told = {**common, "knobs": {key: other}}
            assert judge(tmp_path, {"after": GROSS}, odd, **told).word == "reproduced"


def test_a_level_is_of_its_own_metric(tmp_path):
    speed = sound.run().baseline.metrics["tokens_per_s"].value
    plain = {"technique": None, "unit": "token/s", "metric": "tokens_per_s"}
    for basis in ("gross", "net"):
        found = judge(tmp_path, {"after": 1.1 * speed, "basis": basis}, **plain)
        assert (found.word, found.ours.value, found.ours.unit) == ("reproduced", speed, "token/s")
    assert judge(tmp_path, {"after": 3 * speed}, **plain).word == "contradicted"


def other_model(factor, wobble=0.0, name="big"):
    """A run of a larger model, whose plain tokens take `factor` times the joules, give or take `wobble`."""
    record = campaign.run("none", 1.001)

    def times(window):
        return factor * np.exp(wobble * campaign.WOBBLE[window.block or 0])

    def drawn(window):
        ends = [
            each.start_j + times(window) * (each.end_j - each.start_j) for each in window.energy
        ]
        spans = zip(window.energy, ends, strict=True)
        return [each.model_copy(update={"end_j": end}) for each, end in spans]

    scaled = [window.model_copy(update={"energy": drawn(window)}) for window in record.windows]
    model = record.spec.model.model_copy(update={"name": name})
    return sound.sound(
        record.model_copy(
            update={
                "windows": scaled,
                "key": f"{name:b<16}",
                "spec": record.spec.model_copy(update={"model": model}),
            }
        )
    )


def test_one_model_over_another(tmp_path):
    both = {"technique": None, "against": "Org/big"}
    runs = [sound.run(), other_model(2.5)]
    assert judge(tmp_path, {"after": 0.4}, *runs, **both).word == "reproduced"
    assert judge(tmp_path, {"after": 0.9}, *runs, **both).word == "contradicted"
    speed = judge(tmp_path, {"after": 1.0, "metric": "tokens_per_s"}, *runs, **both)
    assert (speed.word, speed.ours.provenance) == ("reproduced", "measured:clock")
    word, why = words(tmp_path, {"after": 0.4}, runs[0], **both)
    assert (word, why) == ("not comparable", "no runs of both Org/smollm2-135m and Org/big")


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"protocol": {"tier": "publish"}}, "tier of our two runs (publish and dev)"),
        ({"workload": {"output_tokens": 40}}, "answer tokens of our two runs (40 and 32)"),
        ({"workload": {"prompt_tokens": 80}}, "prompt tokens of our two runs (80 and 64)"),
        ({"workload": {"stop": "natural"}}, "end of answers of our two runs (natural and fixed)"),
        ({"load": {"at_once": 4}}, "load.at_once of our two runs (4 and 16)"),
        (
            {"device": {"name": "Imaginary GPU 80GB"}},
            "device of our two runs (Imaginary GPU 80GB and Imaginary GPU)",
        ),
    ],
)
def test_two_models_are_compared_where_they_were_measured_alike(parts, why, tmp_path):
    both = {"technique": None, "against": "Org/big"}
    mine, other = sound.run(), other_model(2.5)
    odd = changed(mine, **parts).model_copy(update={"key": "c" * 16})
    assert words(tmp_path, {"after": 0.4}, odd, other, **both) == ("not comparable", why)
    found = judge(tmp_path, {"after": 0.4}, odd, mine, other, **both)
    assert (found.word, found.records) == ("reproduced", [mine, other])


def test_above_idle_power_the_first_blocks_decide_as_with_it(tmp_path):
    row = {"after": NET, "basis": "net"}
    few, all_of_them = (
        judge(tmp_path, row, changed(sound.run(), protocol={"blocks": blocks})).ours
        for blocks in (2, 8)
    )
    assert few.high - few.low > 1.5 * (all_of_them.high - all_of_them.low)


def test_two_versions_of_an_engine_are_not_alike(tmp_path):
    both = {"technique": None, "against": "Org/big"}
    mine = sound.run().model_copy(
        update={"engine": EngineFacts(name="transformers", version="4.0")}
    )
    word, why = words(tmp_path, {"after": 0.4}, mine, other_model(2.5), **both)
    assert word == "not comparable"
    assert why.startswith("engine's version of our two runs (4.0 and ")


def test_idle_power_is_a_doubt_of_each_of_two_models(tmp_path):
    both = {"technique": None, "against": "Org/big", "basis": "net"}
    mine, other = sound.run(), other_model(2.5, 0.01)
    expected = (3.0 - 0.6) / (7.5 - 0.6)  # J/token, of ten seconds for 1000 tokens at 60 W idle

    def with_idle(record, half):
        idle = record.idle["both"].model_copy(
            update={"value": 60.0, "low": 60.0 - half, "high": 60.0 + half}
        )
        return record.model_copy(update={"idle": {**record.idle, "both": idle}})

    surely, once, twice = (
        judge(
            tmp_path, {"after": expected}, with_idle(mine, first), with_idle(other, second), **both
        ).ours
        for first, second in ((0.0, 0.0), (6.0, 0.0), (6.0, 6.0))
    )
    assert surely.value == once.value == twice.value == pytest.approx(expected, rel=1e-3)
    a, b = 0.06 / 6.9, expected * 0.06 / (7.5 - 0.6)  # what six watts move it by, to first order
    for found, shift in ((once, a), (twice, np.hypot(a, b))):
        half = found.high - found.value
        assert half == pytest.approx(np.hypot(surely.high - surely.value, shift), rel=0.02)


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
            low, high = widened(own, rows, n - 1)
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
    one, many = widened(own, 1, n - 1), widened(own, looks, n - 1)
    assert one == pytest.approx((own.low, own.high))
    assert many[0] <= one[0] * (1 + 1e-9)
    assert many[1] >= one[1] * (1 - 1e-9)


def quantity(value, low, high):
    return Quantity(
        value=value, low=low, high=high, unit="ratio", n=100, provenance="measured:clock"
    )


def test_an_interval_that_reaches_0_rules_nothing_out():
    for low in (0.0, -0.2):
        assert widened(quantity(0.1, low, 0.4), 3, 7) == (0.0, np.inf)


def test_fewer_degrees_of_freedom_widen_more():
    few, many = (widened(quantity(0.7, 0.6, 0.8), 10, freedom) for freedom in (2, 99))
    assert few[0] < many[0] < 0.6
    assert few[1] > many[1] > 0.8
    # Student's t of 2 degrees: 14.089 at 1 - 0.05/20, 4.303 at 0.975
    assert few[1] == pytest.approx(0.7 * (0.8 / 0.7) ** (14.0890 / 4.30265), rel=1e-4)


def test_degrees_of_freedom_are_of_groups_of_questions_and_of_welch(tmp_path):
    record = sound.sound(graded.run()).model_copy(update={"validity": "valid"})
    (name,) = [each.name for each in record.spec.technique]
    row = table(tmp_path, {"after": 1.0, "metric": "energy_per_answer"}, technique=name).rows[0]
    found, freedom = ours(row, record)
    assert (found.n, freedom) == (100, 100 // graded.SIZE - 1)
    rows = table(tmp_path, {"after": 0.7}, {"after": NET, "basis": "net"}).rows
    for blocks, freedom in ((2, 1), (5, 4), (8, 7)):  # of eight, so many decided how many there are
        record = changed(sound.run(), protocol={"blocks": blocks})
        assert [ours(each, record).freedom for each in rows] == [freedom, freedom]
    row = table(tmp_path, {"after": 0.4}, technique=None, against="Org/big").rows[0]
    noisy, as_noisy = other_model(1.0, 0.02, "smollm2-135m"), other_model(2.5, 0.02)
    one_side, both = (ours(row, each, as_noisy).freedom for each in (sound.run(), noisy))
    assert (one_side, both) == (pytest.approx(7.0), pytest.approx(14.0))


@given(value=st.floats(0.05, 20), sd=st.one_of(st.none(), st.floats(0.001, 0.3)))
def test_a_zone_holds_its_number_and_two_per_cent(value, sd, tmp_path_factory):
    spread = {} if sd is None else {"sd": sd * value, "n": 3}
    row = table(tmp_path_factory.mktemp("zone"), {"after": value, **spread}).rows[0]
    found = zone(row)
    assert found.low <= value / 1.02 * (1 + 1e-9)
    assert found.high >= value * 1.02 * (1 - 1e-9)
    if sd is None and abs(np.log(value)) > 0.5:
        assert np.log(found.high / value) == pytest.approx(abs(np.log(value)) / 10)
