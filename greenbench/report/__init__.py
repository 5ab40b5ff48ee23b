"""The report: ``leaderboard.md``, ``frontier.svg``, ``index.html``: pure functions of the records."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenbench.errors import UserError
from greenbench.impact import Assumptions, assumptions
from greenbench.records import Record
from greenbench.report import energy_label
from greenbench.report.figures import frontier_svg
from greenbench.report.leaderboard import leaderboard
from greenbench.report.page import page
from greenbench.report.rows import groups

if TYPE_CHECKING:
    from greenbench.store import Rejected

__all__ = ["write"]


def write(
    results: Path,
    records: Sequence[Record],
    rejected: Sequence[Rejected],
    given: Assumptions | None = None,
) -> list[Path]:
    """Write ``leaderboard.md``, ``frontier.svg`` and ``index.html`` into `results`; return their paths.

    The same records and assumptions, in whatever order, give the same bytes. A reader sees the old
    file or the new one, never a part. Raises UserError where they cannot be written.
    """
    found = groups(records)
    contents = {
        "leaderboard.md": leaderboard(found, records, rejected, given or assumptions()).encode(),
        "frontier.svg": frontier_svg(found),
        "index.html": page(found, records, rejected),
    }
    labelled = [row for group in found for row in group.rows if energy_label.label(row).letter]
    contents |= {energy_label.file_name(row): energy_label.svg(row).encode() for row in labelled}
    try:
        (results / "labels" if labelled else results).mkdir(parents=True, exist_ok=True)
        for stale in {*(results / "labels").glob("*.svg")} - {results / name for name in contents}:
            stale.unlink()
        return [_replace(results / name, content) for name, content in contents.items()]
    except OSError as error:
        raise UserError(
            f"The report cannot be written to {results} ({error.strerror}): "
            "free some space or choose another results directory."
        ) from error


def _replace(path: Path, content: bytes) -> Path:
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        partial.write_bytes(content)
        return partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
