"""Which GPUs runs are shared out to: all where that is sound, or those that are asked for."""

import psutil
import pytest

from greenbench.campaign.compose import plan
from greenbench.campaign.devices import alone, beside, shares
from greenbench.errors import Unsupported, UserError
from greenbench.records import neighbour_checks
from greenbench.schema.calibration import NeighbourCheck
from greenbench.schema.quantity import Quantity

FOUR = [f"GPU-{number}{number * 7}-0000-1111-2222-333333333333" for number in (1, 2, 3, 4)]


def of(uuids, more="", name="NVIDIA H100 80GB HBM3"):
    return "".join(f"device {uuid}\nname {name}\n{more}" for uuid in uuids)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(psutil, "cpu_count", lambda: 64)


@pytest.fixture
def box(fake_nvml):
    fake_nvml(of(FOUR))


def jobs(*overrides, runs=5):
    seeds = ",".join(map(str, range(runs)))
    return plan([f"seed={seeds}", *overrides], multirun=True)


def slots(*overrides, runs=5):
    return [list(slot) for slot in shares(jobs(*overrides, runs=runs)).slots]


def singly(*numbers):
    return [[FOUR[number]] for number in numbers]


def check(low=0.995, high=1.005, neighbours=3):
    told = Quantity(
        value=1, unit="ratio", provenance="measured:counter:nvml", n=10, low=low, high=high
    )
    return NeighbourCheck(
        device_name="H100", date="2026-11-29T00:00:00+00:00", neighbours=neighbours,
        moved={"energy_per_token": told}, ratios={"energy_per_token": told},
    )  # fmt: skip


def test_all_gpus_of_a_kind_are_used_at_once_and_it_is_said_what_is_not_known(box):
    assert slots() == singly(0, 1, 2, 3)
    assert "greenbench doctor --neighbours" in shares(jobs()).why
    assert slots(runs=2) == singly(0, 1)
    neighbour_checks.write(check(), FOUR)
    assert shares(jobs()).why is None


@pytest.mark.parametrize(
    "said",
    [
        "device=cpu", "device=cuda:1", "device=cuda_all", "twins=true", "meter.order=[rapl]",
        "meter.wall_log=log.csv",
    ],
)  # fmt: skip
def test_what_is_not_one_gpu_or_not_counted_by_one_is_not_shared_out(box, said):
    assert shares(jobs(said)) == ((), None)


def test_one_run_takes_the_first_gpu_as_ever(box):
    assert shares(jobs(runs=1)) == ((), None)


def test_without_nvml_there_is_nothing_to_share_out():
    assert shares(jobs()) == ((), None)


def test_others_than_the_first_are_left_out_and_so_are_slices(fake_nvml):
    mixed = of(FOUR[:1]) + of(FOUR[1:2], name="NVIDIA T4") + of(FOUR[2:3], "mig 1\n")
    fake_nvml(mixed + of(FOUR[3:]))
    assert slots() == singly(0, 3)


def test_what_cuda_may_not_see_is_not_used(box, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    assert slots() == singly(1, 3)
    assert slots("devices=[1]") == singly(3)


def test_so_many_as_keep_no_tenth_of_the_cpus_busy(box, monkeypatch):
    monkeypatch.setattr(psutil, "cpu_count", lambda: 20)
    assert slots() == singly(0, 1, 2)
    monkeypatch.setattr(psutil, "cpu_count", lambda: 8)
    found = shares(jobs())
    assert (found.slots, "few CPUs" in found.why) == ((), True)
    assert slots("devices=all") == singly(0, 1, 2, 3)


def test_tier_publish_is_alone_until_neighbours_were_shown_to_do_nothing(box):
    publish = jobs("protocol=publish")
    found = shares(publish)
    assert (found.slots, "tier publish" in found.why) == ((), True)
    assert alone(publish[0].spec) == FOUR
    with pytest.raises(UserError, match=r"doctor --neighbours.*devices=1"):
        slots("protocol=publish", "devices=2")
    assert slots("protocol=publish", "devices=1") == singly(0)
    neighbour_checks.write(check(), FOUR)
    assert slots("protocol=publish") == singly(0, 1, 2, 3)
    assert alone(publish[0].spec) == []


def test_where_neighbours_were_seen_to_disturb_runs_are_alone_unless_it_is_asked_for(box):
    neighbour_checks.write(check(high=1.05), FOUR)
    found = shares(jobs())
    assert (found.slots, "disturb" in found.why) == ((), True)
    assert slots("devices=2") == singly(0, 1)
    assert alone(jobs()[0].spec) == []  # of other tiers nothing is promised
    assert alone(jobs("protocol=publish")[0].spec) == FOUR


def test_a_check_is_of_the_machine_with_these_gpus(box):
    neighbour_checks.write(check(), FOUR[:3])
    assert neighbour_checks.read(FOUR) is None
    neighbour_checks.write(check(), reversed(FOUR))
    assert neighbour_checks.read(FOUR) == check()


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["devices=2"], singly(0, 1)),
        (["devices=all"], singly(0, 1, 2, 3)),
        (["devices=[2,0]", "device=cuda"], singly(2, 0)),
        (["devices=[1,2]", "device=cuda_all"], [FOUR[1:3]]),
        (["devices=all", "device=cuda_all"], [FOUR]),
        (["device_groups=[[0,1],[2,3]]"], [FOUR[:2], FOUR[2:]]),
        (["device_groups=[[3,1]]", "device=cuda_all"], [[FOUR[3], FOUR[1]]]),
    ],
)
def test_what_is_asked_for_is_had(box, overrides, expected):
    assert slots(*overrides) == expected
    assert slots(*overrides, runs=1) == expected


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["devices=5"], r"devices=5 asks for more GPUs .* there are 4 whole GPUs, counted from 0"),
        (["devices=[0,4]"], r"devices=\[0,4\] asks for more GPUs"),
        (["devices=0"], "devices=0 is out of range: allowed is auto, all, how many"),
        (["devices=[0,0]"], "devices"),
        (["devices=[]"], "devices"),
        (["devices=some"], "devices=some is out of range"),
        (["devices=true"], "devices=True is out of range"),
        (["devices=2", "device_groups=[[0,1]]"], "both say which GPUs"),
        (["device_groups=[0,1]"], "device_groups=.* lists of different numbers"),
        (["device_groups=[[0,1],[1,2]]"], "device_groups=.* lists of different numbers"),
        (["device_groups=2"], "device_groups=2 is out of range"),
        (["devices=2", "device=cpu"], "devices=2 shares GPUs out, and device=cpu names them"),
        (["devices=2", "device=cuda:0"], "device=cuda:0 names them"),
        (["devices=2", "twins=true"], "twins=true names them"),
        (["devices=2", "meter.wall_log=log.csv"], "a meter at the wall counts all of them"),
        (["devices=2", "launcher=slurm"], "the runs go to launcher=slurm: leave them out"),
        (["devices=1,2"], "A sweep has one devices"),
        (["neighbours=-1"], "neighbours=-1 is out of range"),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_refused(box, overrides, said):
    with pytest.raises(UserError, match=said):
        slots(*overrides)


def test_gpus_of_different_kinds_are_no_sweep(fake_nvml):
    fake_nvml(of(FOUR[:1]) + of(FOUR[1:2], name="NVIDIA T4"))
    with pytest.raises(UserError, match=r"not of one kind \(NVIDIA H100 80GB HBM3; NVIDIA T4\)"):
        slots("devices=all")


def test_without_gpus_what_is_asked_for_says_why():
    with pytest.raises(Unsupported, match="devices=2 asks for GPUs: NVML's library"):
        slots("devices=2")


def test_a_record_says_beside_how_many_it_was_measured(box):
    (spec,) = (job.spec for job in jobs("neighbours=3", runs=1))
    assert beside(spec) == {"neighbours": {"runs": 3, "check": "not looked at"}}
    neighbour_checks.write(check(), FOUR)
    assert beside(spec)["neighbours"]["check"] == f"passed {check().date}"
    assert beside(jobs(runs=1)[0].spec) == {}


def test_a_check_with_few_neighbours_says_nothing_of_many(box):
    neighbour_checks.write(check(neighbours=1), FOUR)
    assert slots() == slots("protocol=publish") == singly(0, 1)
    assert alone(jobs("protocol=publish")[0].spec) == FOUR  # another sweep may be on the others
    with pytest.raises(UserError, match="alone unless"):
        slots("protocol=publish", "devices=3")


def test_a_server_that_is_there_is_not_asked_by_several_runs_at_once(box):
    served = ["engine=openai", "engine.url=http://127.0.0.1:9/v1"]
    assert shares(jobs(*served)) == ((), None)
    with pytest.raises(UserError, match="all would ask the one server"):
        slots("devices=2", *served)


def test_runs_for_several_places_are_not_shared_out(box):
    assert shares(jobs("results=a,b")) == ((), None)
