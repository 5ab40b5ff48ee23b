"""What is refused where a small model hands over to the plain one, before either is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from greenbench.engines.engine import Engine
from greenbench.errors import Unsupported, UserError
from greenbench.quality.tasks import IN_WORDS, count_more, kinds
from greenbench.schema.spec import RunSpec
from greenbench.techniques.handover import Handover
from greenbench.techniques.stack import require_small
from greenbench.techniques.technique import Technique


def refuse_handover(stack: Sequence[Technique], spec: RunSpec, engine: Engine) -> None:
    """Two models answer in words, one request after another, and show no likelihood of a text."""
    require_small(stack)
    for technique in stack:
        if isinstance(technique, Handover):
            _refuse(technique, spec, engine)


def _refuse(technique: Handover, spec: RunSpec, engine: Engine) -> None:
    who, trust = f"technique={technique.name}", technique.trust()
    if kinds(spec.task) != {IN_WORDS}:
        raise UserError(
            f"{who} is of models that answer in words, and a task here asks how likely texts are: "
            "say task=answers, or task.names=[...] with tasks alone that are answered so."
        )
    if not spec.load.is_closed:
        raise UserError(f"{who} is measured one request after another: leave load out.")
    if "url" in engine.forms:
        raise Unsupported(
            f"{who} needs two servers, and engine={engine.name} is one that is running already: say "
            "engine=vllm, llama_cpp or transformers."
        )
    if trust.threshold is None:
        if not spec.task.items:
            raise UserError(
                f"{who} finds its threshold on items that the run does not ask, and task.items=0 asks all: "
                f"say fewer, or technique.{technique.name}.threshold."
            )
        trust.require(count_more(spec.task, trust.items))
