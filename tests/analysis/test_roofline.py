"""The share of the roofline against numbers worked out by hand."""

import pytest
from helpers import campaign, examples

from greenbench.analysis.groups.rows import groups
from greenbench.analysis.roofline import roofline_share
from greenbench.report.markdown.sections.headline_table import latency_and_memory

ROOF = {"bytes_per_s": 1e12, "flops_per_s": 1e14}


def record(held=2e9, tpot_s=4e-3, batch=1, roof=ROOF):
    """A model of 1e9 weights in bfloat16, of which the candidate holds so many bytes."""
    found = examples.completed()
    sides = {}
    for who, size in (("baseline", 2e9), ("candidate", held)):
        subject = getattr(found, who)
        metrics = subject.metrics | {
            "model_bytes": examples.quantity(size, None, "B"),
            "tpot_p50_s": examples.quantity(tpot_s, None, "s"),
        }
        sides[who] = subject.model_copy(update={"metrics": metrics})
    facts = found.environment | ({"roofline": roof} if roof else {})
    workload = found.spec.workload.model_copy(update={"batch_size": batch})
    spec = found.spec.model_copy(update={"workload": workload})
    return found.model_copy(update={**sides, "environment": facts, "spec": spec})


def test_alone_a_step_takes_at_least_the_reading_of_all_weights():
    """2 GB at 1 TB/s are 2 ms of the 4 ms that it took; a quarter of the bytes, a quarter of that."""
    assert roofline_share(record(), "baseline").value == pytest.approx(0.5)
    assert roofline_share(record(held=5e8), "candidate").value == pytest.approx(0.125)
    assert roofline_share(record(held=5e8), "baseline").value == pytest.approx(0.5)


def test_many_at_once_take_at_least_the_multiplying():
    """2 x 1e9 x 512 operations at 1e14 a second are 10.24 ms, more than the reading."""
    assert roofline_share(record(tpot_s=20.48e-3, batch=512), "candidate").value == pytest.approx(
        0.5
    )
    assert roofline_share(record(held=5e8, tpot_s=20.48e-3, batch=512), "candidate").value == 0.5


def test_it_is_an_estimate_and_what_is_not_known_says_why():
    assert roofline_share(record(), "candidate").is_estimate
    assert "not measured" in roofline_share(record(roof=None), "candidate").reason
    busy = record(roof=None)
    why = {"roofline": None, "roofline_missing": "another run was on it"}
    busy = busy.model_copy(update={"environment": busy.environment | why})
    assert roofline_share(busy, "candidate").reason == "another run was on it"
    bare = record()
    metrics = {name: q for name, q in bare.candidate.metrics.items() if name != "tpot_p50_s"}
    slow = bare.model_copy(
        update={"candidate": bare.candidate.model_copy(update={"metrics": metrics})}
    )
    assert roofline_share(slow, "candidate").value is None


def test_the_table_has_a_column_of_it_where_it_was_measured():
    (group,) = groups([record()])
    titles = [column.title for column in latency_and_memory(group)]
    assert "share of the roofline, baseline; candidate" in titles
    (group,) = groups([campaign.run("none", 1.0)])
    assert not any("roofline" in column.title for column in latency_and_memory(group))


def test_what_makes_several_tokens_in_a_step_or_reads_a_part_has_no_such_share():
    """It would come out above 1."""
    found = record()
    for family in ("decoding", "early_exit", "sparse_activation"):
        (applied,) = found.techniques
        other = found.model_copy(
            update={"techniques": [applied.model_copy(update={"family": family})]}
        )
        assert "several tokens" in roofline_share(other, "candidate").reason
        assert roofline_share(other, "baseline").value == pytest.approx(0.5)


def test_several_gpus_at_once_read_faster_than_the_one_that_was_measured():
    found = record()
    facts = found.environment | {"device": {"uuids": ["GPU-a", "GPU-b"]}}
    spread = found.model_copy(update={"environment": facts})
    assert "one of several GPUs" in roofline_share(spread, "baseline").reason
