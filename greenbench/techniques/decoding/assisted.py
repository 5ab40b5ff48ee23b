"""Draft tokens cheaply and check them all in one pass of the model: the same greedy output, sooner."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from greenbench.engines.engine import Engine
from greenbench.engines.transformers import load
from greenbench.errors import UserError
from greenbench.machine.detect import Machine
from greenbench.models import files
from greenbench.models.weights import storage_bytes
from greenbench.schema.enums import Dtype, Source
from greenbench.schema.ranges import require
from greenbench.schema.spec import ModelSpec, WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits

SOURCE = "_get_candidate_generator"  # the method by which a model makes its source of drafts
HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


class _Drafting(ModelEdit):
    """What the techniques share that transformers' assisted generation runs.

    The output is greedy decoding's own, as only tokens that the model itself would choose are kept.
    Checking several tokens at once rounds otherwise than one at a time does, though: in float32 no
    token was seen to change for it, in 16 bits near ties are common, and the promise's note says so.
    """

    drafts: int

    def traits(self) -> Traits:
        """It drafts, as often as the text lets it, and the output stays greedy decoding's."""
        return Traits(lossless=True, drafts_tokens=True, dynamic=True)

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """Sequences of a batch would accept unlike numbers of drafts, which transformers cannot."""
        if workload.batch_size > 1:
            raise UserError(
                f"workload.batch_size={workload.batch_size} cannot run with technique={self.name}, "
                "which checks the drafts of one sequence at a time: set workload.batch_size=1."
            )

    def _note(self, model: Any, text: str) -> str:
        bits = 8 * model.dtype.itemsize
        return text if bits >= 32 else f"{text}; in {bits} bits near ties may fall the other way"


@dataclass(frozen=True)
class Speculative(_Drafting):
    """A smaller model of the same vocabulary drafts (Leviathan et al., arXiv 2211.17192), greedily."""

    name: ClassVar[str] = "speculative"
    summary: ClassVar[str] = "a smaller model drafts tokens, the model checks them in one pass"
    paper: ClassVar[str | None] = "arXiv:2211.17192"

    draft: str = "Qwen/Qwen3-0.6B"
    """Hub id or directory of the smaller model. A directory's path is never recorded."""
    revision: str | None = None
    """Hub branch, tag or commit of the draft; the commit it resolves to is recorded."""
    drafts: int = 5
    """Tokens drafted in each round."""

    def __post_init__(self) -> None:
        require(self.drafts >= 1, "technique.speculative.drafts", self.drafts, "1 or more")

    def check(self, machine: Machine, engine: Engine) -> None:
        """A draft in a directory must be there; a hub is not asked yet."""
        self._require_directory()

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """The draft must have the model's vocabulary."""
        super().check_model(config, workload)
        path = files.directory(self._spec())
        sizes = [
            known.get_text_config().vocab_size
            for known in (load.config(self._spec(), path), config)
        ]
        if sizes[0] != sizes[1]:
            raise self._stranger(f"a vocabulary of {sizes[0]} tokens where it has {sizes[1]}")
        ours, theirs = _vocabulary(config.name_or_path), _vocabulary(str(path))
        if ours and theirs and ours != theirs:
            different = len(set(ours.items()) ^ set(theirs.items()))
            raise self._stranger(f"another vocabulary ({different} entries differ)")

    def promise(self, model: Any) -> Promise:
        """The draft's bytes come on top; what is saved depends on how many drafts are accepted."""
        weights = _parameters(load.config(self._spec(), files.directory(self._spec())))
        held = sum(storage_bytes(model).values())
        return Promise(
            bytes_ratio=1 + weights * model.dtype.itemsize / held,
            drafts=self.drafts,
            note=self._note(
                model,
                f"{self.drafts} drafts a pass, by a model of {weights / 1e6:.3g} million weights",
            ),
        )

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Load the draft in the model's dtype beside it, for a loop that uses it.

        The loop holds it, so that saving the model, counting its parameters and techniques that change
        all its layers leave the draft out; its bytes count with the loop's.
        """
        spec = self._spec(Dtype(str(model.dtype).removeprefix("torch.")))
        path = files.directory(spec)
        drafter = load.load_model(spec, path, work.device)
        options = drafter.generation_config
        options.num_assistant_tokens = self.drafts
        options.num_assistant_tokens_schedule = "constant"  # not more after each success
        options.assistant_confidence_threshold = 0.0  # the draft does not stop where it is unsure
        work.details.update(
            draft=files.facts(spec, path).model_dump(exclude_none=True),
            draft_bytes=sum(storage_bytes(drafter).values()),
            draft_layers=drafter.config.get_text_config().num_hidden_layers,
        )
        assisted = partial(work.loop or model.generate, assistant_model=drafter)
        return Edited(model, counting(assisted, model, work.observed))

    def label(self) -> str:
        """As any technique's, with the draft's name for its path."""
        return super(Speculative, replace(self, draft=self._spec().name)).label()

    def models(self) -> list[ModelSpec]:
        """The draft."""
        return [self._spec()]

    def exact(self) -> Self:
        """With the commit that the draft's revision is now."""
        return (
            self if self._is_local() else replace(self, revision=files.exact(self._spec()).revision)
        )

    def disclosed(self) -> dict[str, Any]:
        """A draft by its name and content hash; of a hub's, only an exact one has such a hash."""
        if not self._is_local() and not files.COMMIT.fullmatch(self.revision or ""):
            return {}
        self._require_directory()
        name = self._spec().name if self._is_local() else self.draft
        return {"draft": f"{name}@{files.fingerprint(self._spec())}"}

    def _is_local(self) -> bool:
        return not HUB_ID.fullmatch(self.draft) or Path(self.draft).is_dir()

    def _spec(self, dtype: Dtype = Dtype.bfloat16) -> ModelSpec:
        if self._is_local():
            place = Path(self.draft).expanduser().resolve()
            return ModelSpec(place.name, Source.local, path=str(place), dtype=dtype)
        name = self.draft.rpartition("/")[2]
        return ModelSpec(name, Source.hub, id=self.draft, revision=self.revision, dtype=dtype)

    def _require_directory(self) -> None:
        if self._is_local() and not (Path(self.draft).expanduser() / "config.json").is_file():
            raise UserError(
                f"technique.speculative.draft={self.draft} is not a model directory (no config.json "
                "in it): give one that save_pretrained wrote, or a hub id."
            )

    def _stranger(self, why: str) -> UserError:
        return UserError(
            f"technique.speculative.draft={self._spec().name} cannot draft for this model, as it has "
            f"{why}: choose a smaller model of the same family."
        )


@dataclass(frozen=True)
class PromptLookup(_Drafting):
    """The text so far drafts: what followed its last n-gram before (Saxena 2023; arXiv 2304.04487)."""

    name: ClassVar[str] = "prompt_lookup"
    summary: ClassVar[str] = "drafts what followed the last words before, checked in one pass"
    paper: ClassVar[str | None] = "arXiv:2304.04487"

    drafts: int = 10
    """Tokens drafted at most in each round."""
    max_ngram: int = 2
    """Longest n-gram to look up; shorter ones follow where it is not found."""

    def __post_init__(self) -> None:
        require(self.drafts >= 1, "technique.prompt_lookup.drafts", self.drafts, "1 or more")
        require(
            self.max_ngram >= 1, "technique.prompt_lookup.max_ngram", self.max_ngram, "1 or more"
        )

    def promise(self, model: Any) -> Promise:
        """Nothing is held; what is saved depends on how often the text repeats itself."""
        return Promise(
            bytes_ratio=1.0,
            drafts=self.drafts,
            note=self._note(
                model, f"up to {self.drafts} drafts a pass, copied from the text so far"
            ),
        )

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Have ``generate`` look its drafts up: it takes from here what its caller leaves open."""
        model.generation_config.prompt_lookup_num_tokens = self.drafts
        model.generation_config.max_matching_ngram_size = self.max_ngram
        return Edited(model, counting(work.loop or model.generate, model, work.observed))


def counting(
    generate: Callable[..., Any], model: Any, observed: dict[str, Any]
) -> Callable[..., Any]:
    """`generate`, of `model`, counting into `observed` what becomes of its drafts.

    ``rounds`` passes checked ``drafted`` tokens, of which ``accepted`` were kept and ``rejected``
    not; ``plain_passes`` had no draft to check. All passes and accepted drafts together are the
    tokens generated, as each pass adds one of its own.
    """
    for name in ("rounds", "plain_passes", "drafted", "accepted", "rejected"):
        observed.setdefault(name, 0)
    return partial(_counted, generate, model, observed)


def _counted(
    generate: Callable[..., Any], model: Any, observed: dict[str, Any], *args: Any, **kwargs: Any
) -> Any:
    """Call `generate` while the source of drafts that it asks `model` for is listened to."""
    own, before = vars(model), vars(model).get(SOURCE)
    own[SOURCE] = partial(_counted_generator, getattr(model, SOURCE), observed)
    try:
        return generate(*args, **kwargs)
    finally:
        del own[SOURCE]
        own.update({SOURCE: before} if before else {})


def _counted_generator(make: Any, observed: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
    """transformers' source of drafts, whose own feedback call is listened to."""
    generator = make(*args, **kwargs)
    generator.update_candidate_strategy = partial(
        _count, generator.update_candidate_strategy, observed
    )
    return generator


def _count(
    update: Any, observed: dict[str, Any], tokens: torch.Tensor, scores: torch.Tensor, accepted: int
) -> None:
    """`scores` has a row for every draft and one for the token after them."""
    drafted = scores.shape[1] - 1
    observed["rounds" if drafted else "plain_passes"] += 1
    observed["drafted"] += drafted
    observed["accepted"] += int(accepted)
    observed["rejected"] += drafted - int(accepted)
    update(tokens, scores, accepted)


def _parameters(config: Any) -> int:
    """Weights of a model of `config`, tied ones once, without making it."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        shell = AutoModelForCausalLM.from_config(config)
    return sum(weight.numel() for weight in shell.parameters())


def _vocabulary(place: str) -> dict[str, int] | None:
    """Token ids by token; null where `place` has no tokenizer, as a model made in memory."""
    from transformers import AutoTokenizer

    if not (Path(place) / "tokenizer_config.json").is_file():
        return None
    return dict(AutoTokenizer.from_pretrained(place).get_vocab())
