"""Decoders of other kinds than Llama, whole runs: a right row, or one sentence."""

import pytest
import torch
from helpers.architectures import checkpoint, small_tokenizer
from transformers import AutoModelForCausalLM, BitsAndBytesConfig


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer()


@pytest.fixture
def runs(bench, tokenizer, tmp_path):
    """Runs a technique on a small checkpoint of a kind: exit status, what was said, the last record."""

    def run(kind, *arguments, directory=None):
        directory = directory or checkpoint(kind, tokenizer, tmp_path / kind)
        status, output = bench.run(f"model.path={directory}", "model.dtype=float32", *arguments)
        assert "Traceback" not in output
        last = max(bench.records(), key=lambda record: record["started_at"], default=None)
        return status, output, last

    return run


@pytest.fixture
def packed(tokenizer, tmp_path):
    """A checkpoint in 4 bits, as bitsandbytes leaves it."""
    plain = checkpoint("llama", tokenizer, tmp_path / "plain")
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
    )
    model = AutoModelForCausalLM.from_pretrained(
        plain, quantization_config=nf4, device_map={"": "cpu"}
    )
    model.save_pretrained(tmp_path / "packed")
    tokenizer.save_pretrained(tmp_path / "packed")
    return tmp_path / "packed"


@pytest.mark.parametrize("kind", ["gpt2", "mixtral"])
def test_a_decoder_of_another_kind_ends_in_a_right_row(runs, bench, kind):
    status, output, record = runs(kind, "technique=int8_torchao")
    assert status == 0, output
    (applied,) = record["techniques"]
    assert applied["promise"]["touched"] > 0.99  # a router stays as it is
    assert applied["touched"] > 0.98  # some stay what they are when rounded
    assert applied["promise"]["bytes_ratio"] == pytest.approx(
        record["ratios"]["model_bytes"]["value"], rel=0.03
    )
    board = (bench.results / "leaderboard.md").read_text()
    assert "| `int8_torchao` |" in board
    assert "blocks' weights changed" in board


@pytest.mark.slow
def test_experts_are_pruned_as_the_promise_says(runs):
    status, output, record = runs("mixtral", "technique=prune_magnitude")
    assert status == 0, output
    (applied,) = record["techniques"]
    assert applied["promise"]["sparsity"] == pytest.approx(0.5, abs=0.002)
    assert applied["touched"] > 0.99  # of the matrices: half of the weights in each are zero now


@pytest.mark.slow
def test_a_technique_that_reaches_little_is_refused_unless_asked_for(runs, bench):
    status, output, record = runs("dbrx", "technique=int8_torchao")
    assert (status, record) == (2, None)  # before anything is loaded
    assert (
        "technique=int8_torchao reaches 11.3 % of the weights in this dbrx model's blocks" in output
    )
    status, output, record = runs("dbrx", "technique=int8_torchao", "allow_partial=true")
    assert status == 0, output
    assert record["techniques"][0]["touched"] == pytest.approx(0.113, abs=0.002)
    assert "11.3 %" in (bench.results / "leaderboard.md").read_text()


def test_a_checkpoint_that_is_packed_already_is_named_so_and_not_packed_again(runs, bench, packed):
    status, output, record = runs("llama", "technique=prune_magnitude", directory=packed)
    assert (status, record) == (2, None)
    assert (
        "technique=prune_magnitude needs plain weights, and this checkpoint's are packed already "
        "(bitsandbytes, 4 bits, nf4)" in output
    )
    status, output, record = runs("llama", "technique=none", directory=packed)
    assert status == 0, output
    assert record["model"]["packing"] == "bitsandbytes, 4 bits, nf4"
    blocks, ends = 4 * 9 * 64 * 64, 2 * 512 * 64  # a scale for 64 weights; ends are float32
    assert record["baseline"]["metrics"]["model_bytes"]["value"] == pytest.approx(
        blocks * (1 / 2 + 4 / 64) + 4 * ends, rel=0.01
    )
    assert "bitsandbytes, 4 bits, nf4" in (bench.results / "leaderboard.md").read_text()
