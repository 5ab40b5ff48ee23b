"""Workers that answer, raise, exit, are killed, hang, outgrow their memory or lose their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest
from helpers import worker_jobs as jobs

from greenbench.campaign.launch import local
from greenbench.campaign.launch.local import Progress, Workers

TESTS = Path(__file__).parents[2]
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def workers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(TESTS))
        patch.delenv("PYTHONUNBUFFERED", raising=False)  # it would hide C output that is lost
        with Workers(["helpers.worker_jobs"]) as workers:
            workers.start()
            yield workers


@pytest.fixture
def call(workers):
    def call(function, *args, time_limit_s=PATIENCE_S, log_path=None):
        return workers.call(
            function, *args, time_limit_s=time_limit_s, log_path=log_path, on_progress=print
        )

    return call


def until(condition):
    """Poll until `condition` holds; fail after a generous deadline."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def gone(pid):
    """Whether a process runs no more (nobody may be there to reap it)."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def noted(path):
    until(path.exists)
    return [int(pid) for pid in path.read_text().split()]


# Answers


def test_value_progress_and_durations(workers):
    seen = []
    outcome = workers.call(
        jobs.add, 1, 2, time_limit_s=PATIENCE_S, log_path=None, on_progress=seen.append
    )
    assert (outcome.value, outcome.failure) == (3, None)
    assert seen == [Progress("add", 0, 2, ""), Progress("add", 2, 2, "")]
    assert 0 < outcome.start_s < outcome.duration_s


def test_what_was_kept_last_stands_beside_the_failure(call):
    killed = call(partial(jobs.keep, then=signal.SIGKILL), 7)
    assert (killed.value, killed.failure.reason) == (7, "killed")
    hung = call(partial(jobs.keep, then="hang"), 7, time_limit_s=2.0)
    assert (hung.value, hung.failure.reason) == (7, "time_limit")
    assert call(jobs.keep, 7)[:2] == (8, None)


def test_what_was_kept_and_cannot_be_read_is_not_there(call):
    failed = call(jobs.keep_unreadable)
    assert (failed.value, failed.failure.message) == (None, "RuntimeError: no more")


def test_preloaded_modules_are_imported_once(call):
    first, second = (call(jobs.facts).value for _ in range(2))
    importer, pid, parent, session, *_ = first
    assert importer == parent == second[2] != os.getpid()
    assert session == pid != second[1]


def test_garbage_is_collected_but_not_looked_for_in_what_was_preloaded(call):
    enabled, left_alone = call(jobs.collector).value
    assert enabled
    assert left_alone > 1000


def test_environment_and_directory_are_the_callers(call, monkeypatch, tmp_path):
    call(jobs.facts)
    monkeypatch.setenv("GB_LATE", "yes")
    monkeypatch.chdir(tmp_path)
    assert call(jobs.facts).value[4:] == ({"GB_LATE": "yes"}, str(tmp_path))
    monkeypatch.delenv("GB_LATE")
    assert call(jobs.facts).value[4] == {}


def test_a_secret_in_an_error_enters_neither_its_message_nor_the_log(call, monkeypatch, tmp_path):
    monkeypatch.setenv("SOME_KEY", "correct-horse")
    outcome = call(jobs.leak, "SOME_KEY", log_path=tmp_path / "log")
    assert outcome.failure.message == "ValueError: the server said ***"
    assert "ValueError: the server said ***" in (tmp_path / "log").read_text()


def test_big_results_pass(call):
    assert call(jobs.big, 50_000_000).value == bytes(50_000_000)


def test_no_limit_is_a_limit(call):
    assert call(jobs.add, 1, 1, time_limit_s=float("inf")).value == 2


@pytest.mark.parametrize("job", [jobs.unpicklable, jobs.hollow])
def test_a_result_that_cannot_be_pickled_is_an_exception(call, job):
    outcome = call(job)
    assert outcome.value is None
    assert outcome.failure.reason == "exception"
    assert "result" in outcome.failure.message


def test_a_thread_left_behind_does_not_hold_up_the_answer(call, monkeypatch):
    monkeypatch.setattr(local, "LEAVE_S", 0.5)
    assert call(jobs.leave_a_thread).value == "done"


def test_a_child_left_behind_is_killed(call, tmp_path):
    assert call(jobs.leave_a_child, tmp_path / "pids").value == "done"
    (child,) = noted(tmp_path / "pids")
    until(lambda: gone(child))


# Failures


@pytest.mark.parametrize(
    ("kind", "reason", "message"),
    [
        ("value", "exception", "ValueError: first second"),
        ("user", "user_error", "Say x=1."),
        ("unsupported", "unsupported", "No GPU: buy one."),
        ("cuda", "out_of_memory", "OutOfMemoryError: CUDA"),
        (
            "cpu",
            "out_of_memory",
            "RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried 9 bytes",
        ),
        ("enomem", "out_of_memory", "OSError: [Errno 12] Cannot allocate memory"),
        ("unprintable", "exception", "Unprintable: (its text cannot be had)"),
    ],
)
def test_exceptions(call, kind, reason, message):
    failure = call(jobs.fail, kind).failure
    assert (failure.reason, failure.message, failure.phase) == (reason, message, "load")
    assert failure.log_tail[:2] == ["about to fail", "Traceback (most recent call last):"]
    assert '  File "worker_jobs.py"' in "\n".join(failure.log_tail)


@pytest.mark.parametrize("code", [0, 7])
def test_exit(call, code):
    failure = call(jobs.leave, code).failure
    assert (failure.reason, failure.phase) == ("exit", "score")
    assert f"exit code {code} " in failure.message
    assert failure.log_tail == ["leaving"]
    assert call(jobs.leave_politely, code).failure.reason == "exit"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGRTMIN + 2])
def test_killed(call, number):
    failure = call(jobs.die, number).failure
    assert (failure.reason, failure.phase) == ("killed", "measure")
    assert getattr(number, "name", f"signal {number:d}") in failure.message


def test_crash_says_where(call):
    failure = call(jobs.segfault).failure
    assert (failure.reason, failure.message) == ("killed", "It was killed by SIGSEGV.")
    assert any("in segfault" in line for line in failure.log_tail)


def test_memory_error(call):
    failure = call(jobs.eat_memory).failure
    assert (failure.reason, failure.message) == ("out_of_memory", "MemoryError:")


@pytest.fixture
def memory_cgroup():
    """A control group for memory: its directory and the name of its limit."""
    for root, limit in (("memory", "memory.limit_in_bytes"), ("", "memory.max")):
        group = Path("/sys/fs/cgroup", root, f"greenbench-test-{os.getpid()}")
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / limit).exists():
            yield group, limit
            until(lambda group=group: not (group / "cgroup.procs").read_text())
            group.rmdir()
            return
        group.rmdir()
    pytest.skip("no control group for memory can be made here")


def test_killed_by_the_kernel_for_memory(call, memory_cgroup):
    group, limit = memory_cgroup
    failure = call(jobs.eat_memory_in, str(group), limit, 48 << 20).failure
    assert failure.reason == "out_of_memory"
    assert "kernel" in failure.message


@pytest.mark.parametrize("job", [jobs.hang, jobs.hang_with_the_lock])
def test_a_hang_ends_at_its_limit_with_all_its_children(call, tmp_path, job):
    failure = call(job, tmp_path / "pids", time_limit_s=2).failure
    assert failure.reason == "time_limit"
    assert "2 s" in failure.message
    assert failure.phase == ("warmup" if job is jobs.hang else None)
    assert any(f"in {job.__name__}" in line for line in failure.log_tail), "where does it hang?"
    *pids, _forkserver = noted(tmp_path / "pids")
    until(lambda: all(map(gone, pids)))


def test_endless_progress_does_not_outlive_the_limit(workers):
    def slow_console(progress):
        time.sleep(0.001)  # slower than the worker: there is always a next message

    outcome = workers.call(jobs.flood, time_limit_s=0.2, log_path=None, on_progress=slow_console)
    assert (outcome.failure.reason, outcome.failure.phase) == ("time_limit", "flood")


def test_an_error_in_the_parent_stops_the_worker(workers, tmp_path):
    def complain(progress):
        until((tmp_path / "pids").exists)
        raise RuntimeError("the console broke")

    with pytest.raises(RuntimeError, match="the console broke"):
        workers.call(
            jobs.hang,
            tmp_path / "pids",
            time_limit_s=PATIENCE_S,
            log_path=None,
            on_progress=complain,
        )
    *pids, _forkserver = noted(tmp_path / "pids")
    until(lambda: all(map(gone, pids)))


def test_a_killed_forkserver_is_replaced(call, tmp_path):
    _, _, forkserver, *_ = call(jobs.facts).value
    os.kill(forkserver, signal.SIGKILL)
    until(lambda: gone(forkserver))
    assert call(jobs.add, 1, 1).value == 2
    assert call(jobs.kill_forkserver, tmp_path / "pids").failure.reason == "exit"
    until(lambda: gone(noted(tmp_path / "pids")[0]))
    assert call(jobs.add, 2, 2).value == 4


# Output


def test_all_output_goes_to_the_log(call, tmp_path):
    log = tmp_path / "logs" / "key.log"
    assert call(jobs.speak, log_path=log).value == "spoken"
    lines = log.read_bytes().splitlines()
    assert sorted(lines) == sorted(
        [
            b"from python, unfinished",
            b"from stderr",
            b"from C",
            b"from a child",
            b"from the descriptor, \xe9\xff",
        ]
    )


def test_the_tail_is_short_and_scrubbed(call, tmp_path, monkeypatch):
    monkeypatch.setenv("GB_TOKEN", "correct-horse-battery")
    failure = call(jobs.babble, 5000, log_path=tmp_path / "log").failure
    assert failure.message == "RuntimeError: bad *** in model.bin"
    assert len(failure.log_tail) == 40
    text = "\n".join(failure.log_tail)
    assert "line 4999 of secret place/x" in text, "a path with a space needs its quotes"
    assert "token *** in model.bin\nTraceback" in text
    assert "step 8/9\nstep 9/9\n" in text
    assert "\x1b" not in text
    assert "correct-horse-battery" not in text
    assert "/srv" not in text
    log = (tmp_path / "log").read_text()
    assert "line 0\x1b" in log
    assert "correct-horse-battery" in log, "the log itself is the user's own"


def test_the_tail_never_begins_within_a_secret(call, monkeypatch):
    monkeypatch.setenv("GB_TOKEN", "correct-horse-battery")
    assert call(jobs.stutter).failure.log_tail == ["end"]


@pytest.mark.parametrize("log", ["/dev/full", "/dev/null/log"])
def test_a_log_that_cannot_be_written_harms_nothing(call, log):
    assert call(jobs.speak, log_path=Path(log)).value == "spoken"
    assert "about to fail" in call(jobs.fail, "value", log_path=Path(log)).failure.log_tail


# Parents

CALL = """
    import sys
    from pathlib import Path
    from helpers import worker_jobs as jobs
    from greenbench.campaign.launch.local import Workers
    def call(workers, name, *args):
        function = getattr(jobs, name)
        return workers.call(
            function, *args, time_limit_s=600, log_path=None, on_progress=lambda progress: None
        )
    def main():
        with Workers(["helpers.worker_jobs"]) as workers:
            outcome = call(workers, *sys.argv[1:])
        print(outcome.value, outcome.failure)
"""
GUARD = """
    if __name__ == "__main__":
        sys.exit(main())
"""


@contextmanager
def parent(*command, code="", path=""):
    """A Python process with the tests and `path` to import from; killed in the end."""
    arguments = ["-c", textwrap.dedent(code)] if code else []
    child = subprocess.Popen(
        [sys.executable, *arguments, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{TESTS}{os.pathsep}{path}"},
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def test_parents_of_every_kind(tmp_path, monkeypatch):
    """A console script as pip writes it, a module run with -m, and a plain script."""
    package = tmp_path / "app"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "cli.py").write_text(textwrap.dedent(CALL))
    (package / "__main__.py").write_text("import sys\nfrom app.cli import main\nsys.exit(main())\n")
    script = f"import sys\nfrom app.cli import main\n{textwrap.dedent(GUARD)}"
    for name in ("app-script", "plain.py"):
        (tmp_path / name).write_text(script)
    monkeypatch.chdir(tmp_path)
    for command in (["app-script"], ["-m", "app"], ["plain.py"]):
        with parent(*command, "modules", "helpers.worker_jobs", path=tmp_path) as child:
            assert child.stdout.read() == "['helpers.worker_jobs'] None\n"


@pytest.mark.parametrize("job", ["hang", "hang_with_the_lock"])
def test_an_orphan_dies(tmp_path, job):
    with parent(job, tmp_path / "pids", code=CALL + GUARD) as child:
        pids = noted(tmp_path / "pids")
        assert not any(map(gone, pids))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        if job == "hang":  # out of reach: it left the worker's group, and nobody is left to look
            os.kill(pids.pop(2), signal.SIGKILL)
        until(lambda: all(map(gone, pids)))


def test_an_interrupt_stops_the_worker(tmp_path):
    with parent("hang", tmp_path / "pids", code=CALL + GUARD) as child:
        pids = noted(tmp_path / "pids")
        child.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in child.stdout.read()
        until(lambda: all(map(gone, pids)))


def test_a_preload_that_fails_is_a_user_error(tmp_path):
    (tmp_path / "broken_import.py").write_text("raise OSError('libcudart is missing')")
    code = """
        from greenbench.errors import UserError
        from greenbench.campaign.launch.local import Workers
        with Workers(["broken_import"]) as workers:
            try:
                workers.call(print, time_limit_s=60, log_path=None, on_progress=print)
            except UserError as error:
                print("UserError:", error)
    """
    with parent(code=code, path=tmp_path) as child:
        printed = child.stdout.read()
    assert "UserError: No worker process can be started" in printed
    assert "broken_import" in printed


def test_nothing_stays_behind():
    code = (
        CALL
        + """
    import psutil
    with Workers(["helpers.worker_jobs"]) as workers:
        workers.start()
        started = len(psutil.Process().children())
    left = [" ".join(child.cmdline()) for child in psutil.Process().children()]
    print(started, [command for command in left if "forkserver" in command])
    """
    )
    with parent(code=code) as child:
        assert child.stdout.read() == "2 []\n"


def test_torch_is_preloaded_without_cuda():
    code = """
        from helpers import worker_jobs as jobs
        from greenbench.campaign.launch.local import Workers
        with Workers(["torch"]) as workers:
            for job, args in ((jobs.modules, ["torch"]), (jobs.cuda_is_initialized, [])):
                outcome = workers.call(
                    job, *args, time_limit_s=60, log_path=None, on_progress=lambda progress: None
                )
                print(outcome.value)
    """
    with parent(code=code) as child:
        assert child.stdout.read() == "['torch']\nFalse\n"
