"""``greenbench race`` through real runs: a fake engine of planted speeds on a fake GPU of constant power."""

import os
import re
from pathlib import Path

import pytest
from helpers import engines

UUID = "GPU-11111111-2222-3333-4444-555555555555"
GPU = f"device {UUID}\npower 300\ntick 0.02\n"
SITE = f"""
import greenbench.machine.detect as machine

machine.detect = lambda device: machine.Machine("cpu", "fake GPU", 1 << 34, uuids=("{UUID}",))
"""
"""Every process takes the CPU for a GPU."""
POINTS = "[greenbench.engines]\nspinning = helpers.engines\n"


@pytest.fixture
def racing(bench, nvml_library, tmp_path):
    site = tmp_path / "site"
    info = site / "spinning-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "sitecustomize.py").write_text(SITE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spinning\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    (tmp_path / "gpu.txt").write_text(GPU)
    path = [str(site), str(Path(engines.__file__).parents[1]), bench.environment["PYTHONPATH"]]
    bench.environment |= {
        "PYTHONPATH": os.pathsep.join(path),
        "FAKE_NVML": str(tmp_path / "gpu.txt"),
        "LD_LIBRARY_PATH": str(nvml_library.parent),
    }
    return bench


@pytest.mark.slow
@pytest.mark.timeout(900)  # a busy machine takes long over four runs or more
def test_the_faster_of_two_is_found_by_joules_and_a_second_race_goes_on_from_its_records(racing):
    """At constant power joules go with time: planted are, of a token, 0.3 and 1.5 times the baseline's."""
    words = [
        "race", *racing.quick, "engine=echo", "engine.token_s=0.01", "technique=engine",
        "technique.engine.to=echo", "technique.engine.knobs={token_s:0.003},{token_s:0.015}",
        "protocol.blocks=5", "protocol.max_blocks=5", "protocol.window_s=0.3",
        "workload.output_tokens=8", "--max-quality-loss", "100", "--budget", "1min",
    ]  # fmt: skip
    status, output = racing.call(*words)
    assert status == 0, output
    assert "by tokens per second" not in output
    (best,) = re.findall(r"^Best: engine\(.*token_s:0\.003}\), ([0-9.]+)×", output, re.MULTILINE)
    records = racing.records()
    assert {record["meter"]["used"][0] for record in records} == {"nvml"}
    ratios = [record["ratios"]["energy_per_token"]["value"] for record in records]
    assert float(best) == pytest.approx(min(ratios), rel=0.2)
    assert float(best) < 0.8 < 1.1 < max(ratios)
    assert "of the baseline's J/token; " in output
    assert " in its windows by nvml, saved again after " in output
    sessions = {record["spec"]["session"] for record in records}
    assert sessions == set(range(1, len(sessions) + 1))
    status, again = racing.call(*words)
    assert status == 0, again
    assert again.splitlines()[-3:] == output.splitlines()[-3:]
    assert len(racing.records()) == len(records)


def test_mistakes_are_one_sentence(bench):
    for words in (
        ["technique=int8_bnb", "--budget", "soon"],
        ["technique=int8_bnbb"],
        ["technique=int8_bnb", "--max-token-ms", "0"],
    ):
        status, output = bench.call("race", *words)
        assert (status, output.count("\n")) == (2, 1), output
