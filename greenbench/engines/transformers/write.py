"""Answers in words, each token timed, as a task asks for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from greenbench.engines.engine import Completion
from greenbench.engines.transformers.drawing import drawn
from greenbench.engines.transformers.endings import Endings
from greenbench.engines.transformers.generate import Clock
from greenbench.engines.transformers.sureness import Sureness
from greenbench.engines.writing import Ask, Markers, Written, ended_at, markers, shortest, thoughts


@torch.inference_mode()
def write(
    model: Any, tokenizer: Any, asks: Sequence[Ask], loop: Callable[..., Any] | None = None
) -> list[Written]:
    """Answer all of `asks` at once, which are drawn in the same way, each by its own seed.

    `loop` stands for ``model.generate``.
    """
    prompts, mask = _padded(asks, model, tokenizer)
    length = prompts.shape[1]
    marker = markers(getattr(tokenizer, "chat_template", None) and tokenizer.get_chat_template())
    draws = [ask.draw for ask in asks if ask.draw]
    process = drawn(draws, length) if draws else LogitsProcessorList()
    sureness = Sureness(length, process)
    clock = Clock()
    start_s = time.perf_counter()
    output = (loop or model.generate)(
        prompts.to(model.device),
        attention_mask=mask.to(model.device),
        generation_config=_config(model, max(ask.most_tokens for ask in asks)),
        logits_processor=LogitsProcessorList([sureness]) if asks[0].sure else process,
        stopping_criteria=StoppingCriteriaList([Endings(tokenizer, asks, length, marker)]),
        streamer=clock,
    )
    done_s = time.perf_counter()
    stamps = tuple(clock.times[1:])  # the first hand-out is the prompt itself
    ends = _ends(model)
    found = [
        _written(row, ask, tokenizer, marker, ends, start_s, stamps, done_s)
        for row, ask in zip(output[:, length:].tolist(), asks, strict=True)
    ]
    return [_sure(each, row, sureness) for row, each in enumerate(found)] if asks[0].sure else found


def _sure(written: Written, row: int, sureness: Sureness) -> Written:
    """With how sure the model is of what follows its thoughts."""
    answer = range(written.thought_tokens, written.completion.tokens)
    sure = sureness.of(row, answer or range(written.completion.tokens))
    return written._replace(completion=written.completion._replace(confidence=sure))


def _padded(asks: Sequence[Ask], model: Any, tokenizer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts of one length, and where they are no padding."""
    longest = max(len(each.tokens) for each in asks)
    pad = _pad(model, tokenizer)
    rows = [[pad] * (longest - len(each.tokens)) + list(each.tokens) for each in asks]
    mask = [[0] * (longest - len(each.tokens)) + [1] * len(each.tokens) for each in asks]
    return torch.tensor(rows), torch.tensor(mask)


def _pad(model: Any, tokenizer: Any) -> int:
    found = (model.generation_config.pad_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id)
    return int(next((each for each in found if each is not None), 0))


def _config(model: Any, most: int) -> GenerationConfig:
    pad = model.generation_config.pad_token_id or 0
    return GenerationConfig(do_sample=False, num_beams=1, max_new_tokens=most, pad_token_id=pad)


def _ends(model: Any) -> set[int]:
    """Tokens that end a text."""
    found = model.generation_config.eos_token_id
    return set() if found is None else set(found if isinstance(found, list) else [found])


def _written(
    row: list[int],
    ask: Ask,
    tokenizer: Any,
    marker: Markers | None,
    ends: set[int],
    start_s: float,
    stamps: tuple[float, ...],
    done_s: float,
) -> Written:
    """One row: what follows its end is padding."""

    def text(tokens: int, *, special: bool = False) -> str:
        return str(tokenizer.decode(row[:tokens], skip_special_tokens=not special))

    until = [each for each in ask.until if each]
    ended = next((place + 1 for place, token in enumerate(row) if token in ends), len(row))
    thought = thoughts(tokenizer.decode(ask.tokens), partial(text, special=True), ended, marker)

    def answer(tokens: int) -> str:
        rest = str(tokenizer.decode(row[thought:tokens]))
        return rest.lstrip() if thought else rest

    stopped = any(stop in answer(ended) for stop in until)
    if stopped:
        ended = shortest(ended, lambda tokens: any(stop in answer(tokens) for stop in until))
    tokens = min(ended, ask.most_tokens)
    finished = stopped or (tokens > 0 and row[tokens - 1] in ends)
    rest = str(tokenizer.decode(row[thought:tokens], skip_special_tokens=True))
    return Written(
        text(min(thought, tokens), special=True)
        + ended_at(rest, until, after_thoughts=thought > 0),
        Completion(tokens, len(ask.tokens), start_s, stamps[:tokens], done_s),
        cut=not finished,
        thought_tokens=min(thought, tokens),
    )
