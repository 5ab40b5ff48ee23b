"""How often the intervals of runs of one model against itself hold 1, by engine.

greenbench bench --multirun +experiments=aa-cpu
python benchmarks/same_twice.py [results]
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import median

from greenbench import api
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S, TTFT
from greenbench.schema.record import Record

METRICS = (TOKENS_PER_S, ENERGY_PER_TOKEN, TTFT)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("records", nargs="?", default="results", type=Path)
    by_engine: defaultdict[str, list[Record]] = defaultdict(list)
    for record in api.load(parser.parse_args().records):
        if record.status == "completed" and not record.techniques:
            by_engine[record.spec.engine.name].append(record)
    for engine, runs in sorted(by_engine.items()):
        for metric in METRICS:
            known = [
                found for run in runs if (found := run.ratios[metric.ratio].bounds) is not None
            ]
            held = sum(low <= 1 <= high for low, high in known)
            if known:
                half = median((high - low) / 2 for low, high in known)
                print(f"{engine}: {metric.ratio} {held} of {len(known)}, half width {half:.3f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
