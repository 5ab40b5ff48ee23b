"""Causes that a profile shows, as the leaderboard tells them."""

from helpers import examples
from helpers.profiles import operator, profile, side

from greenbench.analysis.groups.rows import groups
from greenbench.report.markdown.sections.promises import promised
from greenbench.schema.profile import Profile

BASELINE = side(products=0.8, outside_operators=0.2)
SLOW = operator("aten::_int_mm", "packed products", 1.2, "signed char × signed char")


def shown(found, **promise):
    record = examples.completed(energy=1.1)
    (part,) = record.techniques
    made = part.promise.model_copy(update={"bytes_ratio": 0.5, "kernel": "dequantize"} | promise)
    part = part.model_copy(update={"promise": made})
    record = record.model_copy(update={"techniques": [part], "profile": found})
    summary, _, details = "\n".join(promised(groups([record]))).partition("<details>")
    line = next(line for line in summary.splitlines() if line.startswith("| `int8`"))
    return line, details


def test_shares_stand_in_the_table_and_evidence_with_its_experiment_below():
    line, details = shown(profile(BASELINE, side(SLOW, packed_products=1.2, outside_operators=0.4)))
    assert "slow kernel: 73 % (" in line
    assert "host bound: 27 % (" in line
    assert "dequantization" not in line  # what the record alone would guess
    assert "`aten::_int_mm (signed char × signed char)`: " in details
    assert "To see it: a larger batch or another width" in details
    assert "share of it is above 15 %" in details


def test_a_run_that_ended_after_its_profile_says_so_beside_the_causes():
    found = profile(BASELINE, side(SLOW, packed_products=1.2, outside_operators=0.4))
    line, details = shown(found.ended("It was killed by SIGKILL."))
    assert "slow kernel: 73 % (" in line
    assert "the run ended after it was profiled: It was killed by SIGKILL." in details
    assert "no profile" not in details


def test_what_no_cause_has_is_told():
    own = operator("own::mm", "packed products", 0.6, "signed char × float")
    line, _ = shown(profile(BASELINE, side(own, packed_products=0.6, outside_operators=0.1)))
    assert "not explained: 100 % of the lost time" in line


def test_without_a_profile_the_record_says_what_it_can_and_why_there_is_none():
    line, details = shown(Profile(reason="not profiled: what runs the baseline gives no trace"))
    assert "dequantization: weights or cache are expanded" in line
    assert "no profile: not profiled: what runs the baseline gives no trace." in details
