"""The prompts of items with choices: what lm-eval writes before the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from greenbench.engines.tokenizer import Tokenizer
from greenbench.quality.lm_eval_quiet import quiet
from greenbench.quality.lm_eval_seeds import seeded
from greenbench.quality.score import applies_chat
from greenbench.quality.tasks import chosen, load_tasks
from greenbench.schema.spec import TaskSpec


def prompts(tokenizer: Tokenizer, spec: TaskSpec) -> dict[tuple[str, int], list[int]]:
    """Token ids by task and place in its split, of the items of `spec` that have choices.

    Few-shot examples included. Where the choices have contexts of their own, as in WinoGrande, the
    first one's.
    """
    found: dict[tuple[str, int], list[int]] = {}
    with quiet(), seeded():
        tasks = load_tasks(spec)
        for name, items in chosen(tasks, spec).items():
            if tasks[name].OUTPUT_TYPE != "multiple_choice":
                continue
            chat = applies_chat(spec, tokenizer, words=False)
            tasks[name].build_all_requests(
                samples=items,
                rank=0,
                world_size=1,
                apply_chat_template=chat,
                fewshot_as_multiturn=chat,
                chat_template=partial(_rendered, tokenizer) if chat else None,
            )
            for request in tasks[name].instances:
                if request.idx == 0:
                    key = name, items[request.doc_id]
                    found[key] = _tokens(tokenizer, request.args[0])
    return found


def _rendered(
    tokenizer: Tokenizer, turns: Sequence[Mapping[str, str]], add_generation_prompt: bool = True
) -> str:
    return tokenizer.chat(turns, opened=add_generation_prompt)


def _tokens(tokenizer: Tokenizer, context: str) -> list[int]:
    """As lm-eval's TemplateLM splits them: spaces at the end belong to the answer."""
    return tokenizer.prompt(context.rstrip()) or [tokenizer.prefix_id]
