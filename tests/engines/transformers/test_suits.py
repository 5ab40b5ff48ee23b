"""What a model must be: told from its files, before any weights are read."""

import json

import pytest
import torch
from helpers.architectures import DECODERS, checkpoint, small_tokenizer
from helpers.techniques import CPU
from transformers import AutoConfig, AutoModelForCausalLM

from greenbench.engines.transformers.engine import Transformers
from greenbench.engines.transformers.suits import is_causal, require_causal
from greenbench.errors import Unsupported, UserError
from greenbench.schema.enums import Source
from greenbench.schema.spec import ModelSpec

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 64, "vocab_size": 64}  # fmt: skip
NO_DECODERS = {
    "bert": "looks ahead",
    "roberta": "looks ahead",
    "xlnet": "looks ahead",
    "rembert": "looks ahead",
    "t5": "has an encoder",
    "bart": "has an encoder",
    "vit": "is no language model that generates text",
    "clip": "is no language model that generates text",
    "mamba": "keeps a recurrent state",
    "mamba2": "keeps a recurrent state",
    "rwkv": "keeps a recurrent state",
    "jamba": "keeps a recurrent state",
    "recurrent_gemma": "keeps a recurrent state",
    "qwen3_next": "keeps a recurrent state",
    "falcon_h1": "keeps a recurrent state",
}


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer()


def files_of(config, tokenizer, directory):
    """A directory with a configuration and a tokenizer, and no weights at all."""
    config.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def suited(directory):
    spec = ModelSpec("mine", Source.local, path=str(directory))
    Transformers().check_model(spec, directory, CPU)


@pytest.mark.parametrize(("kind", "why"), NO_DECODERS.items())
def test_what_is_no_decoder_is_told_in_one_sentence(kind, why, tokenizer, tmp_path):
    try:
        config = AutoConfig.for_model(kind, **SMALL)
    except Exception:  # of kinds that name their sizes otherwise, each with an error of its own
        config = AutoConfig.for_model(kind)
    with pytest.raises(Unsupported, match=why) as error:
        suited(files_of(config, tokenizer, tmp_path))
    said = str(error.value)
    assert said.endswith(".")
    assert "\n" not in said
    assert len(said) < 300
    assert f"({kind})" in said


@pytest.mark.parametrize("kind", ["gpt2", "bloom", "mpt", "codegen", "llama", "mixtral", "gpt_oss"])
def test_a_decoder_is_let_through_without_weights(kind, tokenizer, tmp_path):
    config = AutoConfig.for_model(kind, **DECODERS[kind], vocab_size=len(tokenizer), pad_token_id=0)
    suited(files_of(config, tokenizer, tmp_path))


def test_an_encoder_that_is_made_to_decode_is_let_through(tokenizer, tmp_path):
    config = AutoConfig.for_model("bert", **SMALL, is_decoder=True)
    suited(files_of(config, tokenizer, tmp_path))


def test_a_model_that_looks_ahead_is_found_out_by_what_it_says():
    torch.manual_seed(0)
    for kind, more, ahead in [("bert", {}, True), ("bert", {"is_decoder": True}, False)]:
        config = AutoConfig.for_model(kind, **SMALL, **more)
        model = AutoModelForCausalLM.from_config(config).eval()
        assert is_causal(model) is not ahead
        if ahead:
            with pytest.raises(Unsupported, match="looks ahead"):
                require_causal(model, "mine")


def test_a_kind_that_transformers_does_not_know_is_one_sentence(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no_such_kind"}))
    with pytest.raises(UserError, match="does not know") as error:
        suited(tmp_path)
    assert "\n" not in str(error.value)


def test_a_model_without_a_tokenizer_is_one_sentence(tokenizer, tmp_path):
    AutoConfig.for_model("llama", **SMALL).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="no tokenizer that can be read") as error:
        suited(tmp_path)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith(".")


@pytest.mark.parametrize(
    "packed",
    [
        {"quant_method": "gptq", "bits": 4, "group_size": 128},
        {"quant_method": "awq", "bits": 4, "group_size": 128},
        {"quant_method": "no_such_method"},
    ],
    ids=lambda packed: packed["quant_method"],
)
def test_a_packed_checkpoint_that_nothing_here_reads_is_one_sentence(packed, tokenizer, tmp_path):
    config = AutoConfig.for_model("llama", **SMALL)
    files_of(config, tokenizer, tmp_path)
    document = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(document | {"quantization_config": packed}))
    with pytest.raises((Unsupported, UserError), match=r"packed|config\.json") as error:
        suited(tmp_path)
    assert "\n" not in str(error.value)


def test_a_checkpoint_made_here_is_suited(tokenizer, tmp_path):
    suited(checkpoint("llama", tokenizer, tmp_path / "llama"))
