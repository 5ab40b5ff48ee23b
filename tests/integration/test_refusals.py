"""What is refused is looked at once before a run starts, and once in its own process."""

from collections import Counter

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
