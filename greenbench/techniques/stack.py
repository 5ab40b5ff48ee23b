"""Which technique may follow which, and which stack an engine can run.

The order of a stack is that of its edits: each meets the model that those before it leave. Options
merge in that order too, and what settings hold nests in it; they may stand anywhere among the edits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from greenbench.engines.engine import Engine, Form
from greenbench.errors import Unsupported, UserError
from greenbench.schema.technique import Promise
from greenbench.techniques.handover import Handover
from greenbench.techniques.recipe import Recipe, require_one_choice, require_purpose
from greenbench.techniques.replacement import Replacement, check_files
from greenbench.techniques.technique import (
    AnswerSetting,
    EngineOption,
    MachineSetting,
    ModelEdit,
    Technique,
    Traits,
    require_answer,
)

if TYPE_CHECKING:
    from greenbench.machine.detect import Machine
    from greenbench.schema.spec import ModelSpec, RunSpec, WorkloadSpec

Test = Callable[[Traits], bool]
KINDS = (ModelEdit, EngineOption, MachineSetting, AnswerSetting, Handover, Recipe)


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
                f"technique={technique.name} is of none of the six kinds: let its class be a "
                "ModelEdit, an EngineOption, a MachineSetting, an AnswerSetting, a Handover or a Recipe."
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
    require_one_choice(stack)
    _check_handover(stack)
    check_files(stack)


def check_purpose(stack: Sequence[Technique], spec: RunSpec) -> None:
    """The same, of a stack that is to serve or to train."""
    check_order(stack)
    require_purpose(stack, spec)


def _check_handover(stack: Sequence[Technique]) -> None:
    """One at most, at the end."""
    for position, technique in enumerate(stack):
        if not isinstance(technique, Handover):
            continue
        if position < len(stack) - 1:
            raise UserError(
                f"technique={stack[position + 1].name} cannot come after {technique.name}, which hands over "
                f"to the plain model: put {technique.name} last."
            )


def require_small(stack: Sequence[Technique]) -> None:
    """Raise UserError where a handover has no small model, or two."""
    edited = [each.name for each in stack if isinstance(each, ModelEdit)]
    for technique in stack:
        if not isinstance(technique, Handover):
            continue
        if technique.small() is None and not edited:
            raise UserError(
                f"technique={technique.name} has no small model: say technique.{technique.name}.path=FOLDER, "
                f"or put before it what makes one, as technique=[prune_depth_heal,{technique.name}]."
            )
        if technique.small() is not None and edited:
            raise UserError(
                f"technique.{technique.name}.path names the small model, so that {edited[0]} would change "
                "none: leave one of them out."
            )


def _refuse(rule: Order, earlier: Sequence[Technique], later: Sequence[Technique]) -> None:
    first = [technique.name for technique in earlier if rule.earlier(technique.traits())]
    then = [technique.name for technique in later if rule.later(technique.traits())]
    if first and then:
        raise UserError(rule.sentence.format(earlier=first[0], later=then[0]))


def candidate_engine(stack: Sequence[Technique], engine: Engine) -> Engine:
    """What runs the candidate: `engine`, which runs the baseline, or another that an option chooses.

    Raises UserError where that is the same one.
    """
    chosen = [(t, other) for t in stack if isinstance(t, EngineOption) and (other := t.other())]
    for technique, other in chosen:
        if other == engine:
            raise UserError(
                f"technique={technique.name} runs the candidate in {other.name}, as the baseline is with the "
                "same knobs: choose another engine for one of them, or leave this technique out."
            )
    return chosen[-1][1] if chosen else engine


@contextmanager
def spoken_of(stack: Sequence[Technique]) -> Iterator[None]:
    """What the candidate's engine says against a run, in the words of the option that chose it."""
    try:
        yield
    except UserError as error:
        raise type(error)(spoken(stack, str(error))) from error.__cause__


def spoken(stack: Sequence[Technique], text: str) -> str:
    """What the candidate's engine says, in the words of the option that chose it."""
    for technique in stack:
        text = technique.spoken(text) if isinstance(technique, EngineOption) else text
    return text


def of_reference(stack: Sequence[Technique]) -> str | None:
    """The technique that is part of the compiled reference; null: none."""
    return next((each.name for each in stack if each.traits().of_reference), None)


def uncompiled(stack: Sequence[Technique], machine: Machine, spec: RunSpec) -> str | None:
    """Why the compiled reference's way to run a model is not open to the stack's; null: it is.

    `spec` is the run's: of its model, workload and engine.
    """
    engine = candidate_engine(stack, spec.engine)
    return next(
        (f"{each.name} {why}" for each in stack for why in _bars(each, machine, spec, engine)), None
    )


def _bars(technique: Technique, machine: Machine, spec: RunSpec, engine: Engine) -> Iterator[str]:
    traits, workload = technique.traits(), spec.workload
    if traits.drafts_tokens:
        yield "decodes by a loop of its own"
    if traits.chooses_cache and not traits.of_reference:
        yield "has a cache of its own"
    if traits.adds_exits or not traits.traceable:
        yield "has a forward pass that cannot be traced"
    if traits.breaks_graphs:
        yield "has a forward pass that is not traced in one piece"
    if _too_few_rows(traits, machine, workload):
        yield (
            f"has a kernel that takes {traits.compiled_rows} rows or more where it is compiled, and "
            f"workload.batch_size is {workload.batch_size}"
        )
    with suppress(UserError):  # of files that are not here or not named, which its run then says
        own = _own_model(technique, spec.model)
        if own and (why := engine.obstacle(own)):
            yield f"has a model of its own: {why}"


def _own_model(technique: Technique, plain: ModelSpec) -> ModelSpec | None:
    """The one that it brings in place of the `plain` one, or before it; null: none."""
    if isinstance(technique, Replacement):
        return technique.of(plain)
    return technique.small() if isinstance(technique, Handover) else None


def _too_few_rows(traits: Traits, machine: Machine, workload: WorkloadSpec) -> bool:
    return machine.device != "cpu" and workload.batch_size < traits.compiled_rows


def require_compilable(
    stack: Sequence[Technique], machine: Machine, workload: WorkloadSpec, engine: Engine
) -> None:
    """Raise Unsupported, in one sentence, for what would be compiled and cannot, or is so already."""
    part = of_reference(stack)
    if part and engine.compiles():
        raise Unsupported(
            f"technique={part} is part of engine.reference=compiled, against which it shows nothing: say "
            "engine.reference=eager."
        )
    compiled = any(each.traits().traces for each in stack)
    for technique in stack:
        traits = technique.traits()
        if compiled and _too_few_rows(traits, machine, workload):
            raise Unsupported(
                f"technique={technique.name} cannot be compiled for workload.batch_size="
                f"{workload.batch_size} on {machine.device_name}, where its kernel then takes "
                f"{traits.compiled_rows} rows or more: leave compile out, or raise the batch size."
            )


def form_of(stack: Sequence[Technique]) -> Form:
    """What a stack leaves where files are asked for: as its last edit says, and packed by one, packed."""
    forms = [technique.form for technique in stack if isinstance(technique, ModelEdit)]
    return "packed" if "packed" in forms else (forms or ["safetensors"])[-1]


def require_one_gpu(stack: Sequence[Technique], machine: Machine) -> None:
    """Raise Unsupported, in one sentence, where a technique cannot reach over several GPUs."""
    count = len(machine.uuids)
    for technique in stack:
        if count > 1 and technique.traits().one_gpu:
            raise Unsupported(
                f"technique={technique.name} keeps weights or states on one GPU, and device=cuda_all spreads "
                f"this model over {count}: say device=cuda:0, or leave it out."
            )


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
        takers = {"gguf": "llama_cpp", "packed": "vllm", "openvino": "openvino"}
        other = takers.get(technique.form, "transformers")
        raise Unsupported(f"technique={technique.name} {what}: use engine={other}.")
