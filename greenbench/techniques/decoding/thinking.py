"""How long a model that thinks before it answers may think."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from greenbench.engines.tokenizer import Manner
from greenbench.engines.writing import markers
from greenbench.errors import Unsupported
from greenbench.schema.ranges import require
from greenbench.schema.technique import Promise
from greenbench.techniques.technique import AnswerSetting

SWITCH = "enable_thinking"
"""What templates of models that may be told not to think are told."""


@dataclass(frozen=True)
class Thinking(AnswerSetting):
    """Off, where the chat template has a switch for it, or within a budget of tokens.

    At its budget a thought is ended for the model, which then answers (Muennighoff et al., 2025, arXiv
    2501.19393, section 3.1): the prompt is read once more for that, which counts.
    """

    name: ClassVar[str] = "thinking"
    summary: ClassVar[str] = (
        "the model does not think before it answers, or only for so many tokens"
    )
    paper: ClassVar[str | None] = "arXiv:2501.19393"

    budget: int | None = None
    """Tokens of a thought, at most; null: no thought at all."""

    def __post_init__(self) -> None:
        if self.budget is not None:
            require(
                self.budget >= 1, "technique.thinking.budget", self.budget, "1 or more, or null"
            )

    def label(self) -> str:
        """With what it allows."""
        return f"thinking({'off' if self.budget is None else f'budget={self.budget}'})"

    def promise(self) -> Promise:
        """Nothing is held; what is saved hangs on how long the model thinks."""
        return Promise(bytes_ratio=1.0, note="fewer tokens before the answer, as far as it thinks")

    def manner(self, template: str | None) -> Manner:
        """Told in the template's own words. Raises Unsupported for one that knows no thoughts."""
        if markers(template) is None:
            raise Unsupported(
                "technique=thinking is for models that think before they answer, and this model's chat "
                "template knows no thoughts: choose such a model."
            )
        if self.budget is not None:
            return Manner(most_thoughts=self.budget)
        if SWITCH not in (template or ""):
            raise Unsupported(
                f"technique=thinking cannot switch this model's thoughts off, as its chat template has no "
                f"{SWITCH}: say technique.thinking.budget=1, which ends them at once."
            )
        return Manner(template=((SWITCH, False),))
