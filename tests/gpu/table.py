"""A pytest plug-in: what tells most is tried first, and a table in markdown is written anew with each test.

So whatever cuts the tests, be it the end of this process, leaves what each has said: passed, failed, skipped,
did not end, or was not reached. A process that comes after another tries what that had not reached.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

WORTH = (
    "energy_counter_agrees",  # whether joules are true
    "every_technique_runs_on_cuda_or_says_why_not[none]",  # a whole run
    "reference_is_compiled_on_cuda",
    "two_compiled_models",
    "the_cuda_kernel", "sparse_kernel", "drafting_gives",  # moments each
    "cuda_graphs_are_built_once",
    "a_load_has_joules",
    "models_in_turn",
    "[int4_torchao]", "[gptq]", "[float8_torchao]", "[int8_torchao]", "[int8dyn_torchao]", "[int4_bnb]",
    "[compile]", "[speculative]", "[kv_quanto]", "[checkpoint]",
    "last_gpu", "joules_of_all_gpus",
    "setting_is_held",
    "vllm_serves", "hub_has_built",
    "stacks_run",
    "[early_exit]", "[self_speculative]", "[prune_depth]", "[prune_sparsegpt]", "[distill]", "[lora]",
)  # fmt: skip
"""Parts of tests' names, the most telling first; all others come after, as they stand."""
BAD = ("failed", "not ended", "not reached")
BAR = r"\|"


class Row(NamedTuple):
    """One test."""

    outcome: str = "not reached"
    seconds: float = 0.0
    why: str = ""


class Table:
    """What is known of each test by its node id, in the order in which they are tried."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._state = folder, folder / "state.json"
        kept = json.loads(self._state.read_text()) if self._state.exists() else {}
        self.rows = {name: Row(*row) for name, row in kept.items()}

    def put(self, **rows: Row) -> None:
        """Note them, and write all anew."""
        self.rows |= rows
        self._write(self._state, json.dumps(self.rows))
        self._write(self._folder / "table.md", "\n".join([*self.lines(), ""]))

    def lines(self) -> Iterator[str]:
        """The table, and above it what the tests ran on and how many said what."""
        device = self._folder / "device.txt"
        said = device.read_text().strip() if device.exists() else ""
        yield f"On {said or 'a device that did not answer'}:"
        yield ""
        counts = Counter(row.outcome for row in self.rows.values())
        yield (
            ", ".join(f"{many} {outcome}" for outcome, many in counts.items())
            or "nothing was reached"
        )
        yield ""
        yield "| test | outcome | s | why |"
        yield "|---|---|---|---|"
        for name, row in self.rows.items():
            cells = name.partition("::")[2] or name, row.outcome, f"{row.seconds:.0f}", row.why
            yield f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |"

    def _write(self, file: Path, text: str) -> None:
        """Whole or not at all."""
        partial = file.with_suffix(".partial")
        partial.write_text(text)
        os.replace(partial, file)


def by_worth(names: Sequence[str]) -> list[str]:
    """The most telling first."""
    return sorted(
        names,
        key=lambda name: next((n for n, part in enumerate(WORTH) if part in name), len(WORTH)),
    )


TABLE = Table(Path(os.environ.get("GPU_TABLE", "build/gpu")))


def pytest_collection_finish(session) -> None:
    """In order, without those that an earlier process has begun."""
    items = {item.nodeid: item for item in session.items}
    TABLE.put(**{name: TABLE.rows.get(name, Row()) for name in by_worth(list(items))})
    session.items[:] = [items[name] for name in by_worth(list(items)) if TABLE.rows[name] == Row()]


def pytest_collectreport(report) -> None:
    """A file that cannot be read has failed."""
    if report.failed:
        TABLE.put(
            **{report.nodeid: Row("failed", why=str(report.longrepr).splitlines()[-1].strip())}
        )


def pytest_runtest_logstart(nodeid) -> None:
    """As far as anybody knows until it ends."""
    TABLE.put(**{nodeid: Row("not ended", why="it hung, or all was cut")})


def pytest_runtest_logreport(report) -> None:
    """Of setup, call or teardown, the first that has not passed speaks for the test."""
    before = TABLE.rows[report.nodeid]
    seconds = before.seconds + report.duration
    if before.outcome in ("failed", "skipped"):
        row = before._replace(seconds=seconds)
    elif report.passed:
        row = Row("passed" if report.when == "teardown" else "not ended", seconds)
    else:
        row = Row(report.outcome, seconds, _first_line(report.longrepr))
    TABLE.put(**{report.nodeid: row})


def _first_line(said: object) -> str:
    """Of a failure's message, or of a skip's reason."""
    if isinstance(said, tuple):  # file, line, reason
        text = str(said[2]).removeprefix("Skipped").removeprefix(":").strip()
    else:
        crash = getattr(said, "reprcrash", None)
        text = crash.message if crash else str(said)
    return next((line.strip() for line in text.splitlines() if line.strip()), "")[:160]


def device() -> str:
    """The GPU with its driver, and the torch."""
    import torch

    if not torch.cuda.is_available():
        return f"no GPU, torch {torch.__version__}"
    import pynvml

    pynvml.nvmlInit()
    driver = pynvml.nvmlSystemGetDriverVersion()
    return f"{torch.cuda.get_device_name()}, driver {driver}, torch {torch.__version__}"


if __name__ == "__main__":
    if sys.argv[1:] == ["device"]:
        print(device())
    else:
        print("\n".join(TABLE.lines()))
        outcomes = {row.outcome for row in TABLE.rows.values()}
        sys.exit("passed" not in outcomes or not outcomes.isdisjoint(BAD))
