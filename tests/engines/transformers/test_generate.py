"""Generation in this process: tokens counted, each timed."""

import pytest
import torch
from transformers import GenerationConfig

from greenbench.engines.engine import Request
from greenbench.engines.transformers import generate
from greenbench.engines.transformers.generate import Clock, complete
from greenbench.schema.enums import Stop

CPU = torch.device("cpu")


def batch(prompt, new_tokens, stop=Stop.fixed):
    return [Request(tuple(row), new_tokens, stop) for row in prompt.tolist()]


def test_generation_makes_exactly_the_tokens_and_times_each(tiny):
    found = complete(tiny, batch(torch.randint(2, 256, (3, 5)), 6))
    assert [(each.tokens, each.prompt_tokens) for each in found] == [(6, 5)] * 3
    assert len(found[0].gaps_s) == 5
    assert 0 < found[0].ttft_s <= found[0].seconds
    assert found[0].ttft_s + sum(found[0].gaps_s) <= found[0].seconds


def test_a_loop_generates_in_the_models_place(tiny):
    said = []

    def loop(prompt, **kwargs):
        said.append(prompt.shape)
        return tiny.generate(prompt, **kwargs)

    (found,) = complete(tiny, batch(torch.randint(2, 256, (1, 5)), 3), loop)
    assert found.tokens == 3
    assert said == [(1, 5)]


class Ender:
    """Generates token ids as they are given, end-of-text (2) and padding (0) included."""

    device = CPU
    generation_config = GenerationConfig(eos_token_id=2, pad_token_id=0)

    def __init__(self, rows):
        self.rows = torch.tensor(rows)

    def generate(self, prompt, streamer, **_):
        streamer.put(prompt)
        for column in self.rows.T:
            streamer.put(column)
        return torch.cat([prompt, self.rows], dim=1)


def test_padding_after_the_end_is_no_token():
    prompt = torch.ones(3, 2, dtype=torch.long)
    model = Ender([[5, 2, 0, 0], [5, 6, 7, 2], [5, 6, 7, 8]])
    natural = complete(model, batch(prompt, 4, Stop.natural))
    assert [each.tokens for each in natural] == [2, 4, 4]
    assert [len(each.stamps_s) for each in natural] == [2, 4, 4]
    assert [each.tokens for each in complete(model, batch(prompt, 4))] == [4, 4, 4]


def test_tokens_that_arrive_together_share_their_time(monkeypatch):
    """Drafts that are accepted at once: three tokens 0.3 s after the last one waited 0.1 s each."""
    times = iter([0.0, 1.0, 1.3])
    monkeypatch.setattr(generate.time, "perf_counter", lambda: next(times))
    clock = Clock()
    for value in (torch.ones(1, 5), torch.ones(1), torch.ones(1, 3)):
        clock.put(value)
    assert clock.times == pytest.approx([0.0, 1.0, 1.1, 1.2, 1.3])
