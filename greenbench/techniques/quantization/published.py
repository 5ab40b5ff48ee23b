"""A checkpoint that somebody has published, or made, of the run's model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from greenbench.errors import Unsupported, UserError
from greenbench.models import files
from greenbench.schema.enums import Source
from greenbench.schema.spec import ModelSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.replacement import Replacement

if TYPE_CHECKING:
    from greenbench.schema.spec import WorkloadSpec

KEY = "technique.checkpoint"
SAME = ("vocab_size", "model_type")
"""What a checkpoint of the model has as the model has it."""


@dataclass(frozen=True)
class Checkpoint(Replacement):
    """Serve a checkpoint that somebody publishes of the model, in a format that the engine reads."""

    name: ClassVar[str] = "checkpoint"
    summary: ClassVar[str] = "a published checkpoint of the model (AWQ, GPTQ, FP8, ...), as it is"

    id: str | None = None
    """On the hub, as in ``Qwen/Qwen3-8B-AWQ``."""
    revision: str | None = None
    """Branch, tag or commit; the commit is recorded."""
    path: str | None = None
    """Or a directory of its files."""

    def checkpoint(self) -> ModelSpec:
        """The one that is named. Raises UserError where none is, or two are."""
        if (self.id is None) == (self.path is None):
            raise UserError(
                f"technique=checkpoint needs to know which: say {KEY}.id=ORG/MODEL, or {KEY}.path=DIRECTORY, "
                "and not both."
            )
        if self.path is not None:
            place = Path(self.path).expanduser().resolve()
            return ModelSpec(place.name, Source.local, path=str(place))
        name = str(self.id).rpartition("/")[2]
        return ModelSpec(name, Source.hub, id=self.id, revision=self.revision)

    def models(self) -> Sequence[ModelSpec]:
        """It."""
        return [self.checkpoint()]

    def exact(self) -> Self:
        """With the commit that the revision is now."""
        if self.path is not None:
            return self
        return replace(self, revision=files.exact(self.checkpoint()).revision)

    def disclosed(self) -> dict[str, Any]:
        """A directory by its name and content hash."""
        known = self.checkpoint()
        if self.path is None:
            return {}
        files.check(known)
        return {"path": f"{known.name}@{files.fingerprint(known)}"}

    def label(self) -> str:
        """With its name alone, as a place is private."""
        named = self.id or self.path
        return f"{self.name}({self.checkpoint().name})" if named else self.name

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """It must be of this model, and no other."""
        said = self._said()
        for name in SAME:
            mine = said.get(name, (said.get("text_config") or {}).get(name))
            theirs = getattr(config, name, None) or getattr(config.get_text_config(), name, None)
            if mine is not None and mine != theirs:
                raise UserError(
                    f"{KEY}={self.checkpoint().name} is no checkpoint of this model, as its {name} is {mine} "
                    f"and the model's {theirs}: say model= for the one that it was made from."
                )

    def promise(self) -> Promise:
        """What its files hold is read when they are served."""
        return Promise(note="the maker's files, as they are")

    def options(self, engine: str) -> Mapping[str, object]:
        """None: the engine gets other files."""
        if engine in ("llama_cpp", "openai"):
            raise Unsupported(
                f"technique={self.name} gives a checkpoint of safetensors, which engine={engine} does not "
                "take: use engine=vllm or transformers."
            )
        return {}

    def _said(self) -> dict[str, Any]:
        """Its configuration."""
        place = files.directory(self.checkpoint()) / "config.json"
        return dict(json.loads(place.read_text()))
