"""What the rest of a stack, and whoever measures it, must know of a technique."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Traits:
    """What the rest of a stack, and whoever measures it, must know of a technique."""

    lossless: bool = False
    """True only where the output is identical to the baseline's by construction."""
    on_linears: bool = False
    """It is meant for all linear layers of the blocks. Matrices that other modules hold are shown to it
    as such layers, and it is refused where it reaches under half of the blocks' weights."""
    needs_plain_weights: bool = False
    """It reads or casts floating-point weights, so nothing before it may have packed them."""
    changes_blocks: bool = False
    """It drops or replaces the model's blocks."""
    holds_blocks: bool = False
    """It keeps to the blocks and weights that it found, which may not change after it."""
    packs_weights: bool = False
    """It leaves integer weights behind."""
    leaves_files: bool = False
    """It writes the files of the model itself, in which nothing would be of an edit after it."""
    keeps: bool = False
    """It takes long, and all that it leaves is in the module, which a file holds: made once for all turns."""
    drafts_tokens: bool = False
    """It drafts tokens for the whole model to check; a stack has room for one that does."""
    adds_exits: bool = False
    """It changes what the blocks do so that a token may leave them; a stack has room for one."""
    chooses_cache: bool = False
    """It chooses the key-value cache; a stack has room for one, and drafts need the usual one."""
    traces: bool = False
    """It traces the model's forward pass ..."""
    traceable: bool = True
    """... which what this one leaves allows."""
    breaks_graphs: bool = False
    """Its forward pass is traced, but not in one piece, as the compiled reference wants it."""
    compiled_rows: int = 1
    """On CUDA its kernel takes no fewer rows where it is compiled."""
    of_reference: bool = False
    """It is part of the compiled reference, against which it would show nothing."""
    one_gpu: bool = False
    """It holds weights or states on one device, so that the model may not be spread over several GPUs."""
    dynamic: bool = False
    """Its work depends on the input, so it is measured by difficulty too. Whole numbers that it adds
    to what it has `observed` are counts, which only grow."""
