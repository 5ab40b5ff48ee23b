"""What the waiting model costs: watts with both less one, and CPU time of its server."""

import pytest
from helpers import campaign
from scipy import stats

from greenbench.analysis.idle import waiting, waiting_codes
from greenbench.stats.intervals import difference

ONE, BOTH = (60.0, 61.0, 60.5), (60.4, 61.2, 60.8, 61.0)


def windows(one_w=ONE, both_w=BOTH, cpu_share=None):
    """Two blocks of 300 W, and idle windows."""
    idle = [("one", w) for w in one_w] + [("both", w) for w in both_w]
    found = [campaign.window(who, "idle", None, 10 * w, campaign.NVML) for who, w in idle]
    for block in range(2):
        for who in ("baseline", "candidate"):
            busy = campaign.window(who, "generate", block, 3000.0, campaign.NVML)
            spent_s = None if cpu_share is None or who == "candidate" else 10 * cpu_share
            found.append(busy.model_copy(update={"waiting_cpu_s": spent_s}))
    return found


def test_the_difference_has_welchs_interval():
    found = difference(ONE, BOTH)
    known = stats.ttest_ind(BOTH, ONE, equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((known.low, known.high), rel=1e-9)
    assert found.value == pytest.approx(0.35)
    assert found.n == 3
    assert difference([1.0], [2.0, 3.0]).reason == "one observation has no interval"
    assert difference([1.0, 1.0], [3.0, 3.0])[1:3] == (2.0, 2.0)


def test_watts_are_those_of_both_less_those_of_the_baseline_alone():
    found = waiting(windows(), "no meter", None)
    assert found.power.value == pytest.approx(0.35)
    assert found.power.low < 0 < found.power.high
    assert found.power.provenance == "measured:counter:nvml"
    assert found.cpu == {}
    assert waiting_codes(found, windows()) == []


def test_why_there_are_none():
    assert "not loaded at once: no room" in waiting(windows(), "", "no room").power.reason
    assert waiting(windows(one_w=()), "", None).power.reason.startswith("no idle window")
    bare = [w.model_copy(update={"energy": []}) for w in windows()]
    assert waiting(bare, "no meter answered", None).power.reason == "no meter answered"
    assert waiting_codes(waiting(bare, "no meter answered", None), bare) == []


def test_power_is_a_fault_where_it_is_sure_and_over_two_percent_of_the_load():
    small = windows(one_w=(60.0, 60.1, 60.2), both_w=(65.0, 65.1, 65.2))
    large = windows(one_w=(60.0, 60.1, 60.2), both_w=(67.0, 67.1, 67.2))
    unsure = windows(one_w=(40.0, 60.0, 80.0), both_w=(50.0, 70.0, 90.0))
    found = [waiting_codes(waiting(each, "", None), each) for each in (small, large, unsure)]
    assert found == [[], ["waiting_costs"], []]  # 5 W, 7 W and perhaps 10 W beside 300 W


@pytest.mark.parametrize(("share", "codes"), [(0.01, []), (0.2, ["waiting_costs"])])
def test_a_server_that_spins_while_it_waits_is_a_fault(share, codes):
    spun = windows(cpu_share=share)
    found = waiting(spun, "", None)
    assert set(found.cpu) == {"candidate"}
    assert found.cpu["candidate"].value == pytest.approx(share)
    assert waiting_codes(found, spun) == codes
