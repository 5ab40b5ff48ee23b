"""``technique=checkpoint``: somebody's files of the model in place of its own, through whole runs."""

import json
import shutil

import pytest

GPTQ = ["technique=gptq", "technique.gptq.bits=8"]


@pytest.fixture(scope="module")
def made(shared_bench):
    """What `make` left of the model with 8 bits, as a maker would publish it."""
    words = (*shared_bench.quick, *GPTQ, "engine=transformers", "-o", "published")
    status, output = shared_bench.call("make", *words)
    assert status == 0, output
    return shared_bench.directory / "published"


@pytest.fixture
def published(bench, shared_bench, made):
    """In the directory of a bench of the same model."""
    bench.quick = shared_bench.quick
    return shutil.copytree(made, bench.directory / "published")


def test_what_others_made_is_measured_beside_the_plain_model(bench, published):
    words = ["technique=checkpoint", f"technique.checkpoint.path={published}"]
    status, output = bench.run(*words)
    assert status == 0, output
    (record,) = bench.records()
    assert record["name"].endswith("checkpoint(published)")
    assert str(bench.directory) not in json.dumps(record)
    (chosen,) = record["spec"]["technique"]
    assert chosen["path"].startswith("published@")
    assert record["status"] == "completed"
    assert record["ratios"]["tokens_per_s"]["value"] > 0
    details = record["techniques"][0]["details"]
    assert details["packed"] == "compressed-tensors, 8 bits, pack-quantized"
    held = sum(file.stat().st_size for file in published.glob("*.safetensors"))
    assert details["file_bytes"] == held
    promise = record["techniques"][0]["promise"]
    assert promise["note"] == "the maker's files: compressed-tensors, 8 bits, pack-quantized"
    assert 0.4 < promise["bytes_ratio"] < 1  # 8 bits of the blocks' 16, and all of the embeddings
    status, output = bench.call("make", *bench.quick, *GPTQ, "-o", "again")
    assert f"checkpoint {record['candidate']['checkpoint']}" in output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say technique.checkpoint.id=ORG/MODEL, or technique.checkpoint.path=DIRECTORY"),
        (["technique.checkpoint.id=a/b", "technique.checkpoint.path=c"], "and not both"),
        (["technique.checkpoint.path=nowhere"], "is not a model directory"),
        (["technique.checkpoint.id=no/such"], "can neither be reached on the hub nor found"),
        (
            ["technique.checkpoint.path=published", "engine=llama_cpp"],
            "use engine=vllm or transformers",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(bench, published, words, said):
    status, output = bench.run("technique=checkpoint", *words)
    assert status == 2, output
    assert said in output
    assert "Traceback" not in output
    assert bench.records() == []


def test_edits_of_a_published_checkpoint_are_refused(bench, published):
    words = ["technique=[prune_depth,checkpoint]", "technique.checkpoint.path=published"]
    status, output = bench.run(*words)
    assert status == 2
    assert "gives the engine files as they are, so that prune_depth would change none" in output


def test_a_checkpoint_of_another_model_is_refused(bench, published, tiny_drafter):
    other = bench.directory / "other"
    shutil.copytree(published, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"vocab_size": 77}))
    status, output = bench.run("technique=checkpoint", "technique.checkpoint.path=other")
    assert status == 2, output
    assert "is no checkpoint of this model, as its vocab_size is 77" in output


@pytest.mark.parametrize(("method", "package"), [("awq", "gptqmodel"), ("gptq", "gptqmodel")])
def test_a_format_that_this_engine_cannot_read_is_one_sentence(bench, published, method, package):
    """As a candidate and as the model itself."""
    other = bench.directory / "packed"
    shutil.copytree(published, other)
    config = json.loads((other / "config.json").read_text())
    config["quantization_config"] = {"quant_method": method, "bits": 4, "group_size": 128}
    (other / "config.json").write_text(json.dumps(config))
    for words in (
        ["technique=checkpoint", "technique.checkpoint.path=packed"],
        ["technique=none", "model=local", "model.path=packed"],
    ):
        status, output = bench.run(*words)
        assert status == 2, output
        assert f"Model packed is packed ({method}" in output
        assert f"it needs the package {package} (pip install {package})" in output
        assert "Traceback" not in output
