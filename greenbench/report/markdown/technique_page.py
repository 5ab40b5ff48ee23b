"""``gallery/NAME.md``: where one technique pays, over all models, devices, engines and loads."""

from __future__ import annotations

from collections.abc import Sequence

from greenbench.analysis.groups.by_technique import Everywhere, Place
from greenbench.analysis.groups.predicted import METRICS, Elsewhere, Transfer, transfer
from greenbench.analysis.groups.rows import Group
from greenbench.report.markdown.format import Column, Notes, code, prose, show, table, titled
from greenbench.report.markdown.sections import verdicts
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S, Metric
from greenbench.stats.intervals import Interval
from greenbench.wording import TIMES, TO, fixed

FOLDER = "gallery"
PREDICTED = (
    "**Not measured.** A hierarchical model of the ratios above over devices, requests at once, bytes of the "
    "model and the baseline's share of the roofline, for devices that have records, and none of this "
    "technique. An interval holds the ratio that would be measured in 95 of 100 cases. Nothing predicted is "
    "in any other table, figure or answer."
)
ORDER = ("saves", "costs", "equivalent", "inconclusive", "no claim")


def technique_page(found: Everywhere, groups: Sequence[Group]) -> str:
    """The whole page as markdown; `groups` are all, also those in which it was not measured."""
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
            *_predicted(transfer(found, groups)),
        ]
    )


def _predicted(found: Transfer | None) -> list[str]:
    """For devices without a record of it; empty where there is none."""
    if found is None:
        return []
    lines = [PREDICTED, ""]
    for metric in METRICS:
        if coverage := found.coverage.get(metric):
            lines.append(
                f"- {metric.unit}: of {coverage.of} measured ratios {coverage.held} lay within the interval "
                "that the other devices predict, each device left out in turn."
            )
        if why := found.withheld.get(metric):
            lines.append(f"- {metric.unit}: **nothing is predicted**; {why}.")
    shown = [metric for metric in METRICS if found.places and metric not in found.withheld]
    columns = [Column[Elsewhere]("setting", lambda place, _: prose(place.where))]
    columns += [
        Column(
            f"{metric.unit} ratio, predicted",
            lambda place, _, metric=metric: _shown(place.ratios[metric]),  # type: ignore[misc]
        )
        for metric in shown
    ]
    told = table(found.places, columns) if shown else []
    return titled("Predicted where it was not measured", [*lines, *([""] if told else []), *told])


def _shown(ratio: Interval) -> str:
    low, high = (fixed(end or 0.0, 2) for end in (ratio.low, ratio.high))
    return f"{fixed(ratio.value, 2)}{TIMES} ({low} to {high}) `predicted`"


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
