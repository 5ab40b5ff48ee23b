"""What all figures share: no number of an axis is written over another."""

import pytest

from greenbench.report.figures.style import in_decade, of_ratios


@pytest.mark.parametrize(
    ("high", "large", "small"),
    [(7, 3, 6), (50, 3, 3), (100, 3, 1), (1e5, 1, 1)],
)
def test_the_more_decades_the_fewer_numbers_in_each(high, large, small):
    assert (len(in_decade(1, high)), len(of_ratios(1, high))) == (large, small)
