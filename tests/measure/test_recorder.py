"""Windows, against closed forms."""

import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from helpers.engines import Echoing
from helpers.windows import Watts, iteration

from greenbench.analysis import blocks
from greenbench.analysis.idle import idle_power
from greenbench.engines.engine import Completion
from greenbench.machine.processes import OwnProcesses
from greenbench.measure.recorder import Recorder, percentiles
from greenbench.meters import OpenMeters
from greenbench.meters.wall_log import WallLog
from greenbench.schema.window import Place


def test_a_window_is_the_difference_of_two_readings():
    recorder = Recorder(OpenMeters(meters=[Watts(300.0)]))
    window = recorder.repeat(
        "generate",
        "baseline",
        None,
        lambda i: [iteration()],
        window_s=0.05,
        min_iterations=3,
        place=Place(series="block", unit=0, position=0),
    )
    (span,) = window.energy
    assert span.end_j - span.start_j == pytest.approx(300 * (span.end_s - span.start_s))
    assert span.end_s - span.start_s >= 0.05
    assert window.tokens == 4 * window.iterations
    assert set(window.codes) <= {"other_load"}  # neighbours are not this test's business


def test_a_window_lasts_until_both_the_time_and_the_count_are_met():
    recorder = Recorder(OpenMeters())
    options = {"place": Place(series="block", unit=0, position=0)}
    few = recorder.repeat(
        "prefill",
        "candidate",
        None,
        lambda i: [iteration()],
        window_s=0,
        min_iterations=7,
        **options,
    )
    assert few.iterations == 7
    assert few.energy == []
    assert "no meter answered" in few.energy_reason


def test_a_window_of_too_few_ticks_is_invalid():
    meter = Watts(1.0)
    meter.tick_s = 0.05
    recorder = Recorder(OpenMeters(meters=[meter]))
    for seconds in (0.1, 0.7):
        with recorder.whole("score", "baseline"):
            time.sleep(seconds)
    assert ["short_window" in window.codes for window in recorder.windows] == [True, False]
    assert recorder.windows[0].validity == "invalid"


def test_an_idle_window_lasts_as_many_ticks_as_a_window_needs():
    meter = Watts(12.0)
    meter.tick_s = 0.02
    recorder = Recorder(OpenMeters(meters=[meter]))
    recorder.idle("both", 0.05)
    (window,) = recorder.windows
    assert "short_window" not in window.codes
    assert window.end_s - window.start_s >= 0.2


SPIN = "import sys; print(flush=True)\nfor line in sys.stdin:\n    while True: pass"


def test_what_the_other_models_server_takes_meanwhile_is_kept():
    own, pipe = OwnProcesses(), subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", SPIN], stdin=pipe, stdout=pipe) as other:
        other.stdout.readline()
        other_pid = frozenset({other.pid})
        own.add(other_pid)
        recorder = Recorder(OpenMeters(), own)
        with recorder.whole("score", "baseline", Echoing(None)):
            time.sleep(0.3)
        before_s = own.cpu_s_of(other_pid)
        with recorder.whole("score", "baseline", Echoing(None)):
            other.stdin.write(b"now\n")
            other.stdin.flush()
            while own.cpu_s_of(other_pid) < before_s + 0.2:
                time.sleep(0.01)
        with recorder.whole("score", "candidate", Echoing(None, other_pid)):
            time.sleep(0.1)
        recorder.idle("both", 0.01)
        other.kill()
    rests, spins, works, idles = (w.waiting_cpu_s for w in recorder.windows[:4])
    assert rests < 0.05 < 0.2 <= spins
    assert (works, idles) == (None, None)


def test_a_faulty_meter_invalidates_the_window_and_its_block():
    meter = Watts(1.0)
    recorder = Recorder(OpenMeters(meters=[meter]))

    def work(index):
        meter.faults = ("counter_reset",)
        return [iteration()]

    window = recorder.repeat(
        "prefill",
        "baseline",
        None,
        work,
        window_s=0,
        min_iterations=1,
        place=Place(series="block", unit=0, position=0),
    )
    assert (window.validity, window.codes) == ("invalid", ["counter_reset"])
    recorder.repeat(
        "prefill",
        "candidate",
        None,
        work,
        window_s=0,
        min_iterations=1,
        place=Place(series="block", unit=0, position=1),
    )
    kept = recorder.repeat(
        "prefill",
        "candidate",
        None,
        lambda i: [iteration()],
        window_s=0,
        min_iterations=1,
        place=Place(series="block", unit=1, position=0),
    )
    assert blocks.valid_blocks(recorder.windows) == [kept]


def test_percentiles_are_numpys():
    found = percentiles([0.1, 0.2, 0.3, 0.4, 0.5])
    assert (found.p50_s, found.p90_s, found.n) == (0.3, pytest.approx(0.46), 5)
    assert percentiles([]) is None


def test_idle_power_is_joules_over_seconds():
    recorder = Recorder(OpenMeters(meters=[Watts(12.0)]))
    recorder.idle("empty", 0.05)
    recorder.idle("both", 0.0)
    found = idle_power(recorder.windows, "")
    assert found["empty"].value == pytest.approx(12.0, rel=1e-2)
    assert found["empty"].n == 3
    assert set(found) == {"empty"}


def wall_log(path, start, seconds, watts):
    rows = [f"{datetime.fromtimestamp(start + i, UTC).isoformat()},{watts}" for i in range(seconds)]
    path.write_text("\n".join(["timestamp,watts", *rows]) + "\n")
    return WallLog(path)


def test_a_wall_log_that_covers_the_run_takes_an_estimates_place(tmp_path):
    meter = Watts(1.0)
    meter.provenance = "estimated:model"
    recorder = Recorder(OpenMeters(meters=[meter]))
    recorder.idle("empty", 0.2)
    recorder.join(wall_log(tmp_path / "w.csv", recorder.origin_epoch_s - 5, 20, 40.0))
    (span,) = recorder.windows[0].energy
    seconds = recorder.windows[0].end_s - recorder.windows[0].start_s
    assert span.provenance == "measured:wall"
    # A double holds seconds since 1970 to 2.4e-7 s: of 0.2 s that is a millionth, twice.
    assert span.end_j - span.start_j == pytest.approx(40.0 * seconds, rel=1e-4)
    assert recorder.used == ["wall"]


def test_a_wall_log_that_misses_the_run_is_refused_with_its_reason(tmp_path):
    opened = OpenMeters(meters=[Watts(1.0)])
    recorder = Recorder(opened)
    recorder.idle("empty", 0.05)
    recorder.join(wall_log(tmp_path / "w.csv", recorder.origin_epoch_s - 500, 20, 40.0))
    assert [span.meter for span in recorder.windows[0].energy] == ["watts"]
    assert "wall" in opened.refused


def test_a_batch_counts_each_of_its_requests():
    recorder = Recorder(OpenMeters())
    batch = [
        Completion(3, 8, 0.0, (0.1, 0.2, 0.4), 0.5),
        Completion(1, 8, 0.0, (0.3,), 0.5),
    ]
    found = recorder.repeat("generate", "baseline", None, lambda _: batch, window_s=0, exactly=2)
    assert (found.iterations, found.tokens, found.prompt_tokens) == (2, 8, 32)
    assert found.iteration_s == [0.5, 0.5]
    assert (found.ttft.n, found.ttft.p50_s) == (4, 0.2)
    assert (found.tpot.n, found.tpot.p50_s) == (4, 0.15)


CHILD = "import sys; big = bytearray(256 << 20); print(len(big), flush=True); sys.stdin.read()"


class Aside(Echoing):
    """Its work is a child's."""

    def __init__(self, pid):
        super().__init__(None, frozenset({pid}))


def test_the_memory_of_a_run_is_that_of_the_processes_that_do_its_work():
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=pipe, stdout=pipe) as child:
        child.stdout.readline()
        recorder = Recorder(OpenMeters())
        options = {"window_s": 0, "exactly": 1}
        mine = recorder.repeat("generate", "baseline", None, lambda _: [iteration()], **options)
        theirs = recorder.repeat(
            "generate", "baseline", Aside(child.pid), lambda _: [iteration()], **options
        )
        child.stdin.close()
    assert 256 << 20 < theirs.host_peak_bytes < 320 << 20
    assert mine.host_peak_bytes != theirs.host_peak_bytes
