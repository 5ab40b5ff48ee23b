"""``greenbench reproduce`` through a real run, of a table that was made at home."""

from pathlib import Path

import pytest
import yaml
from helpers.published import SOURCE

from greenbench.machine.detect import cpu_name


@pytest.mark.slow  # a run in processes of its own, and another call
def test_a_table_made_at_home_is_run_and_judged(bench):
    name = next(Path(word).name for word in bench.quick if word.startswith("model.path="))
    common = {
        "metric": "tokens_per_s", "model": f"home/{name}", "device": cpu_name(),
        "engine": "transformers", "arrivals": "closed", "batch": 1,
        "technique": "dtype", "knobs": {"to": "float32"},
    }  # fmt: skip
    rows = [{"after": 1.5}, {"after": 1.5, "device": "NVIDIA H100"},
            {"after": 0.5, "metric": "energy_per_token", "boundary": "cpu_package"}]  # fmt: skip
    content = {"claims": "fp32 is faster", "source": SOURCE, "common": common, "rows": rows}
    (bench.directory / "home.yaml").write_text(yaml.safe_dump(content))
    given = [*bench.quick, "meter=estimate"]
    status, output = bench.call("reproduce", "home.yaml", *given)
    assert status == 0, output
    assert len(bench.records()) == 1  # all three ask for one run
    *_, here, there, joules, counts = output.splitlines()
    assert here.startswith(
        f"tokens per s, home/{name}, dtype(to=float32), batch 1, {cpu_name()}, transformers: "
    )
    assert (
        "published 1.50× (allowed 1.44–1.56, a tenth of the effect or 2 %, as no spread was published), here "
        in here
    )
    assert here.endswith("undecided: tier smoke claims nothing")
    assert f"not comparable: device class (NVIDIA H100 there, {cpu_name()} here)" in there
    assert "not comparable: joules (measured there, estimated here)" in joules
    assert counts == "0 reproduced, 0 contradicted, 1 undecided, 2 not comparable."
    status, again = bench.call("reproduce", "home.yaml", "results")
    assert status == 0
    assert again.splitlines()[-4:] == output.splitlines()[-4:]
