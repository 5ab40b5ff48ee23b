"""A tiny random Llama that reads with the embedded model's real tokenizer."""

import copy

import pytest


@pytest.fixture(scope="session")
def tokenizer(smollm2):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm2[1])


@pytest.fixture(scope="session")
def config(tokenizer):
    from transformers import LlamaConfig

    return LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=len(tokenizer),
        initializer_range=0.2,  # so that its answers differ from each other
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )


@pytest.fixture(scope="session")
def make_model(config):
    """Makes fresh models in float32, all the same."""
    import torch
    from transformers import LlamaForCausalLM

    def make():
        torch.manual_seed(0)
        return LlamaForCausalLM(copy.deepcopy(config)).eval()

    return make


@pytest.fixture
def small_model(make_model):
    return make_model()
