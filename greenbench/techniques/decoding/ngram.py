"""Drafts that a server copies from the text so far, for engines that have such an option."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from greenbench.schema.ranges import require
from greenbench.schema.technique import Promise
from greenbench.techniques.shared.engine_options import require_engine
from greenbench.techniques.technique import EngineOption, Traits


@dataclass(frozen=True)
class Ngram(EngineOption):
    """What `prompt_lookup` is in process: the same greedy output, but for near ties that round otherwise.

    It is another technique, as a server checks the drafts of many requests at once, and neither counts them
    for us nor looks n-grams up as transformers does.
    """

    name: ClassVar[str] = "ngram"
    summary: ClassVar[str] = (
        "vLLM drafts what followed the last words before, and checks it in one pass"
    )
    paper: ClassVar[str | None] = "arXiv:2304.04487"

    drafts: int = 5
    """Tokens drafted at most in each round."""
    max_ngram: int = 3
    """Longest n-gram to look up; shorter ones follow where it is not found."""
    min_ngram: int = 1
    """Shortest."""

    def __post_init__(self) -> None:
        key, most = "technique.ngram", self.max_ngram
        require(self.drafts >= 1, f"{key}.drafts", self.drafts, "1 or more")
        require(most >= 1, f"{key}.max_ngram", most, "1 or more")
        require(1 <= self.min_ngram <= most, f"{key}.min_ngram", self.min_ngram, f"1 to {most}")

    def traits(self) -> Traits:
        """It drafts, as often as the text lets it, and the output stays greedy decoding's."""
        return Traits(lossless=True, drafts_tokens=True, dynamic=True)

    def promise(self) -> Promise:
        """Nothing is held; what is saved depends on how often the text repeats itself."""
        return Promise(
            bytes_ratio=1.0,
            drafts=self.drafts,
            note=f"up to {self.drafts} drafts a pass, copied from the text so far; in 16 bits near ties may "
            "fall the other way",
        )

    def options(self, engine: str) -> Mapping[str, object]:
        """As vLLM takes it."""
        require_engine(self.name, engine, "vllm", instead="prompt_lookup")
        drafting = {
            "method": "ngram",
            "num_speculative_tokens": self.drafts,
            "prompt_lookup_max": self.max_ngram,
            "prompt_lookup_min": self.min_ngram,
        }
        return {"speculative_config": drafting}
