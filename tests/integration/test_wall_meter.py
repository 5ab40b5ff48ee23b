"""A wall meter's log that goes on being written while a run is measured."""

import threading
from datetime import UTC, datetime

import pytest


@pytest.fixture
def logger(tmp_path):
    """A log that gains a row every tenth of a second until the test is over."""
    path, over = tmp_path / "wall.csv", threading.Event()

    path.write_text("timestamp,watts\n")

    def log():
        with path.open("a", buffering=1) as file:
            while True:
                file.write(f"{datetime.now(UTC).isoformat()},40\n")
                if over.wait(0.1):
                    return

    thread = threading.Thread(target=log)
    thread.start()
    yield path
    over.set()
    thread.join()


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
