"""The first table: seven lines at most, and what would make them surer."""

from __future__ import annotations

import pytest
from helpers import examples

from greenbench.analysis.groups.rows import groups
from greenbench.report.markdown.bar import bar
from greenbench.report.markdown.choice import choose, choosing, overviews, surer
from greenbench.report.markdown.format import Notes
from greenbench.schema.quantity import missing


def one(*records):
    (group,) = groups(records)
    return group


MANY = [
    examples.completed(f"int{number}", energy=0.9 - number / 50, gained=0, lost=number)
    for number in range(1, 12)
]
COSTLY = [examples.completed(f"slow{number}", energy=1.5, half=0.1) for number in range(9)]


def test_however_many_runs_there_are_it_has_seven_lines_at_most():
    group = one(
        *MANY, *COSTLY, examples.completed("none", energy=1.0), examples.completed("odd", half=None)
    )
    shown, _ = choosing(group)
    assert len(shown) <= 7
    text = "\n".join(choose(group))
    assert "**do not use here**" in text
    assert "and 3 more" in text  # of the nine that cost


def test_where_there_are_four_to_choose_what_helps_nobody_shares_a_line():
    drafts = examples.completed("drafts", energy=0.95, gained=0, lost=0)
    parts = [part.model_copy(update={"lossless": True}) for part in drafts.techniques]
    better = examples.completed("better", energy=0.97, gained=20, lost=0)
    odd = examples.completed("odd", half=None)
    group = one(*MANY, *COSTLY, better, odd, drafts.model_copy(update={"techniques": parts}))
    shown, _ = choosing(group)
    assert [line.chosen.partition(",")[0] for line in shown[-2:]] == [
        "`better` 0.97×",
        "`slow0` 1.50×",
    ]
    assert shown[-1].accepts == "**do not use here** · no effect shown"
    assert shown[-1].chosen.endswith("and 3 more · `odd`")
    assert len(shown) == 7


def test_the_first_line_is_the_one_that_loses_least():
    text = choose(one(*MANY))
    assert text[2].startswith("| up to 1 point lost ")
    assert "`int2`" in text[2]


def test_what_is_on_the_frontier_and_chosen_by_nobody_is_named_with_its_ratio():
    """It is better than what is chosen in quality, and no reader of losses asks for that."""
    group = one(
        examples.completed("better", energy=0.8, gained=6, lost=0),
        examples.completed("cheaper", energy=0.5, gained=0, lost=0),
        examples.completed("slow", energy=1.5, half=0.1),
    )
    text = choose(group)
    assert any("also on the frontier" in line and "`better` 0.8" in line for line in text)
    assert any("do not use here" in line and "`slow` 1.50×" in line for line in text)


def test_a_saving_that_may_not_be_claimed_is_called_a_hint():
    text = choose(one(examples.completed("int8", tier="smoke")))
    (line,) = [each for each in text if "`int8`" in each and "hint" in each]
    assert "`int8`" in line
    assert "try" in line
    assert "a loss of up to 3.1 points of quality is not excluded" in line


@pytest.mark.parametrize(
    ("low", "value", "high", "drawn"),
    [
        (0.5, 1.0, 2.0, "━━━━━━━━━━●━━━━━━━━━━"),
        (0.5, 0.5, 0.5, "●·········│··········"),
        (1.9, 2.0, 9.0, "··········│········━●"),
    ],
)
def test_a_bar_draws_the_interval_on_a_logarithmic_scale(low, value, high, drawn):
    ratio = examples.quantity(value, None, "ratio").model_copy(update={"low": low, "high": high})
    assert bar(ratio, 2.0) == f"`{drawn}`"


def test_what_has_no_interval_has_no_bar():
    assert bar(missing("ratio", "no meter"), 2.0) == ""


def test_what_would_make_it_surer_is_told_with_a_command():
    steps = surer(one(examples.completed("int8", tier="smoke")))
    assert any("`greenbench bench technique=int8 protocol=dev`" in step for step in steps)
    assert any("questions" in step for step in steps)


def test_so_many_items_are_asked_for_as_would_leave_a_point_open():
    steps = surer(one(examples.completed("int8", gained=1, lost=2)))
    (step,) = [each for each in steps if "questions" in each]
    assert "compared on 200 questions" in step


def test_estimates_are_told_to_be_and_what_would_measure():
    record = examples.completed("fast", source=examples.ESTIMATE, device=examples.CPU)
    assert "RAPL or NVML" in surer(one(record))[0]


def test_several_settings_have_a_line_each():
    found = groups(
        [examples.completed("int8"), examples.completed("int8", workload={"batch_size": 8})]
    )
    ((answers, _),) = overviews(found)
    assert [each.place for each in answers] == [
        "1. chat (batch 1, 64 tokens in, 32 out)",
        "2. chat (batch 8, 64 tokens in, 32 out)",
    ]
    assert all("`int8`" in each.line.chosen for each in answers)


def test_where_nothing_helps_the_baseline_is_kept():
    batches = ({}, {"workload": {"batch_size": 8}})
    found = groups([examples.completed("slow", energy=1.5, **batch) for batch in batches])
    ((answers, _),) = overviews(found)
    assert {each.line.chosen for each in answers} == {"keep the baseline"}
    assert {each.line.sure(Notes()) for each in answers} == {
        "nothing is shown to help; worse: `slow` 1.50×"
    }


def test_what_disturbed_the_run_is_told_with_the_command_that_runs_it_again():
    record = examples.completed("int8", validity="flagged", codes=["other_load"])
    (step,) = [each for each in surer(one(record)) if "disturbed" in each]
    assert "took over 10 % of the CPUs' time" in step
    assert "`greenbench bench technique=int8 force=true`" in step
