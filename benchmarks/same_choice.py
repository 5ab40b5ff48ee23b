"""Do two engines choose alike? The same weights and items in process and through a server, choice by choice.

    python benchmarks/same_choice.py [--engine vllm|llama_cpp|openvino] [--items 100] [--dtype float32]
        [--tasks arc_easy,sciq,piqa] [--chart same-choice.png]

Prints, per task, on how many items the two choose the same answer and how far apart their log-likelihoods
are, and draws where they do not: how sure the in-process model is (its best choice over its second, per
character where the task's metric says so) against how far the engine moves that. The goal: 99 % of 300.
"""

from __future__ import annotations

import argparse
import os
from typing import NamedTuple

import matplotlib.pyplot as plt

from greenbench.campaign.compose import plan
from greenbench.engines.engine import Build
from greenbench.engines.start import Start
from greenbench.machine.detect import detect
from greenbench.models import files
from greenbench.quality.answers import Choice
from greenbench.quality.score import answers
from greenbench.schema.spec import RunSpec
from greenbench.stats.items import level

GOAL = 0.99


class Asked(NamedTuple):
    """One question, as both engines answer it."""

    task: str
    index: int
    here: tuple[Choice, ...]
    there: tuple[Choice, ...]

    @property
    def same(self) -> bool:
        """Whether both choose the same."""
        return _best(self.here) == _best(self.there)

    @property
    def sure(self) -> float:
        """The score of the best choice in process less that of the second best."""
        first, second = sorted((choice.score for choice in self.here), reverse=True)[:2]
        return first - second

    @property
    def moved(self) -> float:
        """How far the engine moves the best choice against the others, at most."""
        best = _best(self.here)
        pairs = list(zip(self.here, self.there, strict=True))
        shift = [there.score - here.score for here, there in pairs]
        return max(abs(each - shift[best]) for each in shift)

    @property
    def apart(self) -> float:
        """Nats between the log-likelihoods of a choice, at most."""
        pairs = zip(self.here, self.there, strict=True)
        return max(abs(here.log_likelihood - there.log_likelihood) for here, there in pairs)


def main() -> int:
    """Print a line per task; exit 1 below the goal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=["vllm", "llama_cpp", "openvino"], default="vllm")
    parser.add_argument("--tasks", default="arc_easy,sciq,piqa")
    parser.add_argument("--items", type=int, default=100, help="of each task")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--chart", default="same-choice.png")
    given = parser.parse_args()
    overrides = [
        f"engine={given.engine}", f"task.names=[{given.tasks}]", f"task.items={given.items}",
        f"model.dtype={given.dtype}",
    ]  # fmt: skip
    (job,) = plan(overrides, multirun=False)
    asked = _asked(job.spec)
    for task in dict.fromkeys(question.task for question in asked):
        _tell(task, [question for question in asked if question.task == task])
    share = _tell("all", asked)
    _draw(asked, given.engine, given.chart)
    print(f"Where they differ: {given.chart}")
    return 0 if share >= GOAL else 1


def _asked(spec: RunSpec) -> list[Asked]:
    machine, program = detect("auto"), spec.engine
    program.check(machine)
    directory = files.directory(spec.model)
    (usual,) = plan(["engine=transformers"], multirun=False)
    found = []
    build = Build(
        spec.model, "safetensors", directory, directory, start=Start(at_once=8, tokens=2048)
    )
    for engine in (usual.spec.engine, program):
        with engine.serve(build, machine) as served:
            found.append(answers(served, spec.task, lambda done, total: None).tasks)
    return [
        Asked(before.task, index, one, other)
        for before, after in zip(*found, strict=True)
        for index, one, other in zip(before.indices, before.choices, after.choices, strict=True)
    ]


def _best(choices: tuple[Choice, ...]) -> int:
    return max(range(len(choices)), key=lambda place: choices[place].score)


def _tell(task: str, asked: list[Asked]) -> float:
    found = level([float(question.same) for question in asked], [1.0] * len(asked), [])
    apart = sorted(question.apart for question in asked)
    print(
        f"{task}: the same choice on {sum(q.same for q in asked)} of {len(asked)} items "
        f"({100 * found.value:.1f} %); nats apart, median {apart[len(apart) // 2]:.2g}, most {apart[-1]:.2g}"
    )
    for question in asked:
        if not question.same and task != "all":
            print(
                f"  item {question.index}: sure by {question.sure:.2g}, moved by {question.moved:.2g}"
            )
    return found.value


def _draw(asked: list[Asked], engine: str, path: str) -> None:
    figure, axes = plt.subplots(figsize=(6, 4.5), layout="constrained")
    for same, colour, size in ((True, "tab:gray", 12), (False, "tab:red", 40)):
        chosen = [q for q in asked if q.same == same]
        axes.scatter(
            [q.sure for q in chosen],
            [q.moved for q in chosen],
            s=size,
            color=colour,
            alpha=0.6,
            label=f"{'the same' if same else 'another'} choice ({len(chosen)})",
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="how sure in process: best choice over the second, nats",
        ylabel=f"how far engine={engine} moves that, nats",
    )
    axes.axline((1e-3, 1e-3), (1, 1), color="black", linewidth=0.8, linestyle=":")
    axes.legend()
    figure.savefig(path, dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    raise SystemExit(main())
