"""A run from Python is the run of the command: the same records, the same refusals."""

import subprocess
import sys

SCRIPT = """
import greenbench

if __name__ == "__main__":
    words = {quick!r}
    first = greenbench.bench([*words, "technique=none,outside"], multirun=True)
    again = greenbench.bench([*words, "technique=outside", "technique.outside.fail=raise"])
    print([(record.name, record.status) for record in first + again])
    loaded = greenbench.load("results")
    by_key = [sorted((r.key, r.status) for r in records) for records in (loaded, first + again)]
    print(by_key[0] == by_key[1])
    print(greenbench.groups(first)[0].setting.model)
    try:
        greenbench.bench([*words, "technique=none", "task.names=[nope]"])
    except greenbench.errors.UserError as error:
        print(error)
"""


def test_bench_gives_the_records_that_it_leaves(bench):
    script = bench.directory / "mine.py"
    script.write_text(SCRIPT.format(quick=bench.quick))
    done = subprocess.run(
        [sys.executable, script],
        cwd=bench.directory, env=bench.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ran, same, model, mistake = done.stdout.splitlines()
    assert ran == (
        "[('none', 'completed'), ('outside', 'completed'), ('outside(fail=raise)', 'failed')]"
    )
    assert (same, mistake.partition(" ")[0]) == ("True", "task.names=nope")
    assert model.startswith("tiny-llama")
    assert "wrote results/leaderboard.md" in done.stderr
