"""How texts become tokens, whichever engine computes with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class Manner(NamedTuple):
    """How a model is asked to answer in words."""

    template: tuple[tuple[str, object], ...] = ()
    """What the chat template is told beside the turns, as ``enable_thinking``."""
    most_thoughts: int | None = None
    """Tokens of its thoughts, which then are ended for it; null: as many as it likes."""


class Tokenizer(Protocol):
    """The tokens of the model that is served."""

    @property
    def prefix_id(self) -> int:
        """What begins a text that nothing precedes."""

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, without special tokens."""

    def frame(self, *, chat: bool) -> tuple[list[int], list[int]]:
        """Tokens before and after the text of a prompt: the chat template's where `chat` asks for it
        and there is one, else what the tokenizer puts before any text."""

    @property
    def most_thoughts(self) -> int | None:
        """Tokens that the model may think for before it answers; null: no bound."""

    @property
    def ending(self) -> str | None:
        """How the token that ends a text is written; null: there is none."""

    @property
    def template(self) -> str | None:
        """Its chat template, as it stands in the model's files; null: it has none."""

    def chat(self, turns: Sequence[Mapping[str, str]], *, opened: bool = True) -> str:
        """`turns`, each of a role and its content, in the chat template; `opened`: up to where the
        answer begins, else the last turn goes on."""

    def prompt(self, text: str) -> list[int]:
        """Token ids of a whole prompt, with what the tokenizer puts before any text."""
