"""Stock lm-eval and ours on the same model and items, side by side: speed, accuracy, agreement.

    python benchmarks/scoring.py [--tasks hellaswag,arc_easy,piqa] [--items 300] [--fewshot 0]
        [--shots fixed|drawn] [--dtype bfloat16] [--batch-sizes 1,4,16]
        [--softmax default|float32] [--model smollm2-135m]

Stock is lm-eval's HFLM with its own defaults, at whichever batch size is fastest on a third of
each task's items. The two take turns on slices of the items, so that a busy machine slows both;
`ratio` compares wall seconds, `CPU` the seconds this process computed (it is what remains
comparable where other processes compete). The score is the task's main metric: accuracy, or bits
per byte. Two models agree on an item where both choose the same answer by log-likelihood and by
log-likelihood per character. `--softmax` is the dtype of log-probabilities in both: lm-eval's
default is the model's, a sweep's float32. Few-shot examples are the task's own, the same before
every question; `--shots drawn` draws them anew for each question from items that are not asked, so
that no two questions share a beginning.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from lm_eval.api.samplers import ContextSampler
from lm_eval.models.huggingface import HFLM

from greenbench.campaign.compose import plan
from greenbench.engines.transformers.load import load_model, load_tokenizer
from greenbench.engines.transformers.scoring import LoadedModel
from greenbench.models import files
from greenbench.quality.lm_eval_quiet import quiet
from greenbench.quality.tasks import load_tasks, main_metric, pick_items
from greenbench.schema.spec import TaskSpec

SLICES = 3
HEADER = (
    f"{'task':<16}{'items':>6}{'batch':>6}{'stock':>8}{'ours':>8}{'ratio':>7}{'CPU':>7}"
    f"{'stock':>9}{'ours':>7}{'agree':>9}{'difference':>12}\n"
    f"{'':<16}{'':>6}{'':>6}{'items/s':>8}{'items/s':>8}{'':>7}{'':>7}"
    f"{'score':>9}{'score':>7}{'':>9}{'relative':>12}"
)


@dataclass
class Spent:
    """Seconds, and answers by request, of one of the two."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    answers: list[tuple[float, bool]] = field(default_factory=list)

    def run(self, lm: Any, requests: list[Any]) -> None:
        """Add what `lm` answers."""
        wall, cpu = time.perf_counter(), time.process_time()
        found = getattr(lm, requests[0].request_type)(requests, disable_tqdm=True)
        self.answers += [one if isinstance(one, tuple) else (one, True) for one in found]
        self.wall_s += time.perf_counter() - wall
        self.cpu_s += time.process_time() - cpu


@dataclass
class Row:
    """One task."""

    name: str
    items: int
    batch_size: int
    stock: Spent
    ours: Spent
    score: tuple[float, float]
    disagree: list[int]
    """Indices of the items on which the two choose differently."""

    def __str__(self) -> str:
        pairs = zip(self.stock.answers, self.ours.answers, strict=True)
        apart = max(abs(a - b) / max(abs(a), 1e-6) for (a, _), (b, _) in pairs)
        return (
            f"{self.name:<16}{self.items:>6}{self.batch_size or '':>6}"
            f"{self.items / self.stock.wall_s:>8.2f}{self.items / self.ours.wall_s:>8.2f}"
            f"{self.stock.wall_s / self.ours.wall_s:>7.2f}{self.stock.cpu_s / self.ours.cpu_s:>7.2f}"
            f"{self.score[0]:>9.3f}{self.score[1]:>7.3f}"
            f"{1 - len(self.disagree) / self.items:>9.2%}{apart:>12.1e}"
        )


def main() -> int:
    """Measure and print; the exit status is 0 whatever the ratios are."""
    options = _options()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    (job,) = plan([f"model={options.model}"], multirun=False)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    directory = files.directory(job.spec.model)
    tokenizer = load_tokenizer(job.spec.model, directory)
    model = load_model(job.spec.model, directory, device).to(getattr(torch, options.dtype))
    drawn = options.fewshot if options.shots == "drawn" else 0
    spec = TaskSpec(
        names=options.tasks, items=options.items, fewshot=0 if drawn else options.fewshot
    )
    print(
        f"{options.model}, {options.dtype}, {options.fewshot}-shot ({options.shots}), {device.type}, "
        f"{torch.get_num_threads()} threads; log-softmax: {options.softmax}\n{HEADER}",
        flush=True,
    )
    softmax = None if options.softmax == "default" else options.softmax
    with quiet():
        stock = HFLM(model, tokenizer=tokenizer, batch_size=1, softmax_dtype=softmax)
        ours = LoadedModel(model, tokenizer, softmax_dtype=softmax)
        rows = [
            measure(task, spec, stock, ours, options.batch_sizes, drawn)
            for task in load_tasks(spec).values()
        ]
    print(total(rows))
    for row in rows:
        if row.disagree:
            print(f"{row.name}: different choices on items {row.disagree}")
    return 0


def _options() -> argparse.Namespace:
    def names(text: str) -> list[str]:
        return text.split(",")

    def sizes(text: str) -> list[int]:
        return [int(size) for size in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=names, default=["hellaswag", "arc_easy", "piqa"])
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--fewshot", type=int, default=0)
    parser.add_argument("--shots", default="fixed", choices=["fixed", "drawn"])
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--batch-sizes", type=sizes, default=[1, 4, 16])
    parser.add_argument("--softmax", default="default", choices=["default", "float32"])
    parser.add_argument("--model", default="smollm2-135m")
    return parser.parse_args()


def measure(
    task: Any, spec: TaskSpec, stock: Any, ours: Any, batch_sizes: list[int], drawn: int
) -> Row:
    """Both on all items of `task`, in turns; prints its row."""
    name = task.config.task
    items = pick_items(name, len(task.eval_docs), spec)
    if drawn:
        others = sorted(set(range(len(task.eval_docs))) - set(items))
        task.sampler = ContextSampler(list(task.eval_docs.select(others)), rnd=spec.seed)
        task.set_config("num_fewshot", drawn)
    task.build_all_requests(samples=items)
    by_item: dict[int, list[Any]] = {item: [] for item in items}
    for request in task.instances:
        by_item[items[request.doc_id]].append(request)  # it counts among the items
    slices = [items[start::SLICES] for start in range(SLICES)]
    requests = [[r for item in part for r in by_item[item]] for part in slices if part]
    best = fastest(stock, requests[0], batch_sizes)
    stock.batch_size_per_gpu = best
    spent = (Spent(), Spent())
    for turn, part in enumerate(requests):
        for side in (0, 1) if turn % 2 else (1, 0):
            spent[side].run((stock, ours)[side], part)
    order = [item for part in slices for item in part]
    row = judged(task, order, by_item, best, *spent)
    print(row, flush=True)
    return row


def fastest(stock: Any, requests: list[Any], batch_sizes: list[int]) -> int:
    """The batch size at which stock needs least CPU time, or wall time on a GPU."""

    def seconds(size: int) -> float:
        stock.batch_size_per_gpu = size
        spent = Spent()
        spent.run(stock, requests)
        return spent.cpu_s if stock.device.type == "cpu" else spent.wall_s

    if len(batch_sizes) == 1:
        return batch_sizes[0]
    return min(batch_sizes, key=seconds)


def judged(
    task: Any, order: list[int], by_item: dict[int, list[Any]], batch: int, *spent: Spent
) -> Row:
    """Scores of both and the items on which they differ."""
    sums, size = [0.0, 0.0], 0.0
    disagree, start = [], 0
    for item in order:
        doc, count = task.eval_docs[item], len(by_item[item])
        answers = [side.answers[start : start + count] for side in spent]
        start += count
        for side, found in enumerate(answers):
            value, weight = score(task, doc, found)
            sums[side] += value
        size += weight
        if chosen(task, doc, answers[0]) != chosen(task, doc, answers[1]):
            disagree.append(item)
    scores = (sums[0] / size, sums[1] / size)
    return Row(task.config.task, len(order), batch, *spent, scores, sorted(disagree))


def score(task: Any, doc: Any, found: list[tuple[float, bool]]) -> tuple[float, float]:
    """Main metric of an item and its weight: right or wrong and 1, or bits and bytes."""
    rolling = task.config.output_type == "loglikelihood_rolling"
    value = task.process_results(doc, [nats for nats, _ in found] if rolling else found)
    value = value[main_metric(task)]
    return (-value[0] / math.log(2), value[1]) if isinstance(value, tuple) else (float(value), 1.0)


def chosen(task: Any, doc: Any, found: list[tuple[float, bool]]) -> tuple[Any, ...]:
    """The answer by log-likelihood and by log-likelihood per character, or what greedy gives."""
    if task.config.output_type != "multiple_choice":
        return tuple(greedy for _, greedy in found)
    lengths = [len(choice) for choice in task.doc_to_choice(doc)]
    places = range(len(found))
    return (
        max(places, key=lambda i: found[i][0]),
        max(places, key=lambda i: found[i][0] / lengths[i % len(lengths)]),
    )


def total(rows: list[Row]) -> Row:
    """All tasks together."""

    def over(pick: Callable[[Row], float]) -> float:
        return sum(pick(row) * row.items for row in rows) / sum(row.items for row in rows)

    def both(pick: Callable[[Row], Spent]) -> Spent:
        parts = [pick(row) for row in rows]
        return Spent(
            sum(part.wall_s for part in parts),
            sum(part.cpu_s for part in parts),
            [answer for part in parts for answer in part.answers],
        )

    return Row(
        "together",
        sum(row.items for row in rows),
        0,
        both(lambda row: row.stock),
        both(lambda row: row.ours),
        (over(lambda row: row.score[0]), over(lambda row: row.score[1])),
        [item for row in rows for item in row.disagree],
    )


if __name__ == "__main__":
    raise SystemExit(main())
