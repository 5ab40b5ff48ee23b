"""Completed runs whose answers in words were graded."""

import random

from greenbench.analysis.graded.replies import Graded
from greenbench.analysis.graded.solved import solved
from greenbench.schema.metrics import ENERGY_PER_SOLVED, SHARE_SOLVED, TOKENS_PER_ANSWER
from greenbench.schema.solved import Reply
from greenbench.schema.window import WHO, Place
from helpers import examples, factory

SIZE = 5


def windows(items, joules, provenance="measured:counter:nvml"):
    """Of groups of five items: so many joules in each, by model."""
    found = []
    for group in range(items // SIZE):
        for position, who in enumerate(WHO):
            start_s = 1000.0 + 20 * group + 10 * position
            made = factory.window(who, "solve", start_s)
            span = made.energy[0].model_copy(
                update={
                    "provenance": provenance,
                    "meter": examples.METERS.get(provenance, "nvml"),
                    "start_j": 0.0,
                    "end_j": joules[who](group),
                }
            )
            place = Place(series="group", unit=group, position=position, task="squad")
            found.append(made.model_copy(update={"energy": [span], "place": place}))
    return found


def answers(items, tokens, share, seed, thought=0, task="squad"):
    """Of one model: as long, and right as often, as is said."""
    dice = random.Random(f"{seed} {task}")
    return [
        Reply(
            text="an answer",
            tokens=tokens + dice.randrange(-3, 4),
            thought_tokens=thought,
            seconds=1.0,
            energy_j=None,
            cut=number % 10 == 0,
            grades={"none": {"exact_match": float(dice.random() < share)}},
        )
        for number in range(items)
    ]


def run(technique="int8", joules=0.7, tokens=40, share=0.5, items=100, thought=0,
        provenance="measured:counter:nvml", **how):  # fmt: skip
    """A run: its candidate draws `joules` of the baseline's in each group."""
    dice = random.Random(technique)
    spent = {
        "baseline": lambda group: 100.0 * (1 + dice.uniform(-0.02, 0.02)),
        "candidate": lambda group: 100.0 * joules * (1 + dice.uniform(-0.02, 0.02)),
    }
    places = list(range(items))
    given = Graded(
        "squad", "exact_match", "none", 5, True, "greedy", places, [*map(str, places)],
        [place // SIZE for place in places],
        {"baseline": answers(items, 40, 0.5, 1),
         "candidate": answers(items, tokens, share, 1, thought)},
    )  # fmt: skip
    taken = windows(items, spent, provenance)
    found = solved([given], taken, "dev", "valid", "no meter")
    record = examples.completed(technique, source=provenance, **how)
    names = (ENERGY_PER_SOLVED, TOKENS_PER_ANSWER, SHARE_SOLVED)

    def levels(who):
        side = found.of(who)
        own = {m.name: getattr(side, m.ratio) for m in names}
        subject = getattr(record, who)
        return subject.model_copy(update={"metrics": subject.metrics | own})

    return record.model_copy(
        update={
            "solved": found.tasks,
            "windows": [*record.windows, *taken],
            "ratios": record.ratios | {m.ratio: getattr(found.of("ratio"), m.ratio) for m in names},
            "verdicts": record.verdicts | found.verdicts,
            "baseline": levels("baseline"),
            "candidate": levels("candidate"),
        }
    )
