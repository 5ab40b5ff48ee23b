"""GPU settings through the real pynvml on a fake driver: they hold, and come back whatever happens."""

import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import psutil
import pynvml
import pytest
from filelock import FileLock

from greenbench.errors import Lost, Unsupported, UserError
from greenbench.machine import device_lock, gpu_settings
from greenbench.machine.gpu_settings import CLOCK_LOCK, POWER_LIMIT, Journal, hold, restore

A = "GPU-aaaaaaaa-0000-1111-2222-333333333333"
B = "GPU-bbbbbbbb-0000-1111-2222-333333333333"
H100 = f"device {A}\npower 600\nlimit 500 200 700\ndefault_limit 700\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Journals of this test alone."""
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    return gpu_settings.journals_folder()


@contextmanager
def open_nvml():
    """Keeps the fake driver loaded, as a real one stays: it forgets its settings otherwise."""
    pynvml.nvmlInit()
    yield  # the fixture closes it


def journals(folder):
    return sorted(path.name for path in folder.glob("*.json"))


@pytest.fixture
def look():
    """Reads a GPU's limit in watts and its SM clock in MHz."""

    def look(uuid=A):
        pynvml.nvmlInit()
        gpu = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        seen = POWER_LIMIT.reported(gpu) / 1000, CLOCK_LOCK.reported(gpu)
        pynvml.nvmlShutdown()
        return seen

    return look


def test_a_setting_holds_in_the_block_and_is_what_it_was_after_it(fake_nvml, look, folder):
    """What it was is not the default: an administrator had set 500 W."""
    clock = fake_nvml(H100)
    with open_nvml(), hold(POWER_LIMIT, {A: 300_000}, clock) as (held,):
        assert look()[0] == 300
        assert journals(folder) == [f"{A}-power-limit.json"]
        assert held == (A, 500_000, 300_000, 300_000, 0.0)
        with hold(CLOCK_LOCK, {A: 1000}, clock) as (locked,):
            assert look() == (300, 990)
            assert locked == (A, None, 1000, 990, 0.0)  # clocks come in steps of 15 MHz
        assert look() == (300, 1980)
    assert look() == (500, 1980)
    assert journals(folder) == []


def test_it_waits_until_the_setting_really_holds_and_again_until_it_no_longer_does(fake_nvml, look):
    clock = fake_nvml(H100 + "setting_delay 0.3\n")
    with open_nvml():
        with hold(POWER_LIMIT, {A: 300_000}, clock) as (held,):
            assert held.waited_s == pytest.approx(0.3, abs=0.02)
            assert held.achieved == 300_000
            assert clock.now_s == pytest.approx(0.3, abs=0.02)
        assert clock.now_s == pytest.approx(0.6, abs=0.04)
        assert look()[0] == 500


def test_patience_ends_and_what_was_achieved_is_told(fake_nvml):
    clock = fake_nvml(H100 + "setting_delay 60\n")
    with open_nvml(), hold(POWER_LIMIT, {A: 300_000}, clock) as (held,):
        assert held.asked == 300_000
        assert held.achieved == 500_000
        assert held.waited_s == pytest.approx(gpu_settings.PATIENCE_S, abs=0.02)


def test_an_exception_in_the_block_restores(fake_nvml, look, folder):
    clock = fake_nvml(H100)
    with open_nvml():
        with pytest.raises(ZeroDivisionError), hold(POWER_LIMIT, {A: 300_000}, clock):
            raise ZeroDivisionError
        assert look()[0] == 500
    assert journals(folder) == []


@pytest.mark.parametrize("setting", [POWER_LIMIT, CLOCK_LOCK])
@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("setters denied\n", r"may not be changed by this user: run as root.*SYS_ADMIN"),
        ("setters unsupported\n", r"has no .* that its driver can change.*leave the technique out"),
    ],
)
def test_what_the_driver_refuses_is_one_sentence_and_leaves_nothing(
    fake_nvml, folder, setting, more, sentence
):
    clock = fake_nvml(H100 + more)
    with pytest.raises(Unsupported, match=sentence) as refusal, hold(setting, {A: 300}, clock):
        pytest.fail("it does not hold")
    assert str(refusal.value).count(". ") == 0
    assert setting.name in str(refusal.value)
    assert journals(folder) == []


def test_where_one_gpu_refuses_the_others_are_restored(fake_nvml, look, folder):
    clock = fake_nvml(H100 + f"device {B}\npower 100\nsetters denied\n")
    with open_nvml():
        with pytest.raises(Unsupported, match=B), hold(POWER_LIMIT, {A: 300_000, B: 1}, clock):
            pytest.fail("it does not hold")
        assert look(A)[0] == 500
    assert journals(folder) == []


def test_a_gpu_that_vanishes_is_lost_and_its_journal_stays(fake_nvml, folder):
    clock = fake_nvml(H100 + "lost_at 5\n")
    with pytest.raises(Lost, match="GPU is lost"), hold(POWER_LIMIT, {A: 300_000}, clock):
        clock.sleep(10)
    assert journals(folder) == [f"{A}-power-limit.json"]


def written(folder, before=500_000, name="power limit"):
    """A journal whose lock no one holds."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{A}-{name.replace(' ', '-')}.json"
    journal = Journal(setting=name, uuid=A, before=before, asked=300_000)
    path.write_text(journal.model_dump_json())


def test_a_journal_of_a_living_owner_is_left_alone(fake_nvml, look, folder):
    clock = fake_nvml(H100)
    with open_nvml(), hold(POWER_LIMIT, {A: 300_000}, clock):
        assert restore() == []
        assert look()[0] == 300
        with pytest.raises(UserError, match="held by another run"), hold(POWER_LIMIT, {A: 1}):
            pytest.fail("it is held already")
    assert journals(folder) == []


def test_a_journal_of_an_owner_that_is_gone_is_undone(fake_nvml, look, folder):
    fake_nvml(H100.replace("limit 500", "limit 300"))
    written(folder)
    with open_nvml():
        (said,) = restore()
        assert look()[0] == 500
    assert (
        said
        == f"The power limit of {A} was set back to 500 W, as the run that had changed it is gone."
    )
    assert journals(folder) == []
    assert restore() == []


def test_the_next_hold_undoes_what_is_left_before_it_asks_what_was_before(fake_nvml, look, folder):
    clock = fake_nvml(H100.replace("limit 500", "limit 300"))
    written(folder)
    with open_nvml():
        with hold(POWER_LIMIT, {A: 400_000}, clock) as (held,):
            assert held.before == 500_000
        assert look()[0] == 500


@pytest.mark.parametrize(
    ("script", "name", "why", "command"),
    [
        (H100 + "setters denied\n", "power limit", "Insufficient Permissions",
         f"`nvidia-smi -i {A} -pl 500`"),
        (H100 + "setters denied\n", "clock lock", "Insufficient Permissions",
         f"`nvidia-smi -i {A} -rgc`"),
        (f"device {B}\npower 100\n", "power limit", "knows no GPU", f"-i {A} -pl 500"),
    ],
)  # fmt: skip
def test_what_cannot_be_undone_says_how_to_and_is_tried_again(
    fake_nvml, folder, script, name, why, command
):
    fake_nvml(script)
    written(folder, before=500_000 if name == "power limit" else None, name=name)
    for _ in range(2):
        (said,) = restore()
        assert name in said
        assert why in said
        assert command in said
    assert len(journals(folder)) == 1


def test_what_is_no_journal_is_named(folder):
    folder.mkdir(parents=True)
    (folder / "x.json").write_text("{")
    assert restore() == ["x.json is no journal of a GPU's setting that can be read: delete it."]


def test_without_journals_nothing_is_asked_of_a_driver(monkeypatch):
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: pytest.fail("there is nothing to restore"))
    assert restore() == []


@pytest.mark.parametrize("setting", [POWER_LIMIT, CLOCK_LOCK])
def test_rights_are_asked_for_without_a_change(fake_nvml, look, setting):
    fake_nvml(H100)
    with open_nvml():
        (gpu,) = gpu_settings.open_gpus([A])
        gpu_settings.require_rights(setting, gpu)
        assert look() == (500, 1980)


HOLD = f"""
import signal, sys, time
from greenbench.machine.gpu_settings import CLOCK_LOCK, POWER_LIMIT, hold
with hold(POWER_LIMIT, {{{A!r}: 300_000}}), hold(CLOCK_LOCK, {{{A!r}: 1200}}):
    print("held", flush=True)
    time.sleep(600)
"""
RESTORE = """
from greenbench.machine.gpu_settings import restore
print(*restore(), sep="\\n")
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_killed_process_had_set_another_one_gives_back(
    gpu_environment, with_gpu, tmp_path, folder, how
):
    """Real processes and a driver that remembers: its settings lie in a file."""
    state = tmp_path / "state"
    script = H100 + f"state {state}\n"
    environment = gpu_environment(script)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    assert state.read_text().split()[:2] == ["300000", "1200"]
    assert with_gpu(script, RESTORE) == "\n"  # its owner lives
    assert state.read_text().split()[:2] == ["300000", "1200"]
    holder.send_signal(how)
    assert holder.wait() == -how
    told = with_gpu(script, RESTORE)
    assert told.count("was set back to") == 2
    assert state.read_text().split()[:2] == ["500000", "0"]
    assert journals(folder) == []


def test_its_watchdog_gives_it_back_where_no_one_else_does(gpu_environment, tmp_path, folder):
    """Whoever held it was killed, and nobody starts again: the pipe to its watchdog is cut."""
    state = tmp_path / "state"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env=gpu_environment(H100 + f"state {state}\n"),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    (watchdog,) = psutil.Process(holder.pid).children()
    holder.kill()
    holder.wait()
    watchdog.wait(timeout=60)
    assert state.read_text().split()[:2] == ["500000", "0"]
    assert journals(folder) == []


LINGER = """
import fcntl, sys, time
with open(sys.argv[1]) as owner:
    fcntl.flock(owner, fcntl.LOCK_EX)
    print("locked", flush=True)
    sys.stdin.read()
    time.sleep(float(sys.argv[2]))
"""


def test_its_watchdog_waits_for_a_run_that_takes_seconds_to_die(gpu_environment, tmp_path, folder):
    """As one does whose GPUs are torn down: its pipe is cut, and its lock still held."""
    state = tmp_path / "state"
    environment = gpu_environment(H100.replace("limit 500", "limit 300") + f"state {state}\n")
    written(folder)
    owner = folder / f"{A}-power-limit.owner"
    owner.touch()
    with (
        subprocess.Popen(
            [sys.executable, "-m", "greenbench.machine.settings_watchdog"],
            env=environment,
            stdin=subprocess.PIPE,
        ) as watchdog,
        subprocess.Popen(
            [sys.executable, "-c", LINGER, str(owner), "6"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as dying,
    ):
        assert dying.stdout.readline() == "locked\n"
        watchdog.stdin.close()
        dying.stdin.close()
        assert watchdog.wait(timeout=60) == 0
        assert dying.poll() is not None  # it did not take what was still held
    assert state.read_text().split()[0] == "500000"
    assert journals(folder) == []


def test_a_watchdog_of_a_run_that_ends_well_has_nothing_to_do_and_goes(
    gpu_environment, tmp_path, folder
):
    state = tmp_path / "state"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD.replace("time.sleep(600)", "sys.stdin.read()")],
        env=gpu_environment(H100 + f"state {state}\n"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    (watchdog,) = psutil.Process(holder.pid).children()
    holder.stdin.close()
    assert holder.wait(timeout=60) == 0
    watchdog.wait(timeout=60)
    assert state.read_text().split()[:2] == ["500000", "0"]


def test_another_boot_of_the_machine_has_journals_of_its_own(monkeypatch, tmp_path, folder):
    written(folder)
    boot = tmp_path / "boot_id"
    boot.write_text("another\n")
    monkeypatch.setattr(device_lock, "BOOT", boot)
    assert restore() == []
    monkeypatch.setattr(device_lock, "BOOT", Path("nowhere"))
    assert restore() == []


def test_a_lock_of_a_process_that_died_holds_no_one_up(folder):
    folder.mkdir(parents=True)
    lock = folder / ".lock"
    code = f"import os, filelock; filelock.FileLock({str(lock)!r}).acquire(); os._exit(1)"
    subprocess.run([sys.executable, "-c", code], check=False)
    with FileLock(lock, timeout=5) as mine:
        assert mine.is_locked


def test_what_is_set_stays_while_a_meter_reads(with_gpu, tmp_path):
    """The fake driver lost one of some thousand changes so."""
    code = f"""
import pynvml, threading
pynvml.nvmlInit()
gpu = pynvml.nvmlDeviceGetHandleByUUID("{A}")
over = threading.Event()
def meter():
    while not over.is_set():
        pynvml.nvmlDeviceGetPowerUsage(gpu)
meters = [threading.Thread(target=meter) for _ in range(2)]
[each.start() for each in meters]
lost = 0
for change in range(4000):
    limit = (300_000, 400_000)[change % 2]
    pynvml.nvmlDeviceSetPowerManagementLimit(gpu, limit)
    lost += pynvml.nvmlDeviceGetPowerManagementLimit(gpu) != limit
over.set()
print(lost)
"""
    assert with_gpu(f"{H100}state {tmp_path / 'state'}\n", code) == "0\n"
