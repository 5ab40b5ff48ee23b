"""The frontiers by other axes, and models side by side, against cases whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import campaign, examples, graded

from greenbench.analysis.frontiers import cost_frontiers
from greenbench.analysis.frontiers.cost_frontiers import CORRECT, Resampler, drawn, frontiers
from greenbench.analysis.frontiers.draws import spread
from greenbench.analysis.frontiers.model_frontier import devices
from greenbench.analysis.graded.solved import regrouped
from greenbench.analysis.groups.rows import Row, groups
from greenbench.report.markdown.sections.cost_frontiers import other_frontiers
from greenbench.report.markdown.sections.model_frontier import side_by_side
from greenbench.schema.metrics import ENERGY_PER_SOLVED, ENERGY_PER_TOKEN
from greenbench.stats.solving import split


def only(*records):
    """The rows of the one group that `records` make."""
    (group,) = groups(records)
    return group.rows


def shares(*records):
    """Each run's shares by its label."""
    return {line.row.label: line.shares for line in frontiers(only(*records)).lines}


def test_joules_per_correct_answer_are_those_of_a_request_over_the_share_right():
    """3000 J a window of 10 requests; 60 of 100 right, twice."""
    (found,) = frontiers(only(campaign.run("x", 1.0, gained=0, lost=0))).lines
    joules = found.right_j
    assert joules.value == pytest.approx(300 / 0.6, rel=0.01)
    assert joules.provenance == "measured:counter:nvml"
    assert joules.low < joules.value < joules.high


def test_the_interval_holds_both_blocks_and_items():
    """With exact joules it is that of the items alone; noisy joules widen it."""
    exact, noisy = (
        frontiers(only(campaign.run("x", 1.0, gained=0, lost=0, spread=spread))).lines[0].right_j
        for spread in (0.0, 0.1)
    )
    items = np.quantile(
        300 / (np.random.default_rng(1).binomial(200, 0.6, 20_000) / 200), [0.025, 0.975]
    )
    assert (exact.low, exact.high) == pytest.approx(tuple(items), rel=0.03)
    assert noisy.high - noisy.low > 1.05 * (exact.high - exact.low)


def test_what_is_better_in_all_is_on_every_frontier_and_what_is_worse_on_none():
    slow = campaign.run("slow", 1.3, gained=0, lost=30)
    ratios = slow.ratios | {"model_bytes": examples.quantity(2.0, None, "ratio")}
    worse = slow.model_copy(update={"ratios": ratios})
    found = shares(campaign.run("fast", 0.7, gained=0, lost=0), worse)
    assert found["fast"][CORRECT] == found["fast"]["model_bytes"] == 1.0
    assert found["slow"][CORRECT] == found["slow"]["model_bytes"] == 0.0


def test_fewer_bytes_at_worse_quality_are_on_the_frontier_of_bytes_alone():
    small = campaign.run("small", 1.3, gained=0, lost=30)
    ratios = small.ratios | {"model_bytes": examples.quantity(0.1, None, "ratio")}
    found = shares(campaign.run("good", 0.7), small.model_copy(update={"ratios": ratios}))
    assert found["small"]["model_bytes"] == 1.0
    assert found["small"][CORRECT] == 0.0


def test_resampled_ratios_are_as_wide_as_the_t_interval_of_their_blocks():
    record = campaign.run("x", 0.7, spread=0.02, gained=0, lost=0)
    ratio = record.ratios["energy_per_token"]
    found = drawn(Row(record, "x"), Resampler()).costs[CORRECT]
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
    (found,) = frontiers([Row(wrong, "x")]).lines
    assert found.right_j.value is None
    assert found.right_j.reason


@pytest.mark.filterwarnings("error")
def test_draws_without_a_right_item_leave_no_interval_and_no_warning():
    record = campaign.run("x", 1.0, gained=0, lost=0)
    score = record.quality[0]
    items = sorted(score.items, key=lambda item: item.candidate)[:41]  # 40 of 100 are wrong
    few = record.model_copy(update={"quality": [score.model_copy(update={"items": items})]})
    (found,) = frontiers(only(few)).lines
    assert found.right_j.value == pytest.approx(300 * 41, rel=0.01)
    assert found.right_j.low is None
    assert "draws without a right item" in found.right_j.reason


def test_the_table_has_a_line_for_each_run():
    text = "\n".join(other_frontiers(only(*campaign.group())))
    assert text.startswith("<details><summary>Frontiers by other axes</summary>")
    assert text.count("\n| `") == len(only(*campaign.group()))


SOLVED = ENERGY_PER_SOLVED.ratio


class TestGradedAnswers:
    """Each run's requests draw 0.7 of the baseline's joules, whatever its answers do."""

    saver = graded.run("saver", joules=0.7, items=400)
    talker = graded.run("talker", joules=1.6, tokens=90, items=400)

    def test_the_axis_has_the_joules_of_the_answers_and_not_of_requests(self):
        found = frontiers(only(self.saver, self.talker))
        assert found.joules == SOLVED
        lines = {line.row.label: line for line in found.lines}
        for name, record in (("saver", self.saver), ("talker", self.talker)):
            assert lines[name].right_j == record.solved[-1].candidate.energy_per_solved
        assert lines["saver"].shares[SOLVED] > 0.95
        assert lines["talker"].shares[SOLVED] < 0.6  # on it only where its quality is drawn better
        asked = [drawn(Row(each, "x"), Resampler()) for each in (self.saver, self.talker)]
        assert (
            asked[0].costs[CORRECT] == asked[1].costs[CORRECT]
        ).all()  # their requests are alike

    def test_the_tables_frontier_goes_by_them_too_and_joules_per_token_are_the_other_axis(self):
        rows = {row.label: row for row in only(self.saver, self.talker)}
        found = frontiers(list(rows.values()))
        assert found.axis is ENERGY_PER_SOLVED
        assert next(iter(found.costs)) == ENERGY_PER_TOKEN.ratio
        for name, record in (("saver", self.saver), ("talker", self.talker)):
            ratio = record.solved[-1].ratio.energy_per_solved.value
            assert rows[name].point.cost == ratio
        assert rows["saver"].frontier
        assert rows["saver"].standing.probability > 0.95
        assert not rows["talker"].frontier
        assert rows["talker"].standing.probability < 0.6
        tokens = {line.row.label: line.shares[ENERGY_PER_TOKEN.ratio] for line in found.lines}
        assert tokens["saver"] == 1.0
        assert tokens["talker"] < 0.6  # as many joules, and worse answers

    def test_one_run_without_graded_answers_leaves_the_frontier_joules_per_token(self):
        mute = self.talker.model_copy(update={"solved": []})
        for rows in (only(self.saver, mute), only(graded.run(items=15), graded.run("b", items=15))):
            assert {row.axis for row in rows} == {ENERGY_PER_TOKEN}

    def test_a_run_that_solves_nothing_has_no_place_on_it(self):
        rows = {
            row.label: row for row in only(self.saver, graded.run("none", share=0.0, items=400))
        }
        assert rows["none"].standing is None
        assert not rows["none"].frontier
        assert rows["saver"].frontier
        alone = only(graded.run("none", share=0.0, items=400))
        assert alone[0].axis is ENERGY_PER_TOKEN

    def test_draws_spread_as_the_interval_of_the_run_does(self):
        for record in (self.saver, self.talker, graded.run(items=40, share=0.2)):
            ratio = record.solved[-1].ratio.energy_per_solved
            cost = drawn(Row(record, "x"), Resampler(), SOLVED).costs[SOLVED]
            low, high = np.quantile(cost, [0.025, 0.975])
            assert (low, high) == pytest.approx((ratio.low, ratio.high), rel=0.06)

    def test_what_a_record_keeps_makes_the_same_factors(self):
        whole = self.saver.solved[-1].ratio
        again = split(regrouped(self.saver)).ratio
        for name, found in again.items():
            kept = getattr(whole, name)
            assert (kept.value, kept.low, kept.high) == pytest.approx(found[:3], rel=1e-9)

    def test_quality_is_drawn_with_the_joules_of_the_same_answers(self):
        right = [item.baseline.grades["none"]["exact_match"] for item in self.saver.solved[0].items]
        after = [
            item.candidate.grades["none"]["exact_match"] for item in self.saver.solved[0].items
        ]
        ones = [1.0] * len(right)
        score = examples.task_score("squad", "exact_match", "fraction", right, after, ones)
        worse = graded.run("worse", share=0.3, items=400)
        again = [item.candidate.grades["none"]["exact_match"] for item in worse.solved[0].items]
        alone = worse.model_copy(
            update={"quality": [score.model_copy(update={"task": "squad", "items": [
                item.model_copy(update={"candidate": value})
                for item, value in zip(score.items, again, strict=True)
            ]})]}
        )  # fmt: skip
        found = drawn(Row(alone, "x"), Resampler(), SOLVED)
        expected = 100 * (np.mean(again) - np.mean(right))
        assert found.quality.mean() == pytest.approx(expected, abs=1)
        together = np.corrcoef(found.quality, np.log(found.costs[SOLVED]))[0, 1]
        assert together < -0.8  # what is right more often costs less
        both = alone.model_copy(
            update={"quality": [*alone.quality, examples.score("sciq", 0, 0, n=400)]}
        )
        halved = drawn(Row(both, "x"), Resampler(), SOLVED).quality
        assert halved.mean() == pytest.approx(expected / 2, abs=1)

    def test_where_some_runs_have_none_all_are_compared_by_requests(self):
        mute = self.talker.model_copy(update={"solved": []})
        found = frontiers(only(self.saver, mute))
        assert found.joules == CORRECT
        assert found.only_some
        text = "\n".join(other_frontiers(only(self.saver, mute)))
        assert "J per correct answer" in text
        assert "others not" in text

    def test_a_run_without_any_joules_takes_them_from_none(self):
        bare = {"energy": [], "energy_reason": "no meter"}
        windows = [window.model_copy(update=bare) for window in self.talker.windows]
        mute = self.talker.model_copy(update={"solved": [], "windows": windows})
        found = frontiers([*only(self.saver, graded.run("again", items=400)), Row(mute, "mute")])
        assert found.joules == SOLVED
        assert SOLVED not in found.lines[-1].shares

    def test_a_model_that_solves_nothing_is_beaten_and_says_why(self):
        none = graded.run("none right", share=0.0, items=400)
        rows = only(self.saver, none)
        (line,) = (line for line in frontiers(rows).lines if line.row.record is none)
        assert line.right_j.value is None
        assert "unbounded" in line.right_j.reason
        assert line.shares[SOLVED] < 0.6

    def test_the_table_says_what_its_joules_are(self):
        text = "\n".join(other_frontiers(only(self.saver, self.talker)))
        assert "J per solved problem, %" in text
        assert "the very answers that were graded" in text
        assert "correct answer" not in text
        assert "others not" not in text
        few = [graded.run(name, items=15) for name in ("one", "two")]
        assert "15 items are too few" in "\n".join(other_frontiers(only(*few)))


def test_draws_do_not_depend_on_which_runs_are_beside():
    assert len(Resampler().shares(np.ones(5), (0, 1, 2, 3, 4))) == cost_frontiers.DRAWS
    one, two = Resampler(), Resampler()
    one.blocks(4)
    right = np.array([1.0, 0.0, 1.0])
    assert (one.shares(right, (0, 1, 2)) == two.shares(right, (0, 1, 2))).all()


@pytest.mark.parametrize("passages", [8, 60])
def test_items_of_one_document_are_drawn_together(passages):
    """Five items about each passage, as hard as the passage is: items drawn alone cover 75 %."""
    dice, resampler = np.random.default_rng(4), Resampler()
    together, apart = tuple(np.repeat(range(passages), 5)), tuple(range(5 * passages))
    covered = {together: 0, apart: 0}
    for _ in range(300):
        hard = np.repeat(dice.beta(0.5, 0.5, passages), 5)
        right = (dice.random(5 * passages) < hard).astype(float)
        for documents in covered:
            drawn = spread(resampler.shares(right, documents), right.mean(), len(set(documents)))
            low, high = np.quantile(drawn, [0.025, 0.975])
            covered[documents] += low <= 0.5 <= high
    assert covered[together] / 300 >= 0.92
    assert covered[apart] / 300 <= 0.85


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
