"""The same run over many nights: planted steps, and what had changed."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from helpers import examples, sound

from greenbench.analysis.choices.history import Changed, watch
from greenbench.cli.main import main
from greenbench.cli.watch import _line
from greenbench.records.store import Store
from greenbench.report.figures.history import history
from greenbench.schema.resolved import Inputs
from greenbench.wording import change

SPREAD = 0.004


def nights(count, step=0.0, at=0, dice=None, label="int8", spread=SPREAD):
    """One run each night, whose energy ratio steps by `step` from night `at` on, with torch's version."""
    dice = dice or np.random.default_rng(6)
    return [
        night(number, step if number >= at else 0.0, dice, at, label, spread)
        for number in range(count)
    ]


BASE = {label: examples.completed(label, energy=0.7, half=0.01) for label in ("int8", "int4")}


def night(number, shift, dice, at, label, spread):
    """`BASE` of its label, each of its numbers moved by chance, the ratio of joules also by `shift`."""

    def moved(found, more=0.0):
        factor = float(np.exp(more + dice.normal(0, spread)))
        return {
            name: each.model_copy(update={"value": (each.value or 0.0) * factor})
            for name, each in found.items()
        }

    base, torch = BASE[label], "2.12.0" if number < at else "2.13.0"
    inputs = Inputs(
        model="m", text="t", tasks={}, plugins={}, machine={"gpu 0 driver": "580.1"},
        packages={"torch": torch, "transformers": "5.23.0"},
    )  # fmt: skip
    sides = {
        who: getattr(base, who).model_copy(update={"metrics": moved(getattr(base, who).metrics)})
        for who in ("baseline", "candidate")
    }
    ratios = {name: base.ratios[name] for name in ("energy_per_token", "tokens_per_s")}
    changes = {
        "ratios": {
            **moved({"energy_per_token": ratios["energy_per_token"]}, shift),
            **moved({"tokens_per_s": ratios["tokens_per_s"]}),
        },
        "spec": base.spec.model_copy(update={"inputs": inputs}),
        "started_at": f"2026-10-{number + 1:02}T02:00:00+00:00",
    }
    return base.model_copy(update=changes | sides)


def test_a_step_is_told_with_its_size_its_night_and_what_had_changed():
    found = watch(nights(20, np.log(1.05), at=12))
    ratios = [step for step in found.found if step.what == "ratio"]
    (step,) = ratios
    assert step.size.value == pytest.approx(1.05, rel=0.01)
    assert step.size.low < 1.05 < step.size.high
    assert step.began.startswith("2026-10-13")
    assert (step.nights, step.is_new) == (8, False)
    assert [(c.name, c.before, c.after) for c in step.changed] == [("torch", "2.12.0", "2.13.0")]
    assert step.metric.ratio == "energy_per_token"


@pytest.mark.parametrize("off", [-1, 1])
def test_what_changed_a_night_before_or_behind_is_named_with_how_far_it_is_off(off):
    """As a step may be placed one night off; farther nights say nothing of it."""
    stepped = nights(20, np.log(1.05), at=12)
    other = nights(20, at=12 + off)
    moved = [
        each.model_copy(update={"spec": late.spec})
        for each, late in zip(stepped, other, strict=True)
    ]
    (step,) = [each for each in watch(moved).found if each.what == "ratio"]
    assert step.began.startswith("2026-10-13")
    assert step.changed == [Changed("torch", "2.12.0", "2.13.0", off)]
    said = "before" if off < 0 else "behind"
    assert _line(step).endswith(f"changed: torch 2.12.0 → 2.13.0 (a night {said})")
    far = [
        each.model_copy(update={"spec": late.spec})
        for each, late in zip(stepped, nights(20, at=12 + 2 * off), strict=True)
    ]
    assert [each.changed for each in watch(far).found if each.what == "ratio"] == [[]]


def test_the_figure_has_versions_below_and_steps_marked():
    """A panel for each number, that with the step first."""
    watched = watch(nights(20, np.log(1.05), at=12))
    sketch = history(watched)
    assert sketch.said.startswith(
        "The same run over many nights. int8 (chat (batch 1, 64 tokens in, 32 out)): energy per token of "
        "candidate over baseline: +"
    )
    assert "since 2026-10-13." in sketch.said
    assert sketch.said.count("no step in 20 nights") == 5
    drawn = sketch.draw()
    texts = [each.text for each in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("2026-10-01") == texts.count("2026-10-13") == 6
    assert texts.count("torch 2.12.0") == texts.count("torch 2.13.0") == 6
    (size,) = [text for text in texts if text and text.startswith("+")]
    value, *bounds = watched.found[0].size[:3]
    assert size == f"{change(value)} ({' to '.join(map(change, bounds))})"
    assert history(watch(nights(20, np.log(1.05), at=12))).draw() == drawn
    assert history(watch(nights(3))) is None


def test_versions_are_no_other_run_and_knobs_are():
    assert len(watch(nights(20, at=10)).series) == 6
    two = nights(10) + nights(3, label="int4")
    found = watch(two)
    assert (len(found.series), found.short, found.found) == (6, 1, [])


def test_in_nights_without_a_change_there_is_one_alarm_in_a_hundred_at_most():
    """Over six numbers that are watched together, in 30 histories of 20 nights that spread by 3 %: as wide as
    a step must be, so that the level decides."""
    dice = np.random.default_rng(8)
    histories = [nights(20, dice=dice, spread=0.03) for _ in range(30)]
    alarms = sum(len(watch(each).found) for each in histories)
    assert alarms <= 6  # of 600 nights
    assert sum(len(watch(each, 0.2).found) for each in histories) > 6


def test_sessions_of_one_night_and_other_meters_are_other_runs():
    found = nights(12)
    spec = found[-1].spec
    again = [
        each.model_copy(update={"spec": spec.model_copy(update={"session": 2})}) for each in found
    ]
    assert len(watch([*found, *again]).series) == 12
    estimated = [each.model_copy(update={"meter": None}) for each in found[:2]]
    assert watch([*found, *estimated]).short <= 1


def test_a_newest_night_without_a_result_is_told_and_an_old_step_is_not_new():
    late = nights(15, np.log(1.08), at=13)
    (step,) = [each for each in watch(late).found if each.what == "ratio"]
    assert step.is_new
    failed = late[-1].model_copy(
        update={"status": "failed", "started_at": "2026-10-16T02:00:00+00:00"}
    )
    told = watch([*late, failed])
    assert [each.is_new for each in told.found if each.what == "ratio"] == [False]
    assert told.lost == [step.label]


def test_the_command_says_it_and_its_status_tells_of_the_newest_night(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    folders = []
    for number in range(11):
        ratio = 0.7 + 0.001 * (number % 3) + (0.06 if number >= 8 else 0)
        found = sound.run("saver", ratio, started_at=f"2026-10-{number + 1:02}T02:00:00+00:00")
        folders.append(tmp_path / f"night{number}")
        Store(folders[-1]).write(found)
    assert main(["watch", *map(str, folders[:8])]) == 0
    assert "watched: no steps." in capsys.readouterr().out
    assert main(["watch", *map(str, folders[:10])]) == 1  # it shows with its second night
    told = capsys.readouterr().out
    assert (
        "new: saver (chat (batch 1, 64 tokens in, 32 out)), candidate over baseline energy per token: +8."
        in told
    )
    assert "since 2026-10-09T02:00:00+00:00, 2 nights; no version and no setting" in told
    figure = tmp_path / "drawn" / "history.svg"
    assert main(["watch", *map(str, folders), "--figure", str(figure)]) == 0
    assert "3 nights; " in capsys.readouterr().out
    assert figure.read_bytes().startswith(b"<?xml")
    assert main(["watch", str(folders[0]), "--figure", str(figure)]) == 2
    assert "There is no figure of numbers that were not watched" in capsys.readouterr().err
    assert main(["watch", str(folders[0])]) == 0
    assert "Nothing to watch" in capsys.readouterr().out
    assert main(["watch", str(folders[0]), "--alarms-per-100", "0"]) == 2
    assert "is no rate" in capsys.readouterr().err
