"""A module of this process that answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import torch

from greenbench.engines import in_turn
from greenbench.engines.engine import Build, Completion, Footprint, Line, Request, T
from greenbench.engines.query import Nearness, Seen
from greenbench.engines.tokenizer import Manner
from greenbench.engines.transformers.compiled import cache_of, for_another_thread
from greenbench.engines.transformers.fidelity import Watch
from greenbench.engines.transformers.generate import complete
from greenbench.engines.transformers.scoring import LoadedModel
from greenbench.engines.transformers.tracing import TOOL, traced
from greenbench.engines.transformers.write import write
from greenbench.engines.writing import Ask, Written, bounded, markers
from greenbench.models.parts import positions
from greenbench.models.weights import storage_bytes
from greenbench.schema.profile import Trace

SOFTMAX_DTYPE = "float32"
"""lm-eval's default, the model's dtype, rounds log-likelihoods of 16 bits to 3 digits: enough to turn
1 choice in 75, with which flips against the baseline would be taken for the technique's."""
MARK = "\u241e"  # a symbol that no text or template contains


PLAIN = Manner()


class HubTokenizer:
    """A tokenizer of transformers."""

    def __init__(self, plain: Any, manner: Manner = PLAIN) -> None:
        """`manner` says what its chat template is told, and how long the model may think."""
        self.plain, self._manner = plain, manner

    @property
    def most_thoughts(self) -> int | None:
        """As it was made."""
        return self._manner.most_thoughts

    @property
    def prefix_id(self) -> int:
        """The begin-of-text token, or the one that ends texts."""
        return int(self.plain.bos_token_id or self.plain.eos_token_id)

    def encode(self, text: str) -> list[int]:
        """Token ids, without special tokens."""
        return list(self.plain(text, add_special_tokens=False)["input_ids"])

    def frame(self, *, chat: bool) -> tuple[list[int], list[int]]:
        """The chat template's tokens around a text, or the begin-of-text token."""
        if not chat or not getattr(self.plain, "chat_template", None):
            return list(self.plain("")["input_ids"][:1]), []
        whole = self.plain.apply_chat_template(
            [{"role": "user", "content": MARK}], tokenize=False, add_generation_prompt=True
        )
        before, _, after = whole.partition(MARK)
        return self.encode(before), self.encode(after)

    @property
    def ending(self) -> str | None:
        """As it stands in the vocabulary."""
        ends = self.plain.eos_token_id
        return None if ends is None else str(self.plain.decode(ends, skip_special_tokens=False))

    @property
    def template(self) -> str | None:
        """The one that is used where none is named."""
        if not getattr(self.plain, "chat_template", None):
            return None
        return str(self.plain.get_chat_template())

    def chat(self, turns: Sequence[Mapping[str, str]], *, opened: bool = True) -> str:
        """As lm-eval renders them: a template that knows no system's turn is given the others."""
        from jinja2 import TemplateError

        how = {
            "tokenize": False,
            "add_generation_prompt": opened,
            "continue_final_message": not opened,
            **dict(self._manner.template),
        }
        try:
            return str(self.plain.apply_chat_template(list(turns), **how))
        except TemplateError:
            others = [turn for turn in turns if turn["role"] != "system"]
            return str(self.plain.apply_chat_template(others, **how))

    def prompt(self, text: str) -> list[int]:
        """As lm-eval's class of transformers: a text with a begin-of-text token gets no other."""
        begins = self.plain.bos_token is not None and text.startswith(self.plain.bos_token)
        return list(
            self.plain(text, **({"add_special_tokens": False} if begins else {}))["input_ids"]
        )


class OnDevice:
    """The torch device of this process, as windows look at it: with a model on it or without."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def synchronize(self) -> None:
        """Wait for the device; a CPU is never ahead."""
        if self._device.type != "cpu":
            torch.accelerator.synchronize(self._device)

    def reset_peaks(self) -> None:
        """On every GPU of this process."""
        if self._device.type == "cuda":
            for gpu in range(torch.cuda.device_count()):
                torch.cuda.reset_peak_memory_stats(gpu)

    def device_peak_bytes(self) -> int | None:
        """Most bytes torch held on each GPU since the reset, summed; null on a CPU: see the host's."""
        if self._device.type != "cuda":
            return None
        gpus = range(torch.cuda.device_count())
        return sum(torch.cuda.max_memory_allocated(gpu) for gpu in gpus)

    def pids(self) -> frozenset[int]:
        """None but this one."""
        return frozenset()


class InProcess(OnDevice):
    """`model`, which runs on the device where it is."""

    def __init__(self, model: Any, tokenizer: Any, build: Build) -> None:
        super().__init__(model.device)
        self._model = model
        self._loop: Callable[..., Any] | None = build.loop
        self._whole = build.scored_whole
        self._watch: Watch | None = None
        self._longest = 0  # prompt and answer in words
        self._in_thread = for_another_thread()
        self.tokenizer = HubTokenizer(tokenizer, build.manner)
        self.max_tokens = positions(model.config)

    def complete(self, batch: Sequence[Request]) -> list[Completion]:
        """One call of ``generate`` for all, whose prompts are of one length."""
        return complete(self._model, batch, self._loop)

    def write(self, asks: Sequence[Ask]) -> list[Written]:
        """One call of ``generate`` for all, the shorter prompts padded in front."""
        needs = max(len(ask.tokens) for ask in asks) + max(ask.most_tokens for ask in asks)
        self._longest = max(self._longest, needs)
        plain = self.tokenizer.plain
        with cache_of(self._model, self._longest):
            return bounded(
                lambda some: write(self._model, plain, some, self._loop),
                asks,
                self.tokenizer.encode,
                markers(self.tokenizer.template),
            )

    tool = TOOL

    def traced(self, batch: Sequence[Request]) -> Trace:
        """What `complete` spends its time in."""

        def answered() -> None:
            self.complete(batch)
            self.synchronize()

        return traced(answered, self._device)

    def converse(self, talk: Callable[[Line], Awaitable[T]]) -> T:
        """One request after another, each a batch of its own, in a thread beside those of the run."""
        return in_turn.converse(self.complete, talk, self._in_thread)

    def language_model(self, done: Callable[[], None], reference: Seen | None) -> LoadedModel:
        """lm-eval's own class, with the work that requests share done once."""
        self._watch = Watch(reference)
        return LoadedModel(
            self._model,
            self.tokenizer.plain,
            done,
            self._watch,
            SOFTMAX_DTYPE,
            scored_whole=self._whole,
        )

    def nearness(self) -> tuple[Seen | None, list[Nearness]]:
        """By the logits at chosen places of texts."""
        return (self._watch.seen(), self._watch.nearness()) if self._watch else (None, [])

    def footprint(self) -> Footprint:
        """What the module truly holds."""
        return Footprint(
            self._model.num_parameters(),
            self._model.config.get_text_config().num_hidden_layers,
            storage_bytes(self._model, self._loop),
        )

    def close(self) -> None:
        """Let go of the module."""
        self._model = self._loop = self._watch = None
