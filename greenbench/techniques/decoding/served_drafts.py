"""Drafts by a second model beside the first, in a server that has such an option."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

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
    """What lies at the path."""
    instead: ClassVar[str | None] = None

    path: str | None = None
    """Its directory. A path is never recorded."""
    drafts: int = 3
    """Tokens drafted in each round."""

    def __post_init__(self) -> None:
        require(self.drafts >= 1, f"technique.{self.name}.drafts", self.drafts, "1 or more")

    def traits(self) -> Traits:
        """It drafts, as well as it can, and the output stays greedy decoding's."""
        return Traits(lossless=True, drafts_tokens=True, dynamic=True)

    def check(self, machine: Machine, engine: Engine) -> None:
        """It must be there."""
        super().check(machine, engine)
        self._directory()

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
        """As any technique's, with the directory's name for its path."""
        name = self.path and Path(self.path).expanduser().resolve().name
        return super(_ServedDrafts, replace(self, path=name)).label()

    def disclosed(self) -> dict[str, Any]:
        """The directory by its name and content hash."""
        place = self._directory()
        spec = ModelSpec(place.name, Source.local, path=str(place))
        return {"path": f"{place.name}@{files.fingerprint(spec)}"}

    def _directory(self) -> Path:
        place = Path(self.path or "").expanduser().resolve()
        if self.path is not None and (place / "config.json").is_file():
            return place
        key = f"technique.{self.name}.path"
        flaw = f"{key} is missing" if self.path is None else f"{key}={self.path} has no config.json"
        raise UserError(f"{flaw}: give the directory of {self.what}.")


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
                f"technique.draft_model.path={self._directory().name} cannot draft for this model, as it has "
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
