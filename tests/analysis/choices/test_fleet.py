"""Devices that serve a rate and what they draw, against arithmetic by hand."""

import json

import numpy as np
import pytest
from helpers import campaign, examples
from helpers.load_windows import IDLE_W, NOISE, at_rates
from helpers.sound import sound
from scipy import stats

from greenbench.analysis.choices.fleet import Demand, fleet, fleets
from greenbench.analysis.choices.service import Limits
from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import HOURS_PER_YEAR, assumptions
from greenbench.cli.main import main
from greenbench.records.store import Store

GIVEN = assumptions(["country=FRA", "pue=2", "price_per_kwh=0.5"])
WATTS, MOST = {"baseline": 40.0, "candidate": 20.0}, {"baseline": 2.0, "candidate": 4.0}


def row(**changes):
    (group,) = groups([at_rates(**({"watts": WATTS, "most": MOST} | changes))])
    return group.rows[0]


def served(rate, limits=(), **changes):
    return fleet(row(**changes), Demand(rate, Limits(*limits)), GIVEN)


def test_devices_and_what_they_draw_by_hand():
    """At 40 requests/s: 20 devices of 2 each at 130 W, 10 of 4 each at 130 W."""
    found = served(40.0)
    assert (found.baseline.serves.value, found.candidate.serves.value) == (2.0, 4.0)
    assert (found.baseline.needed.value, found.candidate.needed.value) == (20, 10)
    assert found.baseline.power.value == pytest.approx(20 * (IDLE_W + 40 * 2))
    assert found.candidate.power.value == pytest.approx(10 * (IDLE_W + 20 * 4))
    assert found.saved.value == pytest.approx(1300)
    assert found.energy_kwh.value == pytest.approx(2 * 1.3 * HOURS_PER_YEAR)
    assert found.cost.value == pytest.approx(0.5 * 2 * 1.3 * HOURS_PER_YEAR)
    assert "no limits" in found.judged


def test_between_measured_rates_it_draws_what_lies_on_the_straight_line():
    """At 9 requests/s: 5 devices of 1.8 each, 3 of 3 each; power is linear in the rate."""
    found = served(9.0)
    assert (found.baseline.needed.value, found.candidate.needed.value) == (5, 3)
    assert found.baseline.power.value == pytest.approx(5 * (IDLE_W + 40 * 1.8))
    assert found.candidate.power.value == pytest.approx(3 * (IDLE_W + 20 * 3))


def test_below_the_lowest_rate_it_lies_between_idle_and_that():
    found = served(0.5)
    assert found.baseline.power.value == pytest.approx(IDLE_W + 40 * 0.5)
    alone = examples.quantity(30.0, 2.0, "W", "measured:counter:nvml")
    half = served(
        0.5, idle=alone
    )  # its idle power was seen to be less: half of 90 W and half of 30
    assert half.baseline.power.value == pytest.approx(0.5 * 90 + 0.5 * 30)
    # the baseline has no noise of its own: half of idle power's doubt is left
    assert half.baseline.power.high - half.baseline.power.value == pytest.approx(1.0)
    # both lie on the same line, so that idle power's doubt cancels
    assert half.saved.high - half.saved.value == pytest.approx(_half([0.5 * 20 * n for n in NOISE]))


def _half(values):
    return stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))


def test_the_interval_holds_how_many_devices_it_takes():
    """One device serves 4 and surely not 8: 10 devices, or as few as 6, which serve all 40 all the same."""
    found = served(40.0)
    assert (found.candidate.needed.low, found.candidate.needed.high) == (6, 10)
    noise = _half([20 * 40 * n for n in NOISE])
    idle = (
        6 * 0.5 * (40 / 6 - 4) / 4
    )  # beyond 4/s idle power's doubt counts: it parts what a request adds
    assert found.candidate.power.low == pytest.approx(
        6 * IDLE_W + 800 - np.hypot(noise * 1.0, idle)
    )
    assert found.candidate.power.high == pytest.approx(10 * IDLE_W + 800 + noise)
    assert (found.baseline.needed.low, found.baseline.needed.high) == (11, 20)
    assert found.baseline.power.low == pytest.approx(11 * IDLE_W + 1600, rel=0.01)
    assert found.saved.value == pytest.approx(20 * 130 - 10 * 130)
    few, many = (11 - 10) * IDLE_W + 800, (20 - 6) * IDLE_W + 800
    assert found.saved.low == pytest.approx(few - noise, abs=1)
    assert found.saved.high == pytest.approx(many + noise, abs=1)


def test_half_the_dynamic_power_is_shown_where_both_serve_as_much():
    """6 to 10 devices each, whose 40 requests/s take 1600 W or 800 W above idle."""
    found = served(40.0, most={"baseline": 4.0, "candidate": 4.0})
    assert found.saved.value == pytest.approx(800)
    assert found.saved.low == pytest.approx(800 - 4 * IDLE_W, rel=0.05)
    assert found.saved.high == pytest.approx(800 + 4 * IDLE_W, rel=0.05)
    assert found.not_shown is None


def test_without_idle_power_fewer_devices_have_no_interval():
    unknown = examples.quantity(None, None, "W", "unavailable")
    found = served(40.0, most={"baseline": 4.0, "candidate": 4.0}, idle=unknown)
    assert found.baseline.power.value == pytest.approx(10 * (IDLE_W + 160))
    assert (
        found.baseline.power.bounds is None
    )  # how much of it is idle power parts few devices from many
    assert "idle power has no interval" in found.not_shown


def test_an_end_without_an_interval_leaves_the_whole_without():
    """Idle power seen once parts what fewer devices draw, and its doubt is not known."""
    once = examples.quantity(IDLE_W, None, "W", "measured:counter:nvml")
    found = served(40.0, most={"baseline": 4.0, "candidate": 4.0}, idle=once)
    assert found.saved.value == pytest.approx(800)
    assert found.saved.bounds is None
    assert "idle power has no interval" in found.not_shown


def test_a_difference_whose_interval_holds_0_is_not_shown():
    assert served(40.0).not_shown is None
    same = served(
        40.0, most={"baseline": 4.0, "candidate": 4.0}, watts={"baseline": 20.0, "candidate": 20.0}
    )
    assert same.saved.low < 0 < same.saved.high
    assert same.not_shown == "the interval holds 0"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"most": {"baseline": 2.0, "candidate": 9.0}}, "the most is not shown"),
        ({"most": {"baseline": 0.5, "candidate": 4.0}}, "the queue grows at the smallest"),
        ({"source": "estimated:model"}, "estimates, which are never ranked"),
        ({"tier": "smoke"}, "tier smoke makes no claims"),
        ({"noise": (1.0,)}, "at no measured load are the limits surely kept"),
    ],
)
def test_what_is_not_shown_says_why(changes, why):
    found = served(40.0, **changes)
    assert why in found.not_shown


def test_a_model_that_serves_nothing_needs_no_number_of_devices():
    found = served(40.0, most={"baseline": 0.5, "candidate": 4.0})
    assert found.baseline.needed.value is None
    assert found.candidate.needed.value == 10
    assert found.saved.value is None


def test_the_runs_own_limits_are_those_that_were_counted():
    """At 2 a second 15 of the baseline's 20 requests kept them."""
    slo = {"ttft_ms": 60.0, "tpot_ms": 60.0}
    found = served(40.0, slo=slo, good={"baseline": {2.0: 15}}, limits=(60.0, 60.0))
    assert "90 % of the requests, the run's own" in found.judged
    assert found.baseline.needed.value == 40
    assert served(40.0, slo=slo, good={"baseline": {2.0: 15}}) == found  # without any, its own


def test_other_limits_are_held_against_the_90th_percentile():
    found = served(40.0, limits=(60.0, None))  # 50 ms to the first token at every rate
    assert "90th percentile" in found.judged
    assert found.baseline.needed.value == 20
    assert served(40.0, limits=(40.0, None)).baseline.needed.value is None
    assert served(40.0, limits=(None, 60.0)).candidate.needed.value == 10


def test_the_smallest_rate_takes_one_device():
    found = served(1e-9)
    assert (found.baseline.needed.value, found.candidate.needed.value) == (1, 1)
    assert found.baseline.power.value == pytest.approx(IDLE_W)


def test_where_one_device_surely_serves_the_rate_the_most_need_not_be_known():
    """At 1 request/s, half of what both were seen to serve: 90 W against 70 W."""
    found = served(1.0, most={"baseline": 4.0, "candidate": 4.0}, rates=(2.0,))
    assert found.baseline.serves.bounds is None
    assert (found.baseline.needed.bounds, found.candidate.needed.bounds) == ((1, 1), (1, 1))
    half = _half([20 * n for n in NOISE])
    assert (found.saved.low, found.saved.high) == pytest.approx((20 - half, 20 + half))
    assert found.not_shown is None
    two = served(3.0, most={"baseline": 4.0, "candidate": 4.0}, rates=(2.0,))
    assert "the most is not shown" in two.not_shown


def test_only_runs_of_techniques_at_rates_are_asked():
    users = at_rates(WATTS, MOST, unit="users")
    assert (
        fleets(
            groups([campaign.run("none", 1.0), campaign.run("x", 0.7), users]), Demand(4.0), GIVEN
        )
        == []
    )


def metered():
    """All of whose numbers follow from its windows: enough blocks, and idle power among them."""
    record = at_rates(WATTS, MOST, noise=(*NOISE, 1.0))
    resting = [campaign.window("both", "idle", None, IDLE_W * 10, campaign.NVML) for _ in range(2)]
    return sound(record.model_copy(update={"windows": [*record.windows, *resting]}))


@pytest.fixture
def results(tmp_path):
    Store(tmp_path / "loaded").write(metered())
    Store(tmp_path / "closed").write(campaign.run("x", 0.7))
    return tmp_path


def test_the_command_says_how_many_devices_in_every_format(results, capsys):
    said = {}
    for form in ("text", "markdown", "json"):
        words = ["advise", str(results / "loaded"), "--rate", "40", "--devices", "--country", "FRA"]
        assert main([*words, "--format", form]) == 0
        said[form] = capsys.readouterr().out
    flat = " ".join(said["text"].split())
    assert (
        "baseline: 20 (11 to 20) devices of 2 (2–4) requests/s each, draw 2.6 (2.1–2.6) kW" in flat
    )
    assert "saver: draws" in flat
    assert "less than the baseline" in flat
    assert "## smollm2-135m" in said["markdown"]
    (group,) = json.loads(said["json"])["groups"]
    assert group["runs"][0]["candidate"]["needed"]["value"] == 10
    assert group["runs"][0]["not_shown"] is None


def test_without_a_run_under_load_it_says_which_command_measures_one(results, capsys):
    words = ["--rate", "40", "--ttft-ms", "500", "--tpot-ms", "50", "--devices"]
    assert main(["advise", str(results / "closed"), *words]) == 0
    said = capsys.readouterr().out
    assert "No run of a technique was measured under load" in said
    assert (
        "greenbench bench technique=x workload=online load.rate=sweep slo.ttft_ms=500 slo.tpot_ms=50"
        in said
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--devices"], "--devices needs the rate"),
        (["--rate", "much"], "rate=much is not a number"),
        (["--rate", "0", "--devices"], "rate=0 is out of range"),
        (["--rate", "1e300", "--devices"], "give one above 0, from 1e-09 to 100000"),
        (["--rate", "1e-300", "--devices"], "rate=1e-300 is out of range"),
        (["--requests-per-day", "1e300"], "requests_per_day=1e300 is out of range"),
        (["--rate", "1", "--ttft-ms", "1e300"], "ttft_ms=1e300 is out of range"),
        (["--rate", "1", "--requests-per-day", "5"], "give one"),
        (["--ttft-ms", "500"], "give rate too"),
        (["--rate", "1", "--tpot-ms", "nan"], "tpot_ms=nan is out of range"),
    ],
)
def test_a_mistake_is_one_sentence(results, words, said, capsys):
    assert main(["advise", str(results / "loaded"), *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
