"""A module of this process that answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import torch

from greenbench.engines import in_turn
from greenbench.engines.engine import Build, Completion, Footprint, Line, Request, T
from greenbench.engines.query import Nearness, Seen
from greenbench.engines.transformers.compiled import for_another_thread
from greenbench.engines.transformers.fidelity import Watch
from greenbench.engines.transformers.generate import complete
from greenbench.engines.transformers.scoring import LoadedModel
from greenbench.models.parts import positions
from greenbench.models.weights import storage_bytes

SOFTMAX_DTYPE = "float32"
"""lm-eval's default, the model's dtype, rounds log-likelihoods of 16 bits to 3 digits: enough to turn
1 choice in 75, with which flips against the baseline would be taken for the technique's."""
MARK = "\u241e"  # a symbol that no text or template contains


class HubTokenizer:
    """A tokenizer of transformers."""

    def __init__(self, plain: Any) -> None:
        self.plain = plain

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
        self._in_thread = for_another_thread()
        self.tokenizer = HubTokenizer(tokenizer)
        self.max_tokens = positions(model.config)

    def complete(self, batch: Sequence[Request]) -> list[Completion]:
        """One call of ``generate`` for all, whose prompts are of one length."""
        return complete(self._model, batch, self._loop)

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
            loop=self._loop,
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
