"""Verdicts, validity, boundaries and budgets, as the leaderboard's readers meet them."""

from __future__ import annotations

import itertools
import random
from typing import get_args

import pytest
from helpers import campaign, examples, factory
from markdown_it import MarkdownIt
from matplotlib.text import Annotation

from greenbench.analysis.energy.above_idle import above_idle, above_idle_ratio
from greenbench.analysis.energy.energy_by_meter import (
    TRUST,
    boundary_lines,
    disjoint,
    weakest,
)
from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import assumptions
from greenbench.analysis.verdicts import judge
from greenbench.report.figures import frontier_figure, frontier_svg
from greenbench.report.markdown.headline import answer, noise_floor
from greenbench.report.markdown.leaderboard import leaderboard
from greenbench.schema.codes import CODES, UNKNOWN, meaning
from greenbench.schema.quantity import Provenance, missing
from greenbench.schema.record import Prompted
from greenbench.stats.intervals import holm

RUNS = campaign.group()
WORDS = {
    "none": "equivalent",
    "saver": "**saves**",
    "coster": "**costs**",
    "same": "equivalent",
    "unsure": "inconclusive",
    "capped": "**saves**",
}


def write(records):
    """The leaderboard's text."""
    return leaderboard(groups(records), records, (), assumptions(), ())


def table(text, after):
    """Rows of the first table after the words `after`, as dicts by column title."""
    lines = text.partition(after)[2].splitlines()
    body = itertools.dropwhile(lambda line: not line.startswith("| "), lines)
    cells = [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for line in itertools.takewhile(lambda line: line.startswith("|"), body)
        if not line.startswith("|-")
    ]
    return [dict(zip(cells[0], row, strict=False)) for row in cells[1:]]


def headline(text):
    """The first group's headline rows by technique."""
    return {
        row["technique"].strip("`†⚑ "): row for row in table(text.partition("## 1.")[2], "**All")
    }


def only_row(*records):
    """The first row of the one group that `records` make."""
    (group,) = groups(records)
    return group.rows[0]


def test_each_run_shows_its_verdict_and_a_cost_is_as_loud_as_a_saving():
    rows = headline(write(RUNS))
    assert {name: row["verdict on energy"] for name, row in rows.items()} == WORDS
    (group,) = groups(RUNS)
    assert answer(group)[-1] == (
        "Verdicts on energy: **saves** `saver`, `capped` ⚑; **costs** `coster`; "
        "equivalent `same`; inconclusive `unsure`."
    )


def test_holm_runs_over_the_group_and_all_p_values_are_shown():
    shown = table(write(RUNS), "Verdicts and the numbers behind them")
    energy = {
        row["technique"].strip("`⚑ "): row for row in shown if row["metric"] == "`energy_per_token`"
    }
    raw = {
        run.name: run.verdicts["energy_per_token"].p_difference
        for run in RUNS
        if run.validity != "invalid"
    }
    for name, adjusted in zip(raw, holm(list(raw.values())), strict=True):
        assert energy[name]["p"] == f"{raw[name]:.2g}"
        assert energy[name]["p, Holm"] == f"{adjusted:.2g} (6 runs)"
        assert energy[name]["verdict"] == WORDS[name]
    assert energy["same"]["p, TOST"].endswith("(±2 %)")
    assert "too uncertain to tell a difference from none" in energy["unsure"]["why"]


def borderline(name):
    """A run that alone saves at p = 0.03, and does not among several like it."""
    return campaign.run(name, 0.965, spread=0.0435)


def test_a_saving_that_chance_could_have_made_in_a_sweep_is_no_saving():
    alone, among = (groups([borderline(name) for name in names])[0] for names in ("a", "abc"))
    p_value = alone.rows[0].verdicts["energy_per_token"].p_difference
    assert 0.05 / 3 < p_value < 0.05
    assert "`a` uses the least energy" in answer(alone)[0]
    assert "nothing is shown to help: the nearest, `a`," in answer(among)[0]
    assert "chance could do it" in write([borderline(name) for name in "abc"])


def test_metrics_and_groups_are_families_of_their_own():
    other = {"kind": "cuda", "name": "Other GPU"}
    runs = [borderline("a"), *(campaign.run(name, 0.7, device=other) for name in "bcd")]
    families = {
        row.label: row.verdicts["energy_per_token"].family
        for group in groups(runs)
        for row in group.rows
    }
    assert families == {"a": 1, "b": 3, "c": 3, "d": 3}


def test_uncertain_is_not_the_same_as_no_help():
    (sure,) = groups([campaign.run("same", 1.0), campaign.run("coster", 1.2)])
    (unsure,) = groups([campaign.run("unsure", 0.96, spread=0.09)])
    assert "nothing helps: the nearest, `same`" in answer(sure)[0]
    assert "nothing is shown to help: the nearest, `unsure`" in answer(unsure)[0]


def test_a_verdict_overrules_what_the_interval_looks_like():
    record = campaign.run("a", 0.7)
    barred = record.verdicts["energy_per_token"].model_copy(
        update={"verdict": "inconclusive", "barred": "the moon was full"}
    )
    doubted = record.model_copy(update={"verdicts": {"energy_per_token": barred}})
    assert "uses the least energy" in answer(groups([record])[0])[0]
    preface, hint, _ = answer(groups([doubted])[0])
    assert preface.startswith("Hints, no claims")
    assert "`a` drew the fewest joules: **0.700×" in hint


def test_barred_verdicts_say_why_once():
    text = write([campaign.run(name, 0.7, tier="smoke") for name in ("a", "b")])
    part = text.partition("## 1.")[2].partition("<summary>The answer")[0]
    assert "- verdict on energy: no claim (a) in every row" in part
    assert part.count("tier smoke makes no claims") == 2  # of verdicts, and of energy labels
    assert "Verdicts on energy:" not in text
    behind = text.partition("the numbers behind them")[2].partition("</details>")[0]
    assert behind.count("tier smoke makes no claims") == 1


def estimated(name, speed):
    """A run whose joules are estimates and whose speed is known."""
    meters = {"estimate": ("cpu_package", "estimated:model", 1.0)}
    record = campaign.run(name, 0.7, meters=meters)
    faster = [speed * value for value in (1, 1.01, 0.99, 1, 1.01, 0.99, 1, 1)]
    verdict = judge(
        "tokens_per_s", [1.0] * 8, faster, provenance="measured:clock", tier="dev", validity="valid"
    )
    return record.model_copy(update={"verdicts": record.verdicts | {"tokens_per_s": verdict}})


def test_estimates_are_judged_by_time():
    text = write([estimated("fast", 1.3), estimated("slow", 0.8)])
    rows = headline(text)
    assert "- verdict on energy: no claim (a) in every row" in text
    assert rows["fast"]["verdict on time per token"] == "**saves**"
    assert rows["slow"]["verdict on time per token"] == "**costs**"
    assert "Verdicts on time per token: **saves** `fast`; **costs** `slow`." in text
    assert text.partition("## 1.")[2].partition("<summary>")[0].count("an estimate is never") == 1


def test_measured_joules_need_no_column_for_time():
    assert "verdict on time per token" not in write(RUNS)


def test_records_from_before_verdicts_show_none_and_lose_nothing():
    text = write([examples.completed("old", energy=0.7)])
    assert "verdict on" not in text.partition("## 1.")[2]
    assert "`old` uses the least energy" in text
    for absent in ("the numbers behind", "Joules by boundary", "Uncertainty of the joules"):
        assert absent not in text


def test_an_old_record_among_new_ones_says_it_has_no_verdict():
    rows = headline(write([examples.completed("old", energy=0.7), campaign.run("new", 0.8)]))
    assert rows["old"]["verdict on energy"] == "n/a (a)"
    assert rows["new"]["verdict on energy"] == "**saves**"


def test_an_invalid_run_is_listed_and_is_nowhere_else():
    text = write(RUNS)
    part = text.partition("## Invalid runs")[2].partition("\n## ")[0]
    assert "`broken`" in part
    assert "`throttled`: heat or a power brake slowed the device down" in part
    assert "`unsettled`: the warm-up reached its limit" in part
    rest = text.replace(part, "").partition("## How to reproduce")[0]
    assert "broken" not in rest
    assert "7 completed (1 of them invalid: see Invalid runs)" in text
    assert "greenbench bench technique=broken" in text
    (axes,) = frontier_figure(groups(RUNS)).axes
    labels = {note.get_text() for note in axes.texts if isinstance(note, Annotation)}
    assert labels == {"none", "saver", "coster", "same", "unsure", "capped (flagged)"}


def test_where_every_run_is_invalid_the_leaderboard_says_so():
    text = write([campaign.run("a", 0.5, validity="invalid")])
    assert "Every completed run is invalid" in text
    assert "There is no completed run yet" not in text
    assert "uses the least" not in text
    assert "no code was recorded" in text


def test_an_invalid_run_without_codes_of_its_own_shows_its_windows():
    record = campaign.run("a", 0.5, validity="invalid")
    hurt = record.windows[3].model_copy(
        update={"validity": "invalid", "codes": ["counter_reset", "made_up"]}
    )
    text = write([record.model_copy(update={"windows": [*record.windows[:3], hurt]})])
    assert "`counter_reset` in 1 of 4 windows: the joule counter started again" in text
    assert f"`made_up` in 1 of 4 windows: {UNKNOWN.meaning}" in text


def test_a_flagged_run_stays_marked_with_its_codes():
    text = write(RUNS)
    assert "| `capped` ⚑ †" in text
    assert "- `power_capped`: the power limit held the clocks back for one model and not" in text
    only = write([campaign.run("capped", 0.8, validity="flagged", codes=["power_capped"])])
    assert "`capped` ⚑ uses the least energy" in only


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_meaning(code):
    assert meaning(code) != UNKNOWN.meaning


ALL = campaign.NVML | campaign.NVML_POWER | campaign.HOST


def test_boundaries_are_reported_apart_and_a_total_adds_only_disjoint_ones():
    lines = boundary_lines(only_row(campaign.run("a", 0.75, meters=ALL)))
    found = {(line.boundary, line.meter): line for line in lines}
    assert list(found) == [
        ("gpu", "nvml"),
        ("gpu", "nvml_power"),
        ("cpu_package", "rapl"),
        ("dram", "rapl_dram"),
        ("total: gpu + cpu_package + dram", "nvml + rapl + rapl_dram"),
    ]
    joules = [line.baseline.value for line in lines]
    assert joules == pytest.approx([3.0, 3.03, 0.6, 0.15, 3.75])
    assert [line.ratio.value for line in lines] == pytest.approx([0.75] * 5)
    assert lines[-1].candidate.value == pytest.approx(0.75 * 3.75)
    assert lines[-1].provenance == "measured:counter:rapl"
    assert "total: gpu + cpu_package + dram" in write([campaign.run("a", 0.75, meters=ALL)])


def test_a_total_with_an_estimate_is_an_estimate():
    meters = campaign.NVML | {"estimate": ("cpu_package", "estimated:model", 0.3)}
    total = boundary_lines(only_row(campaign.run("a", 0.75, meters=meters)))[-1]
    assert (total.boundary, total.provenance) == ("total: gpu + cpu_package", "estimated:model")
    assert "≈3.90 " in write([campaign.run("a", 0.75, meters=meters)])


@pytest.mark.parametrize(
    ("meters", "parts"),
    [
        (campaign.NVML | campaign.NVML_POWER, ["nvml"]),
        ({"plug": ("wall", "measured:wall", 2.0)} | campaign.NVML, ["nvml"]),
        (
            {"nvml": ("module", "measured:counter:nvml", 1.0)} | campaign.HOST,
            ["nvml"],
        ),
        (campaign.NVML | campaign.HOST, ["nvml", "rapl", "rapl_dram"]),
    ],
)
def test_what_another_boundary_contains_is_never_added(meters, parts):
    spans = [campaign.span(meter, meters, 0.0, 100.0) for meter in meters]
    assert [span.meter for span in disjoint(spans)] == parts
    lines = boundary_lines(only_row(campaign.run("a", 0.75, meters=meters)))
    assert any("total" in line.boundary for line in lines) == (len(parts) > 1)


def test_one_meter_needs_no_table_of_boundaries():
    assert "Joules by boundary" not in write([campaign.run("a", 0.75)])


def test_only_valid_blocks_count_at_every_boundary():
    record = campaign.run("a", 0.75, meters=ALL)
    spoiled = [
        window.model_copy(
            update={
                "validity": "invalid",
                "energy": [span.model_copy(update={"end_j": 1e9}) for span in window.energy],
            }
        )
        if window.block == 2 and window.who == "baseline"
        else window
        for window in record.windows
    ]
    lines = boundary_lines(only_row(record.model_copy(update={"windows": spoiled})))
    assert [line.baseline.value for line in lines] == pytest.approx([3.0, 3.03, 0.6, 0.15, 3.75])
    assert {line.ratio.n for line in lines} == {campaign.BLOCKS - 1}


def test_a_meter_that_a_window_lacks_leaves_that_block_out_of_its_total_only():
    record = campaign.run("a", 0.75, meters=ALL)
    windows = [
        window.model_copy(update={"energy": window.energy[:1]}) if window.block == 2 else window
        for window in record.windows
    ]
    lines = boundary_lines(only_row(record.model_copy(update={"windows": windows})))
    assert [line.ratio.n for line in lines] == [8, 7, 7, 7, 7]


@pytest.mark.parametrize(
    ("provenances", "expected"),
    [
        (["measured:counter:nvml", "measured:counter:rapl"], "measured:counter:rapl"),
        (["measured:wall", "measured:integrated:nvml"], "measured:wall"),
        (["measured:wall", "estimated:model"], "estimated:model"),
        (["estimated:model", "assumed"], "assumed"),
        (["measured:counter:nvml", "unavailable"], "unavailable"),
    ],
)
def test_a_chain_is_as_strong_as_its_weakest_part(provenances, expected):
    assert weakest(provenances) == weakest(provenances[::-1]) == expected


def test_every_provenance_of_joules_has_its_place():
    of_other_things = {"measured:clock", "measured:count", "measured:memory", "measured:score"}
    assert set(TRUST) == set(get_args(Provenance)) - of_other_things


def test_above_idle_takes_idle_power_off_and_leaves_the_headline_raw():
    row = only_row(campaign.run("a", 0.7, spread=0.0))
    found = above_idle(row)
    per_token_s = campaign.WINDOW_S / campaign.TOKENS
    assert found.value == pytest.approx((0.7 * campaign.BASELINE_W - campaign.IDLE_W) * per_token_s)
    assert (found.high - found.low) / 2 == pytest.approx(0.5 * per_token_s)
    assert row.energy.value == pytest.approx(0.7 * campaign.BASELINE_W * per_token_s)
    (shown,) = table(write([campaign.run("a", 0.7)]), "Quality and energy")
    assert shown["J/token above idle"].startswith("1.500 (")
    assert shown["idle power, W"] == "60.0 (59.5–60.5) `measured:counter:nvml`"


def test_ratios_above_idle_stand_beside_gross_ones_for_both_models():
    """300 W and 210 W at 60 W idle: 0.7 gross, and 150/240 above idle."""
    row = only_row(campaign.run("a", 0.7, spread=0.0))
    both = [above_idle(row, who).value for who in ("baseline", "candidate")]
    ratio = above_idle_ratio(row)
    assert ratio.value == pytest.approx(both[1] / both[0]) == pytest.approx(150 / 240)
    assert ratio.low < ratio.value < ratio.high  # idle power is not known exactly
    (shown,) = table(write([campaign.run("a", 0.7)]), "Quality and energy")
    assert shown["J/token of the baseline"].startswith("3.00 (")
    assert shown["ratio"].startswith("0.700")
    assert shown["baseline above idle"].startswith("2.400")
    assert shown["ratio above idle"].startswith("0.625")


def test_above_idle_is_only_as_good_as_the_idle_power():
    idle = factory.idle_power(60).model_copy(update={"provenance": "estimated:model"})
    assert above_idle(only_row(campaign.run("a", 0.7, idle={"both": idle}))).provenance == (
        "estimated:model"
    )


@pytest.mark.parametrize(
    ("idle", "reason"),
    [
        ({}, "no idle window with both models loaded"),
        ({"both": missing("W", "the two do not fit together")}, "the two do not fit together"),
    ],
)
def test_without_idle_power_above_idle_is_na_with_its_reason(idle, reason):
    text = write([campaign.run("a", 0.7, idle=idle)])
    (shown,) = table(text, "Quality and energy")
    assert shown["J/token above idle"] == shown["idle power, W"] == "n/a (a)"
    assert f"- (a) {reason}" in text


def test_budgets_show_every_part_and_what_is_not_known():
    text = write([campaign.run("a", 0.7, spread=0.01)])
    level, ratio = table(text, "Uncertainty of the joules")
    assert (level["number"], ratio["number"]) == (
        "`candidate.energy_per_token_j`",
        "`ratio.energy_per_token`",
    )
    assert level["gain"] == "2.89 %"
    assert ratio["gain"] == "cancels"
    assert ratio["tick at most"] == "0.0800 %"
    assert "- covers: the GPU alone" in text  # of both numbers
    meters = {"rapl": ("cpu_package", "measured:counter:rapl", 1.0)}
    text = write([campaign.run("a", 0.7, spread=0.01, meters=meters)])
    unknown = table(text, "Uncertainty of the joules")[0]
    assert (unknown["gain"], unknown["total"]) == ("not known", "n/a (a)")
    assert "- (a) the gain error of measured:counter:rapl is not known here" in text


def test_the_noise_floor_gives_the_verdict_on_two_equal_models():
    def said(**changes):
        return noise_floor(only_row(campaign.run("none", gained=0, lost=0, **changes)))

    assert "energy 1.001× (0.998–1.004), verdict equivalent, so less than" in said(ratio=1.001)
    biased = said(ratio=1.1)
    assert "verdict **costs**: something here favours one side" in biased


def test_how_each_run_went_is_told():
    record = campaign.run(
        "a",
        0.7,
        stopping=factory.stopping(reached=False, blocks=15, limit=15),
        warmup={"baseline": factory.settling(), "candidate": factory.settling(settled=False)},
    )
    part = write([record]).partition("## How it was measured")[2]
    assert (
        "`a`: 15 of at most 15 blocks, half-width 5.20 % of the ratio `energy_per_token`, "
        "target 3 % **not reached**; baseline settled after 12.5 s of warm-up by latency; "
        "candidate **not settled** after 12.5 s of warm-up by latency"
    ) in part
    assert "target 3 % reached" in write(RUNS)


def test_text_that_came_again_is_told_and_only_that():
    def told(*counts):
        runs = [
            campaign.run(f"run{number}", 0.7, prompts=count) for number, count in enumerate(counts)
        ]
        part = write(runs).partition("## How it was measured")[2]
        return [line for line in part.splitlines() if "word for word" in line]

    some, most, none = (Prompted(sent=240, repeated=each) for each in (32, 180, 0))
    assert told(some, most, None) == [
        "   - text: 13.3 % to 75.0 % of the prompts, by run, came again word for word"
    ]
    assert told(some) == ["   - text: 13.3 % of the prompts, by run, came again word for word"]
    assert told(none, None) == []


def test_any_order_of_runs_gives_the_same_report():
    first = write(RUNS)
    for seed in range(3):
        shuffled = random.Random(seed).sample(RUNS, len(RUNS))
        assert write(shuffled) == first
        assert frontier_svg(groups(shuffled)) == frontier_svg(groups(RUNS))


HOSTILE = (
    "a|b\n</details><script>alert(1)</script> [x](javascript:alert(1)) `c` **b** http://e.example"
)


def poisoned(name, text, **changes):
    """A run whose verdicts, budgets, codes and course say `text` wherever they are free to."""
    record = campaign.run(name, 0.7, meters=ALL, codes=[text], **changes)
    verdict = record.verdicts["energy_per_token"]
    budget = record.uncertainty["ratio.energy_per_token"]
    return record.model_copy(
        update={
            "verdicts": {
                "energy_per_token": verdict.model_copy(update={"barred": text, "reason": text}),
                "x": verdict.model_copy(update={"metric": text, "reason": text}),
            },
            "uncertainty": {text: budget.model_copy(update={"boundary": text, "reason": text})},
            "warmup": {"baseline": factory.settling().model_copy(update={"by": text})},
            "stopping": factory.stopping().model_copy(update={"metric": text}),
            "idle": {"both": missing("W", text)},
            "windows": [
                window.model_copy(
                    update={
                        "energy": [
                            span.model_copy(update={"meter": text + span.meter})
                            for span in window.energy
                        ]
                    }
                )
                for window in record.windows
            ],
        }
    )


def test_hostile_strings_stay_text():
    def parsed(text):
        runs = [
            poisoned("a", text, validity="flagged"),
            poisoned("b", text, validity="invalid"),
        ]
        tokens = MarkdownIt("commonmark").enable("table").parse(write(runs))
        return [inner for token in tokens for inner in [token, *(token.children or [])]]

    evil, plain = (parsed(text) for text in (HOSTILE, "plain"))
    html = [
        [t.content.strip() for t in found if t.type in {"html_block", "html_inline"}]
        for found in (evil, plain)
    ]
    assert html[0] == html[1]
    cells = {"table_open", "th_open", "td_open", "tr_open", "link_open", "list_item_open"}
    assert [t.type for t in evil if t.type in cells] == [t.type for t in plain if t.type in cells]
    assert any("<script>" in token.content for token in evil if token.type == "code_inline")


def test_workloads_that_stop_differently_stand_apart():
    natural = {"stop": "natural", "chat_template": True}
    records = [campaign.run("a", 0.7), campaign.run("b", 0.7, workload=natural)]
    titles = [group.setting.workload for group in groups(records)]
    assert sorted(titles)[1] == "chat (batch 1, 64 tokens in, up to 32 out, chat template)"
