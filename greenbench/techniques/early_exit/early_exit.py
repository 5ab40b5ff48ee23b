"""Early exit: a token leaves the blocks as soon as an exit head is sure of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from greenbench.errors import UserError
from greenbench.schema.ranges import require, require_choice
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.early_exit import features
from greenbench.techniques.early_exit import threshold as exit_threshold
from greenbench.techniques.early_exit.confidence import CONFIDENCES
from greenbench.techniques.early_exit.depth_tally import Tally, costs
from greenbench.techniques.early_exit.forward import Exiting, Rule
from greenbench.techniques.early_exit.heads import (
    HEADS,
    ExitHead,
    agrees,
    attach,
    chunks,
    size,
    train,
)
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits

KEY = "technique.early_exit.exits"
PILOT_TOKENS = 2048  # whose confidence tells which thresholds are worth a trial


@dataclass(frozen=True)
class EarlyExit(ModelEdit):
    """Exit heads on the frozen model (tuned lens, arXiv 2303.08112), used as in CALM."""

    name: ClassVar[str] = "early_exit"
    summary: ClassVar[str] = "tokens leave the blocks as soon as an exit head is sure of them"
    paper: ClassVar[str | None] = "arXiv:2207.07061"

    exits: list[float] = field(default_factory=lambda: [0.5, 0.8])
    """Where: shares of the blocks, or numbers of blocks."""
    confidence: str = "classifier"
    """By what: top1, margin or entropy, which need logits at each exit; saturation or classifier."""
    threshold: float | None = None
    """Confidence from which a token exits: 0 always, 1 never; null: calibrated to `agreement`."""
    agreement: float = 0.9
    """Share of tokens that are to be the full model's, as the calibrated threshold guarantees ..."""
    delta: float = 0.05
    """... but for this probability."""
    head: str = "affine"
    """Translator to the last layer: affine, low_rank or lens (none)."""
    rank: int = 64
    """Of a low-rank translator."""
    steps: int = 60
    """Training steps of the translators."""
    passages: int = 384
    """Of training text; half of them is kept from the heads, for the threshold."""
    tokens: int = 64
    """Tokens used of each."""

    def __post_init__(self) -> None:
        key = "technique.early_exit"
        require(len(self.exits) > 0, f"{key}.exits", self.exits, "a list of one exit or more")
        for place in self.exits:
            ok = features.is_place(place)
            require(ok, f"{key}.exits", place, "a share above 0 and below 1, or a number of blocks")
        require_choice(self.confidence, f"{key}.confidence", CONFIDENCES)
        if self.threshold is not None:
            require(0 <= self.threshold <= 1, f"{key}.threshold", self.threshold, "0 to 1")
        require(0 < self.agreement < 1, f"{key}.agreement", self.agreement, "above 0, below 1")
        require(0 < self.delta < 1, f"{key}.delta", self.delta, "above 0, below 1")
        require_choice(self.head, f"{key}.head", HEADS)
        require(self.rank >= 1, f"{key}.rank", self.rank, "1 or more")
        require(self.steps >= 0, f"{key}.steps", self.steps, "0 or more")
        require(self.passages >= 2, f"{key}.passages", self.passages, "2 or more")
        require(self.tokens >= 4, f"{key}.tokens", self.tokens, "4 or more")

    def traits(self) -> Traits:
        """Its blocks ask each token whether it goes on."""
        return Traits(
            holds_blocks=True, adds_exits=True, traceable=False, one_gpu=True, dynamic=True
        )

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """Exits must lie within the model, beyond its first block of each kind of attention."""
        text = config.get_text_config()
        first = features.places(self.exits, text, KEY)[0]
        kinds: list[str] = getattr(text, "layer_types", None) or []
        late = [kind for kind in dict.fromkeys(kinds) if kinds.index(kind) >= first]
        if late:
            raise UserError(
                f"technique.early_exit.exits starts after {first} blocks, before the model's first "
                f"{late[0]} block, whose cache tells how long the text is: start at "
                f"{kinds.index(late[0]) + 1} or later."
            )

    def promise(self, model: Any) -> Promise:
        """Where every token takes the first exit, or none does, the layers; else only the run tells."""
        text = model.config.get_text_config()
        depth, width = text.num_hidden_layers, text.hidden_size
        places = features.places(self.exits, text, KEY)
        added = len(places) * size(width, self.head, self.rank) * model.dtype.itemsize
        ratio = {0.0: places[0] / depth, 1.0: 1.0}.get(
            -1 if self.threshold is None else self.threshold
        )
        sure = "calibrated" if self.threshold is None else f"{self.threshold:g}"
        return Promise(
            bytes_ratio=1 + added / sum(weight.nbytes for weight in model.parameters()),
            layers_ratio=ratio,
            flops_ratio=ratio,
            note=f"exits after {', '.join(map(str, places))} of {depth} blocks where {self.confidence} "
            f"is at least {sure}",
        )

    def idle(self, details: Mapping[str, Any], observed: Mapping[str, Any]) -> bool:
        """No token left the blocks before the last."""
        return len(observed.get("tokens_by_depth", ())) < 2 and observed.get("flops_ratio", 1) >= 1

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Train the heads on what the frozen model computes, choose the threshold, change the forward."""
        features.require_ends(model)
        torch.manual_seed(work.seed)
        text = model.config.get_text_config()
        places = features.places(self.exits, text, KEY)
        batches = features.tokens(work, self.passages, self.tokens)
        held, trained = batches[: len(batches) // 2], batches[len(batches) // 2 :]
        heads = {
            place: ExitHead(text.hidden_size, self.head, self.rank).to(work.device)
            for place in places
        }
        around = sorted({*places, *(place - 1 for place in places)})
        found = features.features(model, around, trained)
        ends = features.ends(model)
        losses = train(heads, ends, found, self.steps, work.seed, work.progress)
        attach(model, list(heads.values()))
        tally = Tally(work.observed, costs(model), text.num_hidden_layers)
        exiting = Exiting(model, heads, Rule(self.confidence, 1.0), tally)
        chosen, details = self._threshold(model, exiting, found, held)
        exiting.rule = Rule(self.confidence, chosen)
        work.details.update(
            exits=places,
            divergence_nats={str(place): loss for place, loss in losses.items()},
            threshold=chosen,
            **details,
        )
        return Edited(model, scored_whole=True)

    def _threshold(
        self, model: Any, exiting: Exiting, found: features.Features, held: list[torch.Tensor]
    ) -> tuple[float, dict[str, Any]]:
        """The threshold to use, and what held-out text shows of it."""
        trial = _Trial(model, exiting, held)
        if self.threshold is not None:
            return self.threshold, {"held_out": trial.shown(self.threshold)}
        risk = 1 - self.agreement
        candidates = exit_threshold.candidates(*_pilot(exiting, found), risk)
        tested = exit_threshold.choose(candidates, trial.losses, risk, self.delta)
        passed = [each.threshold for each in tested if each.p_value <= self.delta]
        chosen = passed[-1] if passed else 1.0
        calibration = [each._asdict() for each in tested]
        return chosen, {"calibration": calibration, "held_out": trial.shown(chosen)}


class _Trial:
    """The exiting model on held-out passages, against the whole model."""

    def __init__(self, model: Any, exiting: Exiting, passages: Sequence[torch.Tensor]) -> None:
        self._model, self._exiting, self._passages = model, exiting, passages
        self._whole = [self._run(passage, 1.0)[0] for passage in passages]
        self._seen: dict[float, tuple[list[float], float]] = {}

    def losses(self, threshold: float) -> list[float]:
        """Per passage, the share of tokens on which the two disagree."""
        return self._at(threshold)[0]

    def shown(self, threshold: float) -> dict[str, float]:
        """Agreement and mean depth at `threshold`, over passages."""
        losses, depth = self._at(threshold)
        return {
            "passages": len(losses),
            "agreement": 1 - sum(losses) / len(losses),
            "mean_depth": depth,
        }

    def _at(self, threshold: float) -> tuple[list[float], float]:
        if threshold not in self._seen:
            runs = [self._run(passage, threshold) for passage in self._passages]
            losses = [
                float((tokens != whole).float().mean())
                for (tokens, _), whole in zip(runs, self._whole, strict=True)
            ]
            self._seen[threshold] = losses, sum(depth for _, depth in runs) / len(runs)
        return self._seen[threshold]

    @torch.no_grad()
    def _run(self, passage: torch.Tensor, threshold: float) -> tuple[torch.Tensor, float]:
        """The likeliest token at each position, and the mean depth."""
        self._exiting.rule = self._exiting.rule._replace(threshold=threshold)
        tokens = self._model(passage, use_cache=False).logits[0].argmax(dim=-1)
        assert self._exiting.depths is not None
        return tokens, float(self._exiting.depths.float().mean())


@torch.no_grad()
def _pilot(
    exiting: Exiting, found: features.Features
) -> tuple[dict[int, torch.Tensor], dict[int, torch.Tensor]]:
    """Per exit, confidence and rightness on the last of the tokens that the heads were trained on."""
    sure, right = {}, {}
    final = found.final[-PILOT_TOKENS:]
    for exit, head in exiting.heads.items():
        before, state = (found.states[place][-PILOT_TOKENS:] for place in (exit - 1, exit))
        pairs = zip(chunks(before), chunks(state), strict=True)
        sure[exit] = torch.cat([exiting.confidence(exit, b, s)[0] for b, s in pairs])
        right[exit] = agrees(head, exiting.ends, state, final)
    return sure, right
