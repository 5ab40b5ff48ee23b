"""Prompts of real text."""

import pytest
from helpers.engines import Words

from greenbench.engines.transformers.served import HubTokenizer
from greenbench.errors import UserError
from greenbench.measure.requests import Requests
from greenbench.schema.spec import WorkloadSpec

TEXTS = [f"{'a' * n} " * 40 for n in range(1, 30)]


def test_requests_are_seeded_exact_in_length_and_begin_as_the_model_expects():
    spec = WorkloadSpec("w", batch_size=3, prompt_tokens=9, output_tokens=2)
    one, same, other = (Requests(Words(), TEXTS, spec, seed) for seed in (0, 0, 1))
    assert [len(request.tokens) for request in one.batch(4)] == [9, 9, 9]
    assert one.batch(4) == same.batch(4)
    assert one.batch(0) != other.batch(0)
    assert one.batch(0) != one.batch(1)
    assert all(request.tokens[0] == 7 for request in one.batch(2))
    assert {request.new_tokens for request in one.batch(2)} == {2}
    assert {request.new_tokens for request in one.batch(2, 1)} == {1}


def test_too_long_a_prompt_is_one_sentence():
    with pytest.raises(UserError, match="prompt_tokens=100000"):
        Requests(Words(), TEXTS, WorkloadSpec("w", prompt_tokens=100_000), 0)


def test_a_chat_prompt_keeps_the_templates_frame_and_its_exact_length(smollm2):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2[1])
    spec = WorkloadSpec("w", prompt_tokens=64, chat_template=True)
    ours = HubTokenizer(tokenizer)
    (asked,) = Requests(ours, ["Some text about steam engines. " * 40] * 30, spec, 0).batch(0)
    text = tokenizer.decode(asked.tokens)
    assert len(asked.tokens) == 64
    assert text.startswith("<|im_start|>system")
    assert text.endswith("<|im_start|>assistant\n")
    assert "steam" in text
    with pytest.raises(UserError, match="chat_template=false"):
        Requests(ours, ["text"], WorkloadSpec("w", prompt_tokens=8, chat_template=True), 0)
