"""``greenbench make`` leaves what a run was measured from, by the same hash."""

import json

import pytest

from greenbench.engines.llama_cpp.gguf_header import header
from greenbench.models import files

PRUNED = ["technique=prune_depth", "technique.prune_depth.fraction=0.25"]


def test_the_record_has_the_hash_of_what_make_leaves(bench):
    pytest.importorskip("xllamacpp", reason="no wheel of llama.cpp for this system")
    given = [*bench.quick, "engine=llama_cpp", "engine.threads=1", "protocol.window_s=0.3"]
    status, output = bench.run(*given, *PRUNED, quick=False)
    assert status == 0, output
    (record,) = bench.records()
    status, output = bench.call("make", *given, *PRUNED, "-o", "pruned")
    assert status == 0, output
    assert output.splitlines()[-1] == f"checkpoint {record['candidate']['checkpoint']}"
    assert "prepare" not in output, "the run has kept it"
    (file,) = (bench.directory / "pruned").iterdir()
    assert files.content(file) == record["candidate"]["checkpoint"]
    assert header(file).footprint().layers == 3
    status, output = bench.call("make", *given, "technique=none", "-o", "plain")
    assert status == 0, output
    assert f"checkpoint {record['baseline']['checkpoint']}" in output
    status, output = bench.call("make", *given, *PRUNED, "-o", "plain")
    assert status == 2
    assert output.count("\n") == 1
    assert "plain is there already and not empty" in output


def test_a_run_in_process_says_why_it_has_no_files(bench):
    status, output = bench.run(*PRUNED)
    assert status == 0, output
    (record,) = bench.records()
    candidate, baseline = record["candidate"], record["baseline"]
    assert candidate["checkpoint"] is None
    assert "greenbench make writes its files" in candidate["checkpoint_reason"]
    status, output = bench.call("make", *bench.quick, *PRUNED, "-o", "left")
    assert status == 0, output
    said = json.loads((bench.directory / "left" / "config.json").read_text())
    assert said["num_hidden_layers"] == 3
    assert (bench.directory / "left" / "tokenizer.json").exists()
    status, output = bench.call("make", *bench.quick, "technique=none", "-o", "plain")
    assert status == 0, output
    assert f"checkpoint {baseline['checkpoint']}" in output
