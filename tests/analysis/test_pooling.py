"""Devices as sessions of one, where it is asked for: labelled, and with the doubt between them."""

import pytest
from helpers import sound

from greenbench.analysis.groups.pooling import devices_pooled
from greenbench.analysis.groups.rows import groups
from greenbench.cli.main import main
from greenbench.models.keys import run_key
from greenbench.records.store import Store


def on(name, ratio, device, day=1, technique="saver"):
    record = sound.run(technique, ratio, started_at=f"2031-01-0{day}T00:00:00+00:00")
    spec = record.spec.model_copy(
        update={"device": record.spec.device.model_copy(update={"name": device})}
    )
    return record.model_copy(update={"spec": spec, "key": run_key(spec)})


@pytest.fixture
def several():
    return [on("saver", 0.7, "A", 1), on("saver", 0.72, "B", 2), on("saver", 0.74, "C", 3)]


def test_runs_that_differ_in_the_device_alone_are_one(several):
    assert len(groups(several)) == 3
    (group,) = groups(devices_pooled(several))
    (row,) = group.rows
    assert group.setting.device == "3 devices pooled: A; B; C (cuda)"
    ratio = row.record.ratios["energy_per_token"]
    assert ratio.value == pytest.approx((0.7 * 0.72 * 0.74) ** (1 / 3), rel=1e-3)
    assert ratio.n == 3
    assert len(row.sessions) == 3


def test_what_else_differs_keeps_them_apart(several):
    odd = several[0].model_copy(
        update={"spec": several[0].spec.model_copy(update={"seed": 5}), "key": "0" * 16}
    )
    cpu = several[1].spec.device.model_copy(update={"kind": "cpu"})
    other = several[1].model_copy(
        update={"spec": several[1].spec.model_copy(update={"device": cpu})}
    )
    assert devices_pooled([odd, several[1]]) == [odd, several[1]]
    assert devices_pooled([several[0], other]) == [several[0], other]


def test_nobody_is_pooled_unasked(several, tmp_path, monkeypatch):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    for record in several:
        Store(tmp_path / "results").write(record)
    results, apart, pooled = (str(tmp_path / name) for name in ("results", "apart", "pooled"))
    assert main(["report", results, "-o", apart]) == 0
    assert main(["report", results, "-o", pooled, "--pool-devices"]) == 0
    said = "3 devices pooled: A; B; C"
    assert said not in (tmp_path / "apart" / "leaderboard.md").read_text()
    text = (tmp_path / "pooled" / "leaderboard.md").read_text()
    assert said in text
    assert "3 sessions" in text
