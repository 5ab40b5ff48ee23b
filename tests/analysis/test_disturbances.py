"""Codes that only several windows show."""

import pytest
from helpers import load_windows
from helpers.windows import campaign, window

from greenbench.analysis import disturbances
from greenbench.analysis.blocks import valid_blocks
from greenbench.schema.window import POWER_CAP, WHO, Span, Trace


def test_codes_of_a_run_come_from_its_windows_and_from_what_only_the_whole_shows():
    good = campaign(0.7)
    assert disturbances.run_codes(good, "smoke", settled=True) == []
    assert disturbances.run_codes(good, "dev", settled=False) == [
        "too_few_blocks", "unsettled",
    ]  # fmt: skip
    flagged = [w.model_copy(update={"validity": "flagged", "codes": ["residual"]}) for w in good]
    assert disturbances.run_codes(flagged, "smoke", settled=True) == ["residual"]


def clocked(window, mhz):
    none = [None] * 3
    trace = Trace(
        step_s=0.1, power_w=none, temperature_c=none, sm_mhz=[mhz, None, mhz], mem_mhz=none,
        throttle=none, utilization=none,
    )  # fmt: skip
    return window.model_copy(update={"trace": trace})


def test_a_clock_that_changes_between_windows_is_coded_and_one_that_a_technique_sets_is_not():
    locked = [clocked(w, 1000 if w.who == "candidate" else 1980) for w in campaign(0.7)]
    assert disturbances.with_clock_codes(locked) == locked
    assert disturbances.with_clock_codes(campaign(0.7)) == campaign(0.7)


@pytest.mark.parametrize("falls", range(1, 20))
@pytest.mark.parametrize("blocks", [5, 6, 10])
def test_a_clock_that_falls_for_good_leaves_out_the_block_that_pairs_both_clocks(blocks, falls):
    """Wherever it falls, and by whatever share it is the lower clock that most windows have."""
    windows, place = [], 0
    for block in range(blocks):
        for who in WHO if block % 2 else WHO[::-1]:
            clock = (1980 if place < falls else 1400) * (0.7 if who == "candidate" else 1.0)
            windows.append(clocked(window(who, "generate", block, 64.0), round(clock)))
            place += 1
    kept = {w.block for w in valid_blocks(disturbances.with_clock_codes(windows))}
    mixed = {falls // 2} if falls % 2 and falls < 2 * blocks else set()
    assert kept == set(range(blocks)) - mixed


def test_a_clock_that_falls_for_one_model_of_a_block_leaves_the_block_out():
    """And for both flags it: their ratio is of one clock."""
    whole = [clocked(w, 1000 if w.who == "candidate" else 1980) for w in campaign(0.7)]

    def slowed(*who):
        return [
            clocked(w, w.trace.sm_mhz[0] * 0.8) if w.block == 0 and w.who in who else w
            for w in whole
        ]

    def codes(windows):
        return {(w.block, w.who): w.codes for w in windows if w.codes}

    one = disturbances.with_clock_codes(slowed("baseline"))
    assert codes(one) == {
        (0, "baseline"): ["clock_apart", "clock_change"], (0, "candidate"): ["clock_apart"],
    }  # fmt: skip
    assert {w.block for w in valid_blocks(one)} == {w.block for w in whole} - {0}
    both = disturbances.with_clock_codes(slowed("baseline", "candidate"))
    assert codes(both) == {(0, who): ["clock_change"] for who in WHO}
    assert valid_blocks(both) == both
    traffic = load_windows.serve("baseline", 0, 1.0).traffic
    arriving = [w.model_copy(update={"traffic": traffic}) for w in slowed("baseline")]
    assert codes(disturbances.with_clock_codes(arriving)) == {(0, "baseline"): ["clock_change"]}


def at_the_plug(wall_w, row_s=0.5, **counters_w):
    """Ten seconds by the wall's log and by counters of so many watts."""

    def span(boundary, power_w, provenance, tick_s):
        return Span(
            meter=boundary, boundary=boundary, provenance=provenance, tick_s=tick_s,
            start_s=0, start_j=7, end_s=10, end_j=7 + 10 * power_w,
        )  # fmt: skip

    found = [span(name, w, "measured:counter:rapl", 0.001) for name, w in counters_w.items()]
    found.append(span("wall", wall_w, "measured:wall", row_s))
    (coded,) = disturbances.with_wall_codes(
        [window("baseline", "generate", 0, 64.0).model_copy(update={"energy": found})]
    )
    return coded.codes, coded.validity


def test_counters_that_pass_the_wall_are_wrong():
    assert at_the_plug(120, cpu_package=80, dram=20) == ([], "valid")
    assert at_the_plug(96, cpu_package=80, dram=20) == ([], "valid")  # 4 %
    assert at_the_plug(94, cpu_package=80, dram=20) == (["above_wall"], "flagged")
    assert at_the_plug(90, cpu_package=80, dram=20) == (["above_wall_high"], "invalid")
    assert at_the_plug(450, gpu=300, cpu_package=80, dram=20) == ([], "valid")
    assert at_the_plug(310, gpu=300, cpu_package=80, dram=20) == (["above_wall_high"], "invalid")
    assert at_the_plug(310, module=300, cpu_package=80) == ([], "valid")  # it is in the module
    assert at_the_plug(90, row_s=2.0, cpu_package=100) == ([], "valid")  # five rows tell nothing
    assert at_the_plug(90) == ([], "valid")


def test_a_drift_of_the_baseline_is_coded():
    def series(factor):
        return [window("baseline", "generate", b, 64.0 * factor**b) for b in range(8)]

    assert disturbances.drift_codes(series(1.0)) == []
    assert disturbances.drift_codes(series(1.01)) == ["drift"]
    assert disturbances.drift_codes(series(1.03)) == ["drift_high"]


def test_a_gpu_at_its_power_limit_is_a_state_and_flagged_only_where_the_models_differ():
    def limited(windows, shares):
        found = []
        for w in windows:
            bits = [POWER_CAP if step < 10 * shares[w.who] else 0 for step in range(10)]
            none = [None] * 10
            trace = Trace(
                step_s=0.1, power_w=none, temperature_c=none, sm_mhz=none, mem_mhz=none,
                throttle=[None, *bits[1:]], utilization=none,
            )  # fmt: skip
            found.append(w.model_copy(update={"trace": trace}))
        return found

    def codes(baseline, candidate):
        windows = limited(campaign(0.7), {"baseline": baseline, "candidate": candidate})
        return disturbances.run_codes(windows, "smoke", settled=True)

    assert codes(1, 1) == codes(0.5, 0.5) == codes(0, 0) == []
    assert codes(1, 0.2) == codes(0, 1) == ["power_capped"]
    half = limited(campaign(0.7), {"baseline": 1, "candidate": 0})
    assert disturbances.capped(half, "baseline") == 1.0  # where nothing was reported is left out
    assert disturbances.capped(half, "candidate") == 0.0
    assert disturbances.capped(campaign(0.7), "candidate") is None
