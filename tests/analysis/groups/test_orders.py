"""In which order rows stand: what a reader asks, or what is asked for."""

from __future__ import annotations

import pytest
from helpers import examples

from greenbench.analysis.groups.rows import groups

RECORDS = [
    examples.completed("far", energy=0.2, speed=1.1, gained=0, lost=40),
    examples.completed("near", energy=0.8, speed=1.2, gained=1, lost=1),
    examples.completed("slow", energy=1.5, speed=0.6, gained=3, lost=0),
    examples.completed("some", energy=0.5, speed=1.9, gained=0, lost=4),
]


@pytest.mark.parametrize(
    ("order", "labels"),
    [
        ("question", ["near", "slow", "some", "far"]),
        ("energy", ["far", "some", "near", "slow"]),
        ("speed", ["some", "near", "far", "slow"]),
        ("quality", ["slow", "near", "some", "far"]),
        ("name", ["far", "near", "slow", "some"]),
    ],
)
def test_rows_stand_in_the_order_asked_for(order, labels):
    (group,) = groups(RECORDS, order=order)
    assert [row.label for row in group.rows] == labels


def test_where_joules_are_estimates_the_usual_order_goes_by_speed():
    known = {"source": examples.ESTIMATE, "device": examples.CPU, "gained": 0, "lost": 0}
    (group,) = groups(
        [
            examples.completed("frugal", energy=0.5, speed=1.1, **known),
            examples.completed("fast", energy=0.9, speed=1.5, **known),
        ]
    )
    assert [row.label for row in group.rows] == ["fast", "frugal"]


def test_what_was_not_scored_comes_last():
    (group,) = groups([examples.completed("unscored", energy=0.1, quality=[]), *RECORDS])
    assert group.rows[-1].label == "unscored"
