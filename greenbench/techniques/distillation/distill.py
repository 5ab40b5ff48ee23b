"""Distillation: a smaller student learns from the plain model."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from greenbench.engines.engine import Form
from greenbench.errors import Unsupported, UserError
from greenbench.models.parts import keep_layers
from greenbench.schema.ranges import require, require_choice
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.distillation.budget import Training, uniform
from greenbench.techniques.distillation.trainer import distill
from greenbench.techniques.pruning.depth import keep_blocks
from greenbench.techniques.shared.shapes import heads, smaller
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits

KEY = "technique.distill"
FIVE_MINUTES = Training(minutes=5.0)


@dataclass(frozen=True)
class Distill(ModelEdit):
    """A student of a smaller configuration learns the plain model's logits (arXiv 1503.02531)."""

    name: ClassVar[str] = "distill"
    summary: ClassVar[str] = "trains a smaller student on the model's own logits"
    form: ClassVar[Form] = "safetensors"
    paper: ClassVar[str | None] = "arXiv:1503.02531"

    layers: float = 0.5
    """The student's blocks, as a share of the teacher's."""
    width: float = 1.0
    """The student's attention heads, MLP neurons and hidden size, as a share of the teacher's."""
    init: str = "copy"
    """The student starts with the teacher's weights, of evenly spread blocks, or with random ones."""
    training: Training = FIVE_MINUTES

    def __post_init__(self) -> None:
        for name in ("layers", "width"):
            share = getattr(self, name)
            require(0 < share <= 1, f"{KEY}.{name}", share, "above 0, at most 1 (the teacher's)")
        require(self.layers * self.width < 1, f"{KEY}.layers", self.layers, "below 1 where width=1")
        require_choice(self.init, f"{KEY}.init", ("copy", "random"))
        if self.init == "random" and not self.training.embeddings:
            raise UserError(
                f"{KEY}.init=random makes random embeddings, which must be trained: set "
                f"{KEY}.training.embeddings=true."
            )
        self.training.check(f"{KEY}.training")
        if self.width < 1:
            self._check_narrow()

    def traits(self) -> Traits:
        """A student is trained, and is another stack of blocks."""
        return Traits(needs_plain_weights=True, changes_blocks=True, one_gpu=True)

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """The student has a block and a head at least, and fewer than the teacher."""
        self._student_config(config)

    def after(self, config: Any) -> Any:
        """The student's."""
        return self._student_config(config)

    def promise(self, model: Any) -> Promise:
        """What a model of the student's configuration holds, without making its weights."""
        config = self._student_config(model.config)
        text = config.get_text_config()
        depth = model.config.get_text_config().num_hidden_layers
        note = f"{depth} to {text.num_hidden_layers} blocks, {text.hidden_size} wide"
        return smaller(model, config, note)

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Make the model the student and train it; a copy is the teacher, and is let go."""
        depth = model.config.get_text_config().num_hidden_layers
        config = self._student_config(model.config)
        origin = uniform(config.get_text_config().num_hidden_layers, depth)
        if self.init == "copy":
            teacher = copy.deepcopy(model)
            keep_blocks(model, origin)
        else:
            teacher = copy.copy(model)  # holds the weights that the model lets go
            _become(model, _random(model, config, work))
        distill(model, teacher, self.training, work, origin, f"{KEY}.training")
        return Edited(model)

    def _check_narrow(self) -> None:
        if self.init == "copy":
            raise UserError(
                f"{KEY}.width={self.width} cannot start from the teacher's weights, which are wider: "
                f"set {KEY}.init=random, or use technique=prune_width_heal."
            )
        if self.training.hidden:
            raise UserError(
                f"{KEY}.training.hidden={self.training.hidden} compares hidden states of equal width "
                f"only: set it to 0, or {KEY}.width to 1."
            )

    def _student_config(self, config: Any) -> Any:
        """The teacher's configuration with fewer blocks, and fewer heads of the same size."""
        student = copy.deepcopy(config)
        text = student.get_text_config()
        depth = text.num_hidden_layers
        keep_layers(text, uniform(_share("layers", self.layers, depth, "blocks"), depth))
        if self.width < 1:
            _narrow(text, self.width)
        return student


def _narrow(text: Any, width: float) -> None:
    """All sizes shrink with the groups of heads, so that heads keep their size and divide the rest."""
    groups, queries, _ = heads(text)
    kept = _share("width", width, groups, "key-value heads")
    text.num_attention_heads = kept * queries
    if hasattr(text, "num_key_value_heads"):
        text.num_key_value_heads = kept
    text.hidden_size = text.hidden_size * kept // groups
    if not getattr(text, "intermediate_size", None):
        raise Unsupported(
            f"{KEY}.width={width} needs a configuration that says intermediate_size, which that of "
            f"{text.model_type} does not: set {KEY}.width=1."
        )
    text.intermediate_size = text.intermediate_size * kept // groups


def _share(knob: str, share: float, whole: int, what: str) -> int:
    """That share of `whole`; all of it only where asked for all."""
    kept = round(share * whole)
    if kept == 0 or (kept == whole and share < 1):
        raise UserError(
            f"{KEY}.{knob}={share} leaves {kept} of {whole} {what}: choose a share that leaves one at "
            "least and the teacher's number only with 1."
        )
    return kept


def _random(model: Any, config: Any, preparation: Preparation) -> Any:
    torch.manual_seed(preparation.seed)
    student = type(model)(config)
    student.generation_config = copy.deepcopy(model.generation_config)
    return student.to(device=preparation.device, dtype=model.dtype)


def _become(model: Any, student: Any) -> None:
    """Have `model` be what `student` is; what generates by now and its hooks keep to the object, and
    to its configuration."""
    vars(model.config).update(vars(student.config))
    kept = {name for name in vars(student) if "hooks" in name} | {"config"}
    vars(model).update({name: own for name, own in vars(student).items() if name not in kept})
