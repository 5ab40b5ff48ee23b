"""What records say, in small answers: units in names, and numbers with interval, n and provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from greenbench import api
from greenbench.agents.trainings import trained
from greenbench.analysis.choices.advice import Advice, Option, advise, chosen
from greenbench.analysis.choices.change import Change, Pairing
from greenbench.analysis.choices.fleet import Demand, first_command, fleets
from greenbench.analysis.choices.needs import Needs, needs
from greenbench.analysis.choices.picks import Pick, choice, is_shown
from greenbench.analysis.choices.regression import checked, parse_limit
from greenbench.analysis.groups.rows import Group, Row, groups, is_invalid
from greenbench.analysis.groups.selection import gather
from greenbench.analysis.impact import assumptions
from greenbench.analysis.trust.checked import look
from greenbench.analysis.trust.guard import guarded
from greenbench.analysis.yardstick import Yardstick
from greenbench.errors import UserError
from greenbench.records.named import named
from greenbench.records.store import Rejected, require_records, told_apart
from greenbench.report.markdown import fleet
from greenbench.report.markdown.advice import FIRST, NOTHING
from greenbench.report.markdown.headline import answer
from greenbench.report.markdown.surer import surer
from greenbench.schema.metrics import ENERGY_PER_TOKEN, MODEL_BYTES, TOKENS_PER_S
from greenbench.schema.quantity import Quantity
from greenbench.schema.record import Record
from greenbench.stats.intervals import Interval
from greenbench.wording import plain

GROUPS, ROWS, SHOWN = 12, 25, 5
"""At most, of an answer's groups, the rows of each, and what did not win or has no result."""


def overview(folder: Path) -> dict[str, Any]:
    """The leaderboard's first screen, and its rows in short. Raises UserError where there is no record."""
    if not folder.exists():
        raise UserError(f"{folder} is not there yet: measure something into it first.")
    known, rejected, crowd = gather([folder])
    require_records([folder], known, rejected)

    def told(kept: list[Record]) -> dict[str, Any]:
        found, names = groups(kept, crowd.beside if crowd else {}), told_apart(kept)
        lost = [record for record in kept if record.failure is not None]
        return {
            "runs": dict(crowd.counts if crowd else Counter(map(_kind, kept))),
            "groups": [_group(group, names) for group in found[:GROUPS]],
            "groups_left_out": max(0, len(found) - GROUPS),
            "without_result": [_lost(record, names[id(record)]) for record in lost[:SHOWN]],
            **trained(kept),
        }

    return _guarded(known, rejected, told)


def records(folder: Path, key: str | None) -> list[Record]:
    """All records, or the one that results call so, or so at first. Raises UserError where none is."""
    if key is None:
        return api.load(folder)
    found = named(folder, key, look) if key else {}
    if len(found) != 1:
        whole = f"whole: {', '.join(list(found)[:SHOWN])}" if found else "whole"
        raise UserError(
            f"{len(found) or 'No'} records have a key that begins with {key!r}: give one that results "
            f"show, {whole}."
        )
    return [each.record for each in found.values()]


def one(folder: Path, key: str, raw: bool) -> dict[str, Any]:
    """A record; unless `raw`, its windows and items, most of it, are only counted. Raises UserError."""
    (record,) = records(folder, key)
    if raw:
        return record.model_dump(mode="json")
    items = {"__all__": {"items"}}
    told = record.model_dump(
        mode="json", exclude={"windows": True, "quality": items, "solved": items}
    )
    counts = {
        "windows": len(record.windows),
        "items": {score.task: len(score.items) for score in record.quality},
        "graded_items": {task.task: len(task.items) for task in record.solved},
    }
    return told | {"left_out": counts}


def advice(
    folder: Path, limits: Mapping[str, float], impact: Sequence[str], model: str, device: str
) -> dict[str, Any]:
    """Which run to choose in each group, and why not the others. Raises UserError."""
    known, rejected = _read(folder)
    wanted, given = _wanted(limits), assumptions(impact)

    def told(kept: list[Record]) -> dict[str, Any]:
        found = advise(kept, wanted, given, model=model, device=device)
        return {
            "limits": limits,
            "assumed": asdict(given),
            "groups": [_advised(each) for each in found[:GROUPS]],
            "groups_left_out": max(0, len(found) - GROUPS),
            "to_settle": [] if found else [{"why": NOTHING, "command": FIRST}],
            **trained(kept, model=model, device=device),
        }

    return _guarded(known, rejected, told)


def devices(
    folder: Path, limits: Mapping[str, float], impact: Sequence[str], model: str, device: str
) -> dict[str, Any]:
    """How many serve a rate, which is among the limits. Raises UserError."""
    wanted, given = _wanted(limits), assumptions(impact)
    known, rejected = _read(folder)
    demand = Demand(wanted.rate or 0.0, wanted.within)

    def told(kept: list[Record]) -> dict[str, Any]:
        found = chosen(kept, model=model, device=device)
        first = first_command(found, demand)
        return fleet.document(fleets(found, demand, given)[:GROUPS], demand, given, first)

    return _guarded(known, rejected, told)


def changes(
    before: Sequence[Record], after: Sequence[Record], limits: Sequence[str]
) -> dict[str, Any]:
    """What changed between runs, which `limits` on it are broken, and which cannot be judged. Raises
    UserError."""
    held = [parse_limit(text) for text in limits]
    pairs = api.compare(before, after)
    found = checked(pairs, held)
    return {
        "runs": [_pair(pair) for pair in pairs],
        "broken": list(found.broken),
        "unjudged": list(found.unjudged),
        **_not_used(pairs.rejected),
    }


def _read(folder: Path) -> tuple[list[Record], Sequence[Rejected]]:
    """None of a place that is not there yet: what to run first is an answer too."""
    known = api.load(folder) if folder.exists() else api.Records()
    return known, known.rejected


def _wanted(limits: Mapping[str, float]) -> Needs:
    return needs({name: str(most) for name, most in limits.items()})


def _guarded(
    known: Sequence[Record],
    rejected: Sequence[Rejected],
    tell: Callable[[list[Record]], dict[str, Any]],
) -> dict[str, Any]:
    """What it tells of the records that it does not fail on, and which are not used, with the reason."""
    found, failed = guarded(known, lambda kept, failed: (tell(kept), failed))
    return found | _not_used([*rejected, *failed])


def _not_used(rejected: Sequence[Rejected]) -> dict[str, Any]:
    first = [{"file": plain(name, 80), "why": plain(why)} for name, why in rejected[:SHOWN]]
    return {"files_not_used": len(rejected), "first_not_used": first}


def number(found: Quantity | Interval) -> dict[str, Any]:
    """Value, 95 % interval, and the reason for what is missing; the unit is in the name it is under."""
    parts = found.model_dump(exclude={"unit"}) if isinstance(found, Quantity) else found._asdict()
    reason = parts.pop("reason")
    return parts | ({"reason": reason} if reason else {})


def _kind(record: Record) -> str:
    return "invalid" if is_invalid(record) else record.status


def _lost(record: Record, name: str) -> dict[str, Any]:
    said = record.failure and record.failure.message
    return {"key": name, "name": record.name, "status": record.status, "why": said}


def _group(group: Group, names: Mapping[int, str]) -> dict[str, Any]:
    found = choice(group)
    return {
        **_place(group),
        "chosen_by": f"{found.yardstick.metric.ratio}_ratio",
        "choose": [_pick(pick, found.yardstick) for pick in found.picks],
        "worse": [row.label for row in found.worse[:ROWS]],
        "no_effect_shown": [row.label for row in found.same[:ROWS]],
        "answer": answer(group),
        "to_be_surer": surer(group),
        "rows": [_row(row, names) for row in group.rows[:ROWS]],
        "rows_left_out": max(0, len(group.rows) - ROWS),
    }


def _pick(pick: Pick, yardstick: Yardstick) -> dict[str, Any]:
    """The best run for who accepts such losses of quality."""
    return {
        "losing_at_most_points": ["any" if loss is None else loss for loss in pick.losses],
        "name": pick.row.label,
        "key": pick.row.name,
        "sure": "shown" if is_shown(pick.row, yardstick) else "hint",
        "more_loss_is_excluded": pick.within,
        "not_told_apart_from": [row.label for row in pick.rivals[:SHOWN]],
    }


def _place(group: Group) -> dict[str, str]:
    here = group.setting
    return {
        "model": here.model,
        "device": here.device,
        "engine": here.program,
        "workload": here.asked,
        "tasks": here.tasks,
        "tier": here.tier,
        "joules_from": here.meter,
    }


def _row(row: Row, names: Mapping[int, str]) -> dict[str, Any]:
    """A run's ratios to its own baseline, below 1 where it takes less; of several sessions, their mean's."""
    shown = dict.fromkeys((row.axis, ENERGY_PER_TOKEN, TOKENS_PER_S, MODEL_BYTES))
    return {
        "name": row.label,
        "key": row.name,
        **{f"{metric.ratio}_ratio": number(row.ratio(metric)) for metric in shown},
        "accuracy_percent": number(row.quality),
        "accuracy_change_points": number(row.change),
        "verdicts": {name: each.verdict for name, each in row.verdicts.items()},
        "frontier_probability": row.standing.probability if row.standing else None,
        "flags": row.record.codes if row.flagged else [],
        "sessions": [names[id(each)] for each in row.sessions[:SHOWN]],
    }


def _advised(found: Advice) -> dict[str, Any]:
    lists = {
        "runners_up": found.runners_up,
        "not_decided": found.undecided,
        "left_out": found.left_out,
    }
    return {
        **_place(found.group),
        "answer": found.answer,
        "recommended": _best(found.best) if found.best else None,
        **{name: [_option(option) for option in some[:SHOWN]] for name, some in lists.items()},
        "not_shown": {name: max(0, len(some) - SHOWN) for name, some in lists.items()},
        "to_settle": [step._asdict() for step in found.steps],
    }


def _best(option: Option) -> dict[str, Any]:
    saved, days = option.saved, option.payback_days
    return {
        **_option(option),
        "command": option.row.record.command,
        "saves": saved and {
            "basis": saved.basis,
            "requests": saved.requests,
            "baseline_kwh": number(saved.baseline_kwh),
            "energy_kwh": number(saved.energy_kwh),
            f"cost_{saved.cost.unit}": number(saved.cost),
            "carbon_kg_co2e": number(saved.carbon_kg),
        },
        "payback_days": days and number(days),
    }  # fmt: skip


def _option(option: Option) -> dict[str, Any]:
    return {
        "name": option.row.label,
        "key": option.row.name,
        "energy_ratio": number(option.ratio),
        "limits": [{"outcome": check.outcome, "why": check.why} for check in option.checks],
    }


def _pair(pair: Pairing) -> dict[str, Any]:
    return {
        "name": pair.name,
        "differs": pair.differs,
        **{_named(change): _change(change) for change in pair.changes},
    }


def _named(change: Change) -> str:
    return f"{change.metric}_{'points' if change.metric == 'quality' else 'ratio'}"


def _change(change: Change) -> dict[str, Any]:
    found = number(change.found) if change.found else {"value": None, "at_least": change.least}
    return {**found, "verdict": change.verdict, "why": change.why}
