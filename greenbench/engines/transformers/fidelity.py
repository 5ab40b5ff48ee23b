"""How near a candidate's predictions are to the baseline's, whatever is right.

On text every token is predicted; at some positions of each text the baseline's logits are kept, and
the candidate's are compared with them in the passes that score it anyway.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch

from greenbench.engines.query import Nearness, Place, Seen
from greenbench.engines.transformers.prefix_tree import Batch

POSITIONS = 1024
"""Positions compared over all texts ..."""
BYTES = 256 << 20
"""... or fewer, where their logits would not fit into so many bytes."""
SPREAD = 7919  # so that short texts do not all show their beginnings
SLICE = 32
"""Positions compared at once."""

Text = tuple[str, int]
"""Task, and the item's place among those asked."""
Listener = Callable[[Batch, torch.Tensor, torch.Tensor], None]
"""Called with a batch, its logits (U, vocabulary) and for each of its S positions which they are."""


class Watch:
    """Sees a model's logits at chosen places of texts: keeps them, or compares them with kept ones.

    The places are the same for every model that reads the same tokens.
    """

    def __init__(self, reference: Seen | None) -> None:
        """Without a reference they are kept."""
        self._rows = {place: row for row, place in enumerate(reference.places)} if reference else {}
        self._reference = reference
        self._kept: list[torch.Tensor] = []
        self._places: list[Place] = []
        self._found: dict[Text, list[torch.Tensor]] = defaultdict(list)

    def listener(
        self, texts: Sequence[Text], owners: torch.Tensor, batches: Sequence[Batch], share: float
    ) -> Listener:
        """For `batches`, whose query i asks for a window of text ``owners[i]``.

        `share` of all places are these texts'.
        """
        scored = sum(len(batch.places) for batch in batches)
        first = {text: query for query, text in reversed(list(enumerate(owners.tolist())))}

        def listen(batch: Batch, logits: torch.Tensor, where: torch.Tensor) -> None:
            room = min(POSITIONS, BYTES // (logits.shape[-1] * logits.element_size()))
            stride = -(-scored // max(1, int(share * room)))
            depths = batch.depths.flatten()[batch.places] + len(batch.prefix)
            chosen = ((depths + SPREAD * batch.owners) % stride == 0).nonzero()[:, 0]
            places = []
            for query, depth in zip(
                batch.owners[chosen].tolist(), depths[chosen].tolist(), strict=True
            ):
                text = int(owners[query])
                places.append((*texts[text], query - first[text], depth))
            self._see(places, logits[where[chosen.to(where.device)]])

        return listen

    def seen(self) -> Seen | None:
        """What was kept; null where there were no texts, or they were compared."""
        return Seen(self._places, torch.cat(self._kept)) if self._kept else None

    def nearness(self) -> list[Nearness]:
        """What the comparisons show, by text; nothing without a reference."""
        sums = {text: torch.stack(found).double().sum(0) for text, found in self._found.items()}
        return [
            Nearness(*text, len(self._found[text]), *sums[text].tolist()) for text in sorted(sums)
        ]

    def _see(self, places: list[Place], logits: torch.Tensor) -> None:
        if self._reference is None:
            self._places += places
            self._kept.append(logits.cpu())
            return
        known = [i for i, place in enumerate(places) if place in self._rows]
        for start in range(0, len(known), SLICE):
            part = known[start : start + SLICE]
            theirs = self._reference.logits[[self._rows[places[i]] for i in part]]
            for i, row in zip(part, compared(theirs.to(logits.device), logits[part]), strict=True):
                self._found[places[i][:2]].append(row)


def compared(baseline: torch.Tensor, candidate: torch.Tensor) -> torch.Tensor:
    """(P, 2) on the CPU: KL(baseline || candidate) in nats, and whether the likeliest is the same.

    Both are logits (P, vocabulary).
    """
    p, q = baseline.float().log_softmax(-1), candidate.float().log_softmax(-1)
    divergence = (p.exp() * (p - q)).sum(-1)
    same = baseline.argmax(-1) == candidate.argmax(-1)
    return torch.stack([divergence, same.float()], dim=1).cpu()
