"""Few-shot examples: how many each task shows, and whether it has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenbench.errors import UserError

if TYPE_CHECKING:
    from lm_eval.api.task import Task


def set_shots(name: str, task: Task, wanted: int | None) -> None:
    """As lm-eval: `wanted` examples, or where null those of the task's file, drawn with lm-eval's seed.

    Raises UserError where the task has fewer.
    """
    from lm_eval.defaults import DEFAULT_OTHER_SEED

    own = task.get_config("num_fewshot")
    task.set_config("num_fewshot", require_examples(name, _available(task), own, wanted))
    task.set_fewshot_seed(DEFAULT_OTHER_SEED)


def require_examples(name: str, available: int, own: int | None, wanted: int | None) -> int:
    """How many examples are shown; `own` is what the task's file says, if it does, and 0 there means it.

    Raises UserError for more than there are.
    """
    ask = own or 0 if wanted is None or own == 0 else wanted
    if ask > available:
        asks = f"num_fewshot={ask} of task {name}" if wanted is None else f"task.fewshot={ask}"
        raise UserError(
            f"{asks} asks for more examples than the {available} that task {name} has "
            f"beside a question: set task.fewshot={available}, or choose other tasks."
        )
    return ask


def _available(task: Task) -> int:
    """Examples that a prompt can show because the question is not among them."""
    from lm_eval.api.samplers import ContextSampler

    declared = (task.config.metadata or {}).get("examples")
    if declared is not None:
        return int(declared)
    sampler = getattr(task, "sampler", None)
    if sampler is None:
        return len(list(task.fewshot_docs() or ()))
    pool = sampler.df
    without_question = task.fewshot_cfg.split == task.config.test_split  # lm-eval's own condition
    draws_one_more = type(sampler) is ContextSampler  # as it may have drawn the question
    if without_question and (draws_one_more or task.task_docs[0] in pool):
        return len(pool) - 1
    return len(pool)
