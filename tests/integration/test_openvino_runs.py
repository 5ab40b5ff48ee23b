"""A whole run through the real OpenVINO: its export tool, its server, and 8 bits beside plain weights."""

import pytest
from helpers.architectures import checkpoint, small_tokenizer
from helpers.servers import marked

from greenbench.engines.openvino import environment

pytestmark = [
    pytest.mark.openvino,
    pytest.mark.skipif(
        environment.version("openvino-genai") is None,
        reason="the real OpenVINO is not installed: make engine-openvino",
    ),
]


def test_both_models_of_a_run_are_exported_and_served_by_openvino(bench, tmp_path):
    path = checkpoint("llama", small_tokenizer(), tmp_path / "llama", hidden_size=128)
    status, output = bench.run(
        f"model.path={path}", "model.dtype=float32", "engine=openvino", "engine.threads=1",
        "technique=nncf", "workload.batch_size=2", "protocol.window_s=0.3",
    )  # fmt: skip
    assert status == 0, output
    assert "export to OpenVINO" in output
    (record,) = bench.records()
    assert record["status"] == "completed"
    assert (record["engine"]["name"], record["candidate_engine"]) == ("openvino", None)
    assert record["engine"]["version"] == environment.version("openvino-genai")
    assert "nncf" in record["engine"]["system"]
    assert record["engine"]["probe"]["baseline"] < 0.1
    assert record["engine"]["probe"]["candidate"] < 0.2  # its weights are rounded
    assert record["design"] == "interleaved"
    assert "foreign_process" not in {code for w in record["windows"] for code in w["codes"]}
    assert {score["task"] for score in record["quality"]} == {"sst2", "wikipedia_bpb"}
    (technique,) = record["techniques"]
    assert (technique["name"], technique["touched"]) == ("nncf", 1)
    assert technique["prepare_s"] > 1
    assert set(record["baseline"]["dtypes"]) == {"float32"}
    assert "uint8" in record["candidate"]["dtypes"]
    promised = technique["promise"]["bytes_ratio"]
    assert record["ratios"]["model_bytes"]["value"] == pytest.approx(promised, rel=0.05)
    assert record["ratios"]["tokens_per_s"]["value"] > 0
    assert {"openvino:nncf", "openvino:openvino"} <= set(record["spec"]["inputs"]["packages"])
    assert len(list((bench.results / "logs").glob("*.openvino-*.log"))) == 2
    page = (bench.results / "leaderboard.md").read_text()
    assert "with openvino" in page
    assert not marked(str(bench.directory))  # nothing is left of it
