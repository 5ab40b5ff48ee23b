"""What all tests share: a cache of converted models, and the small real model itself."""

import os
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
# A shell's background job ignores SIGINT, and every process the tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
CACHE = Path(
    os.environ.setdefault("GREENBENCH_CACHE", str(Path(tempfile.gettempdir()) / "greenbench-tests"))
)


@pytest.fixture(scope="session")
def smollm2():
    """Spec and directory of the embedded model, converted once."""
    from greenbench import models
    from greenbench.config import plan

    spec = plan(["model=smollm2-135m"], multirun=False)[0].spec.model
    return spec, models.directory(spec)


def tiny_llama(layers=4, seed=0):
    """A random Llama of 4 blocks, small enough for closed-form checks."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            vocab_size=256,
            max_position_embeddings=256,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
    ).eval()


@pytest.fixture
def tiny():
    """A fresh random Llama of 4 blocks."""
    return tiny_llama()


@pytest.fixture
def tiny_directory(tmp_path, smollm2):
    """A local model directory: a tiny random Llama with the embedded model's real tokenizer."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(smollm2[1])
    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=len(tokenizer),
        tie_word_embeddings=True,
        pad_token_id=tokenizer.eos_token_id,
    )
    path = tmp_path / "tiny-llama"
    LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory):
    """The fake NVML, compiled and named as the loader looks for it; tests/fakes/nvml.c says more."""
    source = Path(__file__).parent / "fakes" / "nvml.c"
    library = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *flags, "-o", library, source, "-lm"], check=True)
    return library
