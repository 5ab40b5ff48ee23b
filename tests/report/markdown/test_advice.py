"""Advice under limits: what is recommended, what it saves, and what is not shown yet."""

import json
from math import exp, sqrt

import numpy as np
import pytest
from helpers import campaign, examples, graded
from helpers.load_windows import at_rates
from scipy import stats

from greenbench.analysis.choices.advice import advise, with_changes
from greenbench.analysis.choices.limits import energy, quality
from greenbench.analysis.choices.needs import Needs
from greenbench.analysis.energy.per_request import request_ratio
from greenbench.analysis.energy.savings import payback_days, saved
from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import assumptions
from greenbench.cli.main import main
from greenbench.errors import UserError
from greenbench.records.store import canonical
from greenbench.report.markdown.advice import as_markdown, as_text

REQUESTS = 10  # in a window of the campaign, each of 3000 J for the baseline


def run(name, ratio, n=700, lost=0, **changes):
    """A run on so many items, of which the candidate loses some."""
    changes.setdefault("quality", [examples.score("sciq", 0, lost, n=n, right=n // 2)])
    return campaign.run(name, ratio, **changes)


def only(*records, **wanted):
    (found,) = advise(records, Needs(**wanted), assumptions())
    return found


def row(record):
    return groups([record])[0].rows[0]


def test_it_saves_the_mean_of_the_blocks_with_its_interval():
    """The wider of that of all eight and that of the five which decided that there are so many."""
    record = run("x", 0.7)
    per_request = campaign.BASELINE_W * campaign.WINDOW_S / REQUESTS
    blocks = [per_request * (1 - 0.7 * exp(0.004 * noise)) for noise in campaign.WOBBLE]
    first = record.spec.protocol.blocks
    half = max(
        stats.t.ppf(0.975, n - 1) * np.std(blocks[:n], ddof=1) / sqrt(len(blocks))
        for n in (first, len(blocks))
    )
    assert first < len(blocks)
    given = assumptions(["country=FRA", "pue=2", "price_per_kwh=0.5", "embodied_kg=0"])
    found = saved(row(record), given, requests=3.6e6)
    assert found.energy_kwh.value == pytest.approx(2 * np.mean(blocks))
    assert found.energy_kwh.low == pytest.approx(2 * (np.mean(blocks) - half))
    assert found.energy_kwh.high == pytest.approx(2 * (np.mean(blocks) + half))
    assert found.baseline_kwh.value == pytest.approx(2 * per_request)
    assert found.cost.value == pytest.approx(np.mean(blocks))
    grams = given.grid.g_per_kwh * 2 * np.mean(blocks)
    assert found.carbon_kg.value == pytest.approx(grams / 1000)
    assert request_ratio(row(record)).value == pytest.approx(
        record.ratios["energy_per_token"].value
    )


def test_a_batch_shares_its_joules():
    one, eight = (run("x", 0.7, workload={"batch_size": size}) for size in (1, 8))
    ratio = (
        saved(row(one), assumptions(), 1).energy_kwh.value
        / saved(row(eight), assumptions(), 1).energy_kwh.value
    )
    assert ratio == pytest.approx(8)


def test_preparation_pays_back_at_the_rate_given():
    """32 J x 4 s of preparation; 3 J a token, 100 tokens a request, of which 30 % are saved."""
    prepared = row(run("x", 0.7, spread=0.0)).record.techniques[0].prepare_energy.value
    days = payback_days(row(run("x", 0.7, spread=0.0)), requests_per_day=10)
    assert days.value == pytest.approx(prepared / (0.3 * 300 * 10))


def test_the_run_that_saves_most_and_is_shown_to_keep_the_needs_is_recommended():
    found = only(run("good", 0.8), run("best", 0.6), run("none", 1.0), run("lossy", 0.3, lost=100))
    assert found.answer == "recommended"
    assert found.best.row.label == "best"
    assert [option.row.label for option in found.runners_up] == ["good"]
    assert [option.row.label for option in found.left_out] == ["lossy"]
    assert found.steps == []


def test_too_few_items_are_no_evidence_and_the_command_asks_for_more():
    found = only(run("few", 0.6, n=100))
    assert found.answer == "not enough evidence"
    assert found.best is None
    (step,) = found.steps
    assert step.command == "greenbench bench technique=few task.items=700"
    assert only(run("enough", 0.6, n=700)).answer == "recommended"


def test_a_run_that_could_do_better_is_to_be_settled():
    found = only(run("sure", 0.8), run("few", 0.6, n=100), run("dear", 0.9, n=100))
    assert found.best.row.label == "sure"
    assert [option.row.label for option in found.undecided] == ["few", "dear"]
    assert [step.command for step in found.steps] == [
        "greenbench bench technique=few task.items=700"
    ]


def test_estimates_are_never_recommended_and_a_meter_would_settle_it():
    record = run("x", 0.5, meters={"estimate": ("cpu_package", "estimated:model", 1.0)})
    found = only(record)
    assert found.answer == "not enough evidence"
    assert found.steps[0].command.endswith("meter=wall meter.wall_log=FILE.csv")
    text = as_text([found], Needs(), assumptions())
    assert "the joules are not" in text
    assert "saves" not in text


def test_a_tier_without_claims_needs_longer_windows():
    found = only(run("x", 0.5, tier="smoke"))
    assert found.answer == "not enough evidence"
    assert found.steps[0].command.endswith("protocol=dev")


def test_an_unclear_saving_needs_more_blocks():
    found = only(run("x", 0.96, spread=0.09))
    assert found.answer == "not enough evidence"
    assert found.steps[0].command.endswith("protocol=publish")


def test_an_invalid_run_is_to_be_run_again():
    found = only(run("x", 1.3), run("spoiled", 0.5, validity="invalid", codes=["throttled"]))
    assert found.answer == "not enough evidence"
    (step,) = found.steps
    assert step.command == "greenbench bench technique=spoiled force=true"
    assert "heat" in step.why


def test_if_nothing_saves_the_baseline_is_kept_unless_it_breaks_a_limit():
    assert only(run("x", 1.3), run("none", 1.0)).answer == "keep the baseline"
    found = only(run("x", 1.3), run("none", 1.0), token_ms=1.0)
    assert found.answer == "nothing fits"
    assert found.baseline[0].outcome == "broken"


def test_only_the_a_a_run_is_too_little():
    found = only(run("none", 1.0))
    assert found.answer == "not enough evidence"
    assert found.steps[0].command == "greenbench bench --multirun +experiments=frontier-gpu"


@pytest.mark.parametrize(
    ("limit", "outcome"),
    [
        ({"token_ms": 20.3}, "kept"),  # 20 ms, 19.8 to 20.2
        ({"token_ms": 20.1}, "unsure"),
        ({"token_ms": 19.0}, "broken"),
        ({"first_token_ms": 41.0}, "kept"),
        ({"first_token_ms": 39.0}, "broken"),
        ({"memory_gb": 0.9}, "kept"),
        ({"memory_gb": 0.89}, "broken"),
    ],
)
def test_limits_hold_for_the_whole_interval(limit, outcome):
    found = only(run("x", 0.7), **limit)
    option = found.best or [*found.undecided, *found.left_out][0]
    assert option.checks[-1].outcome == outcome
    assert (found.answer == "recommended") == (outcome == "kept")


def test_no_accuracy_no_recommendation():
    found = only(run("x", 0.7, quality=[examples.bits_per_byte(1.0)]))
    assert found.answer == "not enough evidence"
    assert found.steps[0].command.endswith("task=core")


def test_overrides_replace_what_the_command_said():
    command = "greenbench bench 'technique=[a,b]' protocol=quick task.items=25"
    assert (
        with_changes(command, {"protocol": "dev", "task.items": "400"})
        == "greenbench bench 'technique=[a,b]' protocol=dev task.items=400"
    )
    assert with_changes("not 'a command", {"force": "true"}) == "'not '\"'\"'a command' force=true"


def test_the_order_of_the_records_changes_nothing():
    records = campaign.group()
    texts = [
        as_markdown(advise(some, Needs(), assumptions()), Needs(), assumptions())
        for some in (records, records[::-1])
    ]
    assert texts[0] == texts[1]


@pytest.fixture
def results(tmp_path):
    (tmp_path / "records").mkdir()
    for index, record in enumerate([campaign.prepared(run("<b>x\x1b[31m", 0.7)), run("none", 1.0)]):
        (tmp_path / "records" / f"{index}.json").write_bytes(canonical(record))
    return tmp_path


def test_the_command_answers_in_every_format(results, capsys):
    said = {}
    for form in ("text", "markdown", "json"):
        words = ["advise", str(results), "--requests-per-day", "1000", "--country", "FRA"]
        assert main([*words, "--format", form]) == 0
        said[form] = capsys.readouterr().out
    assert "Recommended: <b>x." in said["text"]
    assert "\x1b" not in said["text"] + said["markdown"]
    assert "&lt;b&gt;x" in said["markdown"]
    assert "France" in said["text"]
    (found,) = json.loads(said["json"])["groups"]
    assert found["answer"] == "recommended"
    assert found["recommended"]["saved"]["requests"] == pytest.approx(365_250)
    assert found["recommended"]["payback_days"]["value"] > 0


def test_nothing_measured_yet_says_what_to_run(tmp_path, capsys):
    assert main(["advise", str(tmp_path)]) == 0
    assert "greenbench bench --multirun" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["--max-quality-loss", "little"],
        ["--max-quality-loss", "0"],
        ["--max-token-ms", "nan"],
        ["--max-memory-gb", "-1"],
        ["--requests-per-day", "inf"],
        ["--country", "ATLANTIS"],
        ["--impact", "pue=0.5"],
        ["--model", "no such model"],
    ],
)
def test_bad_words_are_one_sentence(results, words, capsys):
    assert main(["advise", str(results), *words]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_path_that_is_not_there_is_one_sentence(capsys):
    assert main(["advise", "nowhere"]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_filters_choose_among_groups(results):
    records = [run("x", 0.7), run("x", 0.7, device=examples.CPU)]
    found = advise(records, Needs(), assumptions(), device="imaginary cpu")
    assert [advice.group.setting.device for advice in found] == ["Imaginary CPU (cpu)"]
    with pytest.raises(UserError, match="Imaginary GPU"):
        advise(records, Needs(), assumptions(), model="llama")


def fast(watts, seconds=0.5):
    """A request takes so many seconds, and the baseline one, at `watts` times its 300 W; idle are 60."""
    record = run("fast", seconds * watts, spread=0.0)
    windows = [
        w.model_copy(update={"iteration_s": [seconds] * 10, "end_s": w.start_s + 10 * seconds})
        if w.who == "candidate" and w.phase == "generate" else w
        for w in record.windows
    ]  # fmt: skip
    return record.model_copy(update={"windows": windows})


@pytest.mark.parametrize("needs", [{}, {"requests_per_day": 1000}])
def test_what_costs_a_box_that_stays_on_is_not_recommended(needs):
    """285 J in half a second instead of 300 J in one: idle for half a second more, it takes 15 J more."""
    found = only(fast(1.9), **needs)
    assert found.answer == "keep the baseline"
    assert "on a device that stays on a request saves −15.0 J" in found.left_out[0].broken[0].why


@pytest.mark.parametrize("needs", [{}, {"requests_per_day": 1000}])
@pytest.mark.parametrize("joules", [0.99, 1.01])
def test_slower_at_less_power_saves_on_a_box_that_stays_on(needs, joules):
    """297 or 303 J in 1.25 s instead of 300 J in one: it idles a quarter of a second less, of 15 J."""
    found = only(fast(joules / 1.25, 1.25), **needs)
    saved_j = 300 * (1 - joules) + 15
    assert found.answer == "recommended"
    (why,) = [check.why for check in found.best.checks if check.what == "energy"]
    assert f"on a device that stays on a request saves {saved_j:.2f} J" in why
    assert "no saving" not in why


def test_slower_with_nothing_saved_or_no_known_idle_power_is_not_recommended():
    costs = only(fast(1.06 / 1.25, 1.25))
    assert costs.answer == "keep the baseline"
    unknown = only(fast(0.99 / 1.25, 1.25).model_copy(update={"idle": {}}))
    assert unknown.steps[0].command.endswith("protocol.idle_s=30")


def test_without_idle_power_it_is_asked_for():
    unknown = only(fast(1.0).model_copy(update={"idle": {}}), requests_per_day=1000)
    assert unknown.steps[0].command.endswith("protocol.idle_s=30")


def test_all_three_cases_are_said_and_always_on_is_the_default():
    found = only(fast(1.0), requests_per_day=1000)
    assert found.best.saved.energy_kwh.value == pytest.approx(365.25e3 * 120 * 1.56 / 3.6e6)
    assert found.best.cases["shared"].energy_kwh.value == pytest.approx(
        365.25e3 * 150 * 1.56 / 3.6e6
    )
    assert found.best.payback_days == found.best.payback["always-on"]
    text = " ".join(as_text([found], Needs(requests_per_day=1000), assumptions()).split())
    for case in (
        "on a device that stays on: saves",
        "if others use the time that it frees: saves",
        "if the device is switched off when idle: saves",
    ):
        assert case in text


def test_more_than_fit_into_a_day_are_said_to():
    found = only(fast(1.0), requests_per_day=100_000)
    assert found.best.saved.energy_kwh.value is None
    text = " ".join(as_text([found], Needs(requests_per_day=100_000), assumptions()).split())
    assert "100,000 requests take the baseline 27.8 hours a day" in text


WATTS, MOST = {"baseline": 40.0, "candidate": 20.0}, {"baseline": 4.0, "candidate": 4.0}


def loaded(**changes):
    fields = {"quality": [examples.score("sciq", 0, 0, n=700, right=350)]} | changes
    return at_rates(**({"watts": WATTS, "most": MOST} | fields))


def test_at_a_rate_a_run_under_load_saves_what_lies_between_its_rates():
    """At 1.5 requests/s the baseline draws 50 + 60 W, the candidate 50 + 30 W."""
    found = only(loaded(), rate=1.5)
    assert found.answer == "recommended"
    assert found.best.ratio.value == pytest.approx(80 / 110, rel=1e-3)
    year_kwh = 1.56 * 8766 / 1000
    assert found.best.saved.energy_kwh.value == pytest.approx(30 * year_kwh)
    assert found.best.saved.baseline_kwh.value == pytest.approx(110 * year_kwh)
    same_a_day = only(loaded(), requests_per_day=1.5 * 86400)
    assert same_a_day.best.saved.energy_kwh.value == pytest.approx(30 * year_kwh)


def test_the_rate_must_be_served_by_one_device_within_the_limits():
    assert only(loaded(), rate=3.0, ttft_ms=60).answer == "recommended"
    assert only(loaded(), rate=3.0, ttft_ms=40).answer != "recommended"
    too_many = only(loaded(), rate=9.0)
    assert too_many.left_out[0].broken[-1].what == "rate"
    closed = only(run("x", 0.7), rate=0.5, ttft_ms=60)
    assert closed.steps[0].command == (
        "greenbench bench technique=x workload=online load.rate=sweep slo.ttft_ms=60"
    )
    assert only(run("x", 0.7), rate=0.5).answer == "recommended"


NONE_GOOD = dict.fromkeys((1.0, 2.0, 4.0, 8.0), 0)
STRICT = {"slo": {"ttft_ms": 40.0}, "good": {"baseline": NONE_GOOD, "candidate": NONE_GOOD}}


def test_looser_limits_than_the_runs_own_say_what_is_saved():
    """50 ms to the first token: none of the run's own 40 ms, all of the 60 ms asked for."""
    found = only(loaded(**STRICT), rate=1.5, ttft_ms=60)
    assert found.answer == "recommended"
    assert found.best.saved.energy_kwh.value == pytest.approx(30 * 1.56 * 8766 / 1000)
    assert only(loaded(**STRICT), rate=1.5).answer == "not enough evidence"


def test_one_device_of_each_must_serve_the_rate_within_the_limits():
    """A baseline that breaks them at the rate would take more devices, which two alone do not compare."""
    slow = {"slo": {"ttft_ms": 40.0}, "good": {"baseline": NONE_GOOD}}
    for wanted in ({"rate": 1.5}, {"requests_per_day": 1.5 * 86400}):
        energy = only(loaded(**slow), **wanted).undecided[0].unsure[0]
        assert "how much the baseline serves is not known: the limits are not kept" in energy.why
    two = only(loaded(most={"baseline": 4.0, "candidate": 8.0}), rate=5.0).undecided[0]
    assert (
        "one device of the baseline was seen to serve 4.00 requests/s, and these are 5.00"
        in two.unsure[0].why
    )


def test_a_loss_is_excluded_by_passages_where_items_share_them():
    """As in the leaderboard: 40 passages of 5 questions, one of which the candidate cannot read."""
    few = run("x", 0.7, n=200, lost=5)
    (score,) = few.quality
    items = [
        item.model_copy(update={"document": f"passage {place // 5}"})
        for place, item in enumerate(score.items)
    ]
    shared = few.model_copy(update={"quality": [score.model_copy(update={"items": items})]})
    alone, together = (quality(row(record), 6.0) for record in (few, shared))
    assert (alone.outcome, together.outcome) == ("kept", "unsure")


def test_at_a_rate_a_solved_problem_that_takes_more_is_no_saving():
    """Each request takes less, and so many more are wrong that a right answer takes more."""
    record = graded.run("x", joules=1.6, share=0.5)
    found = energy(row(record), 100.0)
    assert found.outcome == "broken"
    assert "per solved problem: 1.6" in found.why
    saver = energy(row(graded.run("y", joules=0.7, share=0.5)), 100.0)
    assert saver.outcome != "broken"
    assert "per solved problem: 0.7" in saver.why
