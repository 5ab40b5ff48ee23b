"""How texts become queries, the same for every engine: as lm-eval makes and cuts tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from greenbench.engines.query import Query


class InQueries:
    """For an lm-eval `TemplateLM`: what its requests ask of the model, in tokens."""

    max_length: Any
    prefix_token_id: Any
    tok_encode: Callable[..., list[int]]
    _encode_pair: Callable[[str, str], tuple[list[int], list[int]]]

    def pair(self, context: str, continuation: str) -> Query:
        """Tokens as lm-eval's TemplateLM makes them."""
        if context:
            before, after = self._encode_pair(context, continuation)
        else:
            before = [self.prefix_token_id]
            after = self.tok_encode(continuation, add_special_tokens=False)
            if after[:1] == before:  # the text itself begins with the token
                after = after[1:]
        return self._query(before, after)

    def windows(self, text: str) -> list[Query]:
        """The whole text in pieces that do not overlap, each with all the context it can hold."""
        windows = get_rolling_token_windows(
            token_list=self.tok_encode(text),
            prefix_token=self.prefix_token_id,
            max_seq_len=self.max_length,
            context_len=1,
        )
        return [self._query(*make_disjoint_window(window)) for window in windows]

    def _query(self, before: list[int], after: list[int]) -> Query:
        """Cut from the left to the model's length; the last token is predicted, not read."""
        if not 0 < len(after) <= self.max_length:
            raise ValueError(
                f"a continuation of {len(after)} tokens cannot be scored: the model takes 1 to "
                f"{self.max_length}."
            )
        tokens = [*before, *after][-(self.max_length + 1) : -1]
        return Query(tuple(tokens), tuple(after))


class AfterEach:
    """Stands where lm-eval's cache listens for each answered request."""

    def __init__(self, done: Callable[[], None]) -> None:
        self._done = done

    def add_partial(self, *_: object) -> None:
        """A request is answered."""
        self._done()
