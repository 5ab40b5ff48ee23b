"""A race to the best stack of techniques under limits, by runs that are ordinary records.

A round is a session of a run, of as many blocks as its protocol has at least. Where an answer hangs on
quality, a session of one candidate asks it more items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, log
from statistics import fmean, median
from typing import Final, NamedTuple

from greenbench.analysis.accuracy import about
from greenbench.analysis.blocks import block_ratios, valid_blocks
from greenbench.analysis.choices.limits import quality
from greenbench.analysis.choices.needs import Needs
from greenbench.analysis.groups.rows import Row, groups
from greenbench.analysis.readings import PAIRED, values
from greenbench.campaign.closing import drawn
from greenbench.campaign.compose import Job
from greenbench.campaign.search.field import Field, gpus_of
from greenbench.campaign.search.spending import Budget, Cost
from greenbench.errors import UserError
from greenbench.meters import open_meters
from greenbench.schema.codes import meaning
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S, TPOT, TTFT, Metric
from greenbench.schema.record import Record
from greenbench.schema.window import Who
from greenbench.stats.contenders import Entry, Round
from greenbench.stats.elimination import Race
from greenbench.stats.items import p_noninferiority
from greenbench.wording import duration, number

Ask = Callable[[Sequence[str]], Sequence[Record]]
"""Runs what the overrides ask for."""
Say = Callable[[str], None]
LEAST_BLOCKS: Final = 2
ALL_ITEMS: Final = 10.0
"""So many times as many as were asked, where no one has counted them."""
ANY_LOSS: Final = 100.0
"""Points: who may lose so many may lose all."""
LATENCIES: Final = {"time per output token": TPOT, "time to the first token": TTFT}


class Found(NamedTuple):
    """What a race has shown."""

    race: Race
    field: Field
    metric: Metric
    """By which it went: joules per token, or speed where those are estimates."""
    cost: Cost
    tokens: float | None
    """After how many the winner has saved what the race took, in joules; null: it saves none that were
    measured."""
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
    if most is not None and most.unit == "J":
        _require_joules(most, jobs[0])
    running = _Running(field, ask, wanted, most, say)
    running.race.run()
    if running.metric is None:
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
        self._costs: dict[Entry, list[Cost]] = {}
        self._items: dict[Entry, dict[tuple[str, int], tuple[float, float, str]]] = {}
        self._next_items: dict[Entry, str] = {}
        self._stretch: dict[Entry, float] = {}
        """How many times as long a run with so many is."""
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
        """Whether one more run, as long as its others were, or as all were, is within the budget."""
        if self._most is None or not self._costs:
            return True
        unit = self._most.unit
        known = self._costs.get(entry) or [each for some in self._costs.values() for each in some]
        takes = median(each.of(unit) for each in known) * (self._stretch[entry] if more else 1.0)
        return self.cost.of(unit) + takes <= self._most.amount

    def _measured(self, entry: Entry, count: int, more: bool) -> Round | str:
        self._tell(entry, count, more)
        blocks = self._field.jobs[entry.place].spec.protocol.blocks
        words = [*self._field.words(entry), f"session={count}"]
        usual = {"protocol.max_blocks": blocks, "protocol.profile": "never"}
        said = {word.partition("=")[0] for word in words}
        words += [f"{key}={value}" for key, value in usual.items() if key not in said]
        if more:
            words = [word for word in words if not word.startswith("task.items=")]
            words.append(f"task.items={self._next_items[entry]}")
        try:
            records = self._ask(words)
        except UserError as error:  # it cannot run here
            return str(error)
        row = self._booked(entry, records)
        return _why_not(records) if row is None else self._round(entry, row)

    def _booked(self, entry: Entry, records: Sequence[Record]) -> Row | None:
        """The run's row, of two references the usual one's; null without a result."""
        total_j, estimated = drawn(records)
        used = frozenset(name for each in records if each.meter for name in each.meter.used[:1])
        seconds = sum(each.stages_s.get("total", 0.0) for each in records)
        self._costs.setdefault(entry, []).append(Cost(seconds, total_j, estimated, used))
        self.cost += self._costs[entry][-1]
        group = next(iter(groups(records)), None)
        return group.rows[0] if group else None

    def _round(self, entry: Entry, row: Row) -> Round | str:
        record = row.record
        if self.metric is None:
            self.metric = self._yardstick(row)
        metric, sign = self.metric, -1 if self.metric.better == "higher" else 1
        if metric is ENERGY_PER_TOKEN and not row.energy.is_measured:
            return f"its joules are not measured ({row.energy.reason or 'they are estimated'})"
        logs = [sign * log(ratio) for ratio in block_ratios(record.windows, metric.ratio)]
        if len(logs) < LEAST_BLOCKS:
            return "it has fewer than two valid blocks"
        if metric is ENERGY_PER_TOKEN:
            self._plain_j.setdefault(entry, []).append(fmean(_read(record, "baseline", metric)))
        most_ms = zip(LATENCIES, (self._wanted.token_ms, self._wanted.first_token_ms), strict=True)
        limits = {name: most for name, most in most_ms if most is not None}
        return Round(
            logs,
            [sign * log(value) for value in _read(record, "baseline", metric)],
            {name: _over(record, "candidate", name, most) for name, most in limits.items()},
            {name: _over(record, "baseline", name, most) for name, most in limits.items()},
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
        """Whether there are more items, and how many would tell."""
        asked = row.record.spec.task.items
        if asked == 0 or not self._items[entry] or self._wanted.quality_loss >= ANY_LOSS:
            return False
        first = asked == self._field.jobs[entry.place].spec.task.items
        told = quality(row, self._wanted.quality_loss).settle.get("task.items", "0")
        items = int(told) if first and int(told) > asked else 0
        stages = row.record.stages_s
        share = stages.get("score", 0.0) / stages.get("total", 1.0)
        self._next_items[entry] = str(items)
        self._stretch[entry] = 1 + share * ((items / asked if items else ALL_ITEMS) - 1)
        return True

    def _tell(self, entry: Entry, count: int, more: bool) -> None:
        """What is run, who leads, and how much is left."""
        board, runs = self.race.board, sum(map(len, self._costs.values()))
        parts = [f"greenbench: race, run {runs + 1}: {self._field.label(entry)}, round {count}"]
        if more:
            parts.append("with more items")
        if (best := board.best) and board.rounds:
            ratio = exp(board.mean(best) or 0.0)
            ahead = f"{len(board.contenders())} of {len(board.entries)} may be the best"
            parts.append(f"{ahead}, {self._field.label(best)} leads at {number(ratio)}")
        if self._costs:
            left = f" of {self._most}" if self._most else ""
            spent = (
                self.cost
                if self._most is None or self._most.unit == "J"
                else duration(self.cost.seconds)
            )
            parts.append(f"{spent}{left} spent")
        self._say("; ".join(parts))


def _read(record: Record, who: Who, metric: Metric) -> list[float]:
    """Values above 0, by valid block."""
    reading = next(each for each in PAIRED if each.metric == metric)
    return [value for value in values(valid_blocks(record.windows), who, reading) if value > 0]


def _over(record: Record, who: Who, name: str, most_ms: float) -> list[float]:
    """Logarithms of a latency over its limit, by block."""
    return [log(1e3 * value / most_ms) for value in _read(record, who, LATENCIES[name])]


def _why_not(records: Sequence[Record]) -> str:
    """Why a run shows nothing."""
    record = next(iter(records), None)
    if record is None or record.failure is not None:
        return record.failure.message if record and record.failure else "it left no record"
    return f"its run is invalid ({'; '.join(map(meaning, record.codes))})"
