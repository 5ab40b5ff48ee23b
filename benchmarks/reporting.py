"""How long `greenbench report` takes, and how much memory, on generated records.

    python benchmarks/reporting.py [--runs 100 10000]

The first reading of a record holds it against its own windows, and what came of that is kept in the
cache: that report and the next are timed. The records are invented, but of real size: windows with the
time of every request, two meters, five tasks of 25 to 100 items, sampled power of a GPU in some; several
models, devices, workloads and techniques; some runs failed or invalid, some files malformed, copied or of
a newer version. The goals, of one process on one core, once the records are known: 100 in 2 s, 10,000 in
15 s and 1 GiB.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from helpers import campaign, examples  # noqa: E402
from helpers.sound import sound  # noqa: E402

from greenbench.analysis.energy.energy_label import BANDS  # noqa: E402
from greenbench.campaign.identity import run_key  # noqa: E402
from greenbench.records.store import canonical, sealed  # noqa: E402
from greenbench.schema.record import Record  # noqa: E402
from greenbench.schema.resolved import ResolvedSpec  # noqa: E402
from greenbench.schema.window import Trace, Window  # noqa: E402

GOALS = {100: (2.0, None), 10_000: (15.0, 1024.0)}
"""By number of records: seconds and MiB."""
MODELS, DEVICES, BATCHES = 2, 4, (1, 8, 32)
TECHNIQUES = 20
ITEMS = (25, 50, 100)
METERS = campaign.NVML | campaign.NVML_POWER
ESTIMATE = {"estimate": ("cpu_package", "estimated:model", 1.0)}


KEY = re.compile(r'"key": "[0-9a-f]{16}"')


class Template(NamedTuple):
    """A record as text, and its spec."""

    text: str
    spec: ResolvedSpec


class Cost(NamedTuple):
    """What one report took."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def main() -> int:
    """Generate, report and print; the exit status is 0 whatever it takes, as a busy machine is slow."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, nargs="+", default=sorted(GOALS))
    arguments = parser.parse_args()
    templates = list(_templates())
    print(f"{'records':>8} {'MB':>6} {'':>6} {'wall, s':>8} {'CPU, s':>8} {'peak, MiB':>10}  goal")
    for count in arguments.runs:
        with tempfile.TemporaryDirectory() as work:
            size = _fill(Path(work), templates, count)
            seconds, mib = GOALS.get(count, (None, None))
            goal = f"{seconds or 'no'} s, {mib or 'no'} MiB"
            for which, said in (("first", "none"), ("next", goal)):
                cost = _report(Path(work))
                print(f"{count:8} {size / 1e6:6.0f} {which:>6} {cost.wall_s:8.1f} {cost.cpu_s:8.1f} "
                      f"{cost.peak_mib:10.0f}  {said}", flush=True)  # fmt: skip
    return 0


def _templates() -> Iterator[Template]:
    """Records as text, each with a place for its key and seed."""
    draw = random.Random(0)
    for model in range(MODELS):
        for device in range(DEVICES):
            for batch in BATCHES:
                for technique in range(TECHNIQUES):
                    record = _record(draw, model, device, batch, technique)
                    yield Template(canonical(record).decode(), record.spec)


def _record(draw: random.Random, model: int, device: int, batch: int, technique: int) -> Record:
    name = "none" if technique == 0 else f"technique_{technique:02}"
    changes: dict[str, Any] = {
        "model": {"name": f"model-{model}"},
        "device": {"kind": "cuda" if device else "cpu", "name": f"Imaginary device {device}"},
        "workload": {"batch_size": batch},
    }
    spec = examples.spec(name, **changes)
    if technique == TECHNIQUES - 1:
        return examples.failed(name, spec=spec)
    items = ITEMS[(model + technique) % len(ITEMS)]
    record = campaign.run(
        name,
        1.0 if technique == 0 else draw.uniform(0.3, BANDS[-1][1]),
        spread=draw.uniform(0.002, 0.05),
        meters=METERS if device else ESTIMATE,
        validity="invalid" if technique == TECHNIQUES - 2 else "valid",
        codes=["throttled"] if technique == TECHNIQUES - 2 else [],
        quality=[
            examples.score(task, draw.randint(0, 3), draw.randint(0, 6), n=items, right=items // 2)
            for task in ("arc_easy", "sciq", "piqa", "sst2", "hellaswag")
        ],
        spec=spec,
    )
    windows = [_longer(window, draw, traced=device > 1) for window in record.windows]
    return sound(record.model_copy(update={"windows": windows}))


def _longer(window: Window, draw: random.Random, *, traced: bool) -> Window:
    """With the time of each of some thirty requests, and a trace of the GPU."""
    count = 30
    seconds = (window.end_s - window.start_s) / count
    times = [seconds * draw.uniform(0.97, 1.03) for _ in range(count)] if window.iterations else []
    points = 20
    trace = Trace(
        step_s=0.5,
        power_w=[round(draw.uniform(250, 350), 1) for _ in range(points)],
        temperature_c=[draw.randint(50, 70) for _ in range(points)],
        sm_mhz=[1980] * points,
        mem_mhz=[2619] * points,
        throttle=[0] * points,
        utilization=[100] * points,
    )
    return window.model_copy(update={"iteration_s": times, "trace": trace if traced else None})


def _fill(results: Path, templates: list[Template], count: int) -> int:
    """Write `count` files; return their bytes."""
    folder = results / "records"
    folder.mkdir()
    for index in range(count):
        text, spec = templates[index % len(templates)]
        key = run_key(spec.model_copy(update={"seed": index}))
        text = KEY.sub(f'"key": "{key}"', text, count=1)
        text = text.replace('\n  "seed": 0', f'\n  "seed": {index}', 1)
        (folder / f"{key}.json").write_text(_spoiled(resealed(text), index))
    return sum(file.stat().st_size for file in folder.iterdir())


def resealed(text: str) -> str:
    """The record with the hash of what it says by now."""
    return json.dumps(sealed(json.loads(text)), sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def _spoiled(text: str, index: int) -> str:
    """Every so often a file that is no record."""
    if index % 500 == 7:
        return text[: len(text) // 2]
    if index % 500 == 8:
        return text.replace('"schema_version": 2', '"schema_version": 99')
    return text


def _report(results: Path) -> Cost:
    """One `greenbench report` in a process of its own."""
    started_s = time.monotonic()
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "greenbench", "report", str(results), "-o", str(results / "out")],
        os.environ | {"GREENBENCH_CACHE": str(results / "cache")},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(child, 0)
    wall_s = time.monotonic() - started_s
    if status:
        raise SystemExit(f"greenbench report failed on {results}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, _mib(usage))


def _mib(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


if __name__ == "__main__":
    sys.exit(main())
