"""Recipes by joules to the baseline's last loss: apart from all that served, in words and on the page."""

import json

import numpy as np
import pytest
from helpers import campaign, trained
from scipy import stats

from greenbench.agents.trainings import trained as trained_for_agents
from greenbench.analysis.choices.advice import advise
from greenbench.analysis.choices.needs import Needs
from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import assumptions
from greenbench.analysis.training.table import Recipe, by_budget, of_place
from greenbench.records.store import Store
from greenbench.report import rebuild, write
from greenbench.report.exports.long_table import lines
from greenbench.report.figures.training import training_curves
from greenbench.report.markdown.advice import as_json, as_text
from greenbench.report.markdown.format import cells
from greenbench.report.markdown.training import columns, training

SLOW = (1.1, 2.0, 1.2)
"""Times more tokens than the baseline: with the second seed more than it is given."""


@pytest.fixture
def records():
    return [trained.record(), trained.record("lion", slower=SLOW)]


def test_each_recipe_has_a_line_with_what_it_took_and_how_often_it_got_there(records):
    (budget,) = by_budget(records)
    found = cells(budget.recipes, columns())
    by_name = {line[0]: dict(zip(found.titles, line, strict=True)) for line in found.lines}
    quick, slow = by_name["`adafactor`"], by_name["`lion`"]
    # 4000 tokens, 20 s: at 40 W and at 32 W
    assert quick["J to target / baseline's"].startswith("0.8")
    assert quick["J to target"].startswith("640")
    assert quick["reached"] == "3 of 3 seeds"
    assert quick["J/training token"].startswith("0.16")
    assert quick["peak GiB (baseline's)"] == "1.00 (2.00)"
    assert quick["J of tuning (baseline's)"] == "320 (400)"  # two rates, 1000 tokens each
    # 4400, 6000 and 4800 tokens
    assert slow["J to target / baseline's"].startswith("≥ 0.675")
    assert slow["reached"] == "2 of 3 seeds"
    assert any("2 of 3 trainings came to the baseline's last loss" in note for note in found.legend)
    assert [recipe.label for recipe in budget.recipes] == ["adafactor", "lion"]


def test_a_learning_rate_at_the_end_of_those_tried_is_noted(records):
    first, *_ = records
    found = cells(by_budget([first])[0].recipes, columns())
    (line,) = found.lines
    place = list(found.titles).index("learning rate (baseline's)")
    assert line[place] == "0.0001 (0.0001) (b) (c)"
    assert [note.partition(" that were")[0] for note in found.legend[1:]] == [
        "(b) the candidate's is the smallest of 2",
        "(c) the baseline's is the smallest of 2",
    ]
    trials = [*first.training.trials, *(each.model_copy(update={"learning_rate": 1e-5}) for each in
              first.training.trials[::2])]  # fmt: skip
    inside = first.training.model_copy(update={"trials": trials})
    assert Recipe(first, inside, "").end_of_rates("candidate") is None


def test_a_ratio_that_rests_on_little_of_the_baselines_training_says_on_how_much(records):
    """With one seed its last loss was there after 300 of its 800 J."""
    first, *_ = records
    early = [
        each.model_copy(update={"to_target_j": 300.0})
        if (each.who, each.seed) == ("baseline", 1)
        else each
        for each in first.training.courses
    ]
    training = first.training.model_copy(update={"courses": early})
    (budget,) = by_budget([first.model_copy(update={"training": training})])
    found = cells(budget.recipes, columns())
    assert found.lines[0][1].endswith("(a)")
    assert "rests on 38 % of the baseline's training" in found.legend[0]
    assert "rests on" not in "".join(cells(by_budget(records)[0].recipes, columns()).legend)


def test_trainings_stand_in_no_table_of_runs_that_served(records, tmp_path):
    served = campaign.run("saver", 0.7)
    together = [served, *records]
    assert [row.label for group in groups(together) for row in group.rows] == ["saver"]
    paths = {path.name: path for path in write(tmp_path, together, [])}
    text = paths["leaderboard.md"].read_text()
    before, after = text.split("## Training")
    assert "lion" not in before
    assert "adafactor" in after
    assert paths["training.svg"].read_bytes().startswith(b"<?xml")
    assert "![Loss on held-out text against joules of training." in after
    page = paths["index.html"].read_text()
    assert "<h2>Training</h2>" in page
    assert "3 of 3 seeds" in page


FIVE = (1.02, 0.98, 1.0, 1.01, 0.99)
"""As many seeds as tier dev promises: 0.8 times the baseline's watts, and about as many tokens."""


@pytest.fixture
def dev():
    """One that saves, one that is as dear, and one that does not always come there."""
    return [
        trained.record("adafactor", slower=FIVE, tier="dev"),
        trained.record("lion", slower=tuple(1.25 + 0.001 * part for part in range(5)), tier="dev"),
        trained.record("lora", slower=(1.2, 2.0, 1.3, 1.2, 1.1), tier="dev"),
    ]


def test_trainings_are_judged_as_what_serves_is_with_seeds_as_blocks(dev):
    (budget,) = by_budget(dev)
    found = {recipe.label: recipe.verdict for recipe in budget.recipes}
    assert {name: each.verdict for name, each in found.items()} == {
        "adafactor": "saves", "lion": "equivalent", "lora": "not reached",
    }  # fmt: skip
    saves, missed = found["adafactor"], found["lora"]
    logs = np.log(0.8 * np.array(FIVE))
    assert saves.ratio == pytest.approx(np.exp(logs.mean()))
    assert saves.p_difference == pytest.approx(stats.ttest_1samp(logs, 0).pvalue)
    assert (saves.family, saves.p_adjusted) == (2, pytest.approx(2 * saves.p_difference))
    assert (missed.ratio, missed.p_difference, missed.high) == (None, None, None)
    assert missed.low == dev[2].ratios["energy_to_target"].low
    assert missed.reason.startswith("4 of 5 trainings came to the baseline's last loss; ")


def test_the_section_shows_verdicts_and_what_they_rest_on(dev, records):
    shown = cells(by_budget(dev)[0].recipes, columns())
    words = {line[0]: line[shown.titles.index("verdict")] for line in shown.lines}
    assert words["`adafactor`"].startswith("**saves** (")
    assert words["`lora`"].startswith("not reached (")
    assert any("after Holm over 2" in note for note in shown.legend)
    smoke = cells(by_budget(records)[0].recipes, columns())
    assert all(line[2].startswith("no claim (") for line in smoke.lines)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"tier": "smoke"}, "tier smoke makes no claims"),
        ({"falls": 0.0}, "with a seed the baseline's last loss is no lower than the first"),
        ({"slower": (1.0,)}, "the run is invalid"),
    ],
)
def test_what_no_claim_may_rest_on_is_inconclusive(change, why):
    verdict = trained.record(**{"slower": FIVE, "tier": "dev"} | change).verdicts[
        "energy_to_target"
    ]
    assert verdict.verdict == "inconclusive"
    assert verdict.barred.startswith(why)


def test_exported_lines_have_the_verdicts_too(dev):
    found = {
        (run.technique, number.of): number.verdict
        for run, number in lines(dev)
        if number.metric == "energy_to_target"
    }
    assert found == {
        ("adafactor", "ratio"): "saves", ("lion", "ratio"): "equivalent", ("lora", "ratio"): "not reached",
    }  # fmt: skip


def test_advice_ends_with_what_recipes_take_and_mixes_them_with_nothing_that_serves(dev):
    budgets = by_budget(dev)
    alone = as_text([], Needs(), assumptions(), budgets)
    assert alone.startswith("Not enough evidence of models that serve: all runs here trained.")
    assert "- adafactor: saves. 0.7999 [" in alone
    assert "- lora: not reached. 4 of 5 trainings came to the baseline's last loss" in alone
    served = advise([campaign.run("saver", 0.7), *dev], Needs(), assumptions())
    both = as_text(served, Needs(), assumptions(), budgets)
    assert "lora" not in both.partition("Training: ")[0]
    told = json.loads(as_json(served, Needs(), assumptions(), budgets))["trainings"]
    assert [each["verdict"] for each in told[0]["recipes"]] == [
        "saves",
        "equivalent",
        "not reached",
    ]
    assert of_place(budgets, model="no-such") == []
    assert trained_for_agents(dev)["trainings"] == told
    assert trained_for_agents([campaign.run("saver", 0.7)]) == {}


def test_where_nothing_served_the_leaderboard_says_so(records, tmp_path):
    store = Store(tmp_path)
    for record in records:
        store.write(record)
    rebuild([tmp_path], tmp_path)
    text = (tmp_path / "leaderboard.md").read_text()
    assert "No model served here: the section Training compares the recipes." in text
    assert "unreadable" not in text


def test_other_budgets_are_other_tables_and_nothing_is_said_of_none(records):
    other = records[0].model_copy(
        update={
            "spec": records[0].spec.model_copy(
                update={"training": records[0].spec.training.model_copy(update={"tokens": 8000})}
            )
        }
    )
    assert len(by_budget([*records, other])) == 2
    assert training([], []) == []
    assert training_curves(by_budget([campaign.run("saver", 0.7)])) == []
