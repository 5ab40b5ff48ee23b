"""Which technique may follow which, and which stack an engine can run.

The order of a stack is that of its edits: each meets the model that those before it leave. Options
merge in that order too, and what settings hold nests in it; they may stand anywhere among the edits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from greenbench.engines.engine import Engine, Form
from greenbench.errors import Unsupported, UserError
from greenbench.schema.technique import Promise
from greenbench.techniques.technique import (
    EngineOption,
    MachineSetting,
    ModelEdit,
    Technique,
    Traits,
    require_answer,
)

Test = Callable[[Traits], bool]
KINDS = (ModelEdit, EngineOption, MachineSetting)


class Order(NamedTuple):
    """What passes `later` may not come after what passes `earlier`."""

    earlier: Test
    later: Test
    sentence: str
    """With the names of both in it."""


class Sole(NamedTuple):
    """A stack has room for one that passes `test`."""

    test: Test
    what: str
    """That they both do."""


ORDER = (
    Order(
        lambda earlier: earlier.packs_weights,
        lambda later: later.needs_plain_weights,
        "technique={later} cannot come after {earlier}, which packs the weights: put {later} first.",
    ),
    Order(
        lambda earlier: earlier.holds_blocks,
        lambda later: later.needs_plain_weights or later.changes_blocks,
        "technique={later} cannot come after {earlier}, which keeps to the blocks and weights that it "
        "found: put {later} first.",
    ),
    Order(
        lambda earlier: not earlier.traceable,
        lambda later: later.traces,
        "technique={later} cannot come after {earlier}, whose forward pass it cannot trace: leave one "
        "of them out.",
    ),
)
ONE_OF_A_KIND = (
    Sole(lambda traits: traits.drafts_tokens, "draft tokens for one pass to check"),
    Sole(lambda traits: traits.adds_exits, "change what the blocks do"),
    Sole(lambda traits: traits.chooses_cache, "choose the key-value cache"),
)
APART = (
    Order(
        lambda one: one.chooses_cache,
        lambda other: other.drafts_tokens,
        "technique={later} cannot be stacked with {earlier}, as drafts that are rejected must be cut "
        "from the cache, which that one does not allow: choose one.",
    ),
)
"""Rules that hold whichever comes first."""


def check_order(stack: Sequence[Technique]) -> None:
    """Refuse a stack whose order cannot work, in one sentence."""
    for technique in stack:
        if not isinstance(technique, KINDS):
            raise UserError(
                f"technique={technique.name} is of none of the three kinds: let its class be a "
                "ModelEdit, an EngineOption or a MachineSetting."
            )
        require_answer(technique, "traits", technique.traits(), Traits)
        if not isinstance(technique, ModelEdit):  # whose promise needs the model
            require_answer(technique, "promise", technique.promise(), Promise)
    for position, technique in enumerate(stack):
        for rule in ORDER:
            _refuse(rule, stack[:position], [technique])
    for sole in ONE_OF_A_KIND:
        names = [technique.name for technique in stack if sole.test(technique.traits())]
        if len(names) > 1:
            raise UserError(
                f"technique={names[1]} cannot be stacked with {names[0]}, as both {sole.what}: choose "
                "one."
            )
    for rule in APART:
        _refuse(rule, stack, stack)


def _refuse(rule: Order, earlier: Sequence[Technique], later: Sequence[Technique]) -> None:
    first = [technique.name for technique in earlier if rule.earlier(technique.traits())]
    then = [technique.name for technique in later if rule.later(technique.traits())]
    if first and then:
        raise UserError(rule.sentence.format(earlier=first[0], later=then[0]))


def form_of(stack: Sequence[Technique]) -> Form:
    """What a stack leaves where files are asked for: as its last edit says, and packed by one, packed."""
    forms = [technique.form for technique in stack if isinstance(technique, ModelEdit)]
    return "packed" if "packed" in forms else (forms or ["safetensors"])[-1]


def require_forms(stack: Sequence[Technique], engine: Engine) -> None:
    """Raise Unsupported, in one sentence, where `engine` cannot take what an edit leaves."""
    if "module" in engine.forms:
        return
    for technique in stack:
        if not isinstance(technique, ModelEdit) or technique.form in engine.forms:
            continue
        what = (
            f"lives in the model's own Python code, which engine={engine.name} does not run"
            if technique.form == "module"
            else f"leaves a model as {technique.form}, which engine={engine.name} does not take"
        )
        other = "llama_cpp" if technique.form == "gguf" else "transformers"
        raise Unsupported(f"technique={technique.name} {what}: use engine={other}.")
