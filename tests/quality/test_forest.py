"""Forests hold every query once, whole, within the budget; beginnings are not repeated."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from greenbench.quality.forest import PREFIX, Query, plan

token = st.integers(0, 3)
stem = st.lists(token, max_size=12)


@st.composite
def queries(draw):
    """Continuations of few stems over few tokens, so that most share something."""
    start = draw(st.sampled_from([[], [1] * (PREFIX + 6)]))
    stems = draw(st.lists(stem, min_size=1, max_size=4))
    found = []
    for _ in range(draw(st.integers(1, 12))):
        before = [*start, *draw(st.sampled_from(stems)), draw(token)]
        after = draw(st.lists(token, min_size=1, max_size=5))
        found.append(Query((*before, *after[:-1]), tuple(after)))
    return found


def paths(batch):
    """For each owner, its (tokens up to and with the place, target), read from the mask alone."""
    size = batch.tokens.shape[1]
    found = {}
    rows = zip(batch.places.tolist(), batch.targets.tolist(), batch.owners.tolist(), strict=True)
    for place, target, owner in rows:
        row, here = divmod(place, size)
        exits = batch.exits[row].tolist()
        seen = [j for j in range(here + 1) if exits[j] > here]
        depths = batch.depths[row][seen].tolist()
        assert depths == list(range(len(seen)))
        tokens = (*batch.prefix, *batch.tokens[row][seen].tolist())
        found.setdefault(owner, []).append((tokens, target))
    return found


@given(
    queries(), st.sampled_from([1, 8, 40, 1000]), st.sampled_from([0, 100, 10**6]), st.booleans()
)
def test_every_query_sees_its_own_tokens_and_no_others(asked, budget, least, trees):
    batches = plan(asked, budget, trees=trees, least=least)
    found = {}
    for batch in batches:
        new = paths(batch)
        assert not set(found) & set(new)
        found |= new
        assert len(batch.tokens) == 1 or batch.tokens.numel() <= budget
        assert trees or not batch.prefix
    assert sorted(found) == list(range(len(asked)))
    for owner, seen in found.items():
        tokens, targets = asked[owner]
        first = len(tokens) - len(targets) + 1
        expected = [(tokens[: first + k], target) for k, target in enumerate(targets)]
        assert seen == expected


@given(queries())
def test_with_room_no_token_is_computed_twice(asked):
    batches = plan(asked, 10**6, least=10**9)
    distinct = {query.tokens[: k + 1] for query in asked for k in range(len(query.tokens))}
    used = sum(int((batch.exits > 0).sum()) for batch in batches)
    padding = sum(int((b.exits == torch.arange(1, b.exits.shape[1] + 1)).sum()) for b in batches)
    leaves = sum(1 for path in distinct if not any(p[:-1] == path for p in distinct))
    if sum(len(batch.tokens) for batch in batches) == 1:
        assert used == len(distinct)
        assert padding == leaves


@given(queries(), st.sampled_from([8, 40]))
def test_halves_of_a_batch_are_the_batch(asked, budget):
    for batch in plan(asked, budget, trees=False):
        if len(batch.tokens) > 1:
            first, second = batch.halves()
            assert len(first.tokens) + len(second.tokens) == len(batch.tokens)
            assert paths(first) | paths(second) == paths(batch)


def test_a_long_common_beginning_is_computed_once_where_that_pays():
    start = tuple(range(100))
    asked = [Query((*start, 200 + n, 7), (8,)) for n in range(30)]
    (shared,) = plan(asked, 512, least=2000)
    assert shared.prefix == start
    assert shared.tokens.numel() == 60
    assert all(batch.prefix == () for batch in plan(asked, 512, least=3000))


@pytest.mark.parametrize(("lengths", "parts"), [([40, 39, 38], 1), ([40, 40, 4, 4, 4], 2)])
def test_short_rows_are_not_padded_to_long_ones(lengths, parts):
    asked = [Query((n, *range(10, 9 + size)), (1,)) for n, size in enumerate(lengths)]
    assert len(plan(asked, 200, trees=False)) == parts
