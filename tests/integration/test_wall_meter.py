"""A wall meter's log that goes on being written while a run is measured."""

import pytest
from helpers.wall import growing_log


@pytest.fixture
def logger(tmp_path):
    with growing_log(tmp_path / "wall.csv", 40) as path:
        yield path


def test_the_log_is_read_when_the_windows_are_over(bench, logger):
    while logger.stat().st_size < 200:
        pass
    status, output = bench.run("technique=none", f"meter.wall_log={logger}")
    assert status == 0, output
    (record,) = bench.records()
    assert record["meter"]["used"] == ["wall"]
    energy = record["candidate"]["metrics"]["energy_per_token_j"]
    assert energy["provenance"] == "measured:wall"
    window = next(w for w in record["windows"] if w["phase"] == "generate")
    span, seconds = window["energy"][0], window["end_s"] - window["start_s"]
    assert span["end_j"] - span["start_j"] == pytest.approx(40 * seconds, rel=1e-3)
    assert str(logger) not in str(record)
