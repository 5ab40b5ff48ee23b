"""Joules per solved problem: the factors that moved, what is unbounded, how long answers were."""

import json
import re
from xml.etree import ElementTree as ET

import pytest
from helpers import examples, graded
from matplotlib.backends.backend_agg import FigureCanvasAgg

from greenbench.analysis.choices import comparison
from greenbench.analysis.choices.advice import advise
from greenbench.analysis.choices.needs import Needs
from greenbench.analysis.choices.regression import checked, parse_limit
from greenbench.analysis.energy.energy_label import label
from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import assumptions
from greenbench.analysis.yardstick import ENERGY, SOLVED, in_energy, yardstick_of
from greenbench.report.figures import sketches
from greenbench.report.figures.energy_ratios import forest_figure
from greenbench.report.figures.solved import NAME, solved_factors, solved_figure
from greenbench.report.markdown.headline import answer
from greenbench.report.markdown.leaderboard import leaderboard
from greenbench.report.markdown.sections.solved import per_solved
from greenbench.report.page.page import page
from greenbench.wording import short


def said(*records):
    return per_solved([row for group in groups(records) for row in group.rows])


def whole(*records):
    found = groups(records)
    return leaderboard(found, records, [], assumptions(), sketches(found, records))


def cells(lines):
    rows = [line for line in lines if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in rows]


def test_runs_without_graded_answers_have_no_such_section():
    records = [examples.completed()]
    assert said(*records) == []
    assert "solved problem" not in whole(*records)


def test_each_factor_has_its_ratio_and_they_make_the_whole():
    record = graded.run(joules=0.7, tokens=60, share=0.5)
    (task,) = record.solved
    titles, row = cells(said(record))[:2]
    assert titles[3:7] == [
        "J/token ratio", "tokens/answer ratio", "share solved ratio", "**J/solved ratio**",
    ]  # fmt: skip
    ratio = task.ratio
    for cell, quantity in zip(
        row[3:7],
        (
            ratio.energy_per_token,
            ratio.tokens_per_answer,
            ratio.share_solved,
            ratio.energy_per_solved,
        ),
        strict=True,
    ):
        shown = re.match(r"([\d.]+)×", cell)
        assert abs(float(shown[1]) - quantity.value) < 0.06 * quantity.value
    assert row[0] == "`int8`"
    assert "`squad` `exact_match`" in row[1]
    assert any("5-shot, chat template, answers greedy" in line for line in said(record))


def test_a_model_that_never_answers_right_is_unbounded():
    lines = said(graded.run(share=0.0))
    assert any("unbounded: none was solved" in line for line in lines)
    assert "n/a" in cells(lines)[1][6]


def test_lengths_of_right_and_wrong_answers_and_what_was_cut_and_thought():
    lines = said(graded.run(tokens=60, thought=30))
    rows = cells(lines[lines.index("<details><summary>How long answers were</summary>") :])
    titles, row = rows[:2]
    assert titles[2:4] == ["tokens of right answers", "tokens of wrong answers"]
    assert row[4] == "10 (10 %) → 10 (10 %)"
    thoughts = row[5].split(" → ")
    assert thoughts[0] == "0"
    assert 45 < float(thoughts[1]) < 55


def test_too_few_items_say_so():
    record = graded.run(items=15)
    assert any("15 items are too few" in line for line in said(record))


class TestChoices:
    saver = graded.run("saver", joules=0.7, tokens=40, share=0.5)
    talker = graded.run("talker", joules=1.4, tokens=90, share=0.5)

    def test_the_answer_goes_by_it_where_joules_are_measured(self):
        (group,) = groups([self.saver, self.talker])
        assert yardstick_of(group) is SOLVED
        assert any("the baseline's J per solved problem" in line for line in answer(group))
        estimated = graded.run("guessed", provenance="estimated:model")
        assert yardstick_of(groups([estimated])[0]) is not SOLVED
        rows = [groups([each])[0].rows[0] for each in (self.saver, examples.completed("int4"))]
        assert in_energy(rows[:1]) is SOLVED
        assert in_energy(rows) is ENERGY  # one of them has no answers

    def test_less_per_token_and_more_per_answer_is_no_saving(self):
        """Each has 0.7 J/token; of one the answers are twice as long."""
        (row,) = groups([self.talker])[0].rows
        assert row.ratio(ENERGY.metric).value == 0.7
        assert row.ratio(SOLVED.metric).value > 1.2
        assert label(row).letter in {"F", ""}
        sure = graded.run("saver", joules=0.6, items=400, gained=0, lost=0)
        (saver,) = groups([sure])[0].rows
        assert "per solved problem" in label(saver).reason

    def test_advice_goes_by_it(self):
        (found,) = advise([self.saver, self.talker], Needs(quality_loss=50), assumptions())
        checks = {
            option.row.label: option.checks
            for option in [found.best, *found.runners_up, *found.undecided, *found.left_out]
            if option
        }
        energy = {
            name: next(c for c in each if c.what == "energy") for name, each in checks.items()
        }
        assert energy["saver"].outcome == "kept"
        assert "energy per solved problem: 0.7" in energy["saver"].why
        assert "idle power of the time between is not counted" in energy["saver"].why
        assert energy["talker"].outcome == "broken"

    def test_two_runs_are_compared_by_it(self):
        (pairing,) = comparison.pairings([self.saver], [self.talker])
        change = next(each for each in pairing.changes if each.metric == "solved")
        assert change.found.value > 1.5
        (complaint,) = checked([pairing], [parse_limit("solved>+5%")]).broken
        assert "solved>+5% is broken" in complaint


def test_the_figure_says_and_shows_each_factor():
    found = groups([graded.run("saver"), graded.run("talker", tokens=90)])
    (sketch,) = solved_factors(found)
    assert sketch.name == NAME
    for word in ("J/token", "tokens per answer", "1 / share solved", "J per solved", "talker"):
        assert word in sketch.said
    drawn = sketch.draw()
    assert drawn == solved_factors(found)[0].draw()
    assert ET.fromstring(drawn).tag.endswith("svg")


def test_the_page_has_the_tables():
    records = [graded.run("saver")]
    found = groups(records)
    html = page(found, records, [], assumptions()).decode()
    assert '"solved"' in html
    assert "Which factor moved" in html
    assert 'energy_per_solved: "J per solved problem"' in html  # as the figure's axis is called
    assert json.dumps("J/solved ratio")[1:-1] in html


def test_two_stacks_that_begin_alike_are_told_apart_in_the_figures():
    long = "prune_depth(0.2, heal=5 min embeddings=False)"
    records = [graded.run(long), graded.run(f"{long} + cascade")]
    found = groups(records)
    told = {sketch.name: sketch.said for sketch in sketches(found, records)}
    (text,) = (said for place, said in told.items() if place.endswith("solved.svg"))
    assert text.count("+ cascade") == 1
    assert short("a" * 50, 24) == "a" * 12 + "…" + "a" * 11
    assert short("int8_bnb", 24) == "int8_bnb"


def test_the_noise_of_an_a_a_run_is_told_of_what_the_frontier_goes_by():
    none = graded.run("none", joules=1.0)
    bare = none.model_copy(update={"spec": none.spec.model_copy(update={"technique": []})})
    text = whole(bare)
    (line,) = (each for each in text.splitlines() if each.startswith("Noise floor"))
    assert "energy per solved problem" in line


def test_a_share_solved_of_0_lies_in_its_own_interval():
    ratio = graded.run(share=0.0).solved[-1].ratio.share_solved
    assert ratio.low <= ratio.value == 0 < ratio.high
    assert "0.000" not in cells(said(graded.run(share=0.0)))[1][5]


@pytest.mark.parametrize("draw", [solved_figure, forest_figure])
def test_the_longest_label_lies_in_the_picture(draw):
    long = "prune_depth(0.2, heal=5 min embeddings=False) + cascade"
    figure = draw(groups([graded.run(long).model_copy(update={"validity": "flagged"})]))
    renderer = FigureCanvasAgg(figure).get_renderer()
    (axes,) = figure.axes
    labels = [text for text in axes.texts if "cascade" in text.get_text()]
    assert labels
    assert all(text.get_window_extent(renderer).x0 >= 0 for text in labels)
