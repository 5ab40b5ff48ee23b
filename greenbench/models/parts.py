"""A model's parts, found in its module tree: blocks, their matrices, the final norm, the output head."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from greenbench.errors import Unsupported

POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")
"""What configurations call the number of places that a model knows."""

BY_BLOCK = (
    "layer_types", "mlp_layer_types", "attention_layers", "no_rope_layers", "layers_block_type",
)  # fmt: skip
BLOCK_NUMBERS = ("mlp_only_layers",)
"""What configurations call lists with one entry for each block, and lists of blocks."""


def decoder_blocks(model: Any) -> nn.ModuleList:
    """The stack of transformer blocks, whatever the architecture calls it."""
    depth = model.config.get_text_config().num_hidden_layers
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return module
    raise Unsupported(
        f"{type(model).__name__} has no list of {depth} blocks: "
        "techniques that act on blocks do not know this architecture."
    )


def blueprint(config: Any) -> Any:
    """The model that `config` describes, without weights: all shapes, and no memory."""
    from transformers import AutoModelForCausalLM

    # Only a user who trusted the repository has a config whose code came from it.
    trusted = type(config).__module__.startswith("transformers_modules")
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, trust_remote_code=trusted)


def output_head(model: Any) -> nn.Module:
    """The layer that gives logits."""
    head: nn.Module | None = model.get_output_embeddings()
    if head is None:
        raise Unsupported(
            f"{type(model).__name__} has no output head of its own: exits do not know this architecture."
        )
    return head


def final_norm(model: Any) -> nn.Module:
    """The norm behind the last block, which sits beside the blocks."""
    blocks = decoder_blocks(model)
    for parent in model.modules():
        children = list(parent.children())
        norms = [child for child in children if "norm" in type(child).__name__.lower()]
        if norms and any(child is blocks for child in children):
            found: nn.Module = norms[-1]
            return found
    raise Unsupported(
        f"{type(model).__name__} has no norm beside its blocks: exits do not know this architecture."
    )


def positions(config: Any) -> int | None:
    """Tokens that a text may have, by the model's configuration; null where it sets no limit."""
    text = config.get_text_config()
    found = (getattr(text, name, None) for name in POSITIONS)
    return next((int(limit) for limit in found if limit), None)


def keep_layers(text: Any, kept: Sequence[int]) -> None:
    """Let a text configuration be that of a model with only the blocks `kept`, in place.

    What it lists block by block goes with them, and numbers of blocks become what they are then.
    """
    for name in BY_BLOCK:
        if getattr(text, name, None):
            setattr(text, name, [getattr(text, name)[index] for index in kept])
    for name in BLOCK_NUMBERS:
        if getattr(text, name, None):
            setattr(text, name, [kept.index(i) for i in getattr(text, name) if i in kept])
    if getattr(text, "attention_types", None):  # GPT-Neo's, which is expanded to attention_layers
        text.attention_types = [[[kind], 1] for kind in text.attention_layers]
    text.num_hidden_layers = len(kept)


def weight_count(module: nn.Module) -> int:
    """Numbers in the matrices of `module`; a packed matrix counts by the shape it stands for."""
    return sum(_sizes(module))


def _sizes(module: nn.Module) -> Iterator[int]:
    seen: set[int] = set()
    for part in module.modules():
        linear = getattr(part, "out_features", 0) * getattr(part, "in_features", 0)
        own = dict(part.named_parameters(recurse=False))
        if linear:  # its weight may be packed, in parameters and buffers of other shapes and names
            sizes = {id(own.get("weight", part)): linear}
        else:
            sizes = {id(weight): weight.numel() for weight in own.values() if weight.ndim > 1}
        yield from (size for key, size in sizes.items() if key not in seen)
        seen |= set(sizes)


class Marks(NamedTuple):
    """What tells matrices apart: of each slice of each matrix, its size, dtype and the sum of its bits."""

    found: Counter[tuple[int, torch.dtype, int]]
    total: int
    """Numbers in all of them."""

    def share_changed(self, after: Marks) -> float:
        """The share of these numbers that lie in slices which `after` has no more."""
        gone = self.found - after.found
        return sum(size * count for (size, _, _), count in gone.items()) / max(self.total, 1)


@torch.no_grad()
def marks(blocks: nn.Module) -> Marks:
    """The marks of all plain matrices in `blocks`: vectors, such as norms and biases, do not count, and
    packed ones may change how they lie without changing what they say."""
    found: Counter[tuple[int, torch.dtype, int]] = Counter()
    for weight in blocks.parameters():
        plain = type(weight.data) is torch.Tensor and weight.is_floating_point()
        if weight.ndim < 2 or not plain:
            continue
        for part in weight.flatten(0, -3) if weight.ndim > 2 else [weight]:
            found[part.numel(), part.dtype, _bits(part)] += 1
    return Marks(found, sum(size * count for (size, _, _), count in found.items()))


def _bits(matrix: torch.Tensor) -> int:
    """The sum of its numbers' bits: the same however it lies, another if one of them changes."""
    same_width = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    whole = matrix.detach().contiguous().view(same_width[matrix.element_size()])
    return int(whole.sum(dtype=torch.int64))


Run = Callable[..., torch.Tensor]
"""A block's own forward: hidden states, then all else by name; it returns hidden states."""


def returns_tuple(model: Any) -> bool:
    """Whether the model's blocks return their hidden states as the first of several things."""
    seen: list[bool] = []
    block = decoder_blocks(model)[0]
    handle = block.register_forward_hook(lambda *call: seen.append(isinstance(call[-1], tuple)))
    try:
        with torch.no_grad():
            token = torch.zeros((1, 1), dtype=torch.long, device=model.device)
            model(token, use_cache=False)
    finally:
        handle.remove()
    return seen[0]


def rewire(
    block: nn.Module,
    instead: Callable[[Run, torch.Tensor, dict[str, Any]], torch.Tensor],
    *,
    tupled: bool,
) -> Callable[[], None]:
    """Have `block` do `instead`, however the model's loop calls it; return what undoes that.

    `instead` gets the block's own forward, the hidden states and all else by name. `tupled` is what
    `returns_tuple` says of the model.
    """
    before, own = vars(block).get("forward"), block.forward
    signature = inspect.signature(own)

    def run(hidden: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        given = own(hidden, **kwargs)
        found: torch.Tensor = given[0] if isinstance(given, tuple) else given
        return found

    def forward(*args: Any, **kwargs: Any) -> Any:
        output = instead(run, *_by_name(signature, args, kwargs))
        return (output,) if tupled else output

    def undo() -> None:
        del vars(block)["forward"]
        vars(block).update({"forward": before} if before else {})

    vars(block)["forward"] = forward
    return undo


def _by_name(
    signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[torch.Tensor, dict[str, Any]]:
    """The first argument, and all others by name."""
    named = dict(signature.bind(*args, **kwargs).arguments)
    rest = [p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD]
    for name in rest:
        named.update(named.pop(name, {}))
    hidden: torch.Tensor = named.pop(next(iter(signature.parameters)))
    return hidden, named
