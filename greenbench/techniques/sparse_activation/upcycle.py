"""Upcycling: a dense model becomes a mixture of experts made of its own MLPs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from greenbench.engines.engine import Engine, Form
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.models.parts import blueprint, decoder_blocks
from greenbench.schema.ranges import require, require_choice
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.distillation.budget import NONE, Training
from greenbench.techniques.distillation.trainer import distill
from greenbench.techniques.shared.layerwise import require_calibration, token_batches
from greenbench.techniques.sparse_activation.expert_tally import ExpertTally
from greenbench.techniques.sparse_activation.experts import mixtures, read_always, require_sparse
from greenbench.techniques.sparse_activation.split_mlp import Parts, split
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits

KEY = "technique.upcycle"
ALIKE = ("llama", "mistral")
"""Models whose blocks are Mixtral's but for the MLP."""
MULTIPLE = 8
"""Of an expert's neurons: PyTorch's grouped product wants rows of a multiple of 16 bytes."""
OWN = {"model_type", "architectures", "transformers_version"}
"""What a configuration says of its own kind."""


@dataclass(frozen=True)
class Upcycle(ModelEdit):
    """Make experts of every MLP, and a router that chooses among them (arXiv 2212.05055).

    They are parts of the MLP (as MoEfication, arXiv 2110.01786), of which a token then uses some, or
    copies of it, among which training may tell. What it leaves is a Mixtral.
    """

    name: ClassVar[str] = "upcycle"
    summary: ClassVar[str] = "makes a mixture of experts of a dense model's MLPs"
    form: ClassVar[Form] = "safetensors"
    paper: ClassVar[str | None] = "arXiv:2212.05055"

    experts: int = 4
    """In each block."""
    top_k: int = 2
    """Experts that a token uses."""
    made_of: str = "parts"
    """Parts of the MLP, all of which are the whole; or copies of it, each of which is."""
    passages: int = 32
    """Calibration passages, which show the routers what the parts do."""
    tokens: int = 256
    """Tokens used of each."""
    heal: Training = NONE
    """How the dense model then trains the mixture; without a budget, not at all."""

    def __post_init__(self) -> None:
        require(self.experts >= 2, f"{KEY}.experts", self.experts, "2 or more")
        allowed = f"1 to {self.experts}, the experts that there are"
        require(1 <= self.top_k <= self.experts, f"{KEY}.top_k", self.top_k, allowed)
        require_choice(self.made_of, f"{KEY}.made_of", ("parts", "copies"))
        require_calibration(self.name, self.passages, self.tokens)
        if self.heal != NONE:
            self.heal.check(f"{KEY}.heal")

    def traits(self) -> Traits:
        """Plain weights move, in every block."""
        return Traits(needs_plain_weights=True, changes_blocks=True, one_gpu=self.heal != NONE)

    def check(self, machine: Machine, engine: Engine) -> None:
        """The engine must leave out what is not chosen."""
        require_sparse(engine, self.name)

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """The model is a dense one like Mixtral, whose MLPs can be cut into so many parts."""
        self._mixture_config(config)

    def after(self, config: Any) -> Any:
        """A Mixtral's."""
        return self._mixture_config(config)

    def promise(self, model: Any) -> Promise:
        """What a token then meets, of what all experts hold."""
        config = self._mixture_config(model.config)
        mixture = blueprint(config)
        held, dense = _count(mixture), _count(model)
        inside, before = _count(decoder_blocks(mixture)), _count(decoder_blocks(model))
        experts = sum(_count(found.experts) for found in mixtures(mixture))
        idle = experts - experts * self.top_k // self.experts
        read = read_always(model)
        return Promise(
            bytes_ratio=held / dense,
            flops_ratio=(inside - idle) / before,
            active_bytes_ratio=1 + (held - dense - idle) * model.dtype.itemsize / read,
            note=f"{self.experts} {self.made_of} of each MLP, of which a token uses {self.top_k}",
        )

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Let the model be a mixture of its own weights, train that, and count its experts from then on."""
        read = read_always(model)
        teacher = copy.deepcopy(model) if self.heal != NONE else None
        mlps = _mlps(model)
        _become(model, self._mixture(model, self._parts(model, mlps, work)))
        work.details.update(experts=self.experts, top_k=self.top_k)
        if teacher is not None:
            distill(model, teacher, self.heal, work, range(len(mlps)), f"{KEY}.heal")
        ExpertTally(model, work, read)
        return Edited(model)

    def _parts(self, model: Any, mlps: Sequence[Any], work: Preparation) -> list[Parts]:
        """What each expert is made of, by block."""
        if self.made_of == "parts":
            batches = token_batches(work, self.passages, self.tokens)
            return split(model, mlps, self.experts, batches, work.seed)
        text, dice = model.config, torch.Generator().manual_seed(work.seed)
        whole = torch.arange(text.intermediate_size).expand(self.experts, -1)
        shape = (self.experts, text.hidden_size)
        return [
            Parts(whole, text.initializer_range * torch.randn(shape, generator=dice)) for _ in mlps
        ]

    @torch.no_grad()
    def _mixture(self, model: Any, parts: Sequence[Parts]) -> Any:
        """The Mixtral, on the weights of `model`, those of the MLPs moved."""
        mixture = blueprint(self._mixture_config(model.config))
        state = {name: weight for name, weight in model.state_dict().items() if ".mlp." not in name}
        for number, (mlp, part) in enumerate(zip(_mlps(model), parts, strict=True)):
            first, second = mlp.gate_proj.weight, mlp.up_proj.weight
            stacked = [torch.cat([first[each], second[each]]) for each in part.neurons]
            last = [mlp.down_proj.weight[:, each] for each in part.neurons]
            name = f"model.layers.{number}.mlp"
            state[f"{name}.experts.gate_up_proj"] = torch.stack(stacked)
            state[f"{name}.experts.down_proj"] = torch.stack(last) * self._scale
            state[f"{name}.gate.weight"] = part.router.to(first.device, first.dtype)
        mixture.load_state_dict(state, strict=False, assign=True)
        mixture.model.rotary_emb = model.model.rotary_emb  # whose numbers no state holds
        mixture.tie_weights()
        mixture.generation_config = model.generation_config
        return mixture.requires_grad_(False).eval()

    @property
    def _scale(self) -> int:
        """The router's weights sum to 1, and parts of an MLP are to be added."""
        return self.top_k if self.made_of == "parts" else 1

    def _mixture_config(self, config: Any) -> Any:
        from transformers import MixtralConfig

        text = config.get_text_config()
        biased = any(getattr(text, name, False) for name in ("attention_bias", "mlp_bias"))
        if text.model_type not in ALIKE or biased:
            raise Unsupported(
                "technique=upcycle makes a Mixtral of a dense model of types llama or mistral without "
                "biases, and this is none: choose another model."
            )
        neurons = text.intermediate_size
        if self.made_of == "parts" and neurons % (MULTIPLE * self.experts):
            raise UserError(
                f"{KEY}.experts={self.experts} does not divide the {neurons} neurons of this model's MLPs "
                f"into parts of a multiple of {MULTIPLE}: choose another number, or {KEY}.made_of=copies."
            )
        known = vars(MixtralConfig())
        same = {name: value for name, value in vars(text).items() if name in known.keys() - OWN}
        made = MixtralConfig(**copy.deepcopy(same))
        made.num_local_experts, made.num_experts_per_tok = self.experts, self.top_k
        made.intermediate_size = neurons // self.experts if self.made_of == "parts" else neurons
        made.architectures = ["MixtralForCausalLM"]
        return made


def _mlps(model: Any) -> list[Any]:
    return [block.mlp for block in decoder_blocks(model)]


def _become(model: Any, mixture: Any) -> None:
    """Have `model` be `mixture`, its class too; what generates by now and its hooks keep to the object."""
    kept = {name for name in vars(mixture) if "hooks" in name}
    model.__class__ = type(mixture)
    vars(model).update({name: own for name, own in vars(mixture).items() if name not in kept})


def _count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())
