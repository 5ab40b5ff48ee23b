"""Which technique may follow which."""

from __future__ import annotations

from collections.abc import Sequence

from greenbench.errors import UserError
from greenbench.techniques.technique import Technique


def check_order(stack: Sequence[Technique]) -> None:
    """Refuse a stack whose order cannot work, in one sentence."""
    for position, technique in enumerate(stack):
        packed = [earlier.name for earlier in stack[:position] if earlier.packs_weights]
        if packed and technique.needs_plain_weights:
            raise UserError(
                f"technique={technique.name} cannot come after {packed[0]}, which packs the "
                f"weights: put {technique.name} first."
            )
        holding = [earlier.name for earlier in stack[:position] if earlier.holds_blocks]
        if holding and (technique.needs_plain_weights or technique.changes_blocks):
            raise UserError(
                f"technique={technique.name} cannot come after {holding[0]}, which keeps to the "
                f"blocks and weights that it found: put {technique.name} first."
            )
        hidden = [earlier.name for earlier in stack[:position] if not earlier.traceable]
        if hidden and technique.traces:
            raise UserError(
                f"technique={technique.name} cannot come after {hidden[0]}, whose forward pass it "
                "cannot trace: leave one of them out."
            )
    drafting = _one(
        [t.name for t in stack if t.drafts_tokens], "draft tokens for one pass to check"
    )
    _one([t.name for t in stack if t.adds_exits], "change what the blocks do")
    caching = _one([t.name for t in stack if t.chooses_cache], "choose the key-value cache")
    if drafting and caching:
        raise UserError(
            f"technique={drafting} cannot be stacked with {caching}, as drafts that are rejected must "
            "be cut from the cache, which that one does not allow: choose one."
        )


def _one(names: Sequence[str], what: str) -> str | None:
    """The only name, if there is one; UserError for more."""
    if len(names) > 1:
        raise UserError(
            f"technique={names[1]} cannot be stacked with {names[0]}, as both {what}: choose one."
        )
    return names[0] if names else None
