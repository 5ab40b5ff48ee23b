"""Lost time is shared out among causes in closed form, and no further than the evidence goes."""

from __future__ import annotations

import pytest
from helpers.profiles import operator, profile, side

from greenbench.analysis.energy.causes import (
    AMDAHL,
    CACHE,
    COMPUTE,
    DEQUANTIZATION,
    FALLBACK,
    HOST,
    LAUNCHES,
    OWN,
    SLOW,
    SPILLED,
    WAITS,
    ZEROS,
    Claim,
)
from greenbench.analysis.energy.lost_time import split
from greenbench.schema.profile import Profile

PLAIN = side(products=0.8, outside_operators=0.2)
INT8 = operator("aten::_int_mm", "packed products", 1.2, "signed char × signed char")
CONVERTED = {"products": 100.0, "conversions": 100.0, "outside operators": 0.0}


def shares(baseline, candidate, claim):
    found = split(profile(baseline, candidate), claim)
    assert found.reason is None
    return {cause.name: round(cause.share.value, 2) for cause in found.causes}


@pytest.mark.parametrize(
    ("baseline", "candidate", "claim", "expected"),
    [
        # 0.5 s were promised. 0.4 of the products' 0.8 s, and 0.1 of Python's 0.2 s, are lost, and 0.5 added.
        (PLAIN, side(products=0.8, outside_operators=0.7), Claim(0.5), {HOST: 0.6, AMDAHL: 0.4}),
        (PLAIN, side(products=0.8, outside_operators=0.2, waiting=1.0), Claim(), {WAITS: 1.0}),
        (PLAIN, side(products=0.8, outside_operators=0.2, copies=1.0), Claim(), {SPILLED: 1.0}),
        (PLAIN, side(products=0.8, outside_operators=0.2, operators=1.0), Claim(), {OWN: 1.0}),
        (PLAIN, side(products=0.8, outside_operators=0.2, launches=1.0), Claim(), {LAUNCHES: 1.0}),
        # Products of expanded matrices are not faster for it: theirs is the 0.4 s as well.
        (
            PLAIN,
            side(products=0.8, outside_operators=0.1, conversions=0.6, calls=CONVERTED),
            Claim(0.5),
            {DEQUANTIZATION: 1.0},
        ),
        (PLAIN, side(INT8, packed_products=1.2, outside_operators=0.1), Claim(0.5), {SLOW: 1.0}),
        (
            side(products=0.8, outside_operators=0.2, by_rows_s=0.8),
            side(products=0.8, outside_operators=0.1, by_rows_s=0.8),
            Claim(0.5),
            {COMPUTE: 1.0},
        ),
        (PLAIN, side(products=0.8, outside_operators=0.1), Claim(0.5, zeros=True), {ZEROS: 1.0}),
        (
            side(products=0.4, attention=1.6),
            side(products=0.2, attention=1.6, multiplications=5e8),
            Claim(0.5, work=0.5),
            {CACHE: 1.0},
        ),
        (
            PLAIN,
            side(outside_operators=0.2, matrix_work=2.0, multiplications=0.0, elements=2e9),
            Claim(0.5, work=1.0),
            {FALLBACK: 0.94},  # less what the products no longer take
        ),
    ],
)  # fmt: skip
def test_each_cause_has_its_share(baseline, candidate, claim, expected):
    found = shares(baseline, candidate, claim)
    assert found.keys() == expected.keys()
    assert all(found[name] == pytest.approx(expected[name], abs=0.02) for name in expected)


def test_what_no_evidence_carries_is_not_explained():
    """A kernel of its own that is faster, though not as promised: nothing says why."""
    own = operator("own::mm", "packed products", 0.6, "signed char × float")
    found = split(profile(PLAIN, side(own, packed_products=0.6, outside_operators=0.1)), Claim(0.5))
    assert (found.causes, found.unexplained) == ([], 1.0)


def test_what_cannot_be_told_apart_is_not_explained():
    """A compiled step on a processor, or sleep that may lie within operators."""
    found = split(profile(PLAIN, side(products=0.8, outside_operators=0.2, untold=1.0)), Claim())
    assert (found.causes, found.unexplained) == ([], 1.0)


def test_a_share_that_wanders_is_no_evidence():
    wild = side(products=0.8, outside_operators=0.2, waiting=1.0)
    wild = wild.model_copy(update={"kinds_s": wild.kinds_s | {"waiting": [0, 0, 0.2, 0, 4.8]}})
    assert split(profile(PLAIN, wild), Claim()).reason == "no lost time shows in the profile"


def test_nothing_lost_is_not_split():
    for claim, after in ((Claim(), PLAIN), (Claim(0.5), side(products=0.4, outside_operators=0.1))):
        found = split(profile(PLAIN, after), claim)
        assert (found.causes, found.reason) == ((), "no lost time shows in the profile")
    assert split(Profile(reason="no trace"), Claim()) is None


def test_too_few_repetitions_show_no_spread():
    twice = [0.8, 0.8]
    short = {"kinds_s": {"products": twice}, "wall_s": twice, "by_rows_s": twice, "operators": []}
    found = split(profile(PLAIN, PLAIN.model_copy(update=short)), Claim(0.5))
    assert found.reason == "fewer than 3 repetitions show no spread"
