"""What is saved on a device that stays on, is shared, or is switched off: against arithmetic by hand."""

import numpy as np
import pytest
from helpers import campaign, factory
from scipy import stats

from greenbench.analysis.choices.advice import advise
from greenbench.analysis.choices.needs import needs
from greenbench.analysis.energy.per_request import ALWAYS_ON, NO_JOULES, OFF, SHARED, saving
from greenbench.analysis.energy.savings import payback_days, saved, too_many
from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import HOURS_PER_YEAR, assumptions
from greenbench.schema.window import WHO
from greenbench.stats.standard_errors import stay_error

KWH = 3.6e6
GIVEN = assumptions(
    ["country=FRA", "pue=1", "price_per_kwh=0.5", "embodied_kg=100", "lifetime_years=4"]
)
LIFETIME_S = 4 * HOURS_PER_YEAR * 3600


def twice_as_fast(watts=1.0, **changes):
    """A second and 300 J a request for the baseline; half the time at `watts` times its power."""
    record = campaign.run("fast", 0.5 * watts, spread=0.0, **changes)
    windows = [
        w.model_copy(update={"iteration_s": [0.5] * 10, "end_s": w.start_s + 5.0})
        if w.who == "candidate" and w.phase == "generate" else w
        for w in record.windows
    ]  # fmt: skip
    (group,) = groups([record.model_copy(update={"windows": windows})])
    return group.rows[0]


def test_twice_as_fast_at_equal_power_does_not_halve_a_box_that_stays_on():
    """150 J less, but half a second more at 60 W: 120 J, and of the whole box's joules far less than half."""
    row, requests, days = twice_as_fast(), 8640.0, 1.0
    found = {basis: saved(row, GIVEN, requests, basis, days) for basis in (ALWAYS_ON, SHARED, OFF)}
    assert found[ALWAYS_ON].energy_kwh.value == pytest.approx(requests * (150 - 60 * 0.5) / KWH)
    assert found[SHARED].energy_kwh.value == pytest.approx(requests * 150 / KWH)
    assert found[OFF].energy_kwh.value == pytest.approx(requests * 150 / KWH)
    box_j = requests * 300 + 60 * (86400 - requests)  # a tenth of the day at work
    assert found[ALWAYS_ON].baseline_kwh.value == pytest.approx(box_j / KWH)
    share = found[ALWAYS_ON].energy_kwh.value / found[ALWAYS_ON].baseline_kwh.value
    assert share == pytest.approx(1036800 / 7257600)  # a seventh, not a half
    assert found[SHARED].baseline_kwh.value == pytest.approx(requests * 300 / KWH)
    assert found[ALWAYS_ON].cost.value == pytest.approx(0.5 * requests * 120 / KWH)


def test_only_others_who_use_the_time_take_over_a_share_of_making_the_device():
    row, requests = twice_as_fast(), 1000.0
    grid = GIVEN.grid.g_per_kwh
    joules = {ALWAYS_ON: 120, SHARED: 150, OFF: 150}
    for basis, each in joules.items():
        made_g = 100_000 * requests * 0.5 / LIFETIME_S if basis == SHARED else 0.0
        carbon = saved(row, GIVEN, requests, basis).carbon_kg.value
        assert carbon == pytest.approx((requests * each / KWH * grid + made_g) / 1000)


def test_its_interval_holds_the_doubt_of_idle_power():
    """Half a watt of idle power either way is a quarter of a joule in half a second."""
    found = saving(twice_as_fast(), ALWAYS_ON)
    assert (found.low, found.high) == pytest.approx((120 - 0.25, 120 + 0.25))
    wobbling = campaign.run("same", 0.7)
    (group,) = groups([wobbling])
    gross = saving(group.rows[0], SHARED)
    assert saving(group.rows[0], ALWAYS_ON).bounds == pytest.approx(
        gross.bounds
    )  # no time is freed


def test_faster_at_more_power_may_save_joules_and_yet_cost_a_box_that_stays_on():
    """285 J in half a second instead of 300 J in one: 15 J less, and 30 J more of idling."""
    row = twice_as_fast(watts=1.9)
    assert saving(row, SHARED).value == pytest.approx(15)
    assert saving(row, ALWAYS_ON).value == pytest.approx(-15)
    assert payback_days(row, 1000, SHARED).value > 0
    assert payback_days(row, 1000).reason == "no break-even: it saves no energy"


def test_what_saves_joules_and_costs_a_box_that_stays_on_is_not_advised():
    """As 150 W and 230 W in half the time at 100 W idle: a request takes 70 J less, idling 100 J more."""
    row = twice_as_fast(watts=230 / 150, idle={"both": factory.idle_power(200)})
    assert saving(row, SHARED).value == pytest.approx(70)
    assert saving(row, ALWAYS_ON).value == pytest.approx(-30)
    (advice,) = advise([row.record], needs({"quality_loss": "9"}), GIVEN)
    assert (advice.answer, advice.best) == ("keep the baseline", None)
    yearly = saved(row, GIVEN, 8640 * 365.25, ALWAYS_ON, days=365.25)
    assert yearly.energy_kwh.value == pytest.approx(-30 * 8640 * 365.25 / KWH)
    assert yearly.carbon_kg.value < 0  # and nothing of making the box is shed


def test_answers_without_a_token_are_no_requests_to_compare():
    record = twice_as_fast().record
    (group,) = groups([record.model_copy(update={"windows": [
        w.model_copy(update={"tokens": 0}) if w.who == "candidate" and w.phase == "generate" else w
        for w in record.windows
    ]})])  # fmt: skip
    assert saving(group.rows[0], ALWAYS_ON, per_token=True).reason == NO_JOULES


def test_payback_by_hand():
    row = twice_as_fast()
    once = row.record.techniques[0].prepare_energy.value
    assert payback_days(row, 1000).value == pytest.approx(once / (1000 * 120))
    assert payback_days(row, 1000, SHARED).value == pytest.approx(once / (1000 * 150))


def test_what_does_not_fit_into_a_day_says_so():
    row = twice_as_fast()
    assert too_many(row, 86400, ALWAYS_ON) is None
    assert "take the baseline 48.0 hours a day" in too_many(row, 2 * 86400, ALWAYS_ON)
    found = saved(row, GIVEN, 2 * 86400.0, ALWAYS_ON, days=1.0)
    assert {
        each.reason for each in (found.energy_kwh, found.cost, found.carbon_kg, found.baseline_kwh)
    } == {too_many(row, 2 * 86400, ALWAYS_ON)}
    assert payback_days(row, 2 * 86400).value is None
    # others' time, or several devices that are switched off, are not limited to one day
    assert saved(row, GIVEN, 2 * 86400.0, SHARED, days=1.0).energy_kwh.value > 0


def test_idle_power_that_was_not_measured_leaves_the_box_that_stays_on_unknown():
    row = twice_as_fast(idle={})
    for basis in (SHARED, OFF):
        assert saved(row, GIVEN, 1000.0, basis).energy_kwh.value == pytest.approx(1000 * 150 / KWH)
    assert "idle power was not measured" in saved(row, GIVEN, 1000.0).energy_kwh.reason
    assert "idle power was not measured" in payback_days(row, 1000).reason
    alone = twice_as_fast(idle={"one": factory.idle_power(60)})
    assert saving(alone, ALWAYS_ON).value == pytest.approx(120)


STAYS = {"baseline": [1, 1, 3, 3, 3, 3, 5, 5], "candidate": [2, 2, 2, 2, 4, 4, 4, 4]}


def in_turn():
    """The candidate draws 2 % less after it was loaded again; 300 and about 180 J a request."""
    record = campaign.run("saver", 0.6, spread=0.001)

    def placed(w):
        if w.block is None:
            return w
        stay, (span,) = STAYS[w.who][w.block], w.energy
        start_s = 1000.0 * stay + 20 * w.block + 10 * (w.phase == "generate")
        end_j = span.start_j + (span.end_j - span.start_j) * (0.98 if stay == 4 else 1.0)
        energy = [span.model_copy(update={"end_j": end_j})]
        return w.model_copy(update={"start_s": start_s, "end_s": start_s + 10, "energy": energy})

    windows = [placed(w) for w in record.windows]
    return record.model_copy(update={"windows": windows, "design": "sequential"})


def test_of_models_in_turn_a_saving_is_no_surer_than_their_stays():
    record = in_turn()
    (group,) = groups([record])
    found = saving(group.rows[0], SHARED)
    sides = [
        [(w.energy[0].end_j - w.energy[0].start_j) / 10
         for w in record.windows if w.who == who and w.phase == "generate"]
        for who in WHO
    ]  # fmt: skip
    error = stay_error([np.array(side) for side in sides], (STAYS["baseline"], STAYS["candidate"]))
    half = error.size * stats.t.ppf(0.975, error.freedom)
    value = np.mean(sides[0]) - np.mean(sides[1])
    assert (found.value, *found.bounds) == pytest.approx((value, value - half, value + half))
    alone = record.model_copy(update={"design": "interleaved"})
    (group,) = groups([alone])
    assert saving(group.rows[0], SHARED).low > found.low


def test_a_saving_pays_for_blocks_whose_number_was_decided_by_the_first():
    """Four were planned, which wobble; the later ones, which do not, are worth less than their number."""
    record = campaign.run("saver", 0.6, spread=0.02)
    (calm,) = (
        w for w in record.windows
        if (w.who, w.phase, w.block) == ("candidate", "generate", 3)
    )  # fmt: skip
    windows = [
        w.model_copy(update={"energy": calm.energy})
        if w.who == "candidate" and (w.block or 0) > 3 and w.phase == "generate" else w
        for w in record.windows
    ]  # fmt: skip

    def width(blocks):
        plan = record.spec.protocol.model_copy(update={"blocks": blocks})
        spec = record.spec.model_copy(update={"protocol": plan})
        (group,) = groups([record.model_copy(update={"windows": windows, "spec": spec})])
        found = saving(group.rows[0], SHARED)
        return found.high - found.low

    assert width(4) > 1.1 * width(8)
