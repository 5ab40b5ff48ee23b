"""Recipes that mix precisions, refused on a model whose code does not."""

from __future__ import annotations

from typing import Any, NamedTuple

from greenbench.engines.transformers.suits import one_block
from greenbench.schema.spec import RunSpec
from greenbench.techniques.distillation.precision import mixes, unmixed
from greenbench.techniques.recipe import Plan


class Mixing(NamedTuple):
    """What was asked for that mixes."""

    said: str
    remedy: str


def mixing(spec: RunSpec) -> list[Mixing]:
    """What of `spec` mixes whatever the device; what is left to the device does so where the model can."""
    asked = [Mixing("training.precision=bfloat16", "use training.precision=float32")]
    return asked * (spec.training.precision == "bfloat16") + [
        Mixing(f"technique={recipe.name} with products in bfloat16", "choose another precision")
        for recipe in spec.technique.values()
        if recipe.onto(Plan(1, "float32")).precision == "mixed_bfloat16"
    ]


def refuse_kind(asked: list[Mixing], config: Any) -> None:
    """Raise UserError where a model as in `config` cannot, told by one block with random weights.

    A kind that cannot be so small is left to `refuse_model`, once its own weights are there.
    """
    if not asked:
        return
    try:
        model = one_block(config).float()
    except Exception:  # each kind's own
        return
    if mixes(model, model.device, mixed=False):
        refuse_model(asked, model)


def refuse_model(asked: list[Mixing], model: Any) -> None:
    """Raise UserError where `model` cannot."""
    if asked and not mixes(model, model.device):
        first, *_ = asked
        raise unmixed(first.said, model, first.remedy)
