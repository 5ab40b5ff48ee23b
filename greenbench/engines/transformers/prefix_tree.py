"""Token sequences that share beginnings, laid out so that each shared beginning is computed once.

The endings of a question and the questions under one few-shot context form trees of tokens. A row
of a batch is such a forest written depth first: a token attends to its ancestors, and the subtree
of the token at place j is the places j to exit[j] - 1, so that the exits say all the mask needs.
Nothing here knows a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, Self

import torch
from torch.nn.utils.rnn import pad_sequence

from greenbench.engines.query import Query

ROW = 128
"""Tokens of a row that holds several questions: attention costs rows times length squared, and
shorter rows leave more of them padded."""
PREFIX = 64
"""Tokens that questions must share before their beginning is computed ahead of them."""
GRAIN = 16
"""Keys that attention takes at once on a CPU; what is left over is rounded otherwise."""


class Batch(NamedTuple):
    """Rows of a forest in one forward pass; S positions are scored, some of them repeatedly."""

    prefix: tuple[int, ...]
    """Tokens before every row."""
    tokens: torch.Tensor
    """(rows, length), padded with 0."""
    depths: torch.Tensor
    """(rows, length): tokens from the prefix's end to this one, which is its position."""
    exits: torch.Tensor
    """(rows, length): the place after each token's subtree; a padding token has no children."""
    paths: torch.Tensor
    """(paths, longest): row * length + place of each token from a root to a leaf; -1 after the leaf."""
    places: torch.Tensor
    """(S,) row * length + place of what is scored, row by row."""
    targets: torch.Tensor
    """(S,) tokens whose log-probabilities are asked for there."""
    owners: torch.Tensor
    """(S,) indices of the queries that ask."""

    def halves(self) -> tuple[Self, Self]:
        """Two batches of half the rows each; there must be two rows or more."""
        middle = len(self.tokens) // 2
        size = self.tokens.shape[1]
        cut = int((self.places < middle * size).sum())
        fork = int((self.paths[:, 0] < middle * size).sum())
        first, second = (
            self._replace(
                **{name: getattr(self, name)[rows] for name in ("tokens", "depths", "exits")},
                **{name: getattr(self, name)[asked] for name in ("places", "targets", "owners")},
                paths=self.paths[leaves],
            )
            for rows, asked, leaves in (
                (slice(0, middle), slice(0, cut), slice(0, fork)),
                (slice(middle, None), slice(cut, None), slice(fork, None)),
            )
        )
        shift = middle * size
        moved = torch.where(second.paths < 0, second.paths, second.paths - shift)
        return first, second._replace(places=second.places - shift, paths=moved)


class Row:
    """A forest that grows by sequences in sorted order, which share most with the one before."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.depths: list[int] = []
        self.exits: list[int] = []
        self.asked: list[tuple[int, int, int]] = []
        """Place, target and owner."""
        self.paths: list[list[int]] = []
        """Places from a root to a leaf."""
        self._last: Sequence[int] = ()
        self._path: list[int] = []
        """Places of the last sequence's tokens."""

    def new_tokens(self, sequences: Sequence[Sequence[int]]) -> int:
        """How many tokens adding `sequences` would add."""
        before = [self._last, *sequences[:-1]]
        return sum(len(b) - computed_alike(a, b) for a, b in zip(before, sequences, strict=True))

    def add(self, owner: int, tokens: Sequence[int], targets: Sequence[int]) -> None:
        """Add one sequence of which the last ``len(targets)`` positions are scored."""
        kept = computed_alike(self._last, tokens)
        if self.paths and kept == len(self._last):
            self.paths.pop()  # the last leaf is one no more
        self._leave(kept)
        self._last = tokens
        start = len(self.tokens)
        self.tokens += tokens[kept:]
        self.depths += range(kept, len(tokens))
        self._path += range(start, len(self.tokens))
        self.exits += [-1] * (len(tokens) - kept)
        self.paths.append(list(self._path))
        places = self._path[len(tokens) - len(targets) :]
        self.asked += [(p, t, owner) for p, t in zip(places, targets, strict=True)]

    def close(self) -> Self:
        """Call once all is added."""
        self._leave(0)
        return self

    def _leave(self, depth: int) -> None:
        for place in self._path[depth:]:
            self.exits[place] = len(self.tokens)
        del self._path[depth:]


def shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning."""
    for place, (mine, yours) in enumerate(zip(one, other, strict=False)):
        if mine != yours:
            return place
    return min(len(one), len(other))


def computed_alike(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning that is computed alike in both, to the last bit of 16.

    Its last grain may be full in one sequence and left over in the other, which then computes that
    grain's tokens itself.
    """
    common = shared(one, other)
    start = (common - 1) // GRAIN * GRAIN
    full = start + GRAIN
    return common if (len(one) >= full) == (len(other) >= full) else max(start, 0)


def plan(
    queries: Sequence[Query], budget: int, *, trees: bool = True, least: int | None = None
) -> list[Batch]:
    """Batches of `budget` tokens, or of one row where that is longer; every query is in one row.

    Without `trees` every row is one sequence, for models that know no other. A beginning that
    questions share is computed ahead where that saves `least` tokens (default: the budget).
    """
    order = sorted(range(len(queries)), key=lambda i: _place_in_order(queries[i], trees))
    units = [list(same) for _, same in groupby(order, key=lambda i: _context(queries[i], trees))]
    batches: list[Batch] = []
    if least is None:
        least = budget
    for prefix, group in _by_prefix(queries, units, least) if trees else [((), units)]:
        rows = list(_rows(queries, group, len(prefix), ROW if trees else 0, budget))
        rows.sort(key=lambda row: -len(row.tokens))
        batches += [_batch(prefix, part) for part in _parts(rows, budget, len(prefix))]
    return batches


def _place_in_order(query: Query, trees: bool) -> tuple[tuple[int, ...], bool, tuple[int, ...]]:
    """Endings of one question side by side, first those that share its whole last grain."""
    context = _context(query, trees)
    full = -(-len(context) // GRAIN) * GRAIN
    return context, len(query.tokens) < full, query.tokens


def _context(query: Query, trees: bool) -> tuple[int, ...]:
    """What the endings of one question have in common; without trees the whole sequence."""
    return query.tokens[: len(query.tokens) - len(query.targets) + 1] if trees else query.tokens


def _by_prefix(
    queries: Sequence[Query], units: list[list[int]], least: int
) -> Iterator[tuple[tuple[int, ...], list[list[int]]]]:
    """Runs of questions with the beginning that is worth computing ahead of them, and the rest."""
    rest: list[list[int]] = []
    for run, common in _runs(queries, units):
        if (len(run) - 1) * common >= least:
            yield queries[run[0][0]].tokens[: common // GRAIN * GRAIN], run
        else:
            rest += run
    if rest:
        yield (), rest


def _runs(
    queries: Sequence[Query], units: list[list[int]]
) -> Iterator[tuple[list[list[int]], int]]:
    """Neighbours that share `PREFIX` tokens or more before what is scored, and how many."""
    run: list[list[int]] = []
    common = 0
    for unit in units:
        room = min(len(queries[i].tokens) - len(queries[i].targets) for i in unit)
        here = room
        if run:
            before, after = queries[run[-1][0]].tokens, queries[unit[0]].tokens
            here = min(common, room, shared(before, after))
            if here < PREFIX:
                yield run, common
                run, here = [], room
        run.append(unit)
        common = here
    if run:
        yield run, common


def _rows(
    queries: Sequence[Query], units: list[list[int]], skip: int, size: int, budget: int
) -> Iterator[Row]:
    """Rows of up to `size` tokens, or of one question, which is cut where it exceeds the budget."""
    row = Row()
    for unit in units:
        new = row.new_tokens([queries[i].tokens[skip:] for i in unit])
        if row.tokens and len(row.tokens) + new > size:
            yield row.close()
            row = Row()
        for i in unit:
            tokens = queries[i].tokens[skip:]
            if row.tokens and len(row.tokens) + row.new_tokens([tokens]) > max(budget, size):
                yield row.close()
                row = Row()
            row.add(i, tokens, queries[i].targets)
    if row.tokens:
        yield row.close()


def _parts(rows: list[Row], budget: int, prefix: int) -> Iterator[list[Row]]:
    """Rows of falling length, so that a part is as wide as its first row.

    Each row holds the prefix's keys and values, which are smaller than the logits of a token. A
    part ends early where a quarter of the budget is used and shorter rows would be mostly padding.
    """
    while rows:
        width = len(rows[0].tokens)
        most, enough = (max(1, share // (width + prefix // 4)) for share in (budget, budget // 4))
        alike = sum(len(row.tokens) * 8 >= width * 7 for row in rows[:most])
        count = max(alike, enough)
        yield rows[:count]
        rows = rows[count:]


def _batch(prefix: tuple[int, ...], rows: list[Row]) -> Batch:
    size = len(rows[0].tokens)

    def padding(row: Row) -> list[int]:
        return [0] * (size - len(row.tokens))

    asked = torch.tensor(
        [
            (number * size + place, target, owner)
            for number, row in enumerate(rows)
            for place, target, owner in row.asked
        ]
    )
    paths = [
        torch.tensor([number * size + place for place in path])
        for number, row in enumerate(rows)
        for path in row.paths
    ]
    return Batch(
        prefix=prefix,
        tokens=torch.tensor([row.tokens + padding(row) for row in rows]),
        depths=torch.tensor([row.depths + padding(row) for row in rows]),
        exits=torch.tensor([row.exits + list(range(len(row.exits) + 1, size + 1)) for row in rows]),
        paths=pad_sequence(paths, batch_first=True, padding_value=-1),
        places=asked[:, 0],
        targets=asked[:, 1],
        owners=asked[:, 2],
    )
