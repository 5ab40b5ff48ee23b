"""RAPL, on powercap trees written to disk, whose counters follow the clock."""

import math
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from helpers.moved_clock import MovedClock

from greenbench.errors import Lost, Unavailable
from greenbench.meters import rapl
from greenbench.meters.meter import Reading, Tally, codes, keep_reading, look_s, span
from greenbench.meters.telemetry import Telemetry

RANGE_UJ = 262_143_328_850


class Tree:
    """A powercap tree; each zone draws constant watts, in steps of a millisecond."""

    def __init__(self, root):
        self.root = root
        self.zones = {}
        self.clock = MovedClock(self.write)

    def zone(self, id, name, watts, start_j=0.0, range_uj=RANGE_UJ):
        path = self.root / id
        path.mkdir(parents=True)
        (path / "name").write_text(name + "\n")
        (path / "max_energy_range_uj").write_text(f"{range_uj}\n")
        self.zones[id] = (watts, start_j, range_uj)
        self.write(self.clock.now_s)
        return self

    def write(self, now_s):
        for id, (watts, start_j, range_uj) in self.zones.items():
            energy_uj = 1e6 * (start_j + watts * math.floor(1000 * now_s) / 1000)
            write_whole(self.root / id / "energy_uj", f"{int(energy_uj) % range_uj}\n")

    def open(self, boundary="cpu_package"):
        return rapl.RaplCounter(boundary, self.root, self.clock)


def write_whole(path, text):
    """A counter is never half written: the meter's own thread may read at any moment."""
    spare = path.with_suffix(".new")
    spare.write_text(text)
    spare.replace(path)


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "intel-rapl").mkdir()
    return Tree(tmp_path)


def joules(meter, clock, seconds):
    start = meter.read()
    clock.sleep(seconds)
    end = meter.read()
    return end.energy_j - start.energy_j, codes(start, end)


def intel(tree):
    return (
        tree.zone("intel-rapl:0", "package-0", 100, start_j=1000)
        .zone("intel-rapl:0:0", "core", 60)
        .zone("intel-rapl:0:1", "uncore", 5)
        .zone("intel-rapl:0:2", "dram", 20)
        .zone("intel-rapl:1", "package-1", 150, start_j=5000)
        .zone("intel-rapl:1:0", "dram", 30)
        .zone("intel-rapl:2", "psys", 400)
        .zone("intel-rapl-mmio:0", "package-0", 100, start_j=77)
    )


def test_packages_are_summed_without_what_contains_or_repeats_them(tree):
    meter = intel(tree).open()
    assert [zone.id for zone in meter.zones] == ["intel-rapl:0", "intel-rapl:1"]
    assert joules(meter, tree.clock, 10) == (pytest.approx(2500), [])
    spanned = span(meter, meter.read(), meter.read(), 0.0)
    assert (spanned.meter, spanned.boundary) == ("rapl", "cpu_package")
    assert spanned.provenance == "measured:counter:rapl"
    assert 0 < spanned.tick_s < 0.005


def test_dram_is_a_boundary_of_its_own(tree):
    meter = intel(tree).open("dram")
    assert (meter.name, meter.boundary) == ("rapl_dram", "dram")
    assert joules(meter, tree.clock, 10) == (pytest.approx(500), [])


def test_amd_has_packages_and_no_dram(tree):
    tree.zone("intel-rapl:0", "package-0", 90).zone("intel-rapl:0:0", "core", 3)
    assert joules(tree.open(), tree.clock, 10)[0] == pytest.approx(900)
    with pytest.raises(Unavailable, match="no dram counter"):
        tree.open("dram")


def test_dies_that_mirror_one_counter_count_once(tree):
    for die in range(4):
        tree.zone(f"intel-rapl:{die}", f"package-0-die-{die}", 68, start_j=500)
    meter = tree.open()
    assert len(meter.zones) == 1
    assert joules(meter, tree.clock, 10)[0] == pytest.approx(680)


def test_dies_with_counters_of_their_own_are_summed(tree):
    for die in range(2):
        tree.zone(f"intel-rapl:{die}", f"package-0-die-{die}", 68, start_j=500 + die)
    assert joules(tree.open(), tree.clock, 10)[0] == pytest.approx(1360)


def test_a_wrap_is_counted_through(tree):
    tree.zone("intel-rapl:0", "package-0", 100, start_j=65_000, range_uj=65_532_610_987)
    meter = tree.open()
    assert joules(meter, tree.clock, 4) == (pytest.approx(400, rel=1e-3), [])
    before_uj = meter.zones[0].read_uj()
    assert joules(meter, tree.clock, 4) == (pytest.approx(400, rel=1e-3), [])
    assert meter.zones[0].read_uj() < before_uj


def test_a_counter_that_starts_again_is_no_wrap(tree):
    tree.zone("intel-rapl:0", "package-0", 100, start_j=1000)
    meter = tree.open()
    start = meter.read()
    tree.zones["intel-rapl:0"] = (100, -100 * tree.clock.now_s, RANGE_UJ)
    tree.clock.sleep(2)
    end = meter.read()
    assert codes(start, end) == ["counter_reset"]
    assert end.energy_j - start.energy_j == pytest.approx(200, rel=0.01)


def test_a_counter_that_stops_is_said_to_have_stopped(tree):
    tree.zone("intel-rapl:0", "package-0", 100)
    meter = tree.open()
    tree.zones.clear()
    assert joules(meter, tree.clock, 10) == (0, ["counter_stalled"])


def test_a_counter_that_stops_within_a_window_and_goes_on_is_seen(tree):
    tree.zone("intel-rapl:0", "package-0", 100)
    meter = tree.open()
    tree.clock.step_s = look_s(meter.tick_s)
    tree.clock.listeners.append(lambda now_s: meter.read())
    start = meter.read()
    zones, tree.zones = tree.zones, {}
    tree.clock.sleep(3)
    tree.zones = zones
    tree.clock.sleep(7)
    assert set(codes(start, meter.read())) >= {"counter_stalled"}


def test_a_jump_is_reported_and_is_no_energy(tree):
    tree.zone("intel-rapl:0", "package-0", 30)
    meter = tree.open()
    start = meter.read()
    tree.zones["intel-rapl:0"] = (30, 50_000, RANGE_UJ)
    tree.clock.sleep(10)
    end = meter.read()
    assert codes(start, end) == ["counter_jump"]
    assert end.energy_j - start.energy_j < 301


@pytest.mark.parametrize(
    ("limits_w", "enabled", "found"),
    [
        ((15, 64), "1", ["counter_jump"]),  # 1.5 kW in 0.1 s, of a processor that may draw 64 W
        ((15, 64), "0", []),  # limits that do not hold bound nothing
        ((4095, 4095), "1", []),
        ((), "1", []),
    ],
)
def test_a_step_beyond_the_package_s_own_limits_is_a_jump(tree, limits_w, enabled, found):
    tree.zone("intel-rapl:0", "package-0", 30)
    folder = tree.root / "intel-rapl:0"
    (folder / "enabled").write_text(f"{enabled}\n")
    for number, watts in enumerate(limits_w):
        (folder / f"constraint_{number}_power_limit_uw").write_text(f"{watts}000000\n")
    meter = tree.open()
    start = meter.read()
    tree.zones["intel-rapl:0"] = (30, 150, RANGE_UJ)
    tree.clock.sleep(0.1)
    end = meter.read()
    assert codes(start, end) == found
    assert (end.energy_j - start.energy_j < 10) == bool(found)


def test_a_reading_that_took_long_is_neither_a_stall_nor_a_jump():
    """The process lost the CPU for 20 ms between the counter and the clock, at 300 W."""
    tally = Tally(raw=1_000_000, moved_s=0.0005, unit_j=1e-6, most_w=2000.0)
    assert tally.advance(1_000_000, 0.0105, 0.001) is None
    assert tally.advance(1_000_000, 0.0125, 0.001) == "counter_stalled"
    assert tally.advance(1_000_000, 0.0125, 0.001, doubt_s=0.01) is None
    assert tally.advance(1_006_000, 0.0125, 0.001, doubt_s=0.01) is None
    assert tally.advance(1_012_000, 0.0226, 0.001) is None
    assert tally.energy_j == pytest.approx(0.012)


def test_an_error_that_passes_does_not_end_the_looking(tree):
    """Real time: the counter cannot be read for one look."""
    closed, looks, later = threading.Event(), [], threading.Event()

    def read():
        looks.append(None)
        if len(looks) == 1:
            raise Lost("A counter is busy.")
        later.set()
        return Reading(0.0, 0.0)

    keep_reading(read, 0.001, closed)
    assert later.wait(30)
    closed.set()


def test_wraps_between_two_readings_are_seen_by_the_meter_itself(tree):
    """Real time: the counter wraps every second, the meter's thread reads every 50 ms."""
    tree.zone("intel-rapl:0", "package-0", 200, range_uj=200_000_000)
    path = tree.root / "intel-rapl:0" / "energy_uj"
    stop = threading.Event()

    def draw():
        while not stop.wait(0.0005):
            write_whole(path, f"{int(200e6 * time.monotonic()) % 200_000_000}\n")

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        meter = rapl.RaplCounter("cpu_package", tree.root).start()
        start = meter.read()
        time.sleep(2.5)
        end = meter.read()
        meter.close()
    finally:
        stop.set()
        thread.join()
    elapsed_s = end.time_s - start.time_s
    assert end.energy_j - start.energy_j == pytest.approx(200 * elapsed_s, rel=0.05)


def test_a_constant_counter_is_unavailable(tree):
    tree.zone("intel-rapl:0", "package-0", 0, start_j=262)
    with pytest.raises(Unavailable, match="does not move"):
        tree.open()


def test_no_counter_is_unavailable(tree):
    with pytest.raises(Unavailable, match="no RAPL package counter"):
        tree.open()
    tree.root = tree.root / "nowhere"
    with pytest.raises(Unavailable, match="no RAPL package counter"):
        tree.open()


def deny(monkeypatch, *ids):
    """Permission as a user without root sees it; the tests may run as root."""
    read_text, access = Path.read_text, rapl.os.access

    def denied(path):
        return Path(path).name == "energy_uj" and Path(path).parent.name in ids

    def reading(path, *args, **options):
        if denied(path):
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", reading)
    monkeypatch.setattr(
        rapl.os, "access", lambda path, mode: not denied(path) and access(path, mode)
    )


def test_without_permission_the_sentence_names_the_file_and_the_remedy(tree, monkeypatch):
    intel(tree)
    deny(monkeypatch, "intel-rapl:1")
    with pytest.raises(Unavailable, match=r"intel-rapl:1/energy_uj .*root only.*sudo chmod a\+r"):
        tree.open()


def test_a_duplicate_that_can_be_read_stands_in(tree, monkeypatch):
    tree.zone("intel-rapl:0", "package-0", 100).zone("intel-rapl-mmio:0", "package-0", 100)
    deny(monkeypatch, "intel-rapl:0")
    meter = tree.open()
    assert [zone.id for zone in meter.zones] == ["intel-rapl-mmio:0"]
    assert joules(meter, tree.clock, 10)[0] == pytest.approx(1000)


def test_a_zone_that_cannot_be_read_at_all_is_unavailable(tree):
    tree.zone("intel-rapl:0", "package-0", 100)
    (tree.root / "intel-rapl:0" / "energy_uj").unlink()
    (tree.root / "intel-rapl:0" / "energy_uj").mkdir()
    tree.zones.clear()
    with pytest.raises(Unavailable, match=r"intel-rapl:0 cannot be read"):
        tree.open()


def test_a_tree_that_vanishes_mid_run_is_said_to_be_lost(tree):
    meter = tree.zone("intel-rapl:0", "package-0", 100).open()
    (tree.root / "intel-rapl:0" / "energy_uj").unlink()
    with pytest.raises(Lost, match="can no longer be read"):
        meter.read()


class Heat:
    """A CPU at 71 degrees."""

    slowed = False

    def look(self, now_s):
        return Telemetry(now_s, 71)

    def codes(self):
        slowed, self.slowed = self.slowed, False
        return ["throttled"] * slowed


def test_how_the_cpu_fares_is_kept_for_the_trace(tree):
    tree.zone("intel-rapl:0", "package-0", 40.0)
    meter = rapl.RaplCounter("cpu_package", tree.root, tree.clock, Heat())
    start = meter.read()
    for _ in range(20):
        tree.clock.sleep(0.1)
        end = meter.read()
    trace = meter.trace(start.time_s, end.time_s)
    assert trace.power_w == [pytest.approx(40.0, rel=0.01)] * 4
    assert trace.temperature_c == [71] * 4
    assert (trace.sm_mhz, trace.throttle) == ([None] * 4, [None] * 4)
    assert codes(start, end) == []


def test_heat_is_of_the_window_in_which_it_slowed_the_cpu(tree):
    """However short before its end: the temperature is looked at more seldom."""
    tree.zone("intel-rapl:0", "package-0", 40.0)
    heat = Heat()
    meter = rapl.RaplCounter("cpu_package", tree.root, tree.clock, heat)
    edges = [meter.read()]
    for slowed in (False, True, False):
        tree.clock.sleep(rapl.TRACE_S / 4)
        heat.slowed = slowed
        edges.append(meter.read())
    found = [codes(start, end) for start, end in pairwise(edges)]
    assert found == [[], ["throttled"], []]


def test_on_a_gpus_run_the_cpu_is_only_counted(tree):
    tree.zone("intel-rapl:0", "package-0", 40.0)
    assert tree.open().trace(0.0, 1.0) is None
