"""The report: ``leaderboard.md``, ``index.html``, figures, a gallery: pure functions of the records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from greenbench.analysis.energy import energy_label
from greenbench.analysis.energy.life_cycle import life_cycles, shown
from greenbench.analysis.groups.by_technique import by_technique
from greenbench.analysis.groups.orders import ORDERS, QUESTION
from greenbench.analysis.groups.pooling import devices_pooled
from greenbench.analysis.groups.rows import groups
from greenbench.analysis.groups.selection import Crowd, gather
from greenbench.analysis.impact import Assumptions, assumptions
from greenbench.analysis.training.table import by_budget
from greenbench.analysis.trust.guard import guarded
from greenbench.errors import UserError
from greenbench.files import unwritable, write_together
from greenbench.records.store import Rejected, collector_paused, require_records
from greenbench.report.figures import sketches
from greenbench.report.figures.energy_label import file_name, svg
from greenbench.report.figures.life_cycle import life_cycle_curves
from greenbench.report.figures.technique_forest import technique_forest
from greenbench.report.figures.training import training_curves
from greenbench.report.markdown.leaderboard import leaderboard
from greenbench.report.markdown.sections.quality import MARGIN
from greenbench.report.markdown.technique_page import FOLDER, technique_page
from greenbench.report.page.page import page
from greenbench.schema.record import Record

__all__ = ["rebuild", "write"]


def rebuild(
    paths: Sequence[Path],
    output: Path,
    given: Assumptions | None = None,
    margin: float = MARGIN,
    sort: str = QUESTION,
    *,
    pool_devices: bool = False,
) -> list[Path]:
    """Write the report on all records of `paths` into `output`; return what was written.

    Of very many runs, the best of each group are shown, and the others counted. Raises UserError
    where it cannot be written, or is about nothing. Quality is called equivalent within `margin` points;
    rows stand in the order `sort`, of `ORDERS`. `pool_devices`: runs that differ in the device alone are
    sessions of one.
    """
    if sort not in ORDERS:
        raise UserError(f"There is no order {sort}: say one of {', '.join(ORDERS)}.")
    with collector_paused():
        records, rejected, crowd = gather(paths)
        require_records(paths, records, rejected)
        if pool_devices:
            records = devices_pooled(records)
        return write(output, records, rejected, given, crowd, margin, sort)


FOLDERS = (
    "figures",
    "labels",
    "loads",
    "traces",
    FOLDER,
)  # of pictures and pages, each there only while there is data


def write(
    results: Path,
    records: Sequence[Record],
    rejected: Sequence[Rejected],
    given: Assumptions | None = None,
    crowd: Crowd | None = None,
    margin: float = MARGIN,
    sort: str = QUESTION,
) -> list[Path]:
    """Write ``leaderboard.md``, ``index.html`` and the figures that the records give; return paths.

    The same records and assumptions, in whatever order, give the same bytes. A reader sees the old
    file or the new one, never a part, and no text before the pictures that it shows. A record on which it
    fails is listed, and the rest is written. Raises UserError where they cannot be written, with the old
    ones as they were.
    """
    surroundings = given or assumptions()

    def made(kept: Sequence[Record], failed: Sequence[Rejected]) -> dict[str, bytes]:
        return _contents(kept, sorted([*rejected, *failed]), surroundings, crowd, margin, sort)

    contents = guarded(records, made)
    try:
        for name in contents:
            (results / name).parent.mkdir(parents=True, exist_ok=True)
        write_together({results / name: content for name, content in contents.items()})
        kinds = ("*.svg", "*.md")
        drawn = {
            file for folder in FOLDERS for kind in kinds for file in (results / folder).glob(kind)
        }
        for stale in drawn - {results / name for name in contents}:
            stale.unlink()
    except OSError as error:
        raise unwritable(
            f"The report cannot be written to {results}", error, "choose another directory"
        ) from error
    return [results / name for name in contents]


def _contents(
    records: Sequence[Record],
    rejected: Sequence[Rejected],
    given: Assumptions,
    crowd: Crowd | None,
    margin: float,
    sort: str,
) -> dict[str, bytes]:
    """All files of the report by their names."""
    found = groups(records, crowd.beside if crowd else {}, sort)
    trained = by_budget(records)
    lives = shown(life_cycles(found, trained), given.tokens_served)
    figures = [
        *sketches(found, records),
        *training_curves(trained),
        *life_cycle_curves(lives, given.tokens_served),
    ]
    contents = {
        "leaderboard.md": leaderboard(
            found, records, rejected, given, figures, crowd, margin
        ).encode(),
        "index.html": page(found, records, rejected, given, crowd),
    }
    contents |= {sketch.name: sketch.draw() for sketch in figures}
    for each in by_technique(found):
        forest = technique_forest(each)
        contents |= {
            f"{FOLDER}/{each.stem}.md": technique_page(each, found).encode(),
            forest.name: forest.draw(),
        }
    labelled = [row for group in found for row in group.rows if energy_label.label(row).letter]
    return contents | {file_name(row): svg(row).encode() for row in labelled}
