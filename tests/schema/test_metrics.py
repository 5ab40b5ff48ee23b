"""Every metric stands once, and the rest of the code says no other names."""

import re
from pathlib import Path

import pytest
from helpers import factory

import greenbench
from greenbench.schema.codes import CODES, UNKNOWN, meaning, validity
from greenbench.schema.metrics import METRICS

ROOT = Path(greenbench.__file__).parent
NAMES = {name for metric in METRICS for name in (metric.name, metric.ratio) if "_" in name}


def test_no_name_stands_twice():
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    ratios = [metric.ratio for metric in METRICS if metric.ratio]
    assert len(set(ratios)) == len(ratios)


def test_a_records_numbers_are_these():
    record = factory.record()
    levels = {metric.name: metric.unit for metric in METRICS}
    found = {name: q.unit for name, q in record.candidate.metrics.items()}
    assert found.items() <= levels.items()
    assert {*record.ratios, *record.verdicts} <= {metric.ratio for metric in METRICS}


@pytest.mark.parametrize("room", ["analysis", "report"])
def test_analyses_and_reports_name_metrics_by_their_constants(room):
    spelt = re.compile("|".join(f'"{name}"' for name in sorted(NAMES)))
    assert not [path for path in (ROOT / room).rglob("*.py") if spelt.search(path.read_text())]


def test_an_unknown_code_invalidates_and_says_that_it_is_unknown():
    assert validity(["made_up"]) == "invalid"
    assert meaning("made_up") == UNKNOWN.meaning
    assert validity([]) == "valid"
    flagged = [code for code, fault in CODES.items() if fault.severity == "flagged"]
    assert validity(flagged) == "flagged"
