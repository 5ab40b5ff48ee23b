"""Reports on very many runs: every one is read and counted, the best are shown, and it says so."""

import pytest
from helpers import campaign, examples, sound

from greenbench import report
from greenbench.analysis.groups import selection
from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import assumptions
from greenbench.analysis.trust import checked
from greenbench.records.store import canonical
from greenbench.report.page.page import page
from greenbench.stats.intervals import holm


@pytest.fixture
def small(monkeypatch):
    """A crowd begins at four runs; two groups of three runs are shown."""
    monkeypatch.setattr(selection, "FULL", 4)
    monkeypatch.setattr(selection, "GROUPS", 2)
    monkeypatch.setattr(selection, "ROWS", 3)
    monkeypatch.setattr(selection, "WITHOUT_RESULT", 1)


RATIOS = {"none": 1.0, "a": 0.5, "b": 0.6, "c": 0.7, "d": 0.96, "e": 1.3}
LOST = {"a": 30, "b": 2, "c": 10}


def runs(device):
    return [
        campaign.run(name, ratio, spread=0.05, lost=LOST.get(name, 2), device=device)
        for name, ratio in RATIOS.items()
    ]


@pytest.fixture
def results(tmp_path):
    devices = [{"kind": "cuda", "name": f"GPU {i}"} for i in range(3)]
    records = [record for device in devices for record in runs(device)]
    records += [examples.failed(name, device=devices[0]) for name in "xy"]
    (tmp_path / "records").mkdir()
    for index, record in enumerate(records):
        (tmp_path / "records" / f"{index:02}.json").write_bytes(canonical(record))
    (tmp_path / "records" / "copy.json").write_bytes(canonical(records[0]))
    (tmp_path / "records" / "cut.json").write_bytes(canonical(records[0])[:-9])
    return tmp_path


def test_the_a_a_run_the_frontier_and_then_the_thriftiest_are_shown(small, results):
    found = selection.gather([results])
    shown = groups(found.records)
    assert [group.setting.device for group in shown] == ["GPU 0 (cuda)", "GPU 1 (cuda)"]
    for group in shown:
        assert {row.label for row in group.rows} == {"none", "a", "b"}
    assert found.crowd.counts == {"completed": 18, "failed": 2}
    assert found.crowd.shown == 2 * 3 + 1
    assert sorted(rejected.name for rejected in found.rejected) == ["copy.json", "cut.json"]


def test_verdicts_hold_over_the_runs_that_are_not_shown_too(small, results):
    found = selection.gather([results])
    all_of_one = map(sound.sound, runs({"kind": "cuda", "name": "GPU 0"}))
    p_values = [record.verdicts["energy_per_token"].p_difference for record in all_of_one]
    expected = dict(zip(RATIOS, holm(p_values), strict=True))
    group = groups(found.records, found.crowd.beside)[0]
    for row in group.rows:
        verdict = row.verdicts["energy_per_token"]
        assert verdict.family == len(RATIOS)
        assert verdict.p_adjusted == pytest.approx(expected[row.label])


def test_the_page_counts_and_names_what_it_does_not_show(small, results, tmp_path):
    report.rebuild([results], tmp_path / "out", assumptions())
    text = (tmp_path / "out" / "leaderboard.md").read_text()
    assert "**20 runs were read (18 completed, 2 failed), 7 are shown**" in text
    part = text.partition("## Runs that are not shown")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if "GPU" in line]
    assert [line.split("|")[4:6] for line in lines] == [
        [" 6    ", " 3         "],
        [" 6    ", " 3         "],
        [" 6    ", " 6         "],
    ]
    assert "`c` 0.700×, −4.0 points" in lines[0]
    assert "It is a copy of another record." in text


def test_the_order_of_the_files_changes_nothing(small, results, tmp_path):
    folder = tmp_path / "records"
    other = tmp_path / "other" / "records"
    other.mkdir(parents=True)
    for index, file in enumerate(sorted(folder.glob("??.json"))):
        (other / f"{99 - index}.json").write_bytes(file.read_bytes())
    for name in ("copy.json", "cut.json"):
        (folder / name).unlink()
    for results, out in ((tmp_path, "1"), (other.parent, "2")):
        report.rebuild([results], tmp_path / out, assumptions())
    for path in (tmp_path / "1").rglob("*.*"):
        again = tmp_path / "2" / path.relative_to(tmp_path / "1")
        assert path.read_bytes() == again.read_bytes()


def test_the_page_says_how_many_runs_of_how_many_it_shows(small, results):
    found = selection.gather([results])
    shown = groups(found.records, found.crowd.beside)
    text = page(shown, found.records, found.rejected, assumptions(), found.crowd).decode()
    said = text.partition('id="answers"><p class="notice">')[2].partition("</p>")[0]
    assert "20 runs were read (18 completed, 2 failed), 7 are shown</strong>: " in said
    assert "<code>greenbench export</code>" in said


def test_few_runs_are_all_shown(results):
    found = selection.gather([results])
    assert found.crowd is None
    text = page(groups(found.records), found.records, (), assumptions()).decode()
    assert "runs were read" not in text
    assert found.records == checked.load([results]).records


def test_a_chosen_record_with_broken_readings_is_listed_not_counted(small, results):
    file = next(
        path
        for path in sorted((results / "records").glob("??.json"))
        if b'"name": "a"' in path.read_bytes()
    )
    file.write_text(file.read_text().replace('"iterations": 10', '"iterations": "many"'))
    found = selection.gather([results])
    assert found.crowd.counts["completed"] == 17
    assert found.crowd.shown == len(found.records) == 2 * 3 + 1
    assert "windows" in next(r.reason for r in found.rejected if r.name == file.name)
