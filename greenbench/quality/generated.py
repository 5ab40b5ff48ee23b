"""Tasks whose questions are answered in words: as they are asked, and their answers graded.

The grades are lm-eval's own: it is given the texts as a model that says them would, and applies its filters
and metrics.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs

from greenbench.engines.tokenizer import Tokenizer
from greenbench.engines.writing import Ask, Draw
from greenbench.errors import UserError
from greenbench.quality import shut_off
from greenbench.quality.lm_eval_quiet import quiet
from greenbench.quality.lm_eval_seeds import seeded
from greenbench.quality.score import applies_chat, document, split_of
from greenbench.quality.tasks import chosen, in_words, load_tasks, main_filter, main_metric
from greenbench.schema.spec import TaskSpec

if TYPE_CHECKING:
    from lm_eval.api.task import Task

Grades = dict[str, dict[str, float]]
"""Of one answer: by filter, each metric that is a number."""


class Exam(NamedTuple):
    """One task's questions, as a model is asked them."""

    task: str
    metric: str
    higher_is_better: bool
    filter: str
    split: str
    indices: tuple[int, ...]
    """Places of the items in `split`."""
    documents: tuple[str, ...]
    """What each item is about, hashed."""
    asks: tuple[Ask, ...]
    shots: int
    chat: bool
    """Whether they are in the chat template."""


def exams(
    spec: TaskSpec,
    tokenizer: Tokenizer,
    max_tokens: int | None,
    draw: Callable[[int], Draw | None] = lambda item: None,
) -> list[Exam]:
    """What is asked of a model that takes `max_tokens`; `draw` says by item how its answer is made."""
    with quiet(), seeded():
        tasks = in_words(load_tasks(spec))
        return [
            _exam(name, tasks[name], items, spec, tokenizer, max_tokens, draw)
            for name, items in chosen(tasks, spec).items()
        ]


def _exam(
    name: str,
    task: Task,
    items: Sequence[int],
    spec: TaskSpec,
    tokenizer: Tokenizer,
    max_tokens: int | None,
    draw: Callable[[int], Draw | None],
) -> Exam:
    def rendered(turns: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        return tokenizer.chat(turns, opened=add_generation_prompt)

    converses = (task.config.metadata or {}).get("chat", True)  # a text that is to go on does not
    chat = applies_chat(spec, tokenizer, words=converses)
    task.build_all_requests(
        samples=list(items),
        rank=0,
        world_size=1,
        apply_chat_template=chat,
        fewshot_as_multiturn=chat,  # as lm-eval's own command does
        chat_template=rendered if chat else None,
    )
    asks: dict[int, Ask] = {}
    documents: dict[int, str] = {}
    for request in task.instances:
        if request.doc_id in asks or request.repeats > 1:
            raise UserError(
                f"task {name} asks for several answers to each question, which no joules per solved item "
                "could be counted of: choose another task."
            )
        item = items[request.doc_id]
        context, how = request.args
        if spec.answer_tokens is not None:
            how = {**how, "max_gen_toks": spec.answer_tokens}
        asks[request.doc_id] = _ask(context, how, tokenizer, max_tokens, draw(item))
        documents[request.doc_id] = document(task, {"doc": request.doc, "doc_id": item})
    places = sorted(asks)
    return Exam(
        task=name,
        metric=main_metric(task, spec.metric),
        higher_is_better=bool(task.higher_is_better()[main_metric(task, spec.metric)]),
        filter=main_filter(task, spec.filter),
        split=split_of(task),
        indices=tuple(items[place] for place in places),
        documents=tuple(documents[place] for place in places),
        asks=tuple(asks[place] for place in places),
        shots=int(task.config.num_fewshot or 0),
        chat=chat,
    )


def _ask(
    context: str,
    how: dict[str, Any],
    tokenizer: Tokenizer,
    max_tokens: int | None,
    draw: Draw | None,
) -> Ask:
    """As lm-eval's class of transformers asks: cut from the left to the model's length."""
    known = normalize_gen_kwargs(how)
    most = int(known["max_gen_toks"])
    if max_tokens is not None and most >= max_tokens:
        raise UserError(
            f"The task's answers may have {most} tokens, and the model takes {max_tokens} in all: allow "
            "fewer by task.answer_tokens, or choose another task, or a model that takes more."
        )
    until = handle_stop_sequences(list(known.get("until") or ()), eos=tokenizer.ending)
    tokens = tokenizer.prompt(context)
    room = len(tokens) if max_tokens is None else max_tokens - most
    return Ask(
        tuple(tokens[-room:]), most, tuple(filter(None, until)), draw, tokenizer.most_thoughts
    )


def grades(spec: TaskSpec, texts: Mapping[str, Sequence[str]]) -> dict[str, list[Grades]]:
    """Of each task's answers, in the order of its items, every filter's numbers.

    Where that runs code that the model has written, in a process that is shut off.
    """
    with quiet(), seeded():
        tasks = load_tasks(spec)
    if any(getattr(tasks[name], "UNSAFE_CODE", False) for name in texts):
        return shut_off.graded(spec, texts)
    return graded_here(spec, texts)


def graded_here(
    spec: TaskSpec, texts: Mapping[str, Sequence[str]], folder: Path | None = None
) -> dict[str, list[Grades]]:
    """As `grades`, in this process, which works in `folder` once the tasks are loaded."""
    with quiet(), seeded():
        loaded = load_tasks(spec)
        tasks = {name: loaded[name] for name in texts}
        if folder is not None:
            os.chdir(folder)
        found: Any = evaluate(
            _Replay(texts),
            {"tasks": tasks},
            samples=chosen(tasks, spec) if spec.items else None,
            bootstrap_iters=0,
            confirm_run_unsafe_code=spec.allow_code_execution,
        )
    return {name: _by_item(found["samples"][name], len(texts[name])) for name in texts}


def _by_item(samples: Sequence[Mapping[str, Any]], items: int) -> list[Grades]:
    graded: list[Grades] = [{} for _ in range(items)]
    seen: dict[str, int] = {}
    for sample in samples:  # filter by filter, each in the order of the items
        place = seen.setdefault(sample["filter"], 0)
        seen[sample["filter"]] += 1
        graded[place][sample["filter"]] = {
            name: float(value)
            for name in sample["metrics"]
            if isinstance(value := sample[name], int | float)
        }
    return graded


class _Replay(LM):  # type: ignore[misc]  # lm-eval is untyped
    """Says what was said."""

    def __init__(self, texts: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self._texts = texts

    def generate_until(self, requests: list[Any], disable_tqdm: bool = True) -> list[str]:
        return [self._texts[request.task_name][request.doc_id] for request in requests]

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> Any:
        raise NotImplementedError("it only says")

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = True) -> Any:
        raise NotImplementedError("it only says")
