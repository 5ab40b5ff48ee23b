"""``leaderboard.md``: the answer first, then one section per model, device and workload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from greenbench.analysis.energy.life_cycle import life_cycles, shown
from greenbench.analysis.groups.by_technique import by_technique
from greenbench.analysis.groups.comparable import told_apart
from greenbench.analysis.groups.orders import BANDS, band
from greenbench.analysis.groups.rows import FLAGGED, Group, Row, is_invalid
from greenbench.analysis.groups.selection import Crowd
from greenbench.analysis.impact import Assumptions
from greenbench.analysis.training.table import by_budget
from greenbench.report.figures import Sketch
from greenbench.report.figures.life_cycle import NAME as LIVES
from greenbench.report.figures.training import NAME as CURVES
from greenbench.report.markdown.bar import MIDDLE
from greenbench.report.markdown.choice import choose, overviews
from greenbench.report.markdown.format import code, folded, folds, prose, table, titled
from greenbench.report.markdown.headline import answer, model_bounds, noise_floor
from greenbench.report.markdown.host import host_lines
from greenbench.report.markdown.life_cycle import life_cycle
from greenbench.report.markdown.sections import appendix, headline_table, verdicts
from greenbench.report.markdown.sections.codes import counted
from greenbench.report.markdown.sections.cost_frontiers import other_frontiers
from greenbench.report.markdown.sections.difficulty import by_difficulty
from greenbench.report.markdown.sections.energy_by_meter import by_boundary
from greenbench.report.markdown.sections.figures import first, sections
from greenbench.report.markdown.sections.frontier import standing
from greenbench.report.markdown.sections.headline_table import (
    BETTER,
    KEPT,
    LOST,
    NOISE,
    OPEN,
    WORSE,
)
from greenbench.report.markdown.sections.impact import impacts
from greenbench.report.markdown.sections.load_curve import under_load
from greenbench.report.markdown.sections.quality import MARGIN, per_task
from greenbench.report.markdown.sections.selection import left_out, notice
from greenbench.report.markdown.sections.solved import per_solved
from greenbench.report.markdown.sections.uncertainty import budgets
from greenbench.report.markdown.sessions import between_sessions, in_sessions
from greenbench.report.markdown.shifting import by_hour
from greenbench.report.markdown.surer import numbered, surer_of_all
from greenbench.report.markdown.technique_page import technique_links
from greenbench.report.markdown.training import training
from greenbench.schema.codes import meaning
from greenbench.schema.metrics import (
    ENERGY_PER_TOKEN,
    TPOT,
)
from greenbench.schema.record import Record
from greenbench.wording import ESTIMATE, TIMES, TO, fixed, number

if TYPE_CHECKING:
    from greenbench.records.store import Rejected

HOW_TO_READ = (
    "- Brackets hold 95 % intervals; a letter in brackets refers to a reason under the table. A bar draws "
    f"the interval on a logarithmic scale, {MIDDLE} at 1{TIMES}. Of a run with one session the 95 % are that "
    "session's: what another day would show is not known (`sessions=3` measures it).",
    "- Ratios are candidate over baseline, measured side by side in one run: J/token below "
    f"1{TIMES} is less energy, tokens/s above 1{TIMES} is faster.",
    "- Quality is the share of items answered right over all accuracy tasks; its change is paired "
    "by item.",
    "- ≈ marks an estimate: not a measurement, and never ranked with one.",
    "- Energy is raw, idle included; above idle, the joules that the device draws while both models "
    "are loaded and nothing runs are taken off.",
    "- Verdicts hold over the whole table (Holm): **saves** and **costs** need the interval clear of "
    f"1{TIMES} and an effect over 2 %; equivalent, an equivalence test; else inconclusive. What is **shown** "
    "has the verdict saves; a hint has its own interval clear of 1, and may have no verdict or not that.",
    "- Energy labels A to G class the energy ratio (A to 0.40, B 0.55, C 0.70, D 0.85, E 1.02, F "
    "1.50, G above; scale version 1), measured and within 3 points of quality, or are withheld.",
    f"- {FLAGGED} marks a run that something disturbed, though not enough to leave it out.",
    "- ★ marks the frontier: no other run in the table is at least as good in quality and J/token "
    "ratio (J/solved ratio, where the answers of all runs were graded; tokens/s, where joules are not "
    "measured) and better in one of them, here and "
    "in half of the resampled blocks and items or more. The percentage is the share in which that holds.",
)
SYMBOLS = (
    f"Quality: {LOST} a loss is shown, {OPEN} a loss of over a point is not excluded, {KEPT} it is "
    f"excluded. Ratios: {BETTER} better, {WORSE} worse, {NOISE} within the noise or 2 %."
)
OVERVIEW = 7
"""Settings that the first table has."""
ALL_INVALID = "Every completed run is invalid: see Invalid runs for what disturbed them."
ONLY_TRAINED = "No model served here: the section Training compares the recipes."
EMPTY = (
    "There is no completed run yet. `make bench` runs the sweep for this machine and writes this "
    "file again; `greenbench doctor` says what can be measured here."
)


def leaderboard(
    groups: Sequence[Group],
    records: Sequence[Record],
    rejected: Sequence[Rejected],
    given: Assumptions,
    figures: Sequence[Sketch],
    crowd: Crowd | None = None,
    margin: float = MARGIN,
) -> str:
    """The whole document as markdown. `records` hold the runs without a result too.

    Quality is equivalent within `margin` points.
    """
    lines = [
        "# GreenBench: which technique to use",
        "",
        *(notice(crowd) if crowd else []),
        *_answers(groups, records),
        _counts(records, rejected),
        "",
    ]
    if groups:
        lines += [*folded("How to read it", HOW_TO_READ), "", *first(figures)]
    for index, group in enumerate(groups, start=1):
        lines += _section(index, group, margin, alone=len(groups) == 1)
    lines += titled("Each technique in all settings", technique_links(by_technique(groups)))
    lines += sections(groups, figures)
    lines += _lives(groups, records, figures, given.tokens_served)
    priced = [
        ("Of each run", impacts(groups, given)),
        ("Of a load that can wait", by_hour(groups, given)),
    ]
    lines += titled("Carbon, cost and water", folds(priced)[:-1])
    lines += left_out(crowd) if crowd else []
    lines += appendix.appendix(groups, records, rejected)
    return "\n".join(lines).rstrip() + "\n"


def _lives(
    groups: Sequence[Group],
    records: Sequence[Record],
    figures: Sequence[Sketch],
    tokens: float | None,
) -> list[str]:
    """What trainings take, and what they and preparations weigh beside serving."""
    budgets = by_budget(records)
    lives = shown(life_cycles(groups, budgets), tokens)
    named = {name: [s for s in figures if s.name == name] for name in (CURVES, LIVES)}
    return [
        *titled("Training", training(budgets, named[CURVES])),
        *titled("Before the first token, and after", life_cycle(lives, tokens, named[LIVES])),
    ]


def _counts(records: Sequence[Record], rejected: Sequence[Rejected]) -> str:
    by_status: Counter[str] = Counter(record.status for record in records)
    order = ("completed", "failed", "unsupported")
    parts = [f"{by_status[status]} {status}" for status in order if by_status[status]]
    invalid = sum(map(is_invalid, records))
    if invalid:
        parts[0] += f" ({invalid} of them invalid: see Invalid runs)"
    if rejected:
        parts.append(f"{len(rejected)} unreadable")
    return f"Runs: {', '.join(parts) or 'none'}."


def _answers(groups: Sequence[Group], records: Sequence[Record]) -> list[str]:
    """The first screen: what to choose, and how sure that is."""
    if not groups:
        if by_budget(records):
            return [ONLY_TRAINED, ""]
        return [ALL_INVALID if any(map(is_invalid, records)) else EMPTY, ""]
    shared, _ = told_apart([group.setting for group in groups])
    head = f"**{prose(', '.join(shared))}**" if shared else ""
    if len(groups) == 1:
        return [head, "", *choose(groups[0])]
    lines = [head, ""] if head else []
    lines += [line for found in overviews(groups[:OVERVIEW]) for line in [*table(*found), ""]]
    if len(groups) > OVERVIEW:
        lines += [f"{len(groups) - OVERVIEW} more settings have their tables below.", ""]
    lines += host_lines(groups[:OVERVIEW])
    return [*lines, *numbered(surer_of_all(groups[:OVERVIEW]))]


def _section(index: int, group: Group, margin: float, *, alone: bool) -> list[str]:
    setting, rows = group.setting, group.rows
    return [
        f"## {index}. {prose(setting.title)}",
        "",
        f"Tier {prose(setting.tier)}{in_sessions(rows, setting.tier)}. "
        f"Joules: {prose(setting.meter)}. Tasks: {prose(setting.tasks)}.",
        "",
        *([] if alone else choose(group)),
        f"**All {len(rows)} runs**",
        "",
        *table(rows, headline_table.headline(group), bands(rows)),
        "",
        SYMBOLS,
        "",
        *_model_note(group),
        *_flags(rows),
        *_noise(rows),
        "",
        *per_solved(rows),
        *under_load(rows),
        *folds(
            [
                ("The answer in words", [f"- {line}" for line in answer(group)]),
                ("The baseline", _baseline(rows)),
                ("The frontier, and how sure it is", standing(group)),
                ("Quality and energy", table(rows, headline_table.QUALITY_AND_ENERGY)),
                ("Latency and memory", table(rows, headline_table.latency_and_memory(group))),
                ("Energy by question difficulty", by_difficulty(rows)),
            ]
        ),
        *other_frontiers(rows),
        *verdicts.numbers_behind(rows),
        *by_boundary(rows),
        *between_sessions(rows, group.axis),
        *budgets(rows),
        *per_task(rows, margin),
    ]


def bands(rows: Sequence[Row]) -> dict[int, str]:
    """Where rows begin that lose more, as far as they are sorted by that."""
    found = [band(row) for row in rows]
    if found != sorted(found):
        return {}
    words = [f"*loses at most {most:g} point{'' if most == 1 else 's'}*" for most in BANDS]
    words += ["*loses more*", "*quality not known*"]
    begins = {each: found.index(each) for each in set(found)}
    return {at: words[each] for each, at in begins.items()} if len(begins) > 1 else {}


def _baseline(rows: Sequence[Row]) -> list[str]:
    """The baseline's own numbers over the runs: each run measured it again."""
    energies = [row.baseline.get(ENERGY_PER_TOKEN.name) for row in rows]
    values = [energy.value for energy in energies if energy and energy.value]
    mark = ESTIMATE if any(row.energy.is_estimate for row in rows) else ""
    qualities = [row.baseline_quality.value for row in rows]
    parts = [
        f"quality {_range(qualities)} %",
        f"{mark}{_range(values)} J/token",
        f"{_range([_milliseconds(row) for row in rows])} ms per output token (p50)",
    ]
    lines = [f"Baseline, measured again in each run: {', '.join(parts)}."]
    if values and max(values) > 1.02 * min(values):
        drift = fixed(100 * (max(values) / min(values) - 1), 1)
        lines.append(f"Its J/token moved by {drift} % between runs: across rows, compare ratios.")
    if bounds := model_bounds(rows):
        lines.append(f"The estimate's own bounds: true joules may be {bounds} times those shown.")
    return [" ".join(lines)]


def _milliseconds(row: Row) -> float | None:
    return TPOT.level(row.baseline).scaled(1e3, "ms").value


def _range(values: Iterable[float | None]) -> str:
    known = sorted({number(value): value for value in values if value is not None}.values())
    if not known:
        return "n/a"
    ends = [number(known[0]), number(known[-1])]
    return TO.join(ends if len(known) > 1 else ends[:1])


def _model_note(group: Group) -> list[str]:
    """What the model's configuration says its readers must know, under the rows it concerns."""
    notes = {
        row.record.model.note for row in group.rows if row.record.model and row.record.model.note
    }
    lines = [
        f"{headline_table.NOTED} {prose(group.setting.model)}: {prose(note)}."
        for note in sorted(notes)
    ]
    return [*lines, ""] if lines else []


def _flags(rows: Sequence[Row]) -> list[str]:
    """What disturbed the flagged runs: each code once, with the runs that have it."""
    runs: dict[str, list[str]] = {}
    for row in rows:
        for found, windows in counted(row.record).items() if row.flagged else ():
            runs.setdefault(found, []).append(f"{code(row.label)}{windows}")
    if not runs:
        return []
    lines = [
        f"- {code(found)}: {meaning(found)}. {len(names)} of {len(rows)} runs: {', '.join(names)}."
        for found, names in sorted(runs.items())
    ]
    flagged = sum(row.flagged for row in rows)
    return [*folded(f"{FLAGGED} What disturbed {flagged} of {len(rows)} runs", lines), ""]


def _noise(rows: Sequence[Row]) -> list[str]:
    floors = [noise_floor(row) for row in rows if row.is_baseline]
    missing = "there is no A/A run here; `technique=none` adds one."
    return [f"Noise floor: {' '.join(floors) or missing}"]
