"""Recipes by joules to the baseline's last loss: apart from all that served, in words and on the page."""

import pytest
from helpers import campaign, trained

from greenbench.analysis.groups.rows import groups
from greenbench.analysis.training.table import Recipe, by_budget
from greenbench.records.store import Store
from greenbench.report import rebuild, write
from greenbench.report.figures.training import training_curves
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
    lines = {line[0]: dict(zip(found.titles, line, strict=True)) for line in found.lines}
    quick, slow = lines["`adafactor`"], lines["`lion`"]
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
    assert line[place] == "0.0001 (0.0001) (a) (b)"
    assert [note.partition(" that were")[0] for note in found.legend] == [
        "(a) the candidate's is the smallest of 2",
        "(b) the baseline's is the smallest of 2",
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
