"""A race to the best stack of techniques under limits, by runs that are ordinary records.

A round is a session of a run, of as many blocks as its protocol has at least. Where an answer hangs on
quality, a session of one candidate asks it more items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, exp, inf, isfinite, log
from statistics import fmean
from typing import Final, NamedTuple

import numpy as np

from greenbench.analysis.accuracy import about
from greenbench.analysis.blocks import block_ratios
from greenbench.analysis.choices.limits import MOST_ITEMS, POWER
from greenbench.analysis.choices.needs import Needs
from greenbench.analysis.groups.rows import Row, groups
from greenbench.analysis.readings import joules
from greenbench.campaign.closing import drawn
from greenbench.campaign.compose import Job
from greenbench.campaign.invocation import Where
from greenbench.campaign.search.field import Field, gpus_of
from greenbench.campaign.search.rounds import (
    LATENCIES,
    LEAST_BLOCKS,
    no_latency,
    over,
    read,
    why_not,
)
from greenbench.campaign.search.spending import Budget, Cost, Outlook, Ran
from greenbench.errors import Unsupported, UserError
from greenbench.meters import open_meters
from greenbench.quality.tasks.lookup import items_of
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S, Metric
from greenbench.schema.record import Record
from greenbench.stats.contenders import Entry, Round
from greenbench.stats.elimination import Race, Spoilt
from greenbench.stats.items import items_to_tell, p_noninferiority
from greenbench.wording import duration, number

Ask = Callable[[Sequence[str]], Sequence[Record]]
"""Runs what the overrides ask for."""
Say = Callable[[str], None]
ANY_LOSS: Final = 100.0
"""Points: who may lose so many may lose all."""


class Found(NamedTuple):
    """What a race has shown."""

    race: Race
    field: Field
    metric: Metric
    """By which it went: joules per token, or speed where those are estimates."""
    cost: Cost
    tokens: float | None
    """After how many the winner has saved what the race's windows took, in joules; null: it saves none that
    were measured."""
    per_request: int


def race(field: Field, ask: Ask, wanted: Needs, most: Budget | None, say: Say) -> Found:
    """Run until one is surely within 2 % of the best that keeps the limits, or the budget is spent.

    Raises UserError where no candidate can be measured.
    """
    jobs = list(field.jobs.values())
    for job in jobs:
        if (blocks := job.spec.protocol.blocks) < LEAST_BLOCKS:
            raise UserError(
                f"protocol.blocks={blocks} shows nothing of how blocks differ: say {LEAST_BLOCKS} or more."
            )
    here = jobs[0].spec.launcher.where is Where.local
    if most is not None and most.unit == "J" and here:
        _require_joules(most, jobs[0])  # elsewhere it shows with the first run
    running = _Running(field, ask, wanted, most, say)
    running.race.run()
    board = running.race.board
    if running.metric is None or all(board.mean(each) is None for each in board.rounds):
        why = next(iter(running.race.failed.values()), "there is none")
        raise UserError(f"No candidate could be measured: {why}")
    per_request = jobs[0].spec.workload.output_tokens
    return Found(running.race, field, running.metric, running.cost, running.tokens(), per_request)


def _require_joules(most: Budget, job: Job) -> None:
    """Raise UserError, before anything runs, where nothing here counts joules."""
    with open_meters(job.spec.meter, gpus_of(job.spec.device)) as opened:
        meter = opened.primary
        if meter is None or meter.provenance == "estimated:model":
            raise _no_joules(most, "are estimated" if meter else "are not counted")


def _no_joules(most: Budget, how: str) -> UserError:
    return UserError(
        f"--budget {most} counts joules, which {how} here: say how long it may take, as --budget 2h."
    )


class _Running:
    """A race's runs, and what they cost."""

    def __init__(
        self, field: Field, ask: Ask, wanted: Needs, most: Budget | None, say: Say
    ) -> None:
        self._field, self._ask, self._wanted, self._most, self._say = field, ask, wanted, most, say
        self.race = Race(field.entries, self._measured, field.stacked, self._afford)
        self.metric: Metric | None = None
        self.cost = Cost()
        self._runs = 0
        self._outlook = Outlook()
        self._items: dict[Entry, dict[tuple[str, int], tuple[float, float, str]]] = {}
        self._most_items: dict[Entry, float] = {}
        """That it was asked of each task in one run; infinite: all."""
        self._next_items: dict[Entry, int] = {}
        """Of each task; 0: all."""
        self._plain_j: dict[Entry, list[float]] = {}
        """By candidate, the baseline's joules per token in its runs."""

    def tokens(self) -> float | None:
        """After how many the race has paid back."""
        best = self.race.board.best
        if best is None or self.metric is not ENERGY_PER_TOKEN or not self._plain_j.get(best):
            return None
        saved_j = fmean(self._plain_j[best]) * (1 - exp(self.race.board.mean(best) or 0.0))
        return self.cost.joules / saved_j if saved_j > 0 and not self.cost.estimated else None

    def _afford(self, entry: Entry, more: bool) -> bool:
        """Whether one more run is within the budget."""
        if self._most is None:
            return True
        task = self._field.jobs[entry.place].spec.task
        items = items_of(task, self._next_items[entry] if more else task.items)
        takes = self._outlook.takes(entry, items, self._most.unit) or 0.0
        spent = self.cost.of(self._most.unit)
        return spent < self._most.amount and spent + takes <= self._most.amount

    def _measured(self, entry: Entry, count: int, more: bool) -> Round | Spoilt | str:
        self._tell(entry, count, more)
        protocol = self._field.jobs[entry.place].spec.protocol
        words = [*self._field.words(entry), f"session={count}"]
        usual = {"protocol.max_blocks": protocol.blocks, "protocol.profile": "never"}
        said = {word.partition("=")[0] for word in words}
        words += [f"{key}={value}" for key, value in usual.items() if key not in said]
        if more:
            words = _with(words, "task.items", self._next_items[entry])
        left_s = (
            self._most.amount - self.cost.seconds if self._most and self._most.unit == "s" else inf
        )
        if ends := left_s < protocol.time_limit_s:
            words = _with(words, "protocol.time_limit_s", max(1, round(left_s)))
        try:
            records = self._ask(words)
        except Unsupported as error:
            return str(error)
        except UserError:
            if (refusal := self._field.refusal(entry)) is None:
                raise  # nothing of this candidate's
            return refusal
        row = self._booked(entry, records)
        return why_not(records, ends) if row is None else self._round(entry, row)

    def _booked(self, entry: Entry, records: Sequence[Record]) -> Row | None:
        """The run's row, of two references the usual one's; null without a result."""
        total_j, estimated = drawn(records)
        used = frozenset(name for each in records if each.meter for name in each.meter.used[:1])
        cost = Cost(_seconds(records, "total"), total_j, estimated, used)
        self._runs, self.cost = self._runs + 1, self.cost + cost
        group = next(iter(groups(records)), None)
        if group is None:
            return None
        asked = [w for each in records for w in each.windows if w.phase == "score"]
        questions = Cost(_seconds(records, "score"), sum(joules(w) or 0.0 for w in asked))
        task = self._field.jobs[entry.place].spec.task
        items = items_of(task, group.rows[0].record.spec.task.items)
        self._outlook.add(entry, Ran(cost, questions, items))
        return group.rows[0]

    def _round(self, entry: Entry, row: Row) -> Round | Spoilt | str:
        record = row.record
        if self.metric is None:
            self.metric = self._yardstick(row)
        metric, sign = self.metric, -1 if self.metric.better == "higher" else 1
        if metric is ENERGY_PER_TOKEN and not row.energy.is_measured:
            return f"its joules are not measured ({row.energy.reason or 'they are estimated'})"
        logs = [sign * log(ratio) for ratio in block_ratios(record.windows, metric.ratio)]
        if len(logs) < LEAST_BLOCKS:
            return Spoilt("it has fewer than two valid blocks")
        if metric is ENERGY_PER_TOKEN:
            self._plain_j.setdefault(entry, []).append(fmean(read(record, "baseline", metric)))
        most_ms = zip(LATENCIES, (self._wanted.token_ms, self._wanted.first_token_ms), strict=True)
        limits = {name: most for name, most in most_ms if most is not None}
        above, plain = (
            {name: over(record, who, name, most) for name, most in limits.items()}
            for who in ("candidate", "baseline")
        )
        if nothing := [name for name in limits if not (above[name] and plain[name])]:
            return f"it has no {nothing[0]} ({no_latency(record, nothing[0])})"
        return Round(
            logs,
            [sign * log(value) for value in read(record, "baseline", metric)],
            above,
            plain,
            self._p_loss(entry, row),
            self._may_ask_more(entry, row),
        )

    def _yardstick(self, row: Row) -> Metric:
        """Joules where they are measured. Raises UserError for a budget of joules where they are not."""
        if row.energy.is_measured:
            return ENERGY_PER_TOKEN
        how = "are estimated" if row.energy.is_estimate else "are not counted"
        if self._most is not None and self._most.unit == "J":
            raise _no_joules(self._most, how)
        self._say(f"greenbench: race: by tokens per second, as joules {how} here")
        return TOKENS_PER_S

    def _p_loss(self, entry: Entry, row: Row) -> float | None:
        """Of all items that it was asked so far, each once."""
        known = self._items.setdefault(entry, {})
        for score in row.record.quality:
            if score.is_accuracy:
                for item in score.items:
                    known[score.task, item.index] = (
                        item.baseline,
                        item.candidate,
                        about(score, item),
                    )
        margin = self._wanted.quality_loss
        if row.is_lossless or margin >= ANY_LOSS:
            return 0.0
        if not known:
            return None
        before, after, documents = zip(*known.values(), strict=True)
        return p_noninferiority(before, after, [1.0] * len(before), margin / 100, documents)

    def _may_ask_more(self, entry: Entry, row: Row) -> bool:
        """Whether there are items that it was never asked; how many would tell."""
        asked, task = row.record.spec.task.items, self._field.jobs[entry.place].spec.task
        sizes = [len(score.items) for score in row.record.quality if score.is_accuracy]
        is_all = not asked or not sizes or max(sizes) < asked
        most = max(self._most_items.get(entry, 0), inf if is_all else asked)
        self._most_items[entry] = most
        margin = self._wanted.quality_loss
        if most == inf or margin >= ANY_LOSS:
            return False
        before, after, documents = zip(*self._items[entry].values(), strict=True)
        alpha, change = self.race.board.loss_alpha(entry), np.subtract(after, before)
        needed = items_to_tell(change, margin / 100, alpha, POWER, documents) / len(sizes)
        each = 100 * ceil(needed / 100) if isfinite(needed) else 0
        fits = most <= task.items and most < each <= MOST_ITEMS
        self._next_items[entry] = each if fits else 0
        return True

    def _tell(self, entry: Entry, count: int, more: bool) -> None:
        """What is run, who leads, and how much is left."""
        board = self.race.board
        parts = [
            f"greenbench: race, run {self._runs + 1}: {self._field.label(entry)}, round {count}"
        ]
        if more:
            parts.append("with more items")
        if (best := board.best) and board.rounds:
            ratio = exp(board.mean(best) or 0.0)
            ahead = f"{len(board.contenders())} of {len(board.entries)} may be the best"
            parts.append(f"{ahead}, {self._field.label(best)} leads at {number(ratio)}")
        if self._runs:
            left = f" of {self._most}" if self._most else ""
            spent = (
                self.cost
                if self._most is None or self._most.unit == "J"
                else duration(self.cost.seconds)
            )
            parts.append(f"{spent}{left} spent")
        self._say("; ".join(parts))


def _with(words: Sequence[str], key: str, value: object) -> list[str]:
    """The overrides with that one instead of its like."""
    return [*(word for word in words if not word.startswith(f"{key}=")), f"{key}={value}"]


def _seconds(records: Sequence[Record], stage: str) -> float:
    return sum(each.stages_s.get(stage, 0.0) for each in records)
