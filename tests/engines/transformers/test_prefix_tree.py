"""Forests hold every query once, whole, within the budget; beginnings are not repeated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenbench.engines.query import Query
from greenbench.engines.transformers.prefix_tree import GRAIN, PREFIX, plan

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


def computed(batches):
    """How many tokens are computed that are no padding."""
    return sum(len(batch.paths[batch.paths >= 0].unique()) for batch in batches)


@given(queries())
def test_with_room_the_endings_of_a_question_share_what_they_compute_alike(asked):
    batches = plan(asked, 10**6, least=10**9)
    starts = [(q.tokens, q.tokens[: len(q.tokens) - len(q.targets) + 1]) for q in asked]
    distinct = {tokens[: k + 1] for tokens, _ in starts for k in range(len(tokens))}
    apart = {
        (context, len(tokens) < -(-len(context) // GRAIN) * GRAIN, tokens[: k + 1])
        for tokens, context in starts
        for k in range(len(tokens))
    }
    assert len(distinct) <= computed(batches) <= len(apart)


def test_an_ending_too_short_to_fill_the_last_grain_computes_that_grain_itself():
    question = tuple(range(2 * GRAIN + 4))
    long, longer, short = (
        Query((*question, *range(100, 100 + n)), (7,) * (n + 1)) for n in (20, 27, 5)
    )
    (together,) = plan([long, longer], 1000)
    assert computed([together]) == len(question) + 27  # whose first 20 are the other's
    (three,) = plan([long, longer, short], 1000)
    assert computed([three]) == len(question) + 27 + 4 + 5
    assert sorted((three.paths >= 0).sum(1).tolist()) == [len(question) + n for n in (5, 27)]


@given(queries(), st.sampled_from([8, 40, 1000]))
def test_paths_lead_to_every_token_through_what_it_may_see(asked, budget):
    for batch in plan(asked, budget):
        size = batch.tokens.shape[1]
        for path in batch.paths:
            places = path[path >= 0]
            row, steps = int(places[0]) // size, (places % size).tolist()
            for k, here in enumerate(steps):
                seen = [j for j in range(here + 1) if batch.exits[row, j] > here]
                assert seen == steps[: k + 1]
        assert set(batch.places.tolist()) <= set(batch.paths.flatten().tolist())


@given(queries(), st.sampled_from([8, 40]))
def test_halves_of_a_batch_are_the_batch(asked, budget):
    for batch in plan(asked, budget, trees=False):
        if len(batch.tokens) > 1:
            first, second = batch.halves()
            assert len(first.tokens) + len(second.tokens) == len(batch.tokens)
            assert paths(first) | paths(second) == paths(batch)
            assert len(first.paths) + len(second.paths) == len(batch.paths)
            assert int(second.paths.max()) < second.tokens.numel()


def test_a_long_common_beginning_is_computed_once_where_that_pays():
    start = tuple(range(100))
    asked = [Query((*start, 200 + n, 7), (8,)) for n in range(30)]
    (shared,) = plan(asked, 512, least=2000)
    assert shared.prefix == start[:96]  # whole grains of it
    assert computed([shared]) == 4 + 60
    assert all(batch.prefix == () for batch in plan(asked, 512, least=3000))


@pytest.mark.parametrize(("lengths", "parts"), [([40, 39, 38], 1), ([40, 40, 4, 4, 4], 2)])
def test_short_rows_are_not_padded_to_long_ones(lengths, parts):
    asked = [Query((n, *range(10, 9 + size)), (1,)) for n, size in enumerate(lengths)]
    assert len(plan(asked, 200, trees=False)) == parts
