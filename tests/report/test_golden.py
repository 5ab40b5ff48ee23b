"""Whole reports of fixed records, byte for byte: real CPU runs, and a GPU campaign that is simulated.

`pytest tests/report/test_golden.py --renew-golden` writes the expected pages anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import simulated

from greenbench import report
from greenbench.records.store import load

GOLDEN = Path(__file__).parent / "golden"
CPU_RUNS, CPU_BYTES = 4, 300_000


@pytest.fixture(scope="module")
def cpu():
    """Runs of the embedded model on a CPU, as `make bench` left them; only spaces were taken out."""
    loaded = load([GOLDEN / "cpu"])
    assert not loaded.rejected
    return loaded.records


@pytest.fixture
def gpu(fake_nvml, monkeypatch):
    """The simulated campaign: measured by the real meters on the fake driver."""
    return [simulated.Simulation(fake_nvml, monkeypatch, load).run() for load in simulated.CAMPAIGN]


def written(records, directory):
    """Every file of the report, by its name."""
    paths = report.write(directory, records, [])
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def check(name, records, tmp_path, renew):
    """The leaderboard is the golden one, and a second build of the shuffled records gives all again."""
    found = written(records, tmp_path / "once")
    golden = GOLDEN / name / "leaderboard.md"
    if renew:
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_bytes(found["leaderboard.md"])
    assert found["leaderboard.md"].decode() == golden.read_text(encoding="utf-8")
    assert written(records[::-1], tmp_path / "again") == found
    return found


def test_the_report_of_real_cpu_runs(cpu, tmp_path, request):
    assert len(cpu) == CPU_RUNS
    assert sum(file.stat().st_size for file in (GOLDEN / "cpu").rglob("*")) < CPU_BYTES
    found = check("cpu", cpu, tmp_path, request.config.getoption("--renew-golden"))
    assert {"frontier.svg", "figures/forest.svg", "figures/phases.svg", "figures/exits.svg"} <= {
        *found
    }


def test_the_report_of_a_simulated_gpu_campaign(gpu, tmp_path, request):
    found = check("gpu", gpu, tmp_path, request.config.getoption("--renew-golden"))
    drawn = {Path(name).stem for name in found if name.startswith("figures/")}
    assert drawn == {"crossover", "exits", "forest", "losses", "phases"}
    traces = [data for name, data in found.items() if name.startswith("traces/")]
    assert len(traces) == sum(load.traced for load in simulated.CAMPAIGN)
    text = found["leaderboard.md"].decode()
    assert text.count("Simulated GPU (fake NVML)") > 3
    assert "SIMULATED: no model ran" in text
    assert "`int4_torchao` pays from batch 8 down; costs at batch 32." in text
