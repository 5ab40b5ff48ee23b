"""Every technique on a tiny checkpoint of every architecture: it runs as the page says, or is refused."""

import gc
from functools import lru_cache

import pytest
from helpers.architectures import DECODERS, checkpoint, small_tokenizer
from helpers.matrix import TABLE, cell, techniques

TECHNIQUES = techniques()
CELLS = [(kind, option) for kind in DECODERS for option in TECHNIQUES]
KINDS = list(DECODERS)


def on_diagonal(kind, option):
    """One technique for each architecture, so that each is met."""
    return KINDS.index(kind) % len(TECHNIQUES) == TECHNIQUES.index(option)


def marks(kind, option):
    """CI tries a quarter of the rest, so that every technique meets eight architectures or nine."""
    if on_diagonal(kind, option):
        return []
    slant = (KINDS.index(kind) + TECHNIQUES.index(option)) % 4
    return [pytest.mark.matrix, *([pytest.mark.slow] if slant else [])]


@pytest.fixture(scope="module")
def known():
    """The page's cells."""
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("|")]
    head, _, *rows = ([part.strip() for part in line.strip("|").split("|")] for line in lines)
    return {(row[0], name): said for row in rows for name, said in zip(head, row, strict=True)}


@pytest.fixture(scope="module")
def of(tmp_path_factory):
    """The checkpoint of a kind, and what the plain model says."""
    tokenizer = small_tokenizer()
    gc.freeze()  # each cell collects, and what is imported is no garbage

    @lru_cache
    def made(kind):
        directory = checkpoint(kind, tokenizer, tmp_path_factory.mktemp("matrix") / kind)
        return directory, cell(directory, "none")

    return made


@pytest.mark.parametrize(
    ("kind", "option"),
    [pytest.param(*each, marks=marks(*each)) for each in CELLS],
)
def test_a_cell_is_as_the_page_says(kind, option, of, known):
    directory, plain = of(kind)
    found = cell(directory, option)
    assert plain.refused is None
    assert str(found) == known[kind, option]
    if found.refused:
        assert "\n" not in found.refused
        assert found.refused.endswith(".")
    elif found.applied.lossless:
        assert found.tokens == plain.tokens
        assert found.applied.observed.get("drafted") != 0
        assert abs(found.nats - plain.nats) < 1e-3


def test_the_page_has_every_cell_and_no_other(known):
    kinds, names = {kind for kind, _ in known}, {name for _, name in known}
    assert kinds == set(KINDS)
    assert names == {"architecture", *TECHNIQUES}
