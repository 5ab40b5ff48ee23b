"""Drafts by a second model beside the first, in a server that has such an option."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from greenbench.errors import UserError
from greenbench.models import files
from greenbench.schema.enums import Source
from greenbench.schema.ranges import require
from greenbench.schema.spec import ModelSpec, WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.shared.engine_options import require_engine
from greenbench.techniques.technique import EngineOption, Traits

if TYPE_CHECKING:
    from greenbench.engines.engine import Engine
    from greenbench.machine.detect import Machine


@dataclass(frozen=True)
class _ServedDrafts(EngineOption):
    """vLLM checks all drafts of many requests in one pass: the same greedy output, but for near ties."""

    method: ClassVar[str]
    what: ClassVar[str]
    """What drafts."""
    instead: ClassVar[str | None] = None

    path: str | None = None
    """Its directory. A path is never recorded."""
    id: str | None = None
    """Or what it is called on the hub, as in ``Qwen/Qwen3-0.6B``."""
    revision: str | None = None
    """Branch, tag or commit there; the commit is recorded."""
    drafts: int = 3
    """Tokens drafted in each round."""

    def __post_init__(self) -> None:
        require(self.drafts >= 1, f"technique.{self.name}.drafts", self.drafts, "1 or more")

    def traits(self) -> Traits:
        """It drafts, as well as it can, and the output stays greedy decoding's."""
        return Traits(lossless=True, drafts_tokens=True, dynamic=True)

    def check(self, machine: Machine, engine: Engine) -> None:
        """A directory must be there; a hub is not asked yet."""
        require_engine(self.name, engine.name, "vllm", instead=self.instead)
        self._spec()

    def promise(self) -> Promise:
        """Its bytes come on top; what is saved depends on how many drafts are kept."""
        return Promise(
            drafts=self.drafts,
            note=f"{self.drafts} drafts a pass, by {self.what} whose bytes come on top; in 16 bits near ties "
            "may fall the other way",
        )

    def options(self, engine: str) -> Mapping[str, object]:
        """As vLLM takes it."""
        require_engine(self.name, engine, "vllm", instead=self.instead)
        drafting = {
            "method": self.method,
            "model": str(self._directory()),
            "num_speculative_tokens": self.drafts,
        }
        return {"speculative_config": drafting}

    def label(self) -> str:
        """As any technique's, with the name alone of what drafts."""
        name = self.path and Path(self.path).expanduser().resolve().name
        known = (self.id or "").rpartition("/")[2] or name
        return super(_ServedDrafts, replace(self, path=known, id=None, revision=None)).label()

    def models(self) -> Sequence[ModelSpec]:
        """What drafts, where that is said."""
        return [self._spec()] if self.id else []

    def exact(self) -> Self:
        """With the commit that the revision is now."""
        return replace(self, revision=files.exact(self._spec()).revision) if self.id else self

    def disclosed(self) -> dict[str, Any]:
        """A directory by its name and content hash."""
        spec = self._spec()
        return {} if self.id else {"path": f"{spec.name}@{files.fingerprint(spec)}"}

    def _directory(self) -> Path:
        spec = self._spec()
        return files.directory(spec) if self.id else Path(str(spec.path))

    def _spec(self) -> ModelSpec:
        """Raises UserError where none is said, or two are."""
        key = f"technique.{self.name}"
        if self.path and self.id:
            raise UserError(f"{key}.path and {key}.id are both said: leave one out.")
        if self.id:
            name = self.id.rpartition("/")[2]
            return ModelSpec(name, Source.hub, id=self.id, revision=self.revision)
        place = Path(self.path or "").expanduser().resolve()
        if self.path and (place / "config.json").is_file():
            return ModelSpec(place.name, Source.local, path=str(place))
        flaw = f"={self.path} has no config.json" if self.path else " is missing"
        raise UserError(
            f"{key}.path{flaw}: give the directory, or as {key}.id the hub's name, of {self.what}."
        )


@dataclass(frozen=True)
class DraftModel(_ServedDrafts):
    """A smaller model of the same vocabulary drafts (Leviathan et al., arXiv 2211.17192)."""

    name: ClassVar[str] = "draft_model"
    summary: ClassVar[str] = "a smaller model drafts in vLLM, which checks the drafts in one pass"
    paper: ClassVar[str | None] = "arXiv:2211.17192"
    method: ClassVar[str] = "draft_model"
    what: ClassVar[str] = "a smaller model of the same vocabulary"
    instead: ClassVar[str | None] = "speculative"

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """Both must have as many tokens."""
        found = json.loads((self._directory() / "config.json").read_text())
        theirs = found.get("vocab_size") or found.get("text_config", {}).get("vocab_size")
        ours = config.get_text_config().vocab_size
        if theirs != ours:
            raise UserError(
                f"technique={self.label()} cannot draft for this model, as it has "
                f"{theirs} tokens where the model has {ours}: choose a smaller model of the same family."
            )


@dataclass(frozen=True)
class Eagle(_ServedDrafts):
    """A head that goes on from the model's own hidden states drafts (EAGLE, arXiv 2401.15077)."""

    name: ClassVar[str] = "eagle"
    summary: ClassVar[str] = "a head trained on the model's hidden states drafts in vLLM (EAGLE)"
    paper: ClassVar[str | None] = "arXiv:2401.15077"
    method: ClassVar[str] = "eagle"
    what: ClassVar[str] = "an EAGLE head that was trained for this model"

    version: int = 1
    """Of the head: 1 (those of EAGLE-2 are such), or 3, EAGLE-3's (arXiv 2503.01840)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.version in (1, 3), "technique.eagle.version", self.version, "1 or 3")

    def options(self, engine: str) -> Mapping[str, object]:
        """vLLM has a name for each version."""
        (drafting,) = super().options(engine).values()
        method = {1: "eagle", 3: "eagle3"}[self.version]
        return {"speculative_config": {**cast("dict[str, object]", drafting), "method": method}}
