"""The calibration loop: a model's blocks one by one, on real text, each with its linears' inputs seen.

    for visit in visits(model, batches, Gram):
        for name, linear in visit.linears.items():
            linear.weight.data = better(linear.weight, visit.seen[name])

The loop holds the hidden states between two blocks and the activations of one block for one batch,
whatever the depth. It knows no architecture: it captures what the model itself gives each block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import nn

from greenbench.models.parts import decoder_blocks
from greenbench.schema.ranges import require
from greenbench.techniques.shared.linear_views import linear_layers
from greenbench.techniques.technique import Preparation

TEXT = {"cpu": (32, 256), "cuda": (128, 2048)}
"""Passages and tokens of each, by the kind of device."""
OWN = 512
"""Tokens of a passage up to which it is one text: the texts that come with GreenBench are seldom longer."""
BETWEEN = "\n\n"
"""Two texts of one passage."""


class Statistic(Protocol):
    """What is accumulated over the inputs of one linear layer."""

    def add(self, inputs: torch.Tensor) -> None:
        """Take `inputs` of shape (tokens, in_features)."""


Seen = TypeVar("Seen", bound=Statistic)


class Gram:
    """The second moments of the inputs: what GPTQ and SparseGPT call the Hessian, without its factor 2."""

    def __init__(self, layer: nn.Linear) -> None:
        width, device = layer.in_features, layer.weight.device
        self.matrix = torch.zeros(width, width, dtype=torch.float32, device=device)
        """Sum of x x^T over all tokens: (in_features, in_features), float32."""

    def add(self, inputs: torch.Tensor) -> None:
        """Take `inputs` of shape (tokens, in_features)."""
        plain = inputs.float()
        self.matrix.addmm_(plain.T, plain)


class SquaredNorm:
    """The squared L2 norm of every input feature."""

    def __init__(self, layer: nn.Linear) -> None:
        self.total = torch.zeros(layer.in_features, dtype=torch.float32, device=layer.weight.device)
        """Sum of x^2 over all tokens: (in_features,), float32."""

    def add(self, inputs: torch.Tensor) -> None:
        """Take `inputs` of shape (tokens, in_features)."""
        self.total += inputs.float().square().sum(0)


class MeanAbsolute:
    """The mean magnitude of every input feature: its activation importance (Minitron, arXiv 2407.14679)."""

    def __init__(self, layer: nn.Linear) -> None:
        self._total = torch.zeros(
            layer.in_features, dtype=torch.float32, device=layer.weight.device
        )
        self._tokens = 0

    def add(self, inputs: torch.Tensor) -> None:
        """Take `inputs` of shape (tokens, in_features)."""
        self._total += inputs.float().abs().sum(0)
        self._tokens += len(inputs)

    @property
    def value(self) -> torch.Tensor:
        """Mean of |x| over all tokens: (in_features,), float32; zeros where no token came by."""
        return self._total / max(self._tokens, 1)


@dataclass(frozen=True)
class Visit(Generic[Seen]):
    """One block, and what its linear layers were given."""

    index: int
    block: nn.Module
    linears: dict[str, nn.Linear]
    """The block's linear layers by their name in the block, such as ``mlp.down_proj``."""
    seen: dict[str, Seen]
    """Per linear layer, the statistic of its inputs."""

    def alike(self) -> list[list[str]]:
        """The names of the linear layers, those together that were given the same inputs."""
        found: dict[tuple[int, torch.dtype], list[str]] = {}
        for name, layer in self.linears.items():
            found.setdefault((id(self.seen[name]), layer.weight.dtype), []).append(name)
        return list(found.values())


def visits(
    model: Any,
    batches: Sequence[torch.Tensor],
    statistic: Callable[[nn.Linear], Seen],
    *,
    changing: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Visit[Seen]]:
    """Every block of `model`, in order, after its linears' inputs on `batches` were accumulated.

    `batches` are token ids of shape (batch, tokens) on the model's device. Whoever iterates may
    change or replace the block's linears meanwhile: the next block then sees what the changed block
    gives, which takes a second run of each block. Say ``changing=False`` to look only, at half the time.
    """
    blocks = decoder_blocks(model)
    calls = _captured(model, blocks, batches)
    hidden = [batch[0].hidden for batch in calls]
    for index, block in enumerate(blocks):
        progress(index, len(blocks))
        given = [batch[index] for batch in calls]
        linears = linear_layers(block)
        with _watching(linears, statistic) as seen:
            outputs = _outputs(block, given, hidden, keep=not changing)
        yield Visit(index, block, linears, seen)
        hidden = _outputs(block, given, hidden, keep=True) if changing else outputs
    progress(len(blocks), len(blocks))


def token_batches(preparation: Preparation, passages: int, tokens: int) -> list[torch.Tensor]:
    """The first `passages` calibration passages as token ids, each (1, at most `tokens`), on the device.

    A passage is a text, or where more than OWN tokens are asked for, as many texts as they take; there
    are fewer where the texts run out. One a batch, because padding would count as text in what is
    accumulated.
    """

    def encode(text: str) -> torch.Tensor:
        coded = preparation.tokenizer(text, return_tensors="pt", truncation=True, max_length=tokens)
        found: torch.Tensor = coded["input_ids"]
        return found

    texts: Iterable[str] = preparation.calibration()
    if tokens > OWN:
        texts = _joined(texts, tokens, lambda text: encode(text).shape[1])
    return [encode(text).to(preparation.device) for text in islice(texts, passages)]


def _joined(texts: Iterable[str], tokens: int, count: Callable[[str], int]) -> Iterator[str]:
    """Texts put together, so that each has `tokens` or more by `count`; what is left at the end is shorter.

    Each begins with the beginning of a text, as what a tokenizer sets there matters to some models.
    """
    parts: list[str] = []
    missing = tokens
    for text in texts:
        parts.append(text)
        missing -= count(text)
        if missing <= 0:
            yield BETWEEN.join(parts)
            parts, missing = [], tokens
    if parts:
        yield BETWEEN.join(parts)


def text_size(passages: int | None, tokens: int | None, device: str) -> tuple[int, int]:
    """Passages and tokens of each; where a knob leaves it open, as many as the kind of `device` makes
    a matter of minutes."""
    usual = TEXT[device]
    return passages or usual[0], tokens or usual[1]


def require_calibration(technique: str, passages: int | None, tokens: int | None) -> None:
    """Raise one sentence where the knobs that `token_batches` takes are out of range; null: left open."""
    key = f"technique.{technique}"
    require(passages is None or passages >= 1, f"{key}.passages", passages, "1 or more")
    require(tokens is None or tokens >= 2, f"{key}.tokens", tokens, "2 or more")


class _Call(NamedTuple):
    """What a model gave one block for one batch."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def hidden(self) -> torch.Tensor:
        found: torch.Tensor = self.args[0] if self.args else self.kwargs["hidden_states"]
        return found

    def repeat(self, block: Callable[..., Any], hidden: torch.Tensor) -> Any:
        """Call `block` in the same way on other hidden states."""
        if self.args:
            return block(hidden, *self.args[1:], **self.kwargs)
        return block(**{**self.kwargs, "hidden_states": hidden})


class _Captured(Exception):
    """Every block's call is known, so that the rest of the model need not run."""


@torch.no_grad()
def _captured(
    model: Any, blocks: nn.ModuleList, batches: Iterable[torch.Tensor]
) -> list[list[_Call]]:
    """Per batch and block, its whole call; only the first block's hidden states are the model's own.

    All blocks, because masks and position embeddings differ between a model's kinds of blocks
    (sliding windows). Blocks of one kind are given the same tensors, so this costs no more memory.
    """
    found: list[list[_Call]] = []
    with ExitStack() as stack:
        for place, block in enumerate(blocks):
            stack.enter_context(_skipped(block, found, last=place == len(blocks) - 1))
        for batch in batches:
            found.append([])
            try:
                model(batch, use_cache=False)
            except _Captured:
                continue
    return found


@contextmanager
def _skipped(block: nn.Module, found: list[list[_Call]], *, last: bool) -> Iterator[None]:
    """Let `block` hand on what it is given, in the form of its own output, and note the call."""
    whole, own = block.forward, vars(block).get("forward")
    tupled: list[bool] = []

    def note(*args: Any, **kwargs: Any) -> Any:
        call = _Call(args, kwargs)
        found[-1].append(call)
        if last:
            raise _Captured
        if not tupled:  # run once, to know whether it returns a tensor or a tuple
            tupled.append(isinstance(whole(*args, **kwargs), tuple))
        return (call.hidden,) if tupled[0] else call.hidden

    block.forward = note
    try:
        yield
    finally:
        if own is None:
            del block.forward
        else:
            block.forward = own


@contextmanager
def _watching(
    linears: dict[str, nn.Linear], statistic: Callable[[nn.Linear], Seen]
) -> Iterator[dict[str, Seen]]:
    """Statistics of every input of `linears`, by name.

    Layers that are given one and the same tensor (queries, keys and values) share one statistic.
    """
    seen = {name: statistic(layer) for name, layer in linears.items()}
    last: list[tuple[torch.Tensor, Seen]] = []

    def watch(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        def note(_: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            if last and last[0][0] is args[0]:
                seen[name] = last[0][1]
                return
            seen[name].add(args[0].flatten(0, -2))
            last[:] = [(args[0], seen[name])]

        return note

    with ExitStack() as stack:
        for name, layer in linears.items():
            stack.callback(layer.register_forward_pre_hook(watch(name)).remove)
        yield seen


@torch.no_grad()
def _outputs(
    block: nn.Module, calls: Sequence[_Call], hidden: Sequence[torch.Tensor], *, keep: bool
) -> list[torch.Tensor]:
    """The block's hidden states for every batch, or none where they are not to be kept."""
    kept = []
    for call, states in zip(calls, hidden, strict=True):
        output = call.repeat(block, states)
        if keep:
            kept.append(output[0] if isinstance(output, tuple) else output)
    return kept
