"""What is refused is looked at once before a run starts, and once in its own process."""

from collections import Counter

import pytest

from greenbench.machine.device_lock import device_lock

COUNTING = """
import os

import greenbench.meters.wall_log as wall_log
import greenbench.quality.tasks as tasks

def counted(name, function):
    def call(*args, **options):
        with open({path!r}, "a") as file:
            file.write(f"{{os.getpid()}} {{name}}\\n")
        return function(*args, **options)
    return call

tasks.check_tasks = counted("check_tasks", tasks.check_tasks)
wall_log.WallLog.__init__ = counted("WallLog", wall_log.WallLog.__init__)
"""
LOG = "timestamp,watts\n2026-01-31T13:05:00+01:00,5\n2026-01-31T13:05:01+01:00,5\n"


def test_a_run_is_looked_over_once_here_and_once_where_it_runs(bench, tmp_path):
    calls = tmp_path / "calls.txt"
    site = tmp_path / "counting"
    site.mkdir()
    (site / "sitecustomize.py").write_text(COUNTING.format(path=str(calls)))
    (tmp_path / "wall.csv").write_text(LOG)
    bench.environment["PYTHONPATH"] = f"{site}:{bench.environment['PYTHONPATH']}"
    process = bench.start("technique=none", f"meter.wall_log={tmp_path}/wall.csv")
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    made = Counter(tuple(line.split()) for line in calls.read_text().splitlines())
    parent = {name: count for (pid, name), count in made.items() if int(pid) == process.pid}
    assert parent == {"check_tasks": 1, "WallLog": 1}
    worker = {name: count for (pid, name), count in made.items() if int(pid) != process.pid}
    assert worker == {"check_tasks": 1, "WallLog": 1}


@pytest.fixture
def busy(bench, monkeypatch):
    """Another run has the device, and keeps it."""
    monkeypatch.setenv("GREENBENCH_CACHE", bench.environment["GREENBENCH_CACHE"])
    with device_lock(["cpu"], print):
        yield bench


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["engine=openai"], r"add engine.url=http://HOST:PORT"),
        (["technique=ngram"], "engine=transformers"),
        (["technique=q8_0"], "use engine=llama_cpp"),
        (["meter=zeus"], "meter.order=[zeus] does not answer here (Zeus "),
        (["meter.order=[rapl]"], "meter.order=[rapl] does not answer here ("),
    ],
)
def test_a_run_that_cannot_be_here_is_a_mistake_that_waits_for_no_other_run(busy, words, said):
    status, output = busy.run(*words)
    assert status == 2, output
    assert said in output
    assert "Another run" not in output
    assert busy.records() == []


def test_in_a_sweep_what_cannot_be_is_a_row_that_waits_for_no_other_run(busy):
    status, output = busy.run("--multirun", "technique=ngram,q8_0")
    assert status == 0, output
    assert "Another run" not in output
    assert [each["status"] for each in busy.records()] == ["unsupported"] * 2
    assert "use engine=llama_cpp" in (busy.results / "leaderboard.md").read_text()


def test_files_that_cannot_be_are_refused_before_a_job_begins(busy):
    status, output = busy.call("make", *busy.quick, "technique=q8_0", "-o", "made")
    assert status == 2, output
    assert "use engine=llama_cpp" in output
    assert "Another run" not in output
    assert "[1/1]" not in output
