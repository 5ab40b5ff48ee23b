"""The forward pass that exits: what each block does once rows of the batch have left it.

The model's own loop over its blocks runs as ever; each block from the first exit on asks here which
rows still need it. A row that left keeps its hidden state, and the blocks that it skipped get their
keys and values from that state, as in CALM (arXiv 2207.07061): not at once but together, when a later
token needs them, so that their weights are read once. The final norm and output head then see each
row's translated exit state.

How it runs is read from the call:
- One token a row and a filled cache, a step of decoding: rows exit, the rest goes on as a smaller batch.
- Several tokens and a cache, a prompt: whole, as its keys and values cost the whole pass anyway.
- No cache, a text to score: every position gets the logits, and leaves the state, that it would have
  were it generated. All blocks run, so nothing is saved; as the context of a task's item exits too, a
  score is that of a text generated from its first token, and a prompt that runs whole can only help.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from greenbench.models.parts import Run, decoder_blocks, returns_tuple, rewire
from greenbench.techniques.early_exit.cache import catch_up, run_rows, wait
from greenbench.techniques.early_exit.confidence import FROM_LOGITS, saturation
from greenbench.techniques.early_exit.depth_tally import Tally
from greenbench.techniques.early_exit.features import ends
from greenbench.techniques.early_exit.heads import ExitHead, chunks


class Rule(NamedTuple):
    """A row exits where its confidence reaches the threshold; at 1 none does."""

    confidence: str
    threshold: float

    def leaves(self, sure: torch.Tensor) -> torch.Tensor:
        """Which rows exit, given their confidence."""
        return sure >= (self.threshold if self.threshold < 1 else float("inf"))


class Pass(Protocol):
    """One call of the model."""

    def block(self, index: int, run: Run, hidden: torch.Tensor, kwargs: Any) -> torch.Tensor:
        """Block `index` on the hidden states of all rows."""

    def translated(self, hidden: torch.Tensor) -> torch.Tensor:
        """What the final norm reads."""

    def logits(self, head: Run, normed: torch.Tensor) -> torch.Tensor:
        """What the output head gives."""

    def end(self) -> None:
        """The call is over."""


class Exiting:
    """A model whose decoding exits early; building it changes the model in place."""

    def __init__(self, model: Any, heads: dict[int, ExitHead], rule: Rule, tally: Tally) -> None:
        """`heads` by how many blocks come before each exit."""
        self.heads, self.rule, self.tally = heads, rule, tally
        blocks = decoder_blocks(model)
        self.depth = len(blocks)
        self.ends = ends(model)
        self.depths: torch.Tensor | None = None
        """Blocks that each position of the last scored text took."""
        self._pass: Pass = _Whole()
        model.register_forward_pre_hook(self._begin, with_kwargs=True)
        tupled = returns_tuple(model)
        for index in range(min(heads) - 1, self.depth):
            rewire(blocks[index], partial(self._block, index), tupled=tupled)
        norm, output = self.ends.norm_layer, self.ends.output_layer
        norm.register_forward_pre_hook(lambda _, args: (self._pass.translated(args[0]),))
        vars(output)["forward"] = lambda normed: self._pass.logits(self.ends.output, normed)
        model.register_forward_hook(lambda *_: self._end())

    def confidence(
        self, exit: int, before: torch.Tensor, state: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """How sure `exit` is of states (..., width), and its logits where they were needed.

        `before` are the states one block earlier.
        """
        if self.rule.confidence == "saturation":
            return saturation(before, state), None
        normed = self.ends.norm(self.heads[exit](state))
        if self.rule.confidence == "classifier":
            return self.heads[exit].odds(normed).sigmoid(), None
        logits = self.ends.output(normed)
        return FROM_LOGITS[self.rule.confidence](logits), logits

    def _begin(self, _: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        ids: Any = args[0] if args else kwargs.get("input_ids", kwargs.get("inputs_embeds"))
        cache = kwargs.get("past_key_values")
        if cache is None:
            self._pass = _Text(self, ids)
        elif ids.shape[1] == 1 and cache.get_seq_length() > 0:
            self._pass = _Step(self, ids)
        else:
            self._pass = _Whole()

    def _end(self) -> None:
        self._pass.end()
        self._pass = _Whole()

    def _block(self, index: int, run: Run, hidden: torch.Tensor, kwargs: Any) -> torch.Tensor:
        return self._pass.block(index, run, hidden, kwargs)


class _Whole:
    """All tokens take all blocks."""

    def block(self, index: int, run: Run, hidden: torch.Tensor, kwargs: Any) -> torch.Tensor:
        catch_up(index, run, kwargs)
        return run(hidden, **kwargs)

    def translated(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden

    def logits(self, head: Run, normed: torch.Tensor) -> torch.Tensor:
        return head(normed)

    def end(self) -> None:
        pass


class _Step:
    """One token a row; `going` are the rows that have not left."""

    def __init__(self, exiting: Exiting, ids: torch.Tensor) -> None:
        self._on, self._tally = exiting, exiting.tally
        self._rows = len(ids)
        self._going = torch.arange(self._rows, device=ids.device)
        self._left: list[tuple[int, torch.Tensor]] = []
        self._known: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._before: torch.Tensor | None = None

    def block(self, index: int, run: Run, hidden: torch.Tensor, kwargs: Any) -> torch.Tensor:
        if index in self._on.heads and len(self._going):
            self._leave(index, hidden)
        self._before = hidden
        if not len(self._going):
            wait(index, hidden, kwargs)
            return hidden
        self._tally.fills += catch_up(index, run, kwargs)
        self._tally.blocks += len(self._going)
        if len(self._going) == self._rows:
            return run(hidden, **kwargs)
        self._tally.fills += self._rows
        return run_rows(run, hidden, self._going, kwargs)

    def _leave(self, exit: int, hidden: torch.Tensor) -> None:
        assert self._before is not None
        going = self._going
        sure, logits = self._on.confidence(exit, self._before[going], hidden[going])
        leaves = self._on.rule.leaves(sure)[:, 0]
        gone, self._going = going[leaves], going[~leaves]
        if len(gone):
            self._left.append((exit, gone))
        if logits is not None:
            self._tally.heads += len(going)
            self._known.append((gone, logits[leaves]))

    def translated(self, hidden: torch.Tensor) -> torch.Tensor:
        if self._known:  # their logits are there already
            return hidden
        for exit, rows in self._left:
            hidden = hidden.index_copy(0, rows, self._on.heads[exit](hidden[rows]))
        return hidden

    def logits(self, head: Run, normed: torch.Tensor) -> torch.Tensor:
        asked = self._going if self._known else torch.arange(self._rows, device=normed.device)
        parts = [*self._known]
        if len(asked):
            self._tally.heads += len(asked)
            parts.append((asked, head(normed[asked])))
        order = torch.cat([rows for rows, _ in parts]).argsort()
        return torch.cat([logits for _, logits in parts])[order]

    def end(self) -> None:
        for exit, rows in self._left:
            self._tally.left(exit, len(rows))
        self._tally.left(self._on.depth, len(self._going))
        self._tally.blocks += (min(self._on.heads) - 1) * self._rows  # no one can leave these
        self._tally.publish()


class _Text:
    """Whole texts without a cache: positions that left keep their state while the blocks run on."""

    def __init__(self, exiting: Exiting, ids: torch.Tensor) -> None:
        self._on = exiting
        self._depths = torch.full(ids.shape[:2], exiting.depth, device=ids.device)
        self._before: torch.Tensor | None = None

    def block(self, index: int, run: Run, hidden: torch.Tensor, kwargs: Any) -> torch.Tensor:
        if index in self._on.heads:
            assert self._before is not None
            leaves = self._on.rule.leaves(self._confidence(index, self._before, hidden))
            self._depths[leaves & (self._depths == self._on.depth)] = index
        self._before = hidden
        going = (self._depths == self._on.depth)[..., None]
        return torch.where(going, run(hidden, **kwargs), hidden)

    def _confidence(self, exit: int, before: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """In chunks: a text's logits need more memory than the model."""
        pairs = zip(chunks(before.flatten(0, 1)), chunks(state.flatten(0, 1)), strict=True)
        return torch.cat([self._on.confidence(exit, b, s)[0] for b, s in pairs]).view(
            state.shape[:2]
        )

    def translated(self, hidden: torch.Tensor) -> torch.Tensor:
        for exit, head in self._on.heads.items():
            hidden = torch.where((self._depths == exit)[..., None], head(hidden), hidden)
        return hidden

    def logits(self, head: Run, normed: torch.Tensor) -> torch.Tensor:
        return head(normed)

    def end(self) -> None:
        self._on.depths = self._depths
