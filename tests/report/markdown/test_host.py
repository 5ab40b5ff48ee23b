"""On a GPU's run the host's joules stand beside the GPU's, or that nobody measured them."""

import pytest
from helpers import campaign

from greenbench.analysis.energy.energy_by_meter import host_of
from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import assumptions
from greenbench.campaign.closing import outcome
from greenbench.report.markdown.choice import choose
from greenbench.report.markdown.leaderboard import leaderboard
from greenbench.report.page.data import page_data


def busy_host(ratio, host):
    """A candidate that draws `ratio` of the GPU's joules, and `host` of its host's."""
    record = campaign.run("drafts", ratio, spread=0.0, meters=campaign.NVML | campaign.HOST)
    windows = [
        w.model_copy(
            update={
                "energy": [
                    span.model_copy(
                        update={"end_j": span.start_j + (span.end_j - span.start_j) * host / ratio}
                    )
                    if w.who == "candidate" and span.meter != "nvml"
                    else span
                    for span in w.energy
                ]
            }
        )
        for w in record.windows
    ]
    return record.model_copy(update={"windows": windows})


def test_a_saving_on_the_gpu_may_cost_the_host():
    """300 W and 75 W beside it: 0.9 of the one and 1.6 of the other are 1.04 of both."""
    record = busy_host(0.9, 1.6)
    found = host_of(record)
    assert found.host.boundary == "cpu_package + dram"
    assert found.host.ratio.value == pytest.approx(1.6)
    assert found.host.candidate.value == pytest.approx(1.6 * 0.25 * 3)
    assert found.both.ratio.value == pytest.approx((0.9 + 0.25 * 1.6) / 1.25)
    (group,) = groups([record])
    text = "\n".join(choose(group))
    assert (
        "Host beside the GPU (cpu_package + dram, `measured:counter:rapl`), J/token: `drafts`"
        in text
    )
    assert "with the GPU 1.04" in text
    board = leaderboard([group], [record], [], assumptions(), [])
    assert "| J/token ratio with the host |" in board
    assert "1.60× (1.60–1.60) its host's" in outcome(record)
    (shown,) = page_data([group], [record], [], assumptions())["groups"]
    assert "with the GPU 1.04" in "".join(text for _, text in shown["host"][0])


def test_where_no_meter_reads_the_host_it_is_said():
    record = campaign.run("saver", 0.7)
    (group,) = groups([record])
    assert "Host not measured: these joules are of the GPU alone." in "\n".join(choose(group))
    assert "with the host" not in leaderboard([group], [record], [], assumptions(), [])
    assert outcome(record).endswith("its joules, host not measured")
    guessed = campaign.NVML | {"estimate": ("cpu_package", "estimated:model", 0.2)}
    assert host_of(campaign.run("saver", 0.7, meters=guessed)) is None


def test_of_a_cpus_run_and_of_a_module_nothing_is_said():
    for meters in (
        {"rapl": campaign.HOST["rapl"], "rapl_dram": campaign.HOST["rapl_dram"]},
        {"nvml": ("module", "measured:counter:nvml", 1.0)},
        {"nvml": ("module", "measured:counter:nvml", 1.0)} | campaign.HOST,
    ):
        record = campaign.run("saver", 0.7, meters=meters)
        (group,) = groups([record])
        assert "Host" not in "\n".join(choose(group))
        assert "host" not in outcome(record)
