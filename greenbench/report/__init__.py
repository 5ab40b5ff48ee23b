"""The report: ``leaderboard.md`` and ``frontier.svg``, pure functions of the records."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

from greenbench.errors import UserError
from greenbench.impact import Assumptions, assumptions
from greenbench.records import Record
from greenbench.report import energy_label
from greenbench.report.crowd import Crowd, gather
from greenbench.report.figures import frontier_svg
from greenbench.report.leaderboard import leaderboard
from greenbench.report.rows import groups
from greenbench.store import Rejected, collector_paused

__all__ = ["rebuild", "write"]


def rebuild(paths: Sequence[Path], output: Path, given: Assumptions | None = None) -> list[Path]:
    """Write the report on all records of `paths` into `output`; return what was written.

    Of very many runs, the best of each group are shown, and the others counted. Raises UserError
    where it cannot be written.
    """
    with collector_paused():
        records, rejected, crowd = gather(paths)
        return write(output, records, rejected, given, crowd)


def write(
    results: Path,
    records: Sequence[Record],
    rejected: Sequence[Rejected],
    given: Assumptions | None = None,
    crowd: Crowd | None = None,
) -> list[Path]:
    """Write ``leaderboard.md`` and ``frontier.svg`` into `results`; return their paths.

    The same records and assumptions, in whatever order, give the same bytes. A reader sees the old
    file or the new one, never a part. Raises UserError where they cannot be written.
    """
    found = groups(records, crowd.beside if crowd else {})
    contents = {
        "leaderboard.md": leaderboard(
            found, records, rejected, given or assumptions(), crowd
        ).encode(),
        "frontier.svg": frontier_svg(found),
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
