"""From overrides to records: compose, refuse what cannot be, run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenbench.campaign.catalog import faults, refuse_rivals
from greenbench.campaign.compose import plan
from greenbench.files import require_cache
from greenbench.plugins import answerable

if TYPE_CHECKING:
    from greenbench.schema.record import Record


def bench(
    overrides: Sequence[str], *, multirun: bool = False, config_dir: Path | None = None
) -> list[Record]:
    """Run all that `overrides` ask for, write the report, and return a record for each run.

    Raises UserError, one sentence, for a mistake; nothing has started then.
    """
    for fault in faults():
        print(f"greenbench: not used: {fault}", file=sys.stderr)
    with answerable():
        jobs = plan(overrides, multirun=multirun, config_dir=config_dir)
        require_cache()
        from greenbench.records.store import Store  # each costs time that a mistake need not
        from greenbench.run.preflight import refuse

        for job in jobs:
            refuse_rivals(job.overrides)
            refuse(job.spec)
        for results in dict.fromkeys(job.spec.results for job in jobs):
            Store(Path(results)).require_space()
    from greenbench.campaign.sweep import sweep

    return sweep(jobs)
