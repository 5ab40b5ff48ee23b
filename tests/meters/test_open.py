"""Which meters a run gets, and why not the others."""

import pytest
from helpers.moved_clock import MovedClock

from greenbench.campaign.compose import plan
from greenbench.errors import Unsupported, UserError
from greenbench.meters import counts_one_gpu, in_words, open_meters, require_answer
from greenbench.meters.meter import Part
from greenbench.meters.nvml_counter import NvmlCounter
from greenbench.meters.nvml_power import NvmlPower
from greenbench.meters.rapl import RaplCounter
from greenbench.schema.spec import MeterSpec

GPU = "GPU-aaaaaaaa-0000-1111-2222-333333333333"
ALL = MeterSpec(order=["nvml", "rapl", "estimate"])
ESTIMATE_FIRST = MeterSpec(order=["estimate", "rapl", "nvml"])


def parts(root, clock):
    """RAPL's two, of a tree of files."""
    return lambda place: [
        Part("rapl", lambda: RaplCounter("cpu_package", root, clock)),
        Part("rapl_dram", lambda: RaplCounter("dram", root, clock)),
    ]


@pytest.fixture
def powercap(tmp_path, monkeypatch):
    """A machine with RAPL: a package at 100 W and, if asked, its memory at 10 W."""
    clock = MovedClock()
    root = tmp_path / "powercap"

    def zone(id, name, watts):
        (root / id).mkdir(parents=True)
        (root / id / "name").write_text(name)
        (root / id / "max_energy_range_uj").write_text("262143328850")
        write = (root / id / "energy_uj").write_text
        clock.listeners.append(lambda now_s: write(str(int(1e6 * watts * now_s))))
        clock.sleep(0)

    def attach(dram):
        zone("intel-rapl:0", "package-0", 100)
        if dram:
            zone("intel-rapl:0:0", "dram", 10)
        monkeypatch.setattr(RaplCounter, "parts", parts(root, clock))

    return attach


@pytest.fixture
def gpu(fake_nvml, monkeypatch):
    """A machine with one GPU at 300 W."""

    def attach(more=""):
        clock = fake_nvml(f"device {GPU}\npower 300\n{more}")
        found = [
            Part("nvml", lambda: NvmlCounter([GPU], clock)),
            Part("nvml_power", lambda: NvmlPower([GPU], clock), alone=True),
        ]
        monkeypatch.setattr(NvmlCounter, "parts", lambda place: found)

    return attach


@pytest.fixture
def no_powercap(tmp_path, monkeypatch):
    monkeypatch.setattr(RaplCounter, "parts", parts(tmp_path, MovedClock()))


def names(opened):
    return [meter.name for meter in opened.meters]


@pytest.mark.parametrize("spec", [ALL, ESTIMATE_FIRST])
def test_on_a_cpu_rapl_comes_before_any_estimate(powercap, spec):
    powercap(dram=True)
    with open_meters(spec, []) as opened:
        assert names(opened) == ["rapl", "rapl_dram"]
        assert set(opened.refused) == {"nvml"}
        assert opened.notes == {}


def test_memory_without_a_counter_is_said_to_have_none(powercap):
    powercap(dram=False)
    with open_meters(ALL, []) as opened:
        assert names(opened) == ["rapl"]
        assert "no dram counter" in opened.refused["rapl_dram"]


def test_an_estimate_answers_where_nothing_measures(no_powercap):
    with open_meters(ALL, []) as opened:
        assert names(opened) == ["estimate", "estimate_dram"]
        assert opened.primary.provenance == "estimated:model"
        assert set(opened.refused) == {"nvml", "rapl"}
        assert "assumed" in opened.notes["estimate"]


def test_nothing_is_estimated_of_processes_that_are_not_seen(no_powercap):
    with open_meters(ALL, [], unseen="It is in a container.") as opened:
        assert not opened.meters
        assert opened.refused["estimate"] == "It is in a container."


def test_a_counter_counts_what_is_not_seen(powercap):
    powercap(dram=True)
    with open_meters(ALL, [], unseen="It is in a container.") as opened:
        assert names(opened) == ["rapl", "rapl_dram"]


def test_on_a_gpu_nvml_leads_and_rapl_follows(gpu, powercap):
    gpu()
    powercap(dram=False)
    with open_meters(ESTIMATE_FIRST, [GPU]) as opened:
        assert names(opened) == ["nvml", "nvml_power", "rapl"]
        assert [meter.boundary for meter in opened.meters] == ["gpu", "gpu", "cpu_package"]


def test_sampled_power_leads_where_there_is_no_counter(gpu, powercap):
    gpu("counter unsupported\n")
    powercap(dram=False)
    with open_meters(ALL, [GPU]) as opened:
        assert names(opened) == ["nvml_power", "rapl"]
        assert "does not report its energy" in opened.refused["nvml"]


def test_nothing_but_nvml_answers_for_a_gpu(gpu, powercap):
    gpu("mig 1\n")
    powercap(dram=False)
    with open_meters(ALL, [GPU]) as opened:
        assert opened.meters == []
        assert opened.primary is None
        assert set(opened.refused) == {"nvml", "rapl", "estimate"}
        assert "MIG mode" in opened.refused["nvml"]
        assert "nothing counts the GPU" in opened.refused["rapl"]


def test_a_given_tdp_reaches_the_estimate(no_powercap):
    with open_meters(MeterSpec(order=["estimate"], cpu_tdp_w=123.0), []) as opened:
        assert "123 W" in opened.notes["estimate"]


def test_the_only_meter_that_is_allowed_must_answer(no_powercap):
    only, others = MeterSpec(order=["rapl"]), MeterSpec(order=["rapl", "estimate"])
    for spec in (only, others):
        with open_meters(spec, []) as opened:
            if spec is others:
                require_answer(spec, opened)
                said = in_words(names(opened), opened.refused)
                assert said.startswith(
                    "joules by estimate; not by rapl: This machine exposes no RAPL"
                )
                continue
            with pytest.raises(
                Unsupported, match=r"meter.order=\[rapl\] does not answer here \(This"
            ):
                require_answer(spec, opened)


def test_zeus_is_asked_for_alone_and_nothing_stands_in_for_it():
    (job,) = plan(["meter=zeus"], multirun=False)
    with (
        open_meters(job.spec.meter, []) as opened,
        pytest.raises(Unsupported, match=r"meter.order=\[zeus\] does not answer here \(Zeus"),
    ):
        require_answer(job.spec.meter, opened)


def test_a_wall_meter_without_its_log_is_refused():
    with pytest.raises(
        UserError, match=r"meter.wall_log is missing: .*add meter.wall_log=FILE.csv"
    ):
        plan(["meter=wall"], multirun=False)
    assert plan(["meter=wall", "meter.wall_log=log.csv"], multirun=False)


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (["rapple"], "meter.order=rapple is unknown: allowed are estimate, nvml, rapl, zeus"),
        (["rapl", "rapl"], "allowed is each meter once"),
        ([], "a list of one meter or more"),
    ],
)
def test_an_order_takes_the_names_of_known_meters(order, said):
    with pytest.raises(UserError, match=said):
        MeterSpec(order=order)


def test_beside_neighbours_only_what_counts_the_runs_own_gpu_is_read(powercap, gpu):
    powercap(dram=True)
    gpu()
    with open_meters(ALL, [GPU], neighbours=3) as opened:
        assert names(opened) == ["nvml", "nvml_power"]
        assert set(opened.refused) == {"rapl", "rapl_dram"}
        assert "devices=1" in opened.refused["rapl"]


@pytest.mark.parametrize(
    ("name", "its_own"),
    [("nvml", True), ("zeus", True), ("rapl", False), ("estimate", False)],
)
def test_which_meters_count_one_gpu(name, its_own):
    assert counts_one_gpu(name) is its_own
