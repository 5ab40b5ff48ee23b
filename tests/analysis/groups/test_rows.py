"""Which runs stand together, in which order, under which name."""

from __future__ import annotations

import pytest
from helpers import examples, factory
from hypothesis import given, settings
from hypothesis import strategies as st

from greenbench.analysis.accuracy import accuracy, accuracy_change, baseline_accuracy
from greenbench.analysis.groups.rows import groups
from greenbench.schema.metrics import ENERGY_PER_TOKEN
from greenbench.stats import items

RECORDS = [
    examples.completed("none", energy=1, gained=0, lost=0),
    examples.completed("int8", energy=0.8),
    examples.completed("int4", energy=0.5, lost=5),
    examples.completed("worse", energy=0.9, lost=5),
    examples.completed("int8", energy=0.3, source=examples.ESTIMATE, device=examples.CPU),
    examples.completed("int8", energy=0.8, tier="smoke"),
    examples.completed("int8", energy=None, reason="the counter stood still"),
    examples.failed(),
]


def labels(group):
    """The group's row labels in order."""
    return [row.label for row in group.rows]


def test_the_best_that_lose_at_most_a_point_come_first():
    first = groups(RECORDS)[0]
    assert labels(first) == ["int8", "none", "int4", "worse"]


def test_a_member_of_the_frontier_is_one_in_half_of_the_draws_or_more():
    first = groups(RECORDS)[0]
    assert {row.label: row.frontier for row in first.rows} == {
        row.label: row.label != "worse" and row.standing.probability >= 0.5 for row in first.rows
    }
    assert 0 < sum(row.frontier for row in first.rows) < 4


@settings(deadline=None, max_examples=20)
@given(st.permutations(RECORDS))
def test_the_order_of_records_does_not_matter(records):
    assert groups(records) == groups(RECORDS)


def test_groups_are_sorted_by_what_they_are_worth():
    worth = [(group.setting.tier, group.setting.source) for group in groups(RECORDS)]
    assert worth == [
        ("dev", examples.NVML),
        ("dev", examples.ESTIMATE),
        ("dev", "unavailable"),
        ("smoke", examples.NVML),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"source": examples.ESTIMATE},
        {"source": "measured:counter:rapl"},
        {"energy": None},
        {"tier": "smoke"},
        {"device": {"kind": "cuda", "name": "Another GPU"}},
        {"workload": {"batch_size": 8}},
        {"spec": examples.spec("b", model={"name": "other"})},
        {"spec": examples.spec("b", model={"dtype": "float32"})},
        {"task": {"items": 500}},
        {"spec": examples.spec("b", engine={"name": "vllm"})},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_may_not_be_compared_stands_apart(changes):
    assert len(groups([examples.completed("a"), examples.completed("b", **changes)])) == 2


def test_one_name_on_two_contents_stands_apart():
    other = factory.record().model.model_copy(update={"fingerprint": "00" * 32})
    assert len(groups([examples.completed("a"), examples.completed("b", model=other)])) == 2


def test_the_frontier_goes_by_paired_ratios_not_by_what_the_machine_did_between_runs():
    (group,) = groups(
        [
            examples.completed("frugal", energy=0.5, baseline_j=9.0),
            examples.completed("wasteful", energy=2.0, baseline_j=1.0),
        ]
    )
    assert [(row.label, row.frontier) for row in group.rows] == [
        ("frugal", True),
        ("wasteful", False),
    ]
    assert group.baseline_level == pytest.approx(3.0)


def test_runs_of_one_label_are_numbered():
    other = examples.completed(energy=0.8, seed=1)
    (part,) = other.spec.technique
    stack = [part.model_copy(update={"bits": 4})]
    other = other.model_copy(update={"spec": other.spec.model_copy(update={"technique": stack})})
    (group,) = groups([examples.completed(energy=0.7), other])
    assert sorted(labels(group)) == ["int8 #1", "int8 #2"]


def test_quality_is_pooled_over_the_items_of_accuracy_tasks():
    scores = [examples.score("a", 1, 4), examples.score("b", 2, 0), examples.bits_per_byte(1.1)]
    assert baseline_accuracy(scores).value == pytest.approx(60)
    assert accuracy(scores).value == pytest.approx(59.5)
    change, pooled = accuracy_change(scores), items.paired_proportions(3, 4, 200)
    assert change.value == pytest.approx(-0.5)
    assert (change.low, change.high) == pytest.approx((100 * pooled.low, 100 * pooled.high))
    assert change.n == 200


def test_quality_without_an_accuracy_task_is_missing_with_its_reason():
    change = accuracy_change([examples.bits_per_byte(1.1)])
    assert (change.value, change.reason) == (None, "no accuracy task was scored")


def test_what_ran_eager_has_its_run_against_an_eager_baseline_beside_it():
    """1.31 of what a user could have instead, 0.62 of its own kind: each paired in a run of its own."""
    loop = "draft decodes by a loop of its own"
    found = groups([
        examples.against("compiled", "none", 1.0),
        examples.against("compiled", "int8", 0.7),
        examples.against("compiled", "draft", 1.31, loop),
        examples.against("compiled", "alone", 1.5, "alone has a cache of its own"),
        examples.against("eager", "draft", 0.62, loop),
        examples.against("eager", "int8", 0.9),
    ])  # fmt: skip
    both = {group.setting.engine: {row.label: row for row in group.rows} for group in found}
    first, second = both["transformers(reference=compiled)"], both["transformers"]
    assert {label: row.why_eager for label, row in first.items()} == {
        "none": None, "int8": None, "draft": loop, "alone": "alone has a cache of its own",
    }  # fmt: skip
    twin = first["draft"].twin
    assert twin == second["draft"].record
    assert twin.ratios["energy_per_token"].value == 0.62
    assert first["draft"].ratio(ENERGY_PER_TOKEN).value == 1.31
    assert [row.twin for label, row in first.items() if label != "draft"] == [None] * 3
    assert [row.twin or row.why_eager for row in second.values()] == [None] * 2


def test_an_eager_reference_is_what_there_was_before_there_was_another():
    old, new = examples.completed("none"), examples.against("eager", "int8", 0.7)
    assert len(groups([old, new])) == 1
