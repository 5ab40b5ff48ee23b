"""GreenBench in Python: run, read, compare, advise, report, and meter code of your own.

    >>> import greenbench

`bench` runs what the command ``greenbench bench`` runs, with the same words, and gives the records.
The others read records, of which the examples here find some in ``results``. Odd ones that a list could
not be drawn from are in its `rejected`, each with the reason:

    >>> records = greenbench.load("results")
    >>> for group in greenbench.groups(records):
    ...     print(group.setting.model, [row.label for row in group.rows])
    smollm2-135m (bfloat16) ['saver', 'none']

Every number is a `Quantity`: value, unit, provenance, n, 95 % interval, and the reason for what is
missing.

    >>> from greenbench.schema.metrics import ENERGY_PER_TOKEN
    >>> saver = greenbench.groups(records)[0].rows[0]
    >>> ratio = saver.ratio(ENERGY_PER_TOKEN)
    >>> f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f}), {ratio.provenance}, n={ratio.n}"
    '0.70 (0.69 to 0.71), measured:counter:nvml, n=8'

A mistake is a `greenbench.errors.UserError`, one sentence that says what, why and what to do.
`ModelEdit`, `EngineOption`, `MachineSetting`, `AnswerSetting` (kinds of technique), `Engine` and `Meter` are
what to build on.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbench.arguments import maybe_path, part, path, several, texts, wrong
from greenbench.errors import UserError

if TYPE_CHECKING:
    from greenbench.analysis.choices.advice import Advice
    from greenbench.analysis.choices.change import Pairing
    from greenbench.analysis.choices.needs import Needs
    from greenbench.analysis.groups.rows import Group
    from greenbench.analysis.impact import Assumptions
    from greenbench.analysis.trust.guard import Analysed
    from greenbench.engines.engine import Engine
    from greenbench.measure.metered import Metered
    from greenbench.meters.meter import Meter
    from greenbench.records.store import Rejected
    from greenbench.run.make import Made
    from greenbench.schema.record import Record
    from greenbench.techniques import AnswerSetting, EngineOption, MachineSetting, ModelEdit

__all__ = [
    "AnswerSetting",
    "Engine",
    "EngineOption",
    "MachineSetting",
    "Meter",
    "ModelEdit",
    "Records",
    "advise",
    "bench",
    "compare",
    "groups",
    "load",
    "make",
    "metered",
    "report",
]

_KINDS = ("AnswerSetting", "EngineOption", "MachineSetting", "ModelEdit")
_BUILD_ON = {
    "Engine": "greenbench.engines.engine",
    "Meter": "greenbench.meters.meter",
} | dict.fromkeys(_KINDS, "greenbench.techniques.technique")


def __getattr__(name: str) -> Any:
    """What to build on, loaded when first asked for."""
    if name not in _BUILD_ON:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_BUILD_ON[name]), name)


class Records(list["Record"]):
    """Records, and in `rejected` the files that are none, each with the reason."""

    rejected: Sequence[Rejected] = ()


def bench(
    overrides: Iterable[str] = (),
    *,
    multirun: bool = False,
    config_dir: Path | str | None = None,
    shard: str = "1/1",
) -> list[Record]:
    """Run what the `overrides` of ``greenbench bench`` ask for; return a record for each run.

    What has a record already is not run again. Each run is a process of its own; one that fails
    leaves a record that says so. The report is written beside the records, to ``results=...``. With
    `multirun` every combination of the values given is run, or every fourth from the second by
    ``shard="2/4"``. Raises UserError for a mistake, before anything has started.

        >>> greenbench.bench(["technique=int8_bnb", "task.itmes=50"])
        Traceback (most recent call last):
        greenbench.errors.UserError: task.itmes is not a key of the configuration: allowed here are \
allow_code_execution, allow_task_code, answer_tokens, chat_template, fewshot, filter, include_path, items, \
metric, names, sampling, seed (did you mean items?).

    In a script it must stand under ``if __name__ == "__main__":``, as all that starts processes must.
    """
    from greenbench.campaign.bench import Asked, bench

    asked = texts("overrides", overrides, '["technique=int8_bnb"]')
    return bench(Asked(asked, multirun, maybe_path("config_dir", config_dir), shard))


def make(
    overrides: Iterable[str] = (), *, output: Path | str, config_dir: Path | str | None = None
) -> Made:
    """Leave in `output` the model that a run of the `overrides` would measure, as files to deploy.

    They are what `engine=` would be handed; `Made.checkpoint` is the hash of their content, which the
    record of a run has too. Raises UserError for a mistake, and for what leaves no files.

        >>> greenbench.make(["technique=gptq"], output=3)
        Traceback (most recent call last):
        greenbench.errors.UserError: output is of type int: give a text or a Path.
    """
    from greenbench.campaign.make import make

    asked = texts("overrides", overrides, '["technique=gptq"]')
    return make(asked, path("output", output), config_dir=maybe_path("config_dir", config_dir))


def load(*paths: Path | str) -> Records:
    """All records of results directories, directories of records and single files.

    What is no record, or is altered, is in `Records.rejected`. Raises UserError for a path that is not there.

        >>> records = greenbench.load("results")
        >>> [record.status for record in records], records.rejected
        (['completed', 'completed'], [])
    """
    from greenbench.analysis.trust import checked

    if not paths:
        raise UserError('load needs a path: give a results directory, as in load("results").')
    places = [path("a path", each) for each in paths]
    for place in places:
        if not place.exists():
            raise UserError(f"{place} does not exist: give a record or a results directory.")
    found, rejected = checked.load(places)
    records = Records(found)
    records.rejected = rejected
    return records


def groups(records: Iterable[Record]) -> Analysed[Group]:
    """Completed, valid runs in comparable groups, the most trustworthy and its surest runs first.

    >>> [group.setting.device for group in greenbench.groups(greenbench.load("results"))]
    ['Imaginary GPU (cuda)']
    """
    from greenbench.analysis.groups import rows
    from greenbench.analysis.trust.guard import analysed

    return analysed(_records("records", records), rows.groups)


def compare(a: Iterable[Record], b: Iterable[Record]) -> Analysed[Pairing]:
    """What changed from `a` to `b`, in runs that both hold; one run each is a pair whatever it is.

    Energy, time and bytes are ratios, below 1 where `b` needs less; quality is in points. Raises
    UserError where there is nothing to compare.

        >>> none, saver = sorted(greenbench.load("results"), key=lambda record: record.name)
        >>> (pair,) = greenbench.compare([none], [saver])
        >>> pair.name, [(change.metric, change.verdict) for change in pair.changes][:2]
        ('none -> saver', [('energy', 'saves'), ('time', 'inconclusive')])
    """
    from greenbench.analysis.choices import comparison
    from greenbench.analysis.trust.guard import of_both

    return of_both(_records("a", a), _records("b", b), comparison.pairings)


def advise(
    records: Iterable[Record],
    limits: Needs | Mapping[str, float] | None = None,
    *,
    impact: Assumptions | Iterable[str] = (),
    model: str = "",
    device: str = "",
) -> Analysed[Advice]:
    """Which run saves the most energy and is shown to keep `limits`, for each group.

    Limits are ``quality_loss`` (points of accuracy, 1 where not given), ``token_ms``, ``first_token_ms``,
    ``memory_gb``, and ``requests_per_day``, or a ``rate`` per second with ``ttft_ms`` and ``tpot_ms``.
    `impact` changes what is assumed of the surroundings (``["country=FRA", "pue=1.2"]``); `model` and
    `device` keep the groups whose name holds them. Raises UserError for what is no limit.

        >>> (advice,) = greenbench.advise(greenbench.load("results"), {"quality_loss": 5})
        >>> advice.answer, advice.best.row.label
        ('recommended', 'saver')
    """
    from greenbench.analysis.choices import advice
    from greenbench.analysis.impact import surroundings
    from greenbench.analysis.trust.guard import analysed

    chosen, wanted, given = _records("records", records), _needs(limits), surroundings(impact)
    names = {"model": part("model", model), "device": part("device", device)}
    return analysed(chosen, lambda kept: advice.advise(kept, wanted, given, **names))


def _needs(limits: Needs | Mapping[str, float] | None) -> Needs:
    from greenbench.analysis.choices.needs import Needs, needs
    from greenbench.schema.ranges import require_choice

    if isinstance(limits, Needs):
        return limits
    if not isinstance(limits, Mapping | None):
        raise wrong("limits", limits, 'limits by name, as in {"quality_loss": 1}')
    for name in limits or ():
        require_choice(name, "limit", Needs._fields)
    return needs({name: str(value) for name, value in (limits or {}).items()})


def _records(name: str, value: Iterable[Record]) -> list[Record]:
    from greenbench.schema.record import Record

    return several(name, value, Record, "a list of records, such as greenbench.load gives")


def report(
    paths: Path | str | Iterable[Path | str],
    output: Path | str | None = None,
    *,
    impact: Assumptions | Iterable[str] = (),
    margin: float = 1.0,
    sort: str = "question",
    pool_devices: bool = False,
    grid_by_hour: Path | str | None = None,
    tokens_served: float | None = None,
) -> list[Path]:
    """Write ``leaderboard.md``, ``index.html`` and the figures of results directories; return paths.

    To `output`, or to the results directory itself. Qualities within `margin` points are called
    equivalent; rows stand in the order `sort`; runs that differ in the device alone are one where it is
    asked for. By a CSV file `grid_by_hour` it says what waiting for the cleanest hours would save; of
    `tokens_served` what they take with all that was prepared or trained. Raises UserError where it cannot
    be written, or where there is no record.

        >>> from greenbench import api
        >>> [path.name for path in api.report("results", output="report")][:2]
        ['leaderboard.md', 'index.html']
    """
    from greenbench.analysis.impact import surroundings
    from greenbench.report import rebuild

    several = [paths] if isinstance(paths, Path | str) else paths
    if not isinstance(several, Iterable):
        raise wrong("paths", paths, "a results directory, or a list of some")
    folders = [path("a path", each) for each in several]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"{folder} is not a directory: give a bench's results, or run `greenbench bench` first."
            )
    if output is None and len(folders) != 1:
        raise UserError("There is not one results directory: say where the report goes, output=...")
    if not isinstance(margin, int | float) or not 0 < margin < 100:
        raise UserError(f"margin={margin} is no margin: give points above 0 and below 100.")
    place = folders[0] if output is None else path("output", output)
    given = surroundings(impact, maybe_path("grid_by_hour", grid_by_hour), tokens_served)
    return rebuild(folders, place, given, margin, sort, pool_devices=pool_devices)


def metered(meters: str | Sequence[str] = "auto") -> AbstractContextManager[Metered]:
    """Meter the block of code, whatever it does; its numbers are there when it has ended.

    `meters` are names as in ``meter.order``, tried in that order: nvml, rapl, zeus, estimate and those
    of plug-ins; "auto" takes what answers here, GPUs that CUDA would see first. The meters count the
    whole GPU and the whole CPU package, idle power included; the estimate, this process and its children.

        >>> with greenbench.metered() as window:
        ...     total = sum(range(1_000_000))
        >>> window.energy.unit, window.energy.value is not None or bool(window.energy.reason)
        ('J', True)
        >>> window.seconds > 0
        True

    Where no meter answers, ``window.energy.value`` is None and ``window.energy.reason`` says why.
    """
    from greenbench.measure import metered as windows

    return windows.metered(meters)
