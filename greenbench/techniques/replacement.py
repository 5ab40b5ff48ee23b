"""An option of the engine that gives it another checkpoint of the model, which somebody else has made."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from greenbench.errors import UserError
from greenbench.schema.spec import ModelSpec
from greenbench.techniques.technique import EngineOption, ModelEdit, Technique


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


def check_files(stack: Sequence[Technique]) -> None:
    """Raise UserError where an edit would change nothing, as files are given or written without it."""
    given = [each.name for each in stack if isinstance(each, Replacement)]
    edits = [each for each in stack if isinstance(each, ModelEdit)]
    if given and edits:
        raise UserError(
            f"technique={given[0]} gives the engine files as they are, so that {edits[0].name} would change "
            "none: leave one of them out."
        )
    for one, other in pairwise(edits):
        if one.traits().leaves_files:
            raise UserError(
                f"technique={other.name} cannot come after {one.name}, which has written the model's files "
                "without it: leave one of them out."
            )
