"""What a configuration says of how its checkpoint is packed."""

import pytest
from transformers import AutoConfig, BitsAndBytesConfig, GPTQConfig

from greenbench.models.packing import packing

NF4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (None, None),
        (NF4, "bitsandbytes, 4 bits, nf4"),
        (NF4.to_dict(), "bitsandbytes, 4 bits, nf4"),
        (BitsAndBytesConfig(load_in_8bit=True), "bitsandbytes, 8 bits"),
        (GPTQConfig(bits=4), "gptq, 4 bits"),
        ({"quant_method": "fp8"}, "fp8"),
        ({}, "an unknown method"),
    ],
    ids=["plain", "nf4", "nf4 of a file", "int8", "gptq", "fp8", "unknown"],
)
def test_in_words_whether_from_a_file_or_a_configuration(said, words):
    assert packing({"quantization_config": said} if said is not None else {}) == words
    config = AutoConfig.for_model("llama")
    if said is not None:
        config.quantization_config = said
    assert packing(config) == words


def test_a_text_model_within_another_says_it_too():
    assert packing(
        {"text_config": {"quantization_config": {"quant_method": "awq", "bits": 4}}}
    ) == ("awq, 4 bits")
