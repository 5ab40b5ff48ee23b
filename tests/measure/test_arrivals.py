"""At which rates a sweep looks."""

from itertools import pairwise
from math import inf

import pytest

from greenbench.errors import EngineFault
from greenbench.measure.arrivals import RATES, steps


@pytest.mark.parametrize(
    ("slower", "faster"), [(1.0, 1.0), (1.0, 10.0), (3.7, 4.1), (0.002, 900.0)]
)
def test_a_sweep_goes_from_where_both_models_idle_to_where_neither_can(slower, faster):
    for found in (
        steps({"baseline": slower, "candidate": faster}),
        steps({"baseline": faster, "candidate": slower}),
    ):
        assert len(found) == RATES
        assert found[0] == pytest.approx(slower / 8, rel=0.05)
        assert found[-1] == pytest.approx(1.25 * faster, rel=0.05)
        ratio = (10 * faster / slower) ** (1 / (RATES - 1))
        assert [b / a for a, b in pairwise(found)] == pytest.approx([ratio] * 5, rel=0.1)


def test_a_model_that_answers_nothing_sets_no_rate():
    assert steps({"baseline": 0.0, "candidate": 8.0})[0] == 1
    with pytest.raises(EngineFault, match=r"give load\.rate numbers of your own"):
        steps({"baseline": 0.0, "candidate": inf})
