"""Mixtures of experts, found in the module tree: routers beside the experts that they choose among."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import torch
from torch import nn

from greenbench.engines.engine import Engine
from greenbench.errors import Unsupported
from greenbench.models.parts import decoder_blocks, output_head
from greenbench.models.weights import storage_bytes
from greenbench.techniques.shared.linear_views import Experts


class Mixture(NamedTuple):
    """One block's experts."""

    parent: nn.Module
    """Which gives each token to the experts that the router chose."""
    router: Any
    """Its forward returns the places of the chosen ones last: (tokens, top_k)."""

    @property
    def experts(self) -> nn.Module:
        """What holds their weights by now."""
        held: nn.Module = self.parent.experts  # type: ignore[assignment]
        return held

    @property
    def reachable(self) -> int:
        """Experts that one token may use: where they come in groups, those of the groups it may use."""
        count: int = self.router.num_experts
        groups = getattr(self.router, "num_group", 1)
        return count // groups * getattr(self.router, "topk_group", groups)


def mixtures(model: Any) -> list[Mixture]:
    """The mixtures of all blocks of `model`, as transformers' interface for experts has them."""
    return [
        Mixture(parent, router)
        for block in decoder_blocks(model)
        for parent in block.modules()
        if isinstance(getattr(parent, "experts", None), nn.Module)
        for router in parent.children()
        if isinstance(getattr(router, "top_k", None), int) and hasattr(router, "num_experts")
    ]


def require_mixtures(model: Any, technique: str) -> list[Mixture]:
    """The mixtures of `model`. Raises Unsupported, in one sentence, where it has none."""
    found = mixtures(model)
    width = model.config.get_text_config().hidden_size
    if not found or not all(_known(mixture, width) for mixture in found):
        raise Unsupported(
            f"technique={technique} is for mixtures of experts such as OLMoE, Qwen3-MoE and Mixtral, and "
            "this model has no router that it knows: choose another model, or put upcycle before it."
        )
    return found


@torch.no_grad()
def _known(mixture: Mixture, width: int) -> bool:
    """Whether the router says last which of the experts beside it it has chosen, which are kept as
    transformers' interface has them; asked without its hooks, which would count."""
    router, experts = mixture.router, mixture.experts
    if not (hasattr(experts, "is_transposed") or isinstance(experts, Experts)):
        return False
    zeros = next(router.parameters()).new_zeros
    biased = any("bias" in name for name in inspect.signature(router.forward).parameters)
    try:
        given = (zeros(1, width), zeros(router.num_experts)) if biased else (zeros(1, width),)
        logits, *_, chosen = router.forward(*given)
        whole = not (chosen.is_floating_point() or chosen.is_complex())
        return bool(whole and len(chosen) == 1 and logits.shape[-1] == router.num_experts)
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return False  # it wants to know more, or says less


def require_sparse(engine: Engine, technique: str) -> None:
    """Raise Unsupported, in one sentence, where `engine` computes all experts for every token."""
    if "openvino" in engine.forms:
        raise Unsupported(
            f"technique={technique} saves by experts that a token does not use, and engine={engine.name} "
            "computes all of them: use engine=transformers."
        )


class Sizes(NamedTuple):
    """Bytes that a pass reads."""

    always: int
    """Whatever the router chooses: all but experts, and rows of an embedding of its own."""
    expert: float
    """Of one expert, in the mean over blocks."""

    def active(self, touched: float) -> float:
        """Of a pass that touches so many experts, over all blocks."""
        return self.always + touched * self.expert


def sizes(model: Any, found: list[Mixture]) -> Sizes:
    """What `model` holds, by now, as it is stored."""
    held = sum(_bytes(mixture.experts) for mixture in found)
    count = sum(mixture.router.num_experts for mixture in found)
    return Sizes(read_always(model) - held, held / count if count else 0.0)


def read_always(model: Any) -> int:
    """Bytes of all weights, but of an input embedding that is not the output head too: few rows are read."""
    embedding = model.get_input_embeddings()
    tied = embedding.weight is getattr(output_head(model), "weight", None)
    return _bytes(model) - (0 if tied else _bytes(embedding))


def _bytes(module: nn.Module) -> int:
    return sum(storage_bytes(module).values())
