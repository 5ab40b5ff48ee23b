"""The frontiers by other axes, and models side by side, against cases whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import campaign, examples

from greenbench.analysis.frontiers import cost_frontiers
from greenbench.analysis.frontiers.cost_frontiers import Resampler, drawn, lines
from greenbench.analysis.frontiers.model_frontier import devices
from greenbench.analysis.groups.rows import Row, groups
from greenbench.report.markdown.sections.cost_frontiers import other_frontiers
from greenbench.report.markdown.sections.model_frontier import side_by_side


def only(*records):
    """The rows of the one group that `records` make."""
    (group,) = groups(records)
    return group.rows


def shares(*records):
    """Each run's shares by its label."""
    return {line.row.label: line.shares for line in lines(only(*records))}


def test_joules_per_correct_answer_are_those_of_a_request_over_the_share_right():
    """3000 J a window of 10 requests; 60 of 100 right, twice."""
    (found,) = lines(only(campaign.run("x", 1.0, gained=0, lost=0)))
    joules = found.correct_j
    assert joules.value == pytest.approx(300 / 0.6, rel=0.01)
    assert joules.provenance == "measured:counter:nvml"
    assert joules.low < joules.value < joules.high


def test_the_interval_holds_both_blocks_and_items():
    """With exact joules it is that of the items alone; noisy joules widen it."""
    exact, noisy = (
        lines(only(campaign.run("x", 1.0, gained=0, lost=0, spread=spread)))[0].correct_j
        for spread in (0.0, 0.1)
    )
    items = np.quantile(
        300 / (np.random.default_rng(1).binomial(200, 0.6, 20_000) / 200), [0.025, 0.975]
    )
    assert (exact.low, exact.high) == pytest.approx(tuple(items), rel=0.03)
    assert noisy.high - noisy.low > 1.1 * (exact.high - exact.low)


def test_what_is_better_in_all_is_on_every_frontier_and_what_is_worse_on_none():
    slow = campaign.run("slow", 1.3, gained=0, lost=30)
    ratios = slow.ratios | {"model_bytes": examples.quantity(2.0, None, "ratio")}
    worse = slow.model_copy(update={"ratios": ratios})
    found = shares(campaign.run("fast", 0.7, gained=0, lost=0), worse)
    assert found["fast"]["correct"] == found["fast"]["model_bytes"] == 1.0
    assert found["slow"]["correct"] == found["slow"]["model_bytes"] == 0.0


def test_fewer_bytes_at_worse_quality_are_on_the_frontier_of_bytes_alone():
    small = campaign.run("small", 1.3, gained=0, lost=30)
    ratios = small.ratios | {"model_bytes": examples.quantity(0.1, None, "ratio")}
    found = shares(campaign.run("good", 0.7), small.model_copy(update={"ratios": ratios}))
    assert found["small"]["model_bytes"] == 1.0
    assert found["small"]["correct"] == 0.0


def test_resampled_ratios_are_as_wide_as_the_t_interval_of_their_blocks():
    record = campaign.run("x", 0.7, spread=0.02, gained=0, lost=0)
    ratio = record.ratios["energy_per_token"]
    found = drawn(Row(record, "x"), Resampler()).costs["correct"]
    low, high = np.quantile(found, [0.025, 0.975])
    assert (low, high) == pytest.approx((ratio.low, ratio.high), rel=0.01)


def test_a_run_lacks_what_its_record_lacks():
    bare = campaign.run("bare", 0.7).model_copy(update={"windows": [], "ratios": {}})
    assert drawn(Row(bare, "bare"), Resampler()).costs == {}
    assert drawn(Row(bare.model_copy(update={"quality": []}), "bare"), Resampler()) is None
    assert other_frontiers(only(campaign.run("alone", 0.7))) == []


def test_no_right_item_has_no_joules_per_correct_answer():
    record = campaign.run("x", 0.7)
    wrong = record.model_copy(update={"quality": [examples.score("sciq", 0, 60)]})
    (found,) = lines([Row(wrong, "x")])
    assert found.correct_j.value is None
    assert found.correct_j.reason


@pytest.mark.filterwarnings("error")
def test_draws_without_a_right_item_leave_no_interval_and_no_warning():
    record = campaign.run("x", 1.0, gained=0, lost=0)
    score = record.quality[0]
    items = sorted(score.items, key=lambda item: item.candidate)[:41]  # 40 of 100 are wrong
    few = record.model_copy(update={"quality": [score.model_copy(update={"items": items})]})
    (found,) = lines(only(few))
    assert found.correct_j.value == pytest.approx(300 * 41, rel=0.01)
    assert found.correct_j.low is None
    assert "draws without a right item" in found.correct_j.reason


def test_the_table_has_a_line_for_each_run():
    text = "\n".join(other_frontiers(only(*campaign.group())))
    assert text.startswith("<details><summary>Frontiers by other axes</summary>")
    assert text.count("\n| `") == len(only(*campaign.group()))


def test_draws_do_not_depend_on_which_runs_are_beside():
    assert len(Resampler().shares(np.ones(5))) == cost_frontiers.DRAWS
    one, two = Resampler(), Resampler()
    one.blocks(4)
    right = np.array([1.0, 0.0, 1.0])
    assert (one.shares(right) == two.shares(right)).all()


def of_model(name, record):
    """The same run of another model."""
    spec = examples.spec(record.name, model={"name": name}, device=record.spec.device.model_dump())
    model = record.model.model_copy(update={"name": name, "fingerprint": name})
    return record.model_copy(update={"spec": spec, "model": model})


def test_models_of_one_device_are_set_side_by_side_by_their_own_joules():
    small = of_model("small", campaign.run("none", 0.5, gained=0, lost=20))
    large = [campaign.run("none", 1.0, gained=0, lost=0), campaign.run("int8", 0.9)]
    (device,) = devices(groups([small, *large]))
    found = {(line.setting.model.split()[0], line.row.label): line for line in device.lines}
    assert len(found) == 3
    assert found["small", "none"].member
    assert found["small", "none"].probability == 1.0
    assert found["smollm2-135m", "none"].row.energy.value == pytest.approx(3.0, rel=0.01)
    text = "\n".join(side_by_side(groups([small, *large])))
    assert "2 models on Imaginary GPU" in text


def test_one_model_or_unequal_conditions_are_no_comparison():
    one = campaign.run("none", 1.0)
    elsewhere = of_model("small", campaign.run("none", 0.5, device=examples.CPU))
    assert devices(groups([one])) == []
    assert devices(groups([one, elsewhere])) == []
