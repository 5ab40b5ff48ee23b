"""``gallery/NAME.md``: where one technique pays, over all models, devices, engines and loads."""

from __future__ import annotations

from collections.abc import Sequence

from greenbench.analysis.groups.by_technique import Everywhere, Place
from greenbench.report.markdown.format import Column, Notes, code, prose, show, table
from greenbench.report.markdown.sections import verdicts
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S, Metric
from greenbench.wording import TIMES, TO, fixed

FOLDER = "gallery"
ORDER = ("saves", "costs", "equivalent", "inconclusive", "no claim")


def technique_page(found: Everywhere) -> str:
    """The whole page as markdown."""
    shared = [f"All: {prose(found.shared)}.", ""] if found.shared else []
    return "\n".join(
        [
            f"# {code(found.label)} in {len(found.places)} settings",
            "",
            *shared,
            f"On energy: {_counted(found, ENERGY_PER_TOKEN)}. On speed: {_counted(found, TOKENS_PER_S)}.",
            "",
            f"![{code(found.label)}: ratios with 95 % intervals]({found.stem}.svg)",
            "",
            *table(found.places, COLUMNS),
            "",
            "Ratios are candidate over baseline within a run, so that settings compare by them; what each "
            "verdict rests on is in [the leaderboard](../leaderboard.md). Settings are no sample: "
            "there is no mean over them.",
            "",
        ]
    )


def technique_links(found: Sequence[Everywhere]) -> list[str]:
    """A table with a link to each page; nothing where every technique was measured in one setting."""
    return table(found, LINKS) if found else []


def _counted(found: Everywhere, metric: Metric) -> str:
    counts = found.verdicts(metric)
    return ", ".join(f"{said} in {counts[said]}" for said in ORDER if said in counts)


def _verdict(place: Place, notes: Notes, metric: Metric) -> str:
    return verdicts.cell(place.row, metric.ratio, notes)


def _sessions(place: Place, _: Notes) -> str:
    if len(place.row.sessions) < 2:
        return "1"
    pool = place.row.pools.get(ENERGY_PER_TOKEN.ratio) or place.row.pools.get(TOKENS_PER_S.ratio)
    ahead = pool.next if pool else None
    said = f"{TO.join(fixed(end, 2) for end in ahead)}{TIMES}" if ahead else "not known"
    return f"{len(place.row.sessions)}, the next one {said}"


COLUMNS: list[Column[Place]] = [
    Column("setting", lambda place, _: prose(place.where)),
    Column(
        "J/token ratio",
        lambda place, notes: show(place.row.ratio(ENERGY_PER_TOKEN), notes, suffix=TIMES),
    ),
    Column("verdict on energy", lambda place, notes: _verdict(place, notes, ENERGY_PER_TOKEN)),
    Column(
        "tokens/s ratio",
        lambda place, notes: show(place.row.ratio(TOKENS_PER_S), notes, suffix=TIMES),
    ),
    Column("verdict on speed", lambda place, notes: _verdict(place, notes, TOKENS_PER_S)),
    Column(
        "quality change, points",
        lambda place, notes: show(place.row.change, notes, change=True, decimals=1),
    ),
    Column("sessions", _sessions),
]
LINKS: list[Column[Everywhere]] = [
    Column("technique", lambda found, _: f"[{code(found.label)}]({FOLDER}/{found.stem}.md)"),
    Column("settings", lambda found, _: str(len(found.places))),
    Column("on energy", lambda found, _: _counted(found, ENERGY_PER_TOKEN)),
    Column("on speed", lambda found, _: _counted(found, TOKENS_PER_S)),
]
