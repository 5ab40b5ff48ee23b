"""How much of a model's weights a technique reaches: promised, measured afterwards, and refused if little."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from greenbench.errors import Unsupported, UserError
from greenbench.models.parts import decoder_blocks, marks
from greenbench.schema.technique import Promise
from greenbench.techniques import ModelEdit, Technique
from greenbench.techniques.shared.linear_views import as_linears, linear_blueprint, reach
from greenbench.techniques.technique import require_answer

LEAST = 0.5
"""Of the blocks' weights: a technique that is meant for them all is refused where it reaches less."""


@contextmanager
def shown(technique: ModelEdit, model: Any) -> Iterator[None]:
    """Show `model` to `technique` as its traits ask for it."""
    if technique.traits().on_linears:
        with as_linears(model):
            yield
    else:
        yield


def promise(technique: ModelEdit, model: Any) -> Promise:
    """The technique's promise, with the share of the blocks' weights that it is to change."""
    said = technique.promise(model)
    require_answer(technique, "promise", said, Promise)
    if not technique.traits().on_linears:
        return said
    return said.model_copy(update={"touched": reach(model)})


def before(model: Any) -> Callable[[Any], float | None]:
    """Remember the matrices of the blocks; what is returned tells the share that changed in a later model."""
    try:
        at_first = marks(decoder_blocks(model))
    except Unsupported:  # techniques that do without blocks do without this too
        return lambda later: None
    if not at_first.total:
        return lambda later: None
    return lambda later: at_first.share_changed(marks(decoder_blocks(later)))


def foresee(technique: ModelEdit, config: Any, *, allow_partial: bool) -> None:
    """Raise UserError where `technique` would reach too little of the model that `config` describes."""
    if technique.traits().on_linears:
        require(technique, reach(linear_blueprint(config)), config, allow_partial=allow_partial)


def require(technique: Technique, share: float | None, config: Any, *, allow_partial: bool) -> None:
    """Raise UserError where `share`, of the blocks' weights, is too little for what `technique` is."""
    if share is None or share >= LEAST or allow_partial or not technique.traits().on_linears:
        return
    raise UserError(
        f"technique={technique.name} reaches {100 * share:.3g} % of the weights in this "
        f"{config.get_text_config().model_type} model's blocks, as modules that it does not know hold "
        "the rest: choose another technique, or say allow_partial=true to measure it all the same."
    )
