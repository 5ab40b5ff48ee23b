"""Advice for a terminal, for markdown and for machines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from greenbench.analysis.choices.advice import Advice, Option
from greenbench.analysis.choices.limits import Check
from greenbench.analysis.choices.needs import Needs
from greenbench.analysis.energy.savings import Savings
from greenbench.analysis.impact import Assumptions
from greenbench.analysis.training.table import Budget
from greenbench.report.markdown.headline import no_joules
from greenbench.report.markdown.lines import Line, markdown_of, text_of
from greenbench.report.markdown.savings import amount, assumed, gains
from greenbench.report.markdown.training import advised, as_document
from greenbench.schema.metrics import TOKENS_PER_S
from greenbench.schema.quantity import said
from greenbench.wording import TIMES, plain

SHOWN = 5  # of a list that may be long
NOTHING = (
    "Not enough evidence: there is no completed run that is valid. Measure a sweep first, such as:"
)
ONLY_TRAINED = (
    "Not enough evidence of models that serve: all runs here trained. Measure a sweep, such as:"
)
FIRST = "greenbench bench --multirun +experiments=frontier-cpu"


def as_text(
    found: Sequence[Advice], wanted: Needs, given: Assumptions, budgets: Sequence[Budget] = ()
) -> str:
    """For a terminal; what trained, in `budgets`, comes last."""
    return text_of(_lines(found, wanted, given, budgets))


def as_markdown(
    found: Sequence[Advice], wanted: Needs, given: Assumptions, budgets: Sequence[Budget] = ()
) -> str:
    """For a page or a pull request."""
    return markdown_of(_lines(found, wanted, given, budgets))


def _lines(
    found: Sequence[Advice], wanted: Needs, given: Assumptions, budgets: Sequence[Budget]
) -> Iterator[Line]:
    if not found:
        yield Line("say", ONLY_TRAINED if budgets else NOTHING)
        yield Line("run", FIRST)
    for advice in found:
        yield from _advised(advice, wanted)
    if any(advice.best for advice in found):
        yield Line("say", assumed(given))
    yield from advised(budgets)


def _advised(advice: Advice, wanted: Needs) -> Iterator[Line]:
    yield Line("head", advice.group.setting.title)
    yield Line("say", f"{_verdict(advice)} You asked for: {asked(wanted)}.")
    if advice.best:
        yield from (Line("item", check.why) for check in advice.best.checks)
        yield from (Line("item", text) for text in gains(advice.best))
        yield Line("run", advice.best.row.record.command)
    yield from (Line("item", f"baseline: {check.why}") for check in _unmet(advice.baseline))
    beside = partial(_kept, advice.best)
    yield from _list("Runners-up, which keep every need too", advice.runners_up, beside)
    yield from _list("Not decided", advice.undecided, _open)
    yield from _list("Left out", advice.left_out, _broken)
    if advice.steps:
        yield Line("say", "To settle what is open:")
    for step in advice.steps:
        yield Line("item", step.why)
        yield Line("run", step.command)


def _verdict(advice: Advice) -> str:
    setting = advice.group.setting
    if advice.best:
        return (
            f"Recommended: {advice.best.row.label}. It saves the most energy of the runs that are "
            "shown to keep your needs."
        )
    if advice.answer == "keep the baseline":
        return (
            "Recommended: keep the baseline. No technique here saves energy and keeps your needs."
        )
    if advice.answer == "nothing fits":
        return "Nothing fits: every technique breaks one of your needs, and so does the baseline."
    why = ""
    if setting.source == "unavailable":
        why = f" {no_joules(advice.group.rows)}: speed, memory and quality are measured."
    elif not setting.measured:
        why = (
            " The joules are estimates, which follow CPU time: speed, memory and quality are "
            "measured, the joules are not."
        )
    elif not setting.claims:
        why = f" Tier {setting.tier} measures too briefly to rest anything on."
    return f"Not enough evidence to recommend a run.{why}"


def asked(wanted: Needs) -> str:
    """The needs in words."""
    limits = (
        (wanted.token_ms, "ms per output token (median)"),
        (wanted.first_token_ms, "ms to the first token (median)"),
        (wanted.memory_gb, "GB of memory"),
    )
    points = "point" if wanted.quality_loss == 1 else "points"
    parts = [f"at most {wanted.quality_loss:g} {points} of quality lost"]
    parts += [f"at most {value:g} {unit}" for value, unit in limits if value is not None]
    if wanted.requests_per_day is not None:
        parts.append(f"{wanted.requests_per_day:,.10g} requests a day")
    if wanted.rate is not None:
        soon = f" within {wanted.within}" if any(wanted.within) else ""
        parts.append(f"{wanted.rate:g} requests per second to one device{soon}")
    return ", ".join(parts)


def _unmet(checks: Sequence[Check]) -> list[Check]:
    return [check for check in checks if check.outcome != "kept"]


def _list(title: str, options: Sequence[Option], say: Callable[[Option], str]) -> Iterator[Line]:
    if options:
        yield Line("say", f"{title}:")
    for option in options[:SHOWN]:
        yield Line("item", f"{option.row.label}: {say(option)}")
    if len(options) > SHOWN:
        names = ", ".join(plain(option.row.label, 40) for option in options[SHOWN:])
        yield Line("item", f"and {len(options) - SHOWN} more: {names}")


def _kept(best: Option | None, option: Option) -> str:
    parts = [check.why for check in option.checks]
    parts += [f"saves {amount(option.saved.energy_kwh)}"] if option.saved else []
    mine, theirs = option.ratio.bounds, best.ratio.bounds if best else None
    if best and mine and theirs and mine[0] <= theirs[1]:
        parts.append(f"its energy is not told apart from that of {best.row.label}")
    return "; ".join(parts)


def _open(option: Option) -> str:
    """What speaks for it and what is open."""
    speed = said(option.row.ratio(TOKENS_PER_S), suffix=TIMES)
    kept = [check.why for check in option.checks if check.outcome == "kept"]
    return "; ".join(
        [f"speed {speed} the baseline's", *kept, *(check.why for check in option.unsure)]
    )


def _broken(option: Option) -> str:
    return "; ".join(check.why for check in option.broken)


def as_json(
    found: Sequence[Advice], wanted: Needs, given: Assumptions, budgets: Sequence[Budget] = ()
) -> str:
    """For machines."""
    document = {
        "asked": wanted._asdict(),
        "assumed": asdict(given) | {"grid": given.grid._asdict()},
        "groups": [_document(advice) for advice in found],
        "trainings": as_document(budgets),
    }
    return json.dumps(document, indent=1)


def _document(advice: Advice) -> dict[str, Any]:
    return {
        **advice.group.setting._asdict(),
        "answer": advice.answer,
        "recommended": _option(advice.best) if advice.best else None,
        "runners_up": [_option(option) for option in advice.runners_up],
        "not_decided": [_option(option) for option in advice.undecided],
        "left_out": [_option(option) for option in advice.left_out],
        "baseline": [_check(check) for check in advice.baseline],
        "to_settle": [step._asdict() for step in advice.steps],
    }


def _check(check: Check) -> dict[str, Any]:
    return {"what": check.what, "outcome": check.outcome, "why": check.why}


def _option(option: Option) -> dict[str, Any]:
    record, saved, days = option.row.record, option.saved, option.payback_days
    return {
        "name": option.row.label,
        "key": option.row.name,
        "command": record.command,
        "checks": [_check(check) for check in option.checks],
        "energy_per_request_ratio": option.ratio.model_dump(),
        "saved": saved and _savings(saved),
        "cases": {basis: _savings(each) for basis, each in option.cases.items()},
        "payback_days": days and days.model_dump(),
        "payback_days_by_case": {
            basis: each.model_dump() for basis, each in option.payback.items()
        },
    }


def _savings(saved: Savings) -> dict[str, Any]:
    known = {"basis": saved.basis, "requests": saved.requests}
    numbers = {name: each for name, each in saved._asdict().items() if name not in known}
    return known | {name: number.model_dump() for name, number in numbers.items()}
