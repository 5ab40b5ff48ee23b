"""What a window under load is read as, against arithmetic by hand."""

import pytest
from helpers.load_windows import serve
from helpers.windows import campaign

from greenbench.analysis import blocks
from greenbench.analysis.uncertainty import budgets
from greenbench.schema.metrics import (
    DECODE_ENERGY_PER_TOKEN,
    ENERGY_PER_TOKEN,
    PREFILL_ENERGY,
    TOKENS_PER_S,
    TPOT_P99,
    TTFT,
    TTFT_P90,
    TTFT_P99,
)
from greenbench.schema.quantity import missing


def loaded(factor=0.5, **changes):
    """Four blocks at 2 requests a second; the candidate takes `factor` of joules and seconds."""
    return [
        serve(who, block, 2.0, joules=1000.0 * scale * drift, e2e=[0.5 * scale] * 20, **changes)
        for block, drift in enumerate((1.0, 1.1, 0.9, 1.0))
        for who, scale in (("baseline", 1.0), ("candidate", factor))
    ]


def test_the_headline_under_load_by_hand():
    levels = blocks.metrics(loaded(), "baseline", "")
    assert levels[ENERGY_PER_TOKEN.name].value == pytest.approx(1000 / 200 * (1.1 * 0.9) ** 0.25)
    assert levels[TTFT.name].value == levels[TTFT_P90.name].value == pytest.approx(0.05)
    assert levels[TPOT_P99.name].value == pytest.approx(0.05)
    # 200 tokens while 20 requests were in flight for half a second each
    assert levels[TOKENS_PER_S.name].value == pytest.approx(200 / 10)
    found = blocks.ratios(loaded(), "")
    assert found[ENERGY_PER_TOKEN.ratio].value == pytest.approx(0.5)
    assert found[TTFT.ratio].value == pytest.approx(0.5)
    assert found[TOKENS_PER_S.ratio].value == pytest.approx(2.0)
    assert blocks.block_ratios(loaded(), ENERGY_PER_TOKEN.ratio) == pytest.approx([0.5] * 4)
    assert "candidate.energy_per_token_j" in budgets(
        loaded(), levels[ENERGY_PER_TOKEN.name], found[ENERGY_PER_TOKEN.ratio], missing("W", "none")
    )


def test_prefill_and_decode_are_not_told_apart_under_load():
    levels, found = blocks.metrics(loaded(), "candidate", ""), blocks.ratios(loaded(), "")
    for metric in (PREFILL_ENERGY, DECODE_ENERGY_PER_TOKEN):
        for quantity in (levels[metric.name], found[metric.ratio]):
            assert quantity.value is None
            assert "under load" in quantity.reason
    assert not {PREFILL_ENERGY.ratio} & blocks.verdicts(loaded(), "dev", "valid").keys()


def test_a_run_without_load_has_the_ratios_that_it_always_had():
    assert set(blocks.ratios(campaign(0.7), "")) == {
        "energy_per_token", "prefill_energy", "ttft", "tpot", "tokens_per_s",
        "decode_energy_per_token",
    }  # fmt: skip


def test_a_window_in_which_nothing_was_answered_has_no_ratio_and_a_reason():
    nothing = serve("baseline", 9, 2.0, requests=0.0, e2e=(), in_flight=[0], flight_s=0.0)
    windows = [*loaded(), nothing, serve("candidate", 9, 2.0)]
    for metric in (ENERGY_PER_TOKEN, TOKENS_PER_S, TTFT):
        assert blocks.metrics(windows, "baseline", "")[metric.name].reason == blocks.NO_VALUE
        assert blocks.ratios(windows, "")[metric.ratio].reason == blocks.NO_VALUE
    assert blocks.verdicts(windows, "dev", "valid")[TTFT.ratio].verdict == "inconclusive"


def test_a_percentile_among_requests_never_answered_is_missing():
    levels = blocks.metrics(loaded(due=22, ended=22, unfinished=2), "baseline", "")
    assert levels[TTFT.name].value == levels[TTFT_P90.name].value == pytest.approx(0.05)
    assert levels[TTFT_P99.name].value is None


def test_where_the_queue_grows_latency_is_unbounded_and_joules_are_given():
    levels = blocks.metrics(loaded(ended=15), "baseline", "")
    assert levels[TTFT.name].reason.startswith("unbounded: the queue grew")
    assert levels[ENERGY_PER_TOKEN.name].value > 0
    assert blocks.ratios(loaded(ended=15), "")[TTFT.ratio].reason.startswith("unbounded")
