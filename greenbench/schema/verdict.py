"""What a comparison shows: its numbers, and the word for them."""

from __future__ import annotations

from typing import Literal

from greenbench.schema.quantity import Part, Provenance
from greenbench.stats.intervals import (
    MARGIN,
)

Word = Literal["saves", "costs", "equivalent", "inconclusive", "not reached"]
"""What a comparison shows; ``not reached``: of a training, that it does not come to the baseline's last loss
with every seed."""


class Comparison(Part):
    """One metric's candidate-over-baseline ratio in one run, and the tests of it.

    A ratio below 1 is a saving: `metric` is always something of which less is better.
    """

    metric: str
    """What was compared."""
    provenance: Provenance
    ratio: float | None = None
    """Candidate over baseline; null where there is none."""
    low: float | None = None
    """Lower end of the 95 % interval; of what is not reached the bound that is known."""
    high: float | None = None
    """Upper end."""
    n: int = 0
    """Blocks, items or sessions; 1 for an exact count."""
    method: Literal["t", "bca", "draws", "sessions", "exact"] | None = None
    """How the 95 % interval was found; ``draws``: items and windows were drawn anew together; ``sessions``:
    of what several sessions show; ``bca``: a bootstrap of blocks, in records of before."""
    p_difference: float | None = None
    """Two-sided test of the ratio against 1: a paired t-test, or as many draws as lie beyond it."""
    p_adjusted: float | None = None
    """The same after Holm over the family."""
    family: int = 1
    """How many runs of a sweep tested this metric; 1: this run alone."""
    p_equivalence: float | None = None
    """TOST against `margin`."""
    margin: float = MARGIN
    """An effect up to this is none."""
    barred: str | None = None
    """Why no claim may rest on these numbers, however clear they look."""


class Verdict(Comparison):
    """What a comparison shows, in one word and one sentence, with the numbers behind it."""

    verdict: Word
    reason: str
    """The sentence."""
