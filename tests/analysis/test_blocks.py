"""From windows to numbers, against closed forms."""

import pytest
from helpers.windows import campaign

from greenbench.analysis import blocks
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
