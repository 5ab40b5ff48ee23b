"""How much of the weights a token really met, as techniques counted it while the candidate ran."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from greenbench.analysis.groups.rows import Row
from greenbench.schema.technique import AppliedTechnique


class Active(NamedTuple):
    """What was counted in decoding passes of the workload's batch; null: not counted, or not of that kind."""

    promised: float | None
    """Bytes read to generate a token of one request, over the model's before."""
    counted: float | None
    """The same as counted; null where several rows share a pass and the model before was not counted."""
    bytes_a_token: float | None
    experts_a_token: float | None
    """That the router chose, in the mean over blocks."""
    touched_a_pass: float | None
    """Experts that any row of the batch used: each once, however many rows read it."""
    touched_a_token: float | None

    @property
    def kept(self) -> float | None:
        """The part of the promised saving that was counted; null: nothing was promised."""
        if self.promised is None or self.counted is None or self.promised >= 1:
            return None
        return (1 - self.counted) / (1 - self.promised)


def active(row: Row) -> Active | None:
    """What was counted for the run's stack; null: nothing.

    The first technique that counts sees all that those after it change, and nothing of those before.
    """
    parts = row.record.techniques
    for place, part in enumerate(parts):
        seen = part.observed
        if "active_bytes_a_token" not in seen:
            continue
        values = (
            seen.get(name) for name in (
                "active_bytes_ratio", "active_bytes_a_token", "experts_a_token",
                "experts_touched_a_pass", "experts_touched_a_token",
            )
        )  # fmt: skip
        known = (float(value) if isinstance(value, int | float) else None for value in values)
        return Active(_promised(parts[place:]), *known)
    return None


def _promised(parts: Sequence[AppliedTechnique]) -> float | None:
    """What these promised together; one that says nothing of active bytes reads as it holds."""
    if all(part.promise.active_bytes_ratio is None for part in parts):
        return None
    said = ((part.promise.active_bytes_ratio, part.promise.bytes_ratio) for part in parts)
    return prod(next((ratio for ratio in pair if ratio is not None), 1.0) for pair in said)
