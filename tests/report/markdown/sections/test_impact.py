"""Impact tables: labelled as assumed, with the joules' own interval and mark."""

from dataclasses import replace

import pytest
from helpers import campaign, examples

from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import assumptions
from greenbench.report.markdown.sections.impact import impacts, per_queries


def cells(lines, start):
    line = next(line for line in lines if line.startswith(start))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_is_joules_times_what_is_assumed():
    given = assumptions(["country=FRA", "pue=2", "embodied_kg=0", "tokens_per_query=1000"])
    record = examples.completed(energy=0.5, half=0.02, baseline_j=3.6)  # 1.8 J/token
    lines = impacts(groups([record]), given)
    row = cells(lines, "| `int8`")
    assert row[1] == "1000 (960–1040)"  # Wh: 1.8 J x 1e6 tokens x PUE 2
    grams = float(row[2].split(" ")[0])
    assert grams == pytest.approx(given.grid.g_per_kwh, rel=0.02)
    assert row[3] == "0 %"
    assert "**assumed**" in lines[0]
    assert "Ember, CC BY 4.0" in lines[0]


def test_estimated_joules_stay_marked():
    record = examples.completed(source=examples.ESTIMATE)
    row = cells(impacts(groups([record]), assumptions()), "| `int8`")
    assert all(cell.startswith("≈") for cell in row[1:])


def test_what_if_has_three_regions_and_two_buildings():
    lines = impacts(groups([examples.completed()]), assumptions())
    head = cells(lines, "| kg CO₂e per million tokens in")
    assert len(head) == 1 + 3 * 2
    values = cells(lines[lines.index(next(x for x in lines if "PUE 1.1" in x and x[0] == "|")) :],
                   "| `int8`")  # fmt: skip
    france, india = (float(values[i].split(" ")[0]) for i in (1, 5))
    assert france < india


def test_no_joules_no_table():
    assert impacts(groups([examples.completed(energy=None)]), assumptions()) == []


def fast(**changes):
    """A second and 300 J a request for the baseline, half of both for the candidate; idle 60 W."""
    record = campaign.run("fast", 0.5, spread=0.0, **changes)
    windows = [
        w.model_copy(update={"iteration_s": [0.5] * 10, "end_s": w.start_s + 5.0})
        if w.who == "candidate" and w.phase == "generate" else w
        for w in record.windows
    ]  # fmt: skip
    return record.model_copy(update={"windows": windows})


def test_joules_are_those_of_a_device_that_stays_on():
    """150 J of its own, and half a second at 60 W; the device is made once, whoever is faster."""
    (group,) = groups([fast()])
    tokens = next(w.tokens for w in fast().windows if w.phase == "generate") / 10
    found = per_queries(group.rows[0], assumptions(["pue=1", "tokens_per_query=1000"]))
    assert found["queries_energy"].value == pytest.approx(180 / tokens * 1e6 / 3600)
    lines = impacts([group], assumptions())
    assert "always-on" in lines[0]
    assert not any(line.startswith("Of a busy device alone") for line in lines)


def test_without_idle_power_they_are_those_of_a_busy_device_and_it_is_said():
    (group,) = groups([fast(idle={})])
    tokens = next(w.tokens for w in fast().windows if w.phase == "generate") / 10
    found = per_queries(group.rows[0], assumptions(["pue=1", "tokens_per_query=1000"]))
    assert found["queries_energy"].value == pytest.approx(150 / tokens * 1e6 / 3600)
    (line,) = [line for line in impacts([group], assumptions()) if line.startswith("Of a busy")]
    assert "idle power was not measured" in line


LIFE_S = 4 * 8766 * 3600


def grams(cell):
    return float(cell.partition(" ")[0])


def test_making_the_device_is_borne_by_the_seconds_of_work():
    """1,000 queries of 1,000 tokens, of which a request has as many in a second, or half of one."""
    (group,) = groups([fast()])
    tokens = next(w.tokens for w in fast().windows if w.phase == "generate") / 10
    given = assumptions(["embodied_kg=100", "tokens_per_query=1000", "utilisation=0.4"])
    lines = impacts([group], given)
    head = cells(lines, "| g CO₂e of making the device per 1,000 queries")
    assert head[1:] == [f"{share} % utilisation" for share in (5, 20, 40, 50, 100)]
    busy_g = 100_000 * 1e6 / tokens / LIFE_S
    bought, shared = (
        cells(lines, "| any, the device stays bought"),
        cells(lines, "| `fast`, shared"),
    )
    for place, share in enumerate((0.05, 0.2, 0.4, 0.5, 1.0), start=1):
        assert grams(bought[place]) == pytest.approx(busy_g / share, rel=0.01)
        assert grams(shared[place]) == pytest.approx(busy_g / share / 2, rel=0.01)
    always = replace(given, utilisation=1.0)
    used, busy = (per_queries(group.rows[0], each)["queries_embodied"] for each in (given, always))
    assert used.value == pytest.approx(busy.value / 0.4)
    assert sum("TE × TiR ÷ EL (ISO/IEC 21031)" in line for line in lines) == 1


def test_a_run_on_a_cpu_bears_no_accelerator_and_says_so():
    cpu = examples.completed(device=examples.CPU)
    lines = impacts(groups([cpu]), assumptions())
    assert cells(lines, "| `int8`")[3] == "n/a (a)"
    assert any("an accelerator's is not charged to a CPU" in line for line in lines)
    assert not any("of making the device" in line for line in lines)
    (row,) = groups([cpu])[0].rows
    plain, told = (per_queries(row, assumptions(c)) for c in ([], ["embodied_cpu_kg=50"]))
    assert plain["queries_embodied"].value is None
    made_g = told["queries_embodied"].value
    assert made_g == pytest.approx(50_000 * 500_000 / 60 / LIFE_S)  # at its 60 tokens/s
    assert told["queries_carbon"].value == pytest.approx(plain["queries_carbon"].value + made_g)
