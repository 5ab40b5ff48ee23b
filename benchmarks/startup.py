"""How long GreenBench takes to answer where it has nothing to measure: a help, a typo, an import.

    python benchmarks/startup.py [ROUNDS]

Each case is a process of its own. The rounds are interleaved, so that a busy machine slows all cases
alike, and each case is told as a ratio to ``python -c pass`` of the same round: its median, and the
quartiles beside it. Seconds are those of this machine; the goals are in seconds too, as people wait.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

ROUNDS = 9


class Case(NamedTuple):
    """What is called, and in how many seconds it should be done."""

    name: str
    arguments: tuple[str, ...]
    goal_s: float | None = None
    status: int = 0


def command(*words: str) -> tuple[str, ...]:
    """The arguments of ``python`` for a command of GreenBench."""
    return ("-m", "greenbench", *words)


NOTHING = Case("python -c pass", ("-c", "pass"))
CASES = (
    NOTHING,
    Case("import greenbench", ("-c", "import greenbench"), 0.2),
    Case("greenbench --help", command("--help"), 0.5),
    Case("greenbench bench --help", command("bench", "--help")),
    Case("a misspelt technique", command("bench", "technique=int8_bmb"), 1.5, 2),
    Case("a misspelt model", command("bench", "model=smolm"), 1.5, 2),
    Case("a misspelt task", command("bench", "task=cor"), 1.5, 2),
    Case("a misspelt key", command("bench", "technique=int8_bnb", "sed=1"), 1.5, 2),
    Case("a value out of range", command("bench", "protocol.blocks=0"), 1.5, 2),
    Case("bench technique=none --cfg", command("bench", "technique=none", "--cfg")),
)


def seconds(case: Case) -> float:
    """Wall time of one process. Raises RuntimeError where it ends otherwise than it should."""
    start_s = time.perf_counter()
    done = subprocess.run([sys.executable, *case.arguments], capture_output=True, check=False)
    taken_s = time.perf_counter() - start_s
    if done.returncode != case.status:
        raise RuntimeError(f"{case.name} ended with {done.returncode}: {done.stderr.decode()}")
    return taken_s


def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds of each case, round by round; the round before the first fills the caches."""
    taken: dict[str, list[float]] = {case.name: [] for case in CASES}
    for number in range(rounds + 1):
        for case in CASES:
            taken_s = seconds(case)
            if number:
                taken[case.name].append(taken_s)
    return taken


def table(taken: dict[str, list[float]]) -> str:
    """The cases as a table in markdown."""
    lines = [
        "| what | × `python -c pass` (quartiles) | seconds | goal | met |",
        "|---|---|---|---|---|",
    ]
    for case in CASES:
        ratios = [s / p for s, p in zip(taken[case.name], taken[NOTHING.name], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        median_s = statistics.median(taken[case.name])
        goal = f"< {case.goal_s:g} s" if case.goal_s else ""
        met = "" if case.goal_s is None else "yes" if median_s < case.goal_s else "no"
        lines.append(
            f"| {case.name} | {middle:.1f} ({low:.1f}–{high:.1f}) | {median_s:.2f} | {goal} | {met} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rounds", nargs="?", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    print(f"Python {platform.python_version()}, {rounds} rounds, medians:\n")
    print(table(measure(rounds)))


if __name__ == "__main__":
    main()
