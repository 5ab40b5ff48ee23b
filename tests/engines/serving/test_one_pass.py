"""A library in a process of its own that ends, hangs or says nonsense: one sentence each."""

import sys
from types import SimpleNamespace

import pytest

from greenbench.engines.query import Query
from greenbench.engines.serving.one_pass import InOnePass
from greenbench.errors import EngineFault

QUERIES = [Query((5, 6, 7, 8), (7, 8, 9)), Query((5, 6), (7,))]
LONG = Query(tuple(range(60_000)), (1,))
"""More than a pipe holds."""
ANSWERS = "import sys\nfor line in sys.stdin: print('[-1.5, true]', flush=True)"
ENDS = "import sys\nprint('loading', file=sys.stderr)\nsys.exit('no room for a model.')"
HANGS = "import time\ntime.sleep(600)"
NONSENSE = "print('hello', flush=True)\nimport time\ntime.sleep(600)"


def scored(program, queries, **more):
    """The answers of a library that is `program`, whose server says the same."""
    server = SimpleNamespace(score=lambda asked, answered: answered(0, (-1.5, False)))
    command, found = [sys.executable, "-c", program], {}
    InOnePass(server, command, "The library", "try again", **more).score(queries, found.__setitem__)
    return found


def test_each_text_is_read_in_its_place():
    assert scored(ANSWERS, QUERIES) == {0: (-1.5, True), 1: (-1.5, True)}


@pytest.mark.parametrize("queries", [QUERIES, [LONG]])
def test_its_end_is_told_with_its_last_line(queries):
    said = r"^The library ended while it read a text \(exit code 1: no room for a model\): try again\.$"
    with pytest.raises(EngineFault, match=said):
        scored(ENDS, queries)


@pytest.mark.parametrize("queries", [QUERIES, [LONG]])
def test_it_may_not_be_silent_for_ever(queries):
    said = r"^The library hangs: it has read a text for 0\.2 s; try again\.$"
    with pytest.raises(EngineFault, match=said):
        scored(HANGS, queries, silence_s=0.2)


def test_what_is_no_answer_is_its_end():
    with pytest.raises(
        EngineFault, match=r"^The library ended while it read a text \(exit code -9\)"
    ):
        scored(NONSENSE, QUERIES)
