"""What changed from A to B, as a person, a pull request and a machine read it."""

import json

import numpy as np
import pytest
from helpers import campaign
from scipy import stats

from greenbench.analysis.choices import comparison
from greenbench.cli.main import main
from greenbench.errors import UserError
from greenbench.records.store import canonical
from greenbench.report.markdown.comparison import as_markdown, as_text
from greenbench.stats.intervals import unpaired_ratio


def change(a, b, metric):
    (pairing,) = comparison.pairings([a], [b])
    return next(change for change in pairing.changes if change.metric == metric)


def test_an_unpaired_ratio_is_welchs():
    first, second = [1.0, 1.1, 0.95], [0.7, 0.72, 0.69, 0.75]
    found = unpaired_ratio(first, second)
    means = [np.log(side).mean() for side in (first, second)]
    variances = [np.log(side).var(ddof=1) / len(side) for side in (first, second)]
    freedom = sum(variances) ** 2 / sum(
        v**2 / (len(side) - 1) for v, side in zip(variances, (first, second), strict=True)
    )
    half = stats.t.ppf(0.975, freedom) * sum(variances) ** 0.5
    assert found.value == pytest.approx(np.exp(means[1] - means[0]))
    assert (found.low, found.high) == pytest.approx(
        tuple(np.exp(means[1] - means[0] + side * half) for side in (-1, 1))
    )


def test_a_worse_run_costs_and_a_better_one_saves():
    a, b = campaign.run("x", 0.7), campaign.run("x", 0.9)
    assert change(a, b, "energy").verdict == "costs"
    assert change(a, b, "energy").found.value == pytest.approx(0.9 / 0.7, rel=1e-6)
    assert change(b, a, "energy").verdict == "saves"
    assert change(a, a, "energy").verdict == "equivalent"
    assert change(a, b, "bytes").verdict == "equivalent"


def test_quality_is_paired_on_the_items_that_both_answered():
    a, b = campaign.run("x", 0.7, gained=0, lost=0), campaign.run("x", 0.7, gained=0, lost=20)
    found = change(a, b, "quality")
    assert found.verdict == "costs"
    assert found.found.value == pytest.approx(-100 * 20 / 200)  # two tasks of 100 items


def test_estimates_and_smoke_are_never_graded():
    a, b = campaign.run("x", 0.7, tier="smoke"), campaign.run("x", 0.9, tier="smoke")
    assert change(a, b, "energy").why == "tier smoke makes no claims"
    assert change(a, b, "energy").verdict == "inconclusive"


@pytest.mark.parametrize(
    ("limit", "broken"),
    [("energy>+3%", True), ("energy>+40%", False), ("quality<-50", False), ("energy<-3%", False)],
)
def test_limits_break_only_where_it_is_shown(limit, broken):
    found = comparison.pairings([campaign.run("x", 0.7)], [campaign.run("x", 0.9)])
    assert bool(comparison.broken(found, [comparison.parse_limit(limit)])) == broken


def test_no_limit_is_broken_where_no_verdict_may_be_made(tmp_path, capsys):
    sides = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, ratio in zip(sides, (0.7, 0.9), strict=True):
        path.write_bytes(canonical(campaign.run("x", ratio, tier="smoke")))
    limits = ["--fail-on", "time>-50%", "energy>+3%"]
    assert main(["compare", *map(str, sides), *limits]) == 1
    out = capsys.readouterr().out
    assert "broken" not in out
    assert "time>-50% is inconclusive, as tier smoke makes no claims: run both with protocol" in out


def elsewhere(record, **parts):
    """The same record of another spec."""
    spec = {name: getattr(record.spec, name).model_copy(update=to) for name, to in parts.items()}
    return record.model_copy(update={"spec": record.spec.model_copy(update=spec)})


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"device": {"name": "Other GPU"}}, "device: Imaginary GPU (cuda), not Other GPU (cuda)"),
        ({"workload": {"batch_size": 64}}, "workload: "),
        ({"task": {"items": 7}}, "tasks: "),
        ({"protocol": {"tier": "publish"}}, "tier: dev, not publish"),
    ],
)
def test_runs_of_different_settings_have_no_verdict_and_say_in_what_they_differ(parts, said):
    a, b = campaign.run("x", 0.7, gained=0, lost=0), campaign.run("x", 0.9, gained=0, lost=40)
    (pairing,) = found = comparison.pairings([a], [elsewhere(b, **parts)])
    assert {change.verdict for change in pairing.changes} == {"inconclusive"}
    assert any(each.startswith(said) for each in pairing.differs)
    for text in (as_text(found, []), as_markdown(found, []), comparison.as_json(found, [])):
        assert said.split(",")[0] in text
    assert "rule 5" in as_text(found, [])


def test_of_several_devices_in_a_directory_the_same_one_is_compared():
    here, there = campaign.run("x", 0.7), campaign.run("x", 0.9)
    there = elsewhere(there, device={"name": "Other GPU"})
    same = [pair.differs for pair in comparison.pairings([here, there], [there, here])]
    assert same == [[], []]


@pytest.mark.parametrize("text", ["energy", "energy>3", "quality<-1%", "speed>1%", "energy>>3%"])
def test_no_limit_is_one_sentence(text):
    with pytest.raises(UserError, match="is no limit"):
        comparison.parse_limit(text)


@pytest.fixture
def directories(tmp_path):
    for name, ratio in (("a", 0.7), ("b", 0.9)):
        (tmp_path / name / "records").mkdir(parents=True)
        for technique in ("saver", "coster"):
            record = campaign.run(technique, ratio)
            (tmp_path / name / "records" / f"{technique}.json").write_bytes(canonical(record))
    return tmp_path / "a", tmp_path / "b"


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_the_command_compares_directories_in_every_format(directories, form, capsys):
    a, b = map(str, directories)
    assert main(["compare", a, b, "--format", form]) == 0
    out = capsys.readouterr().out
    assert "saver" in out
    assert "coster" in out
    if form == "json":
        assert len(json.loads(out)["runs"]) == 2


def test_the_exit_status_is_for_ci(directories, capsys):
    a, b = map(str, directories)
    assert main(["compare", a, b, "--fail-on", "energy>+3%"]) == 1
    assert "energy>+3% is broken" in capsys.readouterr().out
    assert main(["compare", b, a, "--fail-on", "energy>+3%"]) == 0
    assert main(["compare", a, "nowhere"]) == 2
    assert main(["compare", a, b, "--fail-on", "nonsense"]) == 2


def test_runs_that_share_nothing_are_one_sentence():
    runs = [campaign.run("x", 0.7), campaign.run("y", 0.7)]
    with pytest.raises(UserError, match="share no completed run"):
        comparison.pairings(runs, [campaign.run("z", 0.7), campaign.run("w", 0.7)])
