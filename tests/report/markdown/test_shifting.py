"""A load that can wait, on the leaderboard: assumed, with the joules' own mark, and by the file alone."""

from dataclasses import replace

import pytest
from helpers import campaign, examples

from greenbench.analysis.energy.grid_by_hour import grid_by_hour
from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import assumptions
from greenbench.report import write
from greenbench.report.markdown.shifting import by_hour, waiting


@pytest.fixture
def given(tmp_path):
    """Clean from 10 to 16: 100 g, else 300; PUE 2 at all hours."""
    path = tmp_path / "sunny_grid.csv"
    rows = [
        f"2026-01-{day:02}T{hour:02}:00:00Z,{100 if 10 <= hour < 16 else 300}"
        for day in (1, 2)
        for hour in range(24)
    ]
    path.write_text("\n".join(["time,g_per_kwh", *rows]))
    return replace(assumptions(["pue=2"]), by_hour=grid_by_hour(path))


def cells(lines, start):
    line = next(line for line in lines if line.startswith(start))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_shares_are_the_grids_and_the_grams_a_runs(given):
    lines = by_hour(groups([campaign.run("saver", 0.7)]), given)
    assert cells(lines, "| 4 ") == ["4", "500", "200", "60.0 %", "200", "60.0 %", "10–14"]
    assert cells(lines, "| 8 ")[1:4] == ["500", "300", "40.0 %"]  # six hours at 200, two at 600
    assert cells(lines, "| 8 ")[-1] == "0–2, 10–16"
    assert cells(lines, "| 10–11") == ["10–11", "100"]
    now, *shifted = (float(cell.partition(" ")[0]) for cell in cells(lines, "| `saver`")[1:])
    assert now > shifted[2] > shifted[1] > shifted[0] > now * 0.4  # idle power stays all day
    said = lines[0]
    for fact in (
        "**assumed**",
        "nothing is ranked",
        "sunny_grid.csv",
        "2 whole days",
        "hours of UTC",
        "PUE 2",
    ):
        assert fact in said  # fmt: skip


def test_estimated_joules_stay_marked_and_measured_ones_keep_their_provenance(given):
    idle = {"idle": campaign.run("saver", 0.7).idle}
    (estimated,) = groups([examples.completed(source=examples.ESTIMATE, **idle)])
    assert all(cell.startswith("≈") for cell in cells(by_hour([estimated], given), "| `int8`")[1:])
    (measured,) = groups([campaign.run("saver", 0.7)])
    for column in waiting(given):
        assert column.of(measured.rows[0]).provenance == measured.rows[0].energy.provenance


def test_without_a_file_nothing_is_said():
    found = groups([campaign.run("saver", 0.7)])
    assert (by_hour(found, assumptions()), waiting(assumptions())) == ([], [])


def test_it_ranks_nothing(given, tmp_path):
    """All before the tables of impact is the same, with the file and without."""
    places = [tmp_path / "with", tmp_path / "without"]
    texts = []
    for place, assumed in zip(places, (given, assumptions(["pue=2"])), strict=True):
        write(place, campaign.group(), [], assumed)
        texts.append((place / "leaderboard.md").read_text())
    heads = [text.partition("## Carbon, cost and water")[0] for text in texts]
    assert heads[0] == heads[1]
    assert [("load that can wait" in text) for text in texts] == [True, False]
