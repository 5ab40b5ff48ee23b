"""Self-speculative decoding: the model's own early blocks draft what all of them verify."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch

from greenbench.errors import UserError
from greenbench.schema.ranges import require, require_choice
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.early_exit import features, heads
from greenbench.techniques.early_exit.draft_forward import Halves, decode
from greenbench.techniques.early_exit.heads import ExitHead
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits


@dataclass(frozen=True)
class SelfSpeculative(ModelEdit):
    """Draft with the early blocks and an exit head, verify with the rest (LayerSkip, arXiv 2404.16710).

    LayerSkip's models are trained to exit; on any other the head makes up for some of that.
    """

    name: ClassVar[str] = "self_speculative"
    summary: ClassVar[str] = "the early blocks draft tokens, the later ones verify them"
    paper: ClassVar[str | None] = "arXiv:2404.16710"

    exit: float = 0.5
    """Blocks that draft: a share, or a number."""
    drafts: int = 2
    """Tokens drafted a round."""
    head: str = "affine"
    """The drafts' translator to the last layer: affine, low_rank, or lens (none: a LayerSkip model's)."""
    rank: int = 64
    """Of a low-rank translator."""
    steps: int = 30
    """Training steps of the translator, after its least-squares start."""
    passages: int = 128
    """Of training text."""
    tokens: int = 64
    """Tokens used of each."""

    def __post_init__(self) -> None:
        key = "technique.self_speculative"
        ok = features.is_place(self.exit)
        require(ok, f"{key}.exit", self.exit, "a share above 0 and below 1, or a number of blocks")
        require(self.drafts >= 1, f"{key}.drafts", self.drafts, "1 or more")
        require_choice(self.head, f"{key}.head", heads.HEADS)
        require(self.rank >= 1, f"{key}.rank", self.rank, "1 or more")
        require(self.steps >= 0, f"{key}.steps", self.steps, "0 or more")
        require(self.passages >= 1, f"{key}.passages", self.passages, "1 or more")
        require(self.tokens >= 4, f"{key}.tokens", self.tokens, "4 or more")

    def traits(self) -> Traits:
        """Its blocks draft and exit, as often as the text lets them; the output stays greedy decoding's."""
        return Traits(
            lossless=True,
            holds_blocks=True,
            drafts_tokens=True,
            adds_exits=True,
            traceable=False,
            one_gpu=True,
            dynamic=True,
        )

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """The exit must lie within the model; one sequence at a time."""
        features.places([self.exit], config, "technique.self_speculative.exit")
        if workload.batch_size > 1:
            raise UserError(
                f"technique.self_speculative decodes one sequence at a time, but workload.batch_size="
                f"{workload.batch_size}: set it to 1 (rows that accept different numbers of drafts "
                "cannot share a cache)."
            )

    def promise(self, model: Any) -> Promise:
        """What it saves hangs on the drafts that are accepted, which only the run tells."""
        config = model.config.get_text_config()
        (first,) = features.places([self.exit], config, "technique.self_speculative.exit")
        added = heads.size(config.hidden_size, self.head, self.rank) * model.dtype.itemsize
        return Promise(
            bytes_ratio=1 + added / sum(weight.nbytes for weight in model.parameters()),
            drafts=self.drafts,
            note=f"the first {first} of {config.num_hidden_layers} blocks draft {self.drafts} tokens a round",
        )

    def idle(self, details: Mapping[str, Any], observed: Mapping[str, Any]) -> bool:
        """Nothing was drafted."""
        return not observed.get("drafted")

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Fit the drafts' head to what the frozen model computes, and put a loop around its blocks."""
        features.require_ends(model)
        torch.manual_seed(work.seed)
        config = model.config.get_text_config()
        (first,) = features.places([self.exit], config, "technique.self_speculative.exit")
        head = ExitHead(config.hidden_size, self.head, self.rank).to(work.device)
        batches = features.tokens(work, self.passages, self.tokens)
        found = features.features(model, [first], batches)
        losses = heads.train(
            {first: head},
            features.ends(model),
            found,
            self.steps,
            work.seed,
            work.progress,
        )
        heads.attach(model, [head])
        work.details.update(exit=first, divergence_nats=losses[first])
        rounds = partial(
            decode,
            halves=Halves(model, head, first),
            drafts=self.drafts,
            observed=work.observed,
        )
        return Edited(model, partial(_generate, work.loop or model.generate, rounds))


def _generate(
    plain: Callable[..., torch.Tensor], rounds: Callable[..., Any], *args: Any, **kwargs: Any
) -> torch.Tensor:
    """``generate`` by `rounds`, which transformers does not tell of the streamer."""
    watching = partial(rounds, watcher=kwargs.get("streamer"))
    return plain(*args, custom_generate=watching, **kwargs)
