"""A server is started, watched, and gone whatever happens to it or to us: real processes, real signals."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from helpers.servers import alive, gone, none_marked, program

from greenbench.engines.engine import Request
from greenbench.engines.serving import journal, server
from greenbench.engines.serving.client import Client, Endpoint
from greenbench.engines.serving.server import started
from greenbench.errors import EngineFault

PROMPT = Request((1, 2), 4)


def quiet(*_):
    """Tells no one."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A journal of this test's own."""
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def log(tmp_path):
    return tmp_path / "run.fake-1.log"


def test_it_answers_while_the_block_lasts_and_is_gone_after(log):
    told = []
    with started(
        program(says="hello", children=2), log, lambda *each: told.append(each)
    ) as running:
        client = Client(Endpoint("fake", running.url))
        assert client.complete([PROMPT])[0].tokens == 4
        client.close()
        pids = running.pids()
        assert len(pids) == 3
        assert list(Path(os.environ["GREENBENCH_CACHE"]).glob("servers/*.json"))
    assert gone(pids, 0)
    assert "hello" in log.read_text()
    assert {(what, total) for what, _, total in told} == {("start fake", 20)}
    assert not list(Path(os.environ["GREENBENCH_CACHE"]).glob("servers/*.json"))


def test_an_error_in_the_block_ends_it(log):
    pids = set()

    def fail():
        with started(program(children=1), log, quiet) as running:
            pids.update(running.pids())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(pids) == 2
    assert gone(pids, 0)


FAULTS = {
    "exits": (
        {"exit": 3, "says": "ValueError: no such model"},
        r"exit code 3: ValueError: no such model\)",
    ),
    "is not ready": ({"not_ready_s": 60}, r"it was not ready after 1 s\)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_that_does_not_start_is_one_sentence(fault, log):
    script, said = FAULTS[fault]
    with (
        pytest.raises(
            EngineFault, match=rf"^The server of engine=fake did not start \({said}: see run\.fake"
        ),
        started(program(1.0 if "ready" in fault else 20.0, **script), log, quiet),
    ):
        pass


def test_a_program_that_is_not_there_is_one_sentence(log):
    lost = program()._replace(command=lambda port: ["/no/such/program", str(port)])
    with (
        pytest.raises(EngineFault, match=r"did not start .*No such file"),
        started(lost, log, quiet),
    ):
        pass


def test_memory_that_runs_out_is_told_as_such(log):
    short = program(exit=1, says="torch.OutOfMemoryError: CUDA out of memory.")
    with (
        pytest.raises(MemoryError, match=r"did not start \(exit code 1: torch"),
        started(short, log, quiet),
    ):
        pass


def test_a_port_that_is_taken_is_chosen_anew(log, monkeypatch):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken, free = holder.getsockname()[1], server.free_port()
        ports = iter([taken, free])
        monkeypatch.setattr(server, "free_port", lambda: next(ports))
        with started(program(), log, quiet) as running:
            assert running.port == free
        ports = iter([taken] * 3)
        with (
            pytest.raises(EngineFault, match=r"did not start .*[Aa]ddress already in use"),
            started(program(), log, quiet),
        ):
            pass


def test_anothers_answer_at_the_port_is_not_ours(log, monkeypatch):
    """The program never listens, and whoever does there says that all is well."""
    with started(program(), log, quiet) as other:
        monkeypatch.setattr(server, "free_port", lambda: other.port)
        deaf = program(1.0)._replace(
            command=lambda port: [sys.executable, "-c", "input()" * 0 or SLEEP]
        )
        with (
            pytest.raises(EngineFault, match="not ready after 1 s"),
            started(deaf, log.with_name("deaf.log"), quiet),
        ):
            pass


SLEEP = "import time; time.sleep(60)"


def test_one_that_dies_while_it_answers_says_how(log):
    with (
        pytest.raises(
            EngineFault,
            match=r"ended \(exit code 7: fatal error: out of luck\): see run\.fake-1\.log",
        ),
        started(program(fault="die"), log, quiet) as running,
    ):
        Client(Endpoint("fake", running.url, alive=running.require_alive)).complete([PROMPT])


def test_one_that_is_killed_is_told_as_out_of_memory(log):
    """As the kernel does; nobody else kills it."""
    with started(program(token_s=0.2), log, quiet) as running:
        os.kill(min(running.pids()), signal.SIGKILL)
        client = Client(Endpoint("fake", running.url, alive=running.require_alive))
        with pytest.raises(MemoryError, match=r"ended \(signal 9"):
            client.complete([PROMPT])
        client.close()


# The end of the run

RUN = """
import sys, time
from pathlib import Path
from helpers.servers import program
from greenbench.engines.serving.server import started
def say(*words): print(*words, flush=True)
kind = {sys.argv[3]: 1}
fake = program(**kind, not_ready_s=float(sys.argv[2]), says=sys.argv[1])
with started(fake, Path(sys.argv[1]), lambda *_: None) as running:
    say("ready", *running.pids())
    time.sleep(60)
"""


def family(pid):
    with suppress(psutil.Error):
        return {child.pid for child in psutil.Process(pid).children(recursive=True)}
    return set()


@pytest.fixture
def run(log):
    """Start a run that has a server; SIGKILL at the end."""
    begun = []

    def start(not_ready_s=0.0, kind="children"):
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(log), str(not_ready_s), kind],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_whatever_ends_the_run_ends_its_server(run, number):
    process = run()
    assert process.stdout.readline().startswith("ready")
    pids = family(process.pid)
    assert len(pids) == 3  # the keeper, the program, and its worker
    process.send_signal(number)
    process.wait(10)
    assert gone(pids)


@pytest.mark.parametrize("moment", range(10))
def test_killed_at_any_moment_of_a_start_nothing_is_left(run, log, moment):
    process = run(not_ready_s=0.3)
    seen = set()
    end_s = time.monotonic() + 0.15 * moment
    while time.monotonic() < end_s:
        seen |= family(process.pid)
        time.sleep(0.01)
    seen |= family(process.pid)
    process.kill()
    process.wait()
    assert gone(seen)
    assert none_marked(str(log))


def test_what_is_left_of_a_killed_keeper_is_ended_at_the_next_start(run, log):
    process = run()
    _, *pids = process.stdout.readline().split()
    (keeper,) = {child.pid for child in psutil.Process(process.pid).children()}
    started, worker = sorted(int(pid) for pid in pids)
    process.send_signal(signal.SIGSTOP)  # so that nothing of it can help
    os.kill(keeper, signal.SIGKILL)
    process.kill()
    process.wait()
    assert gone({started})  # it dies with its keeper; the worker heeds nothing
    assert alive({worker})
    assert journal.end_leftovers() == [worker]
    assert gone({worker})
    assert not list(Path(os.environ["GREENBENCH_CACHE"]).glob("servers/*.json"))


def test_what_a_killed_start_has_left_is_ended_at_the_next_one(run):
    """Its workers were never noted, and who started them is gone."""
    process = run(not_ready_s=60, kind="workers")
    end_s = time.monotonic() + 20
    while len(family(process.pid)) < 3 and time.monotonic() < end_s:
        time.sleep(0.02)
    keeper, started, worker = sorted(family(process.pid))
    process.send_signal(signal.SIGSTOP)
    os.kill(keeper, signal.SIGKILL)
    process.kill()
    process.wait()
    assert gone({keeper, started})
    assert alive({worker})
    assert journal.end_leftovers() == [worker]
    assert gone({worker})
    assert not list(Path(os.environ["GREENBENCH_CACHE"]).glob("servers/*.json"))


def test_a_session_that_has_the_number_of_a_servers_now_is_left_alone(log):
    """Another's program leads it, or it is of another boot."""
    with subprocess.Popen([sys.executable, "-c", SLEEP], start_new_session=True) as other:
        with started(program(), log, quiet):
            (note,) = Path(os.environ["GREENBENCH_CACHE"]).glob("servers/*.json")
            entry = json.loads(note.read_text())
        started_s = psutil.Process(other.pid).create_time()
        for wrong in ({"session": [other.pid, started_s - 5]}, {"world": "another"}):
            mine = {"owner": [2**22 - 1, 1.0], "session": [other.pid, started_s]}
            note.write_text(json.dumps(entry | mine | wrong))
            assert journal.end_leftovers() == []
            assert not note.exists()
        assert other.poll() is None
        other.kill()


def test_the_journal_kills_no_one_who_has_the_number_of_a_server_now(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", SLEEP])
    try:
        folder = tmp_path / "cache" / "servers"
        folder.mkdir(parents=True)
        started_s = psutil.Process(other.pid).create_time()
        entry = {
            "world": journal._world(),
            "owner": [2**22 - 1, 1.0],
            "server": [[other.pid, started_s - 5]],
            "session": None,
        }
        note = folder / f"{socket.gethostname()}-1.json"
        note.write_text(json.dumps(entry))
        (folder / f"{socket.gethostname()}-2.json").write_text("no json")
        assert journal.end_leftovers() == []
        assert other.poll() is None
        assert not list(folder.glob("*.json"))
    finally:
        other.kill()
        other.wait()


def test_servers_of_a_run_that_lives_are_left_alone(log):
    with started(program(), log, quiet) as running:
        assert journal.end_leftovers() == []
        running.require_alive()
