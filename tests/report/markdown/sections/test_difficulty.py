"""Energy by question difficulty, as the leaderboard's readers find it."""

from helpers import answers, examples

from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import assumptions
from greenbench.report.markdown.leaderboard import leaderboard
from greenbench.report.markdown.sections.difficulty import by_difficulty
from greenbench.schema.difficulty import Difficulty

EVEN = dict.fromkeys(answers.FACTORS, 0.7)
STEEP = {"easy": 0.75, "medium": 0.7, "hard": 0.6}


def write(*records):
    (group,) = groups(records)
    return "\n".join(by_difficulty(group.rows))


def record(technique="early_exit", windows=None, tier="dev", counts=answers.EXITS, **changes):
    found = answers.difficulty(answers.campaign() if windows is None else windows, tier, counts)
    return examples.completed(technique, tier=tier, difficulty=found, **changes)


def said(text, technique):
    (line,) = [line for line in text.splitlines() if line.startswith(f"- `{technique}`")]
    return line


def cells(text, title):
    """Cells of the table whose header names `title`, header first."""
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("| ")]
    (table,) = [table for table in tables if f" {title} " in table[0]]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table]


def test_easy_questions_that_cost_less_are_said_to():
    line = said(write(record()), "early_exit")
    assert "**easy questions cost it less energy than hard ones**" in line
    assert "its energy ratio on easy questions is 0.80" in line
    assert "a token takes 25.0" in line


def test_easy_questions_that_cost_more_or_the_same_are_said_to():
    more = record("up", answers.campaign(factors=STEEP))
    same = record("even", answers.campaign(factors=EVEN))
    text = write(more, same)
    assert "**easy questions cost it more energy than hard ones**" in said(text, "up")
    assert "cost it the same energy within 2 %" in said(text, "even")


def test_the_leaderboard_has_it_in_the_section_of_its_runs():
    records = [record(), examples.completed("int8")]
    text = leaderboard(groups(records), records, (), assumptions(), ())
    assert write(*records) in text
    assert text == leaderboard(groups(records[::-1]), records[::-1], (), assumptions(), ())


def test_each_run_has_a_row_for_each_third():
    header, _, *rows = cells(write(record()), "J/answer ratio")
    assert [row[:5] for row in rows] == [
        ["`early_exit`", name, "2 (2)", f"{margin} nat", "20"]
        for name, margin in (("easy", "5.50"), ("medium", "3.50"), ("hard", "1.50"))
    ]
    ratios = [row[header.index("J/answer ratio")] for row in rows]
    assert [ratio.split("×")[0] for ratio in ratios] == ["0.600000", "0.700000", "0.750000"]
    assert "blocks a token" in header
    assert "drafts kept a pass" not in header
    levels = cells(write(record()), "J/token")
    assert len(levels) == 2 + 3 * 2


def test_a_column_of_counts_is_there_where_any_run_has_some():
    text = write(record(), record("prompt_lookup", counts=answers.DRAFTS))
    header, _, *rows = cells(text, "J/answer ratio")
    blocks, drafts = header.index("blocks a token"), header.index("drafts kept a pass")
    assert all("n/a" in row[drafts] for row in rows if row[0] == "`early_exit`")
    assert all("n/a" in row[blocks] for row in rows if row[0] == "`prompt_lookup`")
    assert "no technique here drafts tokens" in text
    assert "a pass keeps 1.00" in said(text, "prompt_lookup")


def test_estimates_are_marked_and_time_makes_the_claim():
    windows = answers.campaign(source="estimated:model")
    line = said(write(record(windows=windows, source=examples.ESTIMATE)), "early_exit")
    assert "**easy questions cost it less time than hard ones**" in line
    assert "≈0.80" in line


def test_tier_smoke_makes_no_claim():
    line = said(write(record(tier="smoke")), "early_exit")
    assert "no claim (tier smoke" in line
    assert "**" not in line


def test_windows_that_something_disturbed_are_marked():
    spoiled = [answers.answer("baseline", "easy", 9, 64, valid=False)]
    text = write(record(windows=answers.campaign() + spoiled))
    assert "`early_exit` ⚑" in text


def test_runs_that_were_not_asked_say_why_or_nothing():
    alone = Difficulty(reason="the models <b> take turns", new_tokens=16)
    text = write(examples.completed("early_exit", difficulty=alone), examples.completed("int8"))
    assert said(text, "early_exit").endswith("not measured, as the models &lt;b&gt; take turns.")
    assert "`int8`" not in text
    assert "|" not in text
    assert write(examples.completed("int8")) == ""


SPREAD = (0.9, 0.95, 1.0, 0.9, 0.97, 0.96)


def scattered(window):
    """Easy questions cost the candidate less, but by another share in each round."""
    if (window.who, window.place and window.place.bin) != ("candidate", "easy"):
        return window
    (span,) = window.energy
    energy_j = SPREAD[window.place.unit] * (span.end_j - span.start_j)
    changed = span.model_copy(update={"end_j": span.start_j + energy_j})
    return window.model_copy(update={"energy": [changed]})


def test_what_one_run_shows_may_be_chance_among_many():
    unsure = record("unsure", [scattered(w) for w in answers.campaign(factors=EVEN)])
    others = [record(f"even{n}", answers.campaign(factors=EVEN)) for n in range(5)]
    assert "easy questions cost it less energy" in said(write(unsure), "unsure")
    assert "no difference in energy" in said(write(unsure, *others), "unsure")
