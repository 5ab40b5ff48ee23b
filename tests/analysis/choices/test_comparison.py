"""What changed from A to B, as a person, a pull request and a machine read it."""

import json

import numpy as np
import pytest
from helpers import campaign, graded, trained
from scipy import stats

from greenbench.analysis.choices import comparison
from greenbench.analysis.choices.regression import checked, parse_limit
from greenbench.cli.main import main
from greenbench.errors import UserError
from greenbench.models.keys import run_key
from greenbench.records.store import canonical
from greenbench.report.markdown.comparison import as_markdown, as_text
from greenbench.schema.quantity import missing
from greenbench.stats.intervals import geometric_mean, unpaired_ratio
from greenbench.stats.sessions import allowing, between


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
    alike = change(a, a, "energy")
    assert (alike.verdict, alike.found.high < 1.02) == ("inconclusive", True)
    assert "one session each" in alike.why
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
    ("limit", "is_broken"),
    [("energy>+3%", True), ("energy>+40%", False), ("quality<-50", False), ("energy<-3%", False)],
)
def test_limits_break_only_where_it_is_shown(limit, is_broken):
    found = comparison.pairings([campaign.run("x", 0.7)], [campaign.run("x", 0.9)])
    assert bool(checked(found, [parse_limit(limit)]).broken) == is_broken


def test_no_limit_is_broken_where_no_verdict_may_be_made(tmp_path, capsys):
    sides = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, ratio in zip(sides, (0.7, 0.9), strict=True):
        path.write_bytes(canonical(campaign.run("x", ratio, tier="smoke")))
    limits = ["--fail-on", "time>-50%", "energy>+3%"]
    assert main(["compare", *map(str, sides), *limits]) == 3
    out = capsys.readouterr().out
    assert "broken" not in out
    assert "time>-50% is inconclusive, as tier smoke makes no claims: run both with protocol" in out


def unmetered(record):
    bare = {"energy": [], "energy_reason": "no meter"}
    return record.model_copy(
        update={
            "windows": [window.model_copy(update=bare) for window in record.windows],
            "ratios": record.ratios | {"energy_per_token": missing("ratio", "no meter")},
        }
    )


def unpaced(record):
    windows = [window.model_copy(update={"tpot": None}) for window in record.windows]
    return record.model_copy(update={"windows": windows})


def unsized(record):
    metrics = record.candidate.metrics | {"model_bytes": missing("B", "not known")}
    candidate = record.candidate.model_copy(update={"metrics": metrics})
    return record.model_copy(update={"candidate": candidate})


LACKS = [
    ("solved>+3%", lambda record: record, "not both runs have graded answers"),
    ("energy>+3%", unmetered, "joules are not measured"),
    ("time>+3%", unpaced, "not both runs have a valid block"),
    ("bytes>+3%", unsized, "not both runs know the bytes"),
    ("quality<-1", lambda r: r.model_copy(update={"quality": []}), "no item was answered by both"),
]
"""A limit, what takes its number from a run, and what is said then."""


@pytest.mark.parametrize("limit", [limit for limit, _, _ in LACKS])
def test_every_limit_is_checked_where_its_number_is_there(limit):
    run = graded.run()
    assert checked(comparison.pairings([run], [run]), [parse_limit(limit)]) == ([], [])


@pytest.fixture
def compared(tmp_path, capsys):
    """Call with two runs and a limit: the exit status, and what is said."""

    def call(a, b, limit):
        sides = [tmp_path / "a.json", tmp_path / "b.json"]
        for path, record in zip(sides, (a, b), strict=True):
            path.write_bytes(canonical(record))
        status = main(["compare", *map(str, sides), "--fail-on", limit])
        return status, capsys.readouterr()

    return call


@pytest.mark.parametrize(("limit", "lacking", "said"), LACKS)
def test_a_limit_on_what_runs_lack_is_a_mistake(compared, limit, lacking, said):
    bare = lacking(campaign.run("int8", 0.7))
    status, told = compared(bare, bare, limit)
    assert status == 2
    assert f"--fail-on {limit} has nothing to check, as {said}" in told.err
    assert "or leave it out." in told.err
    assert told.err.count("\n") == 1


@pytest.mark.parametrize(("limit", "lacking", "said"), LACKS)
def test_so_it_is_where_one_of_the_two_lacks_it(compared, limit, lacking, said):
    whole = campaign.run("int8", 0.7)
    bare = lacking(whole)
    if limit.startswith("solved"):
        whole = whole.model_copy(update={"solved": graded.run().solved})
    for sides in ((whole, bare), (bare, whole)):
        status, told = compared(*sides, limit)
        if limit.startswith("energy"):  # without its meter a run is of another setting
            assert status == 3
            assert "is inconclusive, as the two runs differ in their setting" in told.out
        else:
            assert status == 2
            assert said in told.err


def test_of_several_pairs_those_that_a_limit_could_not_be_checked_on_are_named():
    sides = [graded.run("talker"), campaign.run("mute", 0.7)]
    found = comparison.pairings(sides, sides)
    (complaint,) = checked(found, [parse_limit("solved>+3%")]).unjudged
    assert complaint.startswith("mute: solved>+3% is inconclusive, as not both runs have graded")


def test_joules_per_solved_problem_are_compared_over_all_tasks_together():
    one, two = graded.run(joules=0.7), graded.run(joules=0.9)
    (whole,) = one.solved
    other = whole.model_copy(update={"ratio": two.solved[0].ratio})
    several = one.model_copy(
        update={"solved": [other, whole, whole.model_copy(update={"task": ""})]}
    )
    assert change(several, several, "solved").found.value == pytest.approx(1)
    assert change(one, several, "solved").found.value == pytest.approx(1)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"items": 15}, "too few items were graded"),
        ({"share": 0.0}, "joules per solved problem are unbounded"),
        ({"provenance": "estimated:model"}, "joules are not measured"),
    ],
)
def test_graded_answers_that_nothing_may_be_claimed_of_have_no_verdict(how, why):
    run = graded.run(**how)
    found = change(run, run, "solved")
    assert found.verdict == "inconclusive"
    assert why in found.why
    pairs = comparison.pairings([run], [run])
    (complaint,) = checked(pairs, [parse_limit("solved>+900%")]).unjudged
    assert "is inconclusive" in complaint


def test_a_model_that_solves_nothing_any_more_breaks_any_limit():
    pairs = comparison.pairings([graded.run("x")], [graded.run("x", share=0.0)])
    found = checked(pairs, [parse_limit("solved>+900%"), parse_limit("solved<-3%")])
    assert found.status == 1
    (complaint,) = found.broken
    assert complaint.startswith(
        "x: solved>+900% is broken: unbounded: B solved none, A a share of 0.45."
    )
    assert not found.unjudged
    assert "unbounded" in as_text(pairs)
    assert json.loads(comparison.as_json(pairs, *found))["runs"][0]["changes"]


def nights(ratios, first=1, name="x"):
    """A run in as many sessions, each with its own seed and day."""
    found = []
    for day, ratio in enumerate(ratios, start=first):
        record = campaign.run(name, ratio, spread=0.0)
        spec = record.spec.model_copy(update={"seed": day})
        later = {"spec": spec, "key": run_key(spec), "started_at": f"2026-01-{day:02}T00:00:00Z"}
        found.append(record.model_copy(update=later))
    return found


def test_of_several_sessions_their_spread_decides_and_none_is_dropped():
    before, after = [0.70, 0.74, 0.71], [0.80, 0.83]
    (pair,) = comparison.pairings(nights(before), nights(after, first=8))
    energy = pair.changes[0]
    logs = np.log(before), np.log(after)
    plain = stats.ttest_ind(*logs[::-1]).confidence_interval(0.95)
    assert np.log(energy.found.bounds) == pytest.approx([plain.low, plain.high], rel=1e-6)
    assert (energy.found.n, energy.allowed, energy.verdict) == (5, None, "costs")
    assert checked([pair], [parse_limit("energy>+3%")]).status == 1
    (pair,) = comparison.pairings(nights([0.70, 0.71, 0.72]), nights([0.9], first=8))
    assert pair.changes[0].verdict == "costs"  # a single session beside three has their spread
    (pair,) = comparison.pairings(nights([0.5, 0.9]), nights([0.7, 0.9], first=8))
    assert (pair.changes[0].verdict, pair.changes[1].found.value) == (
        "inconclusive",
        pytest.approx(1),
    )


def test_one_session_each_breaks_a_limit_only_beyond_what_sessions_may_differ_by():
    """5 % each leave 14 % open: 10 % more is no proof, though the blocks of both are sure of it."""
    a, near, far = (campaign.run("x", ratio) for ratio in (0.7, 0.77, 0.9))
    found = change(a, near, "energy")
    half = 1.959964 * 2**0.5 * np.log(1.05)
    assert (found.verdict, found.found.low > 1.03) == ("inconclusive", True)
    own = np.log(found.found.value / found.found.low)
    assert np.log(found.found.value / found.allowed.low) == pytest.approx(np.hypot(own, half))
    limits = [parse_limit("energy>+3%")]
    near_pair, far_pair = (comparison.pairings([a], [b]) for b in (near, far))
    assert checked(near_pair, limits).status == 3
    (said,) = checked(near_pair, limits).unjudged
    assert "one session each" in said
    assert "sessions=3" in said
    assert checked(far_pair, limits).status == 1
    assert checked(comparison.pairings([a], [a]), limits).status == 0
    (told,) = json.loads(comparison.as_json(near_pair, [], []))["runs"]
    assert told["changes"][0]["with_sessions_allowed_for"]["low"] == pytest.approx(
        found.allowed.low
    )


def test_a_limit_is_broken_by_an_unchanged_run_in_no_more_than_one_of_forty():
    """Sessions that spread by 5 %: the blocks' own interval would break it in a quarter of all."""
    dice = np.random.default_rng(0)
    tried = 4000

    def lab(sessions):
        return np.exp(0.05 * dice.standard_normal((tried, sessions)))

    for mine, theirs in ((3, 1), (3, 3), (5, 2)):
        found = [between(a, b) for a, b in zip(lab(mine), lab(theirs), strict=True)]
        assert np.mean([each.low > 1 for each in found]) == pytest.approx(0.025, abs=0.008)
    shifts = dice.normal(0, 0.05 * 2**0.5, tried)
    blocks = np.exp(shifts[:, None] + dice.normal(0, 0.03, (tried, 8)))
    alone = [geometric_mean(each) for each in blocks]
    assert np.mean([each.low > 1.03 for each in alone]) > 0.2
    assert np.mean([allowing(each).low > 1 for each in alone]) < 0.03


def test_an_invalid_session_is_left_out_where_others_are_not():
    spoilt, *sound_ones = nights([0.7, 0.71, 0.72])
    spoilt = spoilt.model_copy(update={"validity": "invalid", "codes": ["throttled"]})
    (pair,) = comparison.pairings([spoilt, *sound_ones], nights([0.9, 0.91], first=8))
    assert (pair.changes[0].found.n, pair.changes[0].verdict) == (4, "costs")
    (pair,) = comparison.pairings([spoilt], nights([0.9], first=8))
    assert pair.changes[0].why == "a run is invalid"


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
    for text in (as_text(found), as_markdown(found), comparison.as_json(found, [], [])):
        assert said.split(",")[0] in text
    assert "rule 5" in as_text(found)


def test_of_several_devices_in_a_directory_the_same_one_is_compared():
    here, there = campaign.run("x", 0.7), campaign.run("x", 0.9)
    there = elsewhere(there, device={"name": "Other GPU"})
    same = [pair.differs for pair in comparison.pairings([here, there], [there, here])]
    assert same == [[], []]


@pytest.mark.parametrize("text", ["energy", "energy>3", "quality<-1%", "speed>1%", "energy>>3%"])
def test_no_limit_is_one_sentence(text):
    with pytest.raises(UserError, match="is no limit"):
        parse_limit(text)


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


def test_a_limit_that_cannot_be_judged_is_told_from_one_that_is_broken(directories, capsys):
    a, b = map(str, directories)
    short = campaign.run("third", 0.7, tier="smoke")
    for side in directories:
        (side / "records" / "third.json").write_bytes(canonical(short))
    call = ["--fail-on", "energy>+3%", "--format", "json"]
    assert main(["compare", a, b, *call]) == 1  # what is shown comes first
    said = json.loads(capsys.readouterr().out)
    assert sorted(text.partition(":")[0] for text in said["broken"]) == ["coster", "saver"]
    assert [text.partition(":")[0] for text in said["unjudged"]] == ["third"]
    assert main(["compare", b, a, *call]) == 3
    said = json.loads(capsys.readouterr().out)
    assert (said["broken"], len(said["unjudged"])) == ([], 1)


def test_files_that_cannot_be_read_are_named(directories, capsys):
    a, b = map(str, directories)
    (directories[1] / "records" / "cut.json").write_text("{")
    for number in range(9):
        (directories[0] / "records" / f"foreign-{number}.json").write_text("[]")
    assert main(["compare", b, a, "--fail-on", "energy>+3%"]) == 0
    told = capsys.readouterr().err.splitlines()
    assert "greenbench: cut.json is not used: It is not JSON, or was cut short." in told
    assert "greenbench: foreign-7.json is not used: It is not a record of GreenBench." in told
    assert "greenbench: 1 more files are not used; `greenbench report` names all." in told


def about_passages(record, each=5):
    """With items that share passages, so many each."""
    scores = [
        score.model_copy(
            update={
                "items": [
                    item.model_copy(update={"document": f"passage {place // each}"})
                    for place, item in enumerate(score.items)
                ]
            }
        )
        for score in record.quality
    ]
    return record.model_copy(update={"quality": scores})


def test_items_about_one_passage_are_one_observation():
    """As in the leaderboard: answers to five questions about a passage are wrong together."""
    a, b = campaign.run("x", 0.7, gained=0, lost=0), campaign.run("x", 0.7, gained=0, lost=10)
    alone, together = (
        change(a, b, "quality"),
        change(about_passages(a), about_passages(b), "quality"),
    )
    assert alone.found.value == together.found.value
    assert (alone.verdict, together.verdict) == ("costs", "inconclusive")


FIVE = (1.02, 0.98, 1.0, 1.01, 0.99)
LATE = (9.0,) * 5


def of_training(slower=FIVE, **changes):
    return trained.record(**{"slower": slower, "tier": "dev"} | changes)


def test_of_trainings_joules_to_the_target_are_compared():
    """A needs 0.8 of the baseline's joules, B 1.2 times as many as that, each with its own seeds."""
    a, b = of_training(), of_training(tuple(1.2 * part for part in FIVE))
    found = change(a, b, "target")
    assert (found.verdict, found.found.n) == ("costs", 5)
    assert found.found.value == pytest.approx(1.2)
    assert change(b, a, "target").verdict == "saves"
    assert change(a, a, "target").found.value == pytest.approx(1)
    pairs = comparison.pairings([a], [b])
    assert checked(pairs, [parse_limit("target>+3%")]).status == 1
    assert checked(pairs, [parse_limit("target>+30%")]).status == 0
    assert "target " in as_text(pairs)


def test_a_training_that_did_not_come_there_has_no_ratio():
    pairs = comparison.pairings([of_training()], [of_training((1.0, 2.0, 1.0, 1.1, 1.0))])
    ((found,),) = (pairing.changes for pairing in pairs)
    assert (found.verdict, found.found) == ("not reached", None)
    assert found.why == "came to the baseline's last loss: A with 5 of 5 seeds, B with 4 of 5 seeds"
    (said,) = checked(pairs, [parse_limit("target>+3%")]).unjudged
    assert "give it more tokens (training.longer)" in said


@pytest.mark.parametrize(
    ("sides", "limit", "status"),
    [
        ((FIVE, LATE), "target>+3%", 1),
        ((FIVE, LATE), "target>+900%", 3),  # what it is beyond its end no one knows
        ((FIVE, LATE), "target<-3%", 3),
        ((LATE, FIVE), "target>+3%", 3),  # A takes no one knows how much
        ((LATE, LATE), "target>+3%", 3),
    ],
)
def test_what_no_longer_comes_there_breaks_a_limit_that_its_lower_bound_is_beyond(
    sides, limit, status
):
    """Trained 1.5 times as long in vain, at 0.8 of the baseline's watts; A needs 0.8 of its joules."""
    pairs = comparison.pairings(*([of_training(side)] for side in sides))
    found = checked(pairs, [parse_limit(limit)])
    assert (found.status, len(found.broken) + len(found.unjudged)) == (status, 1)
    has_bound = sides == (FIVE, LATE)
    assert ("at least 1.3" in as_text(pairs, *found)) == has_bound
    bound = json.loads(comparison.as_json(pairs, *found))["runs"][0]["changes"][0]["at_least"]
    if has_bound:
        seeds = (
            2.776 * np.std(np.log(FIVE), ddof=1) / 5**0.5
        )  # 4 degrees of freedom: B has no spread
        spread = np.hypot(
            seeds, 1.96 * 2**0.5 * np.log(1.05)
        )  # and what two sessions may differ by
        assert np.log(bound) == pytest.approx(np.log(1.5) - np.log(FIVE).mean() - spread, rel=1e-3)
    else:
        assert bound is None


def test_of_what_may_not_be_claimed_or_is_one_seed_there_is_no_lower_bound():
    for changes in ({"tier": "smoke"}, {"slower": (9.0,)}):
        bound = change(of_training(), of_training(**{"slower": LATE} | changes), "target").least
        assert bound is None


def test_trainings_of_tier_smoke_or_without_a_target_have_no_verdict():
    smoke = of_training(tier="smoke")
    assert change(smoke, smoke, "target").why == "tier smoke makes no claims"
    flat = of_training(falls=0.0)
    assert change(flat, flat, "target").verdict == "inconclusive"


def test_a_training_and_a_run_that_serves_have_nothing_to_compare():
    (pairing,) = comparison.pairings([of_training()], [campaign.run("x", 0.7)])
    assert pairing.changes == []
    assert any(each.startswith("workload: ") for each in pairing.differs)
    with pytest.raises(UserError, match=r"target>\+3% has nothing to check"):
        checked([pairing], [parse_limit("target>+3%")])
