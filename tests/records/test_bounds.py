"""A number that no run can have lists its record with the reason, and the others are shown."""

import json

import pytest
from helpers import campaign, factory

from greenbench.campaign.sweep import write_report
from greenbench.cli.main import main
from greenbench.records.store import Store, canonical, load

ENERGY = "metrics.energy_per_token_j"
SPOILT = {
    f"baseline.{ENERGY}.value=0": "baseline.metrics.energy_per_token_j is 0 J/token",
    f"candidate.{ENERGY}.value=-1": "is -1 J/token, and must be above 0",
    f"candidate.{ENERGY}.value=1e308": "is beyond 1e+15 J/token",
    "candidate.metrics.ttft_p50_s.value=0": "is 0 s, and must be above 0",
    "candidate.metrics.tokens_per_s.value=1e308": "is beyond 1e+15 token/s",
    "baseline.metrics.model_bytes.value=-1e308": "is beyond 1e+15 B",
    "ratios.energy_per_token.value=0": "is 0 ratio, and must be above 0",
    "ratios.tokens_per_s.value=1e-200": "is 1e-200 ratio, and must be above 0",
    "ratios.energy_per_token.low=0.9": "outside of its interval",
    "ratios.energy_per_token.high=0.1": "outside of its interval",
    "idle.both.value=1e308": "idle.both is beyond",
    "verdicts.energy_per_token.p_difference=2": "has a probability that is none",
    "verdicts.energy_per_token.ratio=-1": "must be above 0",
    "quality.0.candidate.value=1.2": "a share is from 0 to 1",
    "quality.0.items.0.weight=0": "has an item whose weight is not above 0",
    "windows.3.end_s=-1": "windows.3 ends at -1 s and starts at",
    "windows.3.energy.0.end_s=0": "has a meter that ends at 0 s",
    "windows.3.energy.0.end_j=1e308": "counts over 1e+15 J",
    "windows.3.tokens=-5": "has -5 tokens",
    "windows.3.iteration_s=[-1]": "has a request of no possible duration",
}
"""What a record is changed to, and what is said of it."""
NOT_FINITE = ["1e999", "NaN", "-Infinity"]


def good(**changes):
    """The factory's numbers in an interval each, so that any of them can be spoilt alone."""
    return campaign.run("saver", 0.7, **changes)


def changed(record, change):
    """The record's document with one value changed."""
    document = json.loads(canonical(record))
    place, _, value = change.partition("=")
    *path, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    part = document
    for name in path:
        part = part[name]
    part[last] = json.loads(value)
    return json.dumps(document)


@pytest.fixture
def results(tmp_path):
    """A results directory with one sound record."""
    Store(tmp_path / "results").write(factory.record())
    return tmp_path / "results"


@pytest.mark.parametrize(("change", "said"), SPOILT.items())
def test_what_breaks_a_bound_is_listed_and_the_rest_is_shown(results, change, said):
    (results / "records" / "bad.json").write_text(changed(good(), change))
    write_report(results)  # as at the end of bench
    loaded = load([results])
    assert [record.name for record in loaded.records] == ["int8_bnb"]
    (rejected,) = loaded.rejected
    assert rejected.reason.startswith("It breaks a bound: ")
    assert said in rejected.reason
    text = (results / "leaderboard.md").read_text()
    listed = text.partition("## Files that are not records")[2].partition("\n## ")[0]
    assert "`bad.json`: It breaks a bound" in listed
    assert "`int8_bnb`" in text
    assert main(["export", str(results), "-o", str(results / "out.csv")]) == 0
    assert "int8_bnb" in (results / "out.csv").read_text()


@pytest.mark.parametrize("number", NOT_FINITE)
@pytest.mark.parametrize("place", [f"baseline.{ENERGY}.value", "windows.3.end_s"])
def test_a_number_that_is_not_finite_is_none(results, place, number):
    text = changed(good(), f"{place}=12345.678").replace("12345.678", number)
    assert number in text
    (results / "records" / "bad.json").write_text(text)
    (rejected,) = load([results]).rejected
    assert rejected.name == "bad.json"


def test_every_metric_of_every_size_leaves_a_report(results):
    """As hostile as one number can be, in each place in turn."""
    for who in ("baseline", "candidate"):
        for name in json.loads(canonical(good()))[who]["metrics"]:
            for value in ("0", "-1", "1e308", "-1e308", "1e-308"):
                change = f"{who}.metrics.{name}.value={value}"
                file = results / "records" / f"{len(list((results / 'records').iterdir()))}.json"
                file.write_text(changed(good(), change))
    write_report(results)
    assert "`int8_bnb`" in (results / "leaderboard.md").read_text()


def test_sound_records_break_no_bound(tmp_path):
    for index, record in enumerate([*campaign.group(), factory.record(), factory.failed()]):
        (tmp_path / f"{index}.json").write_bytes(canonical(record))
    assert not load([tmp_path]).rejected


def test_what_may_be_0_or_below_is_taken(tmp_path):
    """Differences fall below 0, and drafts that are kept come all at once."""
    record = good()
    zero = record.ratios["model_bytes"].model_copy(update={"unit": "s", "value": 0.0})
    less = zero.model_copy(update={"unit": "J/token", "value": -0.1})
    metrics = record.candidate.metrics | {"tpot_p50_s": zero, "decode_energy_per_token_j": less}
    candidate = record.candidate.model_copy(update={"metrics": metrics})
    found = record.model_copy(update={"candidate": candidate})
    (tmp_path / "x.json").write_bytes(canonical(found))
    assert load([tmp_path]) == ([found], [])
