"""The results directory on real disks, full disks, and between real processes."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import factory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greenbench import files
from greenbench.errors import UserError
from greenbench.machine.device_lock import device_lock
from greenbench.records.store import Rejected, Store, canonical, load

TESTS = Path(__file__).parents[1]
KEY = "0123456789abcdef"


def completed(store, key):
    """Whether `key` needs no further run."""
    record = store.read(key)
    return record is not None and record.status == "completed"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def tmpdir(tmp_path, monkeypatch):
    """Where rescued records go."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


@pytest.fixture
def full_store(tmp_path):
    """A store with no room: on a full tmpfs, or where none can be mounted, below a plain file."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        (disk / "results").touch()
        yield Store(disk / "results")
        return
    try:
        store = Store(disk / "results")
        store.records.mkdir(parents=True)
        free = os.statvfs(disk)
        ballast = free.f_bavail * free.f_bsize - 8192  # room to begin a record, not to end it
        (disk / "ballast").write_bytes(bytes(ballast))
        yield store
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@contextmanager
def process(code: str, *args: object, **variables: str):
    """A Python process that runs `code`, its stdout a pipe of lines; killed in the end."""
    environment = os.environ | {"PYTHONPATH": str(TESTS)} | variables
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def test_what_is_written_is_read_back(store):
    record = factory.record()
    path = store.write(record)
    assert path == store.root / "records" / f"{record.key}.json"
    assert store.read(record.key) == record
    assert completed(store, record.key)
    assert load([store.root]).records == [record]


def test_file_is_canonical_json(store):
    record = factory.record(environment={"b": 1, "a": {"d": "é", "c": float("nan")}})
    data = store.write(record).read_bytes()
    document = json.loads(data)
    text = json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    assert data == text.encode() == canonical(record)
    assert document["environment"] == {"a": {"c": None, "d": "é"}, "b": 1}


def test_mode_follows_the_umask(store):
    before = os.umask(0o027)
    try:
        path = store.write(factory.record())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_only_completed_runs_are_completed(store):
    record = factory.failed()
    assert not completed(store, record.key)
    store.write(record)
    assert store.read(record.key) == record
    assert not completed(store, record.key)
    store.write(factory.record(key=record.key))
    assert completed(store, record.key)


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: b"", lambda data: b"[]"])
def test_a_damaged_record_is_none(store, damage):
    path = store.write(factory.record())
    path.write_bytes(damage(path.read_bytes()))
    assert store.read(path.stem) is None
    assert not completed(store, path.stem)


def test_a_record_under_another_key_is_none(store):
    path = store.write(factory.record())
    path.rename(path.with_name("0123456789abcdef.json"))
    assert not completed(store, "0123456789abcdef")


def test_a_copy_is_a_copy_however_it_is_written(store):
    path = store.write(factory.record())
    changed = json.loads(path.read_bytes())
    (store.records / "tight.json").write_text(json.dumps(changed))
    later = changed | {"started_at": "2025-02-02T03:04:05+00:00"}
    (store.records / "later.json").write_text(json.dumps(later))
    loaded = load([store.root])
    assert [record.started_at[:7] for record in loaded.records] == ["2025-01", "2025-02"]
    assert [rejected.reason for rejected in loaded.rejected] == ["It is a copy of another record."]


def test_load_sorts_and_says_what_it_rejects(store, tmp_path):
    one = store.write(factory.record(spec=factory.spec(seed=1)))
    two = store.write(factory.record(spec=factory.spec(seed=2), name="dtype"))
    (store.records / "copy.json").write_bytes(one.read_bytes())
    (store.records / "cut.json").write_bytes(one.read_bytes()[:-20])
    (store.records / "foreign.json").write_text('{"name": "something else"}')
    (store.records / "list.json").write_text("[1, 2]")
    changed = json.loads(one.read_bytes())
    (store.records / "old.json").write_text(json.dumps(changed | {"schema_version": 0}))
    (store.records / "new.json").write_text(json.dumps(changed | {"schema_version": 3, "x": 0}))
    (store.records / "odd.json").write_text(json.dumps(changed | {"status": "splendid"}))
    (store.records / ".0123.partial.tmp").write_text("{")
    (store.records / ".hidden.json").write_text("{")
    (store.records / "notes.txt").write_text("no record")
    os.mkfifo(store.records / "fifo.json")
    with store.claim(one.stem, pytest.fail):
        loaded = load([store.root, store.records, tmp_path / "absent.json"])
    assert [record.name for record in loaded.records] == ["dtype", "int8_bnb"]
    assert loaded.records[0].key == two.stem
    kept, copied = sorted([one.name, "copy.json"])
    assert loaded.rejected == sorted(
        [
            Rejected(copied, "It is a copy of another record."),
            Rejected("cut.json", "It is not JSON, or was cut short."),
            Rejected("foreign.json", "It is not a record of GreenBench."),
            Rejected("list.json", "It is not a record of GreenBench."),
            Rejected(
                "new.json",
                "It is of a newer GreenBench: its schema version is 3, and this one reads up to 2.",
            ),
            Rejected("old.json", "It has schema version 0, not 2 as this GreenBench."),
            Rejected(
                "odd.json",
                "It breaks the record's schema at 'status': "
                "Input should be 'completed', 'failed' or 'unsupported'.",
            ),
            Rejected("absent.json", "It cannot be read: No such file or directory."),
        ]
    )
    assert kept not in {name for name, _ in loaded.rejected}


def test_load_order_does_not_depend_on_where_records_are(tmp_path):
    records = [factory.failed(spec=factory.spec(seed=seed)) for seed in range(6)]
    for number, record in enumerate(records):
        Store(tmp_path / f"{number % 3}").write(record)
    directories = [tmp_path / str(number) for number in range(3)]
    expected = load(directories)
    assert len(expected.records) == 6
    assert load(directories[::-1]) == expected


def test_two_machines_records_of_one_key_are_both_kept(tmp_path):
    here, there = (factory.record(environment={"machine": name}) for name in "ab")
    for number, record in enumerate((here, there)):
        Store(tmp_path / str(number)).write(record)
    loaded = load([tmp_path / "0", tmp_path / "1"])
    assert len(loaded.records) == 2
    assert not loaded.rejected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
RECORD = factory.failed()
FIELDS = sorted(RECORD.model_dump())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary()
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(FIELDS), JSON).map(
        lambda changes: json.dumps(json.loads(canonical(RECORD)) | changes).encode(
            "utf-8", "replace"
        )
    )
)
def test_load_never_raises(tmp_path, data):
    (tmp_path / "any.json").write_bytes(data)
    records, rejected = load([tmp_path])
    assert len(records) + len(rejected) == 1
    assert all(reason.endswith(".") and "\n" not in reason for _, reason in rejected)


def test_full_disk_rescues_the_record(full_store, tmpdir):
    record = factory.record()
    with pytest.raises(UserError) as error:
        full_store.write(record)
    (rescued,) = tmpdir.iterdir()
    assert rescued.read_bytes() == canonical(record)
    assert str(rescued) in str(error.value)
    assert str(full_store.record_path(record.key)) in str(error.value)
    assert not full_store.records.exists() or not list(full_store.records.iterdir())
    assert full_store.read(record.key) is None


def test_no_room_anywhere_is_said_and_the_old_record_stays(store, tmpdir):
    old, new = factory.failed(), factory.record()
    store.write(old)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(canonical(new)) - 1, hard))
    try:
        with pytest.raises(UserError, match="could be rescued nowhere"):
            store.write(new)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.read(new.key) == old
    assert len(list(store.records.iterdir())) == 1
    assert not list(tmpdir.iterdir())


def test_space_is_required_before_a_run(store, full_store):
    store.require_space()
    assert not list(store.records.iterdir())
    with pytest.raises(UserError, match="choose another with results=DIRECTORY"):
        full_store.require_space()


def test_a_killed_writer_leaves_the_old_record_or_the_new_one(store):
    """A helper forks writers that rewrite one record without end, and kills each at some moment."""
    code = """
        import os, random, signal, sys, time
        from pathlib import Path
        from helpers import factory
        from greenbench.records.store import Store, load

        store, seed = Store(Path(sys.argv[1])), int(sys.argv[2])
        records = [factory.failed(), factory.record()]
        pause, seen = random.Random(seed), set()
        store.write(records[0])
        started = time.monotonic()
        rounds = 0
        while rounds < 150 or (len(seen) < 2 and time.monotonic() < started + 50):
            rounds += 1
            pid = os.fork()
            while pid == 0:
                for record in records:
                    store.write(record)
            time.sleep(pause.uniform(0, 0.02))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            loaded = load([store.root])
            assert not loaded.rejected, loaded.rejected
            assert all(record in records for record in loaded.records)
            seen.update(record.status for record in loaded.records)
        print(*sorted(seen), len(list(store.records.glob(".*.tmp"))))
    """
    seed = random.randrange(10**6)
    with process(code, store.root, seed) as helper:
        printed = helper.stdout.read().split()
        assert helper.wait(60) == 0, seed
    assert printed[:-1] == ["completed", "failed"]
    assert int(printed[-1]) > 0, "no writer was killed at work"
    key = factory.record().key
    with store.claim(key, pytest.fail):
        assert [path.name for path in store.records.iterdir()] == [f"{key}.json"]


HOLD = """
    import sys
    from pathlib import Path
    from greenbench.machine.device_lock import device_lock
    from greenbench.records.store import Store
    what, root = sys.argv[1:]
    lock = Store(Path(root)).claim("k", print) if what == "claim" else device_lock([what], print)
    with lock:
        print("held", flush=True)
        sys.stdin.readline()
    print("released", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("what", ["claim", "cuda:0"])
@pytest.mark.parametrize("end", ["release", "kill"])
def test_a_lock_is_held_by_one_process_at_a_time(store, tmp_path, what, end):
    cache = {"GREENBENCH_CACHE": str(tmp_path / "cache")}
    with process(HOLD, what, store.root, **cache) as first:
        assert first.stdout.readline() == "held\n"
        with process(HOLD, what, store.root, **cache) as second:
            waiting = second.stdout.readline()
            assert "waiting" in waiting
            assert "k" in waiting if what == "claim" else "cuda:0" in waiting
            if end == "kill":
                os.kill(first.pid, signal.SIGKILL)
            else:
                print(file=first.stdin, flush=True)
                assert first.stdout.readline() == "released\n"
            assert second.stdout.readline() == "held\n"


def test_two_sweeps_never_run_a_key_twice(store, tmp_path):
    """Two processes race through the same keys; each appends a line per run that it makes."""
    code = """
        import os, sys
        from pathlib import Path
        from helpers import factory
        from greenbench.records.store import Store
        store, log = Store(Path(sys.argv[1])), open(sys.argv[2], "a", buffering=1)
        for seed in range(20):
            record = factory.failed(spec=factory.spec(seed=seed))
            with store.claim(record.key, lambda text: None):
                if store.read(record.key) is None:
                    log.write(f"{record.key}\\n")
                    store.write(record)
    """
    log = tmp_path / "runs"
    with process(code, store.root, log) as one, process(code, store.root, log) as two:
        assert (one.wait(60), two.wait(60)) == (0, 0)
    runs = log.read_text().split()
    assert len(runs) == len(set(runs)) == 20


def test_other_keys_and_other_devices_do_not_wait(store, tmp_path, monkeypatch):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    with (
        store.claim("a", pytest.fail),
        store.claim("b", pytest.fail),
        device_lock(["cpu"], pytest.fail),
        device_lock(["GPU-2", "GPU-1/2"], pytest.fail),
    ):
        assert load([store.root]) == ([], [])


def test_a_lock_that_cannot_be_made_is_a_user_error(tmp_path):
    (tmp_path / "results").touch()
    with pytest.raises(UserError, match="lock file"), Store(tmp_path / "results").claim("k", print):
        pass


def test_importing_the_store_imports_no_torch():
    modules = "greenbench.records.store, greenbench.campaign.launch.local"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    with process(code) as child:
        assert child.stdout.read() == "False\n"


@pytest.fixture
def no_locks(monkeypatch):
    """A file system whose flock(2) is none, as some of a network."""

    def flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(files.fcntl, "flock", flock)
    files.has_locks.cache_clear()
    yield
    files.has_locks.cache_clear()


def test_where_there_are_no_locks_two_may_run_the_same_and_neither_waits(store, no_locks):
    said = []
    (store.root / "records").mkdir(parents=True, exist_ok=True)
    other = store.root / "records" / f".{KEY}.other.tmp"
    other.touch()
    with store.claim(KEY, said.append), store.claim_if_free(KEY) as mine:
        assert mine
    assert said == []
    assert other.exists()  # another's, who may be writing


def test_a_device_is_not_shared_for_want_of_locks(no_locks, tmp_path, monkeypatch):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="set GREENBENCH_CACHE"), device_lock(["cpu"], print):
        raise AssertionError
