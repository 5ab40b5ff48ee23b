"""Power limit and clock lock, on GPUs that do what a script says."""

import pynvml
import pytest
from helpers.techniques import HERE

from greenbench.campaign.compose import plan
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.machine.gpu_settings import CLOCK_LOCK, POWER_LIMIT
from greenbench.techniques.hardware.power_and_clock import ClockLock, PowerLimit

A = "GPU-aaaaaaaa-0000-1111-2222-333333333333"
B = "GPU-bbbbbbbb-0000-1111-2222-333333333333"
H100 = f"device {A}\npower 600\nlimit 600 200 700\ndefault_limit 700\n"
CPU = Machine("cpu", "some CPU", 1 << 34)
GPU = Machine("cuda", "H100", 1 << 34, capability=(9, 0), uuids=(A,))
BOTH = Machine("cuda", "H100", 1 << 34, capability=(9, 0), uuids=(A, B))
TECHNIQUES = [PowerLimit(), ClockLock(unlocked=True)]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def gpu(fake_nvml):
    """Call with a script: the driver stays loaded. Gives what reads a GPU's limit and clock."""

    def attach(script=H100):
        fake_nvml(script)
        pynvml.nvmlInit()

        def look(uuid=A):
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            return POWER_LIMIT.reported(handle) / 1000, CLOCK_LOCK.reported(handle)

        return look

    return attach


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_without_a_gpu_it_is_unsupported_in_one_sentence(technique):
    with pytest.raises(Unsupported, match="sets NVIDIA GPUs, and this run is on some CPU"):
        technique.check(CPU, HERE)


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (H100 + "setters denied\n", "may not be changed by this user"),
        (H100 + "mig 1\n", "MIG mode"),
        (f"device {B}\npower 1\n", "knows no GPU"),
    ],
)
def test_what_keeps_it_from_running_is_said_before_a_model_is_loaded(
    gpu, technique, script, sentence
):
    gpu(script)
    with pytest.raises(Unsupported, match=sentence):
        technique.check(GPU, HERE)


def test_a_limit_that_cannot_be_set_is_unsupported(gpu):
    gpu(H100 + "setters unsupported\n")
    with pytest.raises(Unsupported, match="has no power limit"):
        PowerLimit().check(GPU, HERE)


@pytest.mark.parametrize(
    ("technique", "sentence"),
    [
        (PowerLimit(watts=900), r"power_limit\.watts=900 asks for 900 W,.* can be 200 to 700 W\.$"),
        (PowerLimit(watts=150), r"watts=150 asks for 150 W,.* can be 200 to 700 W\.$"),
        (PowerLimit(0.1), r"power_limit\.fraction=0\.1 asks for 70 W,.* can be 200 to 700 W\.$"),
        (
            ClockLock(mhz=3000, unlocked=True),
            r"clock_lock\.mhz=3000 asks for 3000 MHz,.* be 210 to 1980 MHz\.$",
        ),
        (
            ClockLock(0.1, unlocked=True),
            r"fraction=0\.1 asks for 198 MHz,.* can be 210 to 1980 MHz\.$",
        ),
    ],
)
def test_what_the_gpu_does_not_allow_is_one_sentence_with_its_range(gpu, technique, sentence):
    gpu()
    with pytest.raises(UserError, match=sentence) as refusal:
        technique.check(GPU, HERE)
    assert not isinstance(refusal.value, Unsupported)


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("technique=power_limit technique.power_limit.fraction=0", "power_limit.fraction=0"),
        ("technique=power_limit technique.power_limit.watts=-5", "power_limit.watts=-5"),
        ("technique=clock_lock technique.clock_lock.fraction=1.2", "clock_lock.fraction=1.2"),
        ("technique=clock_lock technique.clock_lock.mhz=0", "clock_lock.mhz=0"),
    ],
)
def test_bad_knobs_are_one_sentence(override, key):
    with pytest.raises(UserError, match=f"{key}.* is out of range"):
        plan(override.split(), multirun=False)


def test_a_lock_that_nobody_can_read_is_not_undone_unasked(gpu):
    look = gpu()
    with pytest.raises(
        Unsupported, match=r"NVML does not tell .* say technique\.clock_lock\.unlocked=true"
    ):
        ClockLock().check(GPU, HERE)
    (job,) = plan(["technique=clock_lock_unlocked"], multirun=False)
    job.spec.technique["clock_lock"].check(GPU, HERE)
    assert look() == (600, 1980)


def test_checking_changes_nothing(gpu):
    look = gpu()
    for technique in TECHNIQUES:
        technique.check(GPU, HERE)
    assert look() == (600, 1980)


@pytest.mark.parametrize(
    ("technique", "inside", "told"),
    [
        (PowerLimit(), (490, 1980), {"before_w": 600, "requested_w": 490, "achieved_w": 490}),
        (PowerLimit(watts=333), (333, 1980), {"before_w": 600, "requested_w": 333, "achieved_w": 333}),
        (ClockLock(), (600, 1380), {"before_mhz": None, "requested_mhz": 1386, "achieved_mhz": 1380}),
        (ClockLock(mhz=1200), (600, 1200), {"before_mhz": None, "requested_mhz": 1200, "achieved_mhz": 1200}),
    ],
)  # fmt: skip
def test_it_holds_in_the_candidates_windows_only_and_says_what_it_achieved(
    gpu, technique, inside, told
):
    look = gpu()
    assert technique.tried(GPU) == {"gpus": [{"uuid": A, **told, "waited_s": 0.0}]}
    assert look() == (600, 1980)
    observed = {}
    for _ in range(3):
        with technique.hold(GPU, observed):
            assert look() == inside
        assert look() == (600, 1980)
    unit = technique.setting.unit.lower()
    achieved = told[f"achieved_{unit}"]
    assert observed == {
        "times_held": 3, f"lowest_{unit}": achieved, f"highest_{unit}": achieved,
        "longest_wait_s": 0.0,
    }  # fmt: skip


def test_all_gpus_of_the_run_are_set_each_within_its_own_default(gpu):
    look = gpu(H100 + f"device {B}\npower 100\nlimit 300 100 350\n")
    tried, observed = PowerLimit().tried(BOTH), {}
    assert [told["requested_w"] for told in tried["gpus"]] == [490, 210]
    with PowerLimit().hold(BOTH, observed):
        assert (look(A)[0], look(B)[0]) == (490, 210)
    assert (look(A)[0], look(B)[0]) == (600, 300)
    assert (observed["lowest_w"], observed["highest_w"]) == (210, 490)


def test_both_stack_and_come_back_from_an_exception(gpu):
    look = gpu()
    limit, lock = PowerLimit(), ClockLock(unlocked=True)

    def run():
        with limit.hold(GPU, {}), lock.hold(GPU, {}):
            assert look() == (490, 1380)
            raise KeyError

    with pytest.raises(KeyError):
        run()
    assert look() == (600, 1980)
