"""An option of the engine that gives it another checkpoint of the model, which somebody else has made."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

from greenbench.schema.spec import ModelSpec
from greenbench.techniques.technique import EngineOption


class Replacement(EngineOption):
    """The run's model as it is published in another form."""

    @abstractmethod
    def checkpoint(self) -> ModelSpec:
        """Where that is; it has the model's own tokenizer."""

    def of(self, plain: ModelSpec) -> ModelSpec:
        """It, in the dtype that the `plain` model is measured in, and trusted as that is."""
        return replace(
            self.checkpoint(), dtype=plain.dtype, trust_remote_code=plain.trust_remote_code
        )
