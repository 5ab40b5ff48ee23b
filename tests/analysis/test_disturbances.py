"""Codes that only several windows show."""

from helpers.windows import campaign, window

from greenbench.analysis import disturbances
from greenbench.schema.window import POWER_CAP, Trace


def test_codes_of_a_run_come_from_its_windows_and_from_what_only_the_whole_shows():
    good = campaign(0.7)
    assert disturbances.run_codes(good, "smoke", settled=True) == []
    assert disturbances.run_codes(good, "dev", settled=False) == [
        "too_few_blocks", "unsettled",
    ]  # fmt: skip
    flagged = [w.model_copy(update={"validity": "flagged", "codes": ["residual"]}) for w in good]
    assert disturbances.run_codes(flagged, "smoke", settled=True) == ["residual"]


def test_a_clock_that_changes_between_windows_is_coded_and_one_that_a_technique_sets_is_not():
    def clocked(window, mhz):
        none = [None] * 3
        trace = Trace(
            step_s=0.1, power_w=none, temperature_c=none, sm_mhz=[mhz, None, mhz], mem_mhz=none,
            throttle=none, utilization=none,
        )  # fmt: skip
        return window.model_copy(update={"trace": trace})

    locked = [clocked(w, 1000 if w.who == "candidate" else 1980) for w in campaign(0.7)]
    assert disturbances.with_clock_codes(locked) == locked
    slower = [clocked(locked[0], 1600), *locked[1:]]
    first, *others = disturbances.with_clock_codes(slower)
    assert (first.codes, first.validity) == (["clock_change"], "flagged")
    assert others == locked[1:]
    assert disturbances.with_clock_codes(campaign(0.7)) == campaign(0.7)


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
