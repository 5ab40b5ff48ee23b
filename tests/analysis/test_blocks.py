"""From windows to numbers, against closed forms."""

from math import log, sqrt

import pytest
from helpers.windows import campaign, protocol, window
from scipy import stats

from greenbench.analysis import blocks
from greenbench.measure.schedule import rounds
from greenbench.stats.intervals import mean_interval


def test_drift_cancels_and_decode_is_generate_minus_prefill():
    windows = campaign(0.7)
    levels = blocks.metrics(windows, "baseline", "")
    mean_drift = (1 * 1.3 * 1.9) ** (1 / 3)
    assert levels["energy_per_token_j"].value == pytest.approx(64 / 32 * mean_drift)
    assert levels["prefill_energy_j"].value == pytest.approx(4 / 2 * mean_drift)
    # per iteration 32 J less 2 J, for 16 tokens less the first
    assert levels["decode_energy_per_token_j"].value == pytest.approx((32 - 2) / 15 * mean_drift)
    assert levels["energy_per_token_j"].low < levels["energy_per_token_j"].value
    for name, value in blocks.ratios(windows, "").items():
        assert value.value == pytest.approx(1 / 0.7 if name == "tokens_per_s" else 0.7), name
        assert value.high - value.low == pytest.approx(0, abs=1e-9), name
        assert value.n == 3


def test_without_a_meter_every_joule_is_null_with_the_reason():
    windows = [w.model_copy(update={"energy": []}) for w in campaign(0.7)]
    levels, ratios = (
        blocks.metrics(windows, "baseline", "no sun"),
        blocks.ratios(windows, "no sun"),
    )
    for found in (
        levels["energy_per_token_j"],
        levels["decode_energy_per_token_j"],
        ratios["energy_per_token"],
    ):
        assert (found.value, found.provenance, found.reason) == (None, "unavailable", "no sun")
    assert levels["tokens_per_s"].value > 0


def test_a_difference_below_zero_gives_no_ratio_but_a_reason():
    windows = [
        w.model_copy(update={"energy": [w.energy[0].model_copy(update={"end_j": 5.001})]})
        if w.phase == "generate" else w
        for w in campaign(0.7)
    ]  # fmt: skip
    found = blocks.ratios(windows, "")["decode_energy_per_token"]
    assert found.value is None
    assert "too short" in found.reason


def test_what_is_never_below_0_has_no_interval_below_it():
    """A t interval of two far values would reach there."""
    wide = mean_interval([0.1, 0.9])
    assert wide.low < 0 < 1 < wide.high
    share = blocks.as_amount(wide, "fraction", "measured:clock", most=1.0)
    assert (share.value, share.low, share.high) == (wide.value, 0.0, 1.0)
    watts = blocks.as_amount(wide, "W", "measured:counter:nvml")
    assert (watts.low, watts.high) == (0.0, wide.high)
    alone = blocks.as_amount(mean_interval([0.5]), "W", "measured:counter:nvml")
    assert (alone.low, alone.high) == (None, None)


def in_turn(blocks, most, louder=()):
    """Windows as they are taken of models in turn, the joules of each stay times what `louder` says."""
    found, stay, last = [], -1, None
    for part in rounds(protocol(blocks=blocks, max_blocks=most), 0, in_turn=True):
        for cell in part:
            stay, last = stay + (cell.who != last), cell.who
            joules = 64.0 if cell.phase == "generate" else 4.0
            each = window(cell.who, cell.phase, cell.block, joules * dict(louder).get(stay, 1.0))
            found.append(each.model_copy(update={"start_s": 2.0 * len(found)}))
    return found


def test_models_in_turn_have_a_stay_for_each_time_that_they_are_loaded():
    """Two turns of B C B C B: the baseline that ends the first begins the second, and stays."""
    baseline, candidate = blocks.stays(in_turn(4, 8)[::-1])
    assert baseline == [1, 3, 3, 5, 5, 7, 7, 9]
    assert candidate == [2, 2, 4, 4, 6, 6, 8, 8]


def test_a_level_that_shifts_as_a_model_is_loaded_is_one_observation_and_not_as_many_as_blocks():
    """The candidate draws 2 % more in one of its two stays: its mean is 1 % up, give or take four."""
    windows = in_turn(8, 8, {1: 1.02})
    alone = blocks.ratios(windows, "")["energy_per_token"]
    found = blocks.ratios(windows, "", in_turn=True)["energy_per_token"]
    rest = log(1.02) ** 2 * (
        1 / 2 - 4**2 / (2 * 7**2 + 2 * 4**2)
    )  # less what a drift would explain
    half = stats.t.ppf(0.975, 2) * sqrt(rest / 2 * (3 / 8 + 1 / 2))
    assert found.value == alone.value == pytest.approx(1.02**0.5)
    assert log(found.high / found.value) == pytest.approx(half)
    assert alone.low > 1 > found.low
    tests = [
        blocks.verdicts(windows, "dev", "valid", in_turn=each)["energy_per_token"].p_difference
        for each in (False, True)
    ]
    assert tests[0] < 0.05 < tests[1]
