"""All that follows from a run's trainings: drawn by the run, and again by whoever reads its record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from greenbench.analysis import blocks, disturbances
from greenbench.analysis.idle import idle_power
from greenbench.analysis.readings import joules, source
from greenbench.analysis.training import curves
from greenbench.analysis.training.curves import NOT_LEARNT, Pair, Raw
from greenbench.analysis.verdicts import judge, judge_unreached
from greenbench.schema.codes import Validity, validity
from greenbench.schema.metrics import (
    ENERGY_PER_TRAINING_TOKEN,
    ENERGY_TO_TARGET,
    FINAL_LOSS,
    TRAINING_TOKENS_PER_S,
    TUNING_ENERGY,
    Metric,
)
from greenbench.schema.quantity import Provenance, Quantity, missing
from greenbench.schema.spec import TIERS
from greenbench.schema.training.record import Training
from greenbench.schema.verdict import Verdict
from greenbench.schema.window import WHO, Who, Window
from greenbench.stats.intervals import mean_interval

NONE_SOUND: Final = "every seed has a window that is invalid"
CENSORED: Final = (
    "{reached} of {of} trainings came to the baseline's last loss; the others counted as if they had come "
    "there at their end; {least}"
)
LEAST: Final = "at least this, with 95 %"
DISTURBED: Final = "a learning rate was tried in a window that is invalid"


class Drawn(NamedTuple):
    """What follows."""

    windows: list[Window]
    training: Training
    metrics: dict[Who, dict[str, Quantity]]
    """Of each recipe, but for bytes."""
    ratios: dict[str, Quantity]
    verdicts: dict[str, Verdict]
    validity: Validity
    codes: list[str]
    idle: dict[str, Quantity]


def drawn(
    taken: Sequence[Window], raw: Raw, tier: str, told: Sequence[str], no_energy: str
) -> Drawn:
    """All numbers and codes of trainings whose windows and losses are these.

    `told`: codes of what only the run saw. Raises ValueError where windows and losses do not fit.
    """
    windows = disturbances.with_clock_codes(taken)
    trials, courses = curves.trials(windows, raw.trials), curves.courses(windows, raw.courses)
    pairs = curves.sound(windows, courses)
    levels = _Levels(windows, pairs, no_energy)
    tuning = {who: _tuned(windows, who, no_energy) for who in WHO}
    codes = _codes(windows, len(pairs), tier) | {*told}
    sound = validity(sorted(codes))
    return Drawn(
        windows=windows,
        training=Training(
            facts={
                who: raw.facts[who].model_copy(
                    update={"learning_rate": curves.best(raw.trials, who)}
                )
                for who in WHO
            },
            trials=trials,
            courses=courses,
            seeds=len(pairs),
            reached={who: levels.reached(who) for who in WHO},
            tuning=tuning,
        ),
        metrics={who: levels.of(who) | {TUNING_ENERGY.name: tuning[who]} for who in WHO},
        ratios=levels.ratios(),
        verdicts={ENERGY_TO_TARGET.ratio: levels.verdict(tier, sound)},
        validity=sound,
        codes=sorted(codes),
        idle=idle_power(windows, no_energy),
    )


def _codes(windows: Sequence[Window], seeds: int, tier: str) -> set[str]:
    mine = [window for window in windows if window.phase == "train"]
    tuned = [window for window in windows if window.phase == "tune"]
    found = {code for w in (*tuned, *mine) if w.validity == "flagged" for code in w.codes}
    if seeds < max(TIERS[tier][1], 1):
        found |= {"too_few_blocks", *(code for window in mine for code in window.codes)}
    return found


def _tuned(windows: Sequence[Window], who: Who, no_energy: str) -> Quantity:
    mine = [window for window in windows if window.phase == "tune" and window.who == who]
    known = [each for each in map(joules, mine) if each is not None]
    if not known or len(known) < len(mine):
        return missing(TUNING_ENERGY.unit, no_energy)
    if any(window.validity == "invalid" for window in mine):
        return missing(TUNING_ENERGY.unit, DISTURBED)
    return Quantity(
        value=sum(known),
        unit=TUNING_ENERGY.unit,
        provenance=source(windows),
        n=len(known),
        reason="tuned once: no interval",
    )


class _Levels:
    """Numbers of both recipes, by seed."""

    def __init__(self, windows: Sequence[Window], pairs: Sequence[Pair], no_energy: str) -> None:
        self._pairs, self._no_energy = pairs, no_energy
        self._source = source([window for window in windows if window.phase == "train"])

    def of(self, who: Who) -> dict[str, Quantity]:
        """The levels of one recipe: means over the seeds. The loss is that after the baseline's tokens."""
        losses = [pair.of(who).points[len(pair.baseline.points) - 1].loss for pair in self._pairs]
        finite = [loss for loss in losses if loss is not None]
        whole = bool(finite) and len(finite) == len(losses)
        return {
            ENERGY_TO_TARGET.name: self._to_target(who),
            FINAL_LOSS.name: blocks.as_quantity(
                mean_interval(finite), FINAL_LOSS.unit, "measured:score"
            )
            if whole
            else missing(FINAL_LOSS.unit, "a loss was no finite number" if losses else NONE_SOUND),
            **{
                metric.name: blocks.level(
                    self._per_seed(metric, who), metric.unit, self._from(metric), self._why
                )
                for metric in (ENERGY_PER_TRAINING_TOKEN, TRAINING_TOKENS_PER_S)
            },
        }

    def ratios(self) -> dict[str, Quantity]:
        """Candidate over baseline, paired by seed."""
        found = {
            metric.ratio: blocks.paired(
                self._per_seed(metric, "baseline"),
                self._per_seed(metric, "candidate"),
                self._from(metric),
                self._why,
                self._why,
            )
            for metric in (ENERGY_PER_TRAINING_TOKEN, TRAINING_TOKENS_PER_S)
        }
        return {ENERGY_TO_TARGET.ratio: self._ratio_to_target(), **found}

    def verdict(self, tier: str, validity: Validity) -> Verdict:
        """On joules to the target: by seed as any other is by block, or that it is not always reached."""
        why = self._barred()
        before, after = ([], []) if why else (self._spent(who) for who in WHO)
        found = judge(
            ENERGY_TO_TARGET.ratio,
            before,
            after,
            provenance=self._source,
            tier=tier,
            validity=validity,
        )
        if why:
            return found.model_copy(update={"barred": why, "reason": f"No claim: {why}."})
        ratio = self._ratio_to_target()
        if ratio.value is not None or self.reached("candidate") == len(self._pairs):
            return found
        return judge_unreached(found, ratio.low, str(ratio.reason))

    @property
    def _why(self) -> str:
        return self._no_energy if self._pairs else NONE_SOUND

    def _from(self, metric: Metric) -> Provenance:
        return "measured:clock" if metric is TRAINING_TOKENS_PER_S else self._source

    def _per_seed(self, metric: Metric, who: Who) -> list[float]:
        ends = [pair.of(who).points[-1] for pair in self._pairs]
        if metric is TRAINING_TOKENS_PER_S:
            return [end.tokens / end.seconds for end in ends]
        return [end.energy_j / end.tokens for end in ends if end.energy_j is not None]

    def _barred(self) -> str | None:
        """Why there are no joules to a target."""
        if not self._pairs:
            return NONE_SOUND
        if any(pair.of(who).points[-1].energy_j is None for pair in self._pairs for who in WHO):
            return self._no_energy
        return None if all(pair.learnt for pair in self._pairs) else NOT_LEARNT

    def _spent(self, who: Who) -> list[float]:
        """Joules to the target by seed, or of the whole training where it was not reached."""
        mine = [pair.of(who) for pair in self._pairs]
        found = [c.to_target_j if c.reached else c.points[-1].energy_j for c in mine]
        return [each for each in found if each is not None]

    def _to_target(self, who: Who) -> Quantity:
        unit = ENERGY_TO_TARGET.unit
        if reason := self._barred():
            return missing(unit, reason)
        spent = self._spent(who)
        if min(spent) <= 0:
            return missing(unit, "shorter than the meter's tick")
        return self._censored(who, blocks.level(spent, unit, self._source, self._no_energy))

    def _ratio_to_target(self) -> Quantity:
        if reason := self._barred():
            return missing("ratio", reason)
        before, after = (self._spent(who) for who in WHO)
        return self._censored(
            "candidate", blocks.paired(before, after, self._source, self._no_energy)
        )

    def reached(self, who: Who) -> int:
        """With how many seeds."""
        return sum(pair.of(who).reached for pair in self._pairs)

    def _censored(self, who: Who, found: Quantity) -> Quantity:
        """`found`, or no value and its lower end where a training of `who` never came to the target.

        The geometric mean of what is at least so much each is at least the geometric mean of that: of
        right-censored values nothing more is known (Kaplan and Meier, JASA 53 (1958) 457). Other seeds would
        give another, so that the bound is where its interval begins; one seed has none.
        """
        reached = self.reached(who)
        if reached == len(self._pairs) or found.value is None:
            return found
        least = LEAST if found.low is not None else f"no lower bound, as {found.reason}"
        said = CENSORED.format(reached=reached, of=len(self._pairs), least=least)
        return found.model_copy(update={"value": None, "high": None, "reason": said})
