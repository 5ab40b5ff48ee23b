"""The prompts of items with choices: what lm-eval writes before the answer."""

from __future__ import annotations

from greenbench.engines.engine import Tokenizer
from greenbench.quality.lm_eval_quiet import quiet
from greenbench.quality.tasks import load_tasks, pick_items
from greenbench.schema.spec import TaskSpec


def prompts(tokenizer: Tokenizer, spec: TaskSpec) -> dict[tuple[str, int], list[int]]:
    """Token ids by task and place in its split, of the items of `spec` that have choices.

    Few-shot examples included. Where the choices have contexts of their own, as in WinoGrande, the
    first one's.
    """
    found: dict[tuple[str, int], list[int]] = {}
    for name, task in load_tasks(spec).items():
        if task.OUTPUT_TYPE != "multiple_choice":
            continue
        items = pick_items(name, len(task.eval_docs), spec)
        with quiet():
            task.build_all_requests(samples=items, rank=0, world_size=1)
        for request in task.instances:
            if request.idx == 0:
                key = task.config.task, items[request.doc_id]
                found[key] = _tokens(tokenizer, request.args[0])
    return found


def _tokens(tokenizer: Tokenizer, context: str) -> list[int]:
    """As lm-eval's TemplateLM splits them: spaces at the end belong to the answer."""
    before, _ = tokenizer.frame(chat=False)
    return [*before, *tokenizer.encode(context.rstrip())] or [tokenizer.prefix_id]
