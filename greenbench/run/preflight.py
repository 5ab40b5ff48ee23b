"""What is refused before a run starts, in one sentence each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbench.engines.engine import Build, Form
from greenbench.errors import Unsupported, UserError
from greenbench.models import corpus, files
from greenbench.models.packing import Packing, grids, packing
from greenbench.quality import shut_off
from greenbench.quality.tasks import IN_WORDS, check_tasks, kinds
from greenbench.run.handing_over import refuse_handover
from greenbench.run.loads import refuse_lengths, trace
from greenbench.schema.spec import (
    MeterSpec,
    ModelSpec,
    RunSpec,
    TaskSpec,
    WorkloadSpec,
)
from greenbench.techniques.replacement import Replacement
from greenbench.techniques.stack import (
    candidate_engine,
    check_purpose,
    require_compilable,
    require_forms,
    require_one_gpu,
    spoken,
    spoken_of,
)
from greenbench.techniques.technique import AnswerSetting, ModelEdit, Technique

if TYPE_CHECKING:
    from greenbench.engines.engine import Engine
    from greenbench.machine.detect import Machine
    from greenbench.meters.wall_log import WallLog
    from greenbench.schema.window import Who


def refuse(spec: RunSpec) -> None:
    """Raise UserError for a missing model, data wheel, data set, task or wall log, before a process starts;
    for the same engine twice, too."""
    engines(spec)
    files.check(spec.model)
    corpus.check(spec.training)
    for technique in spec.technique.values():
        technique.disclosed()  # says what is missing of its own
    check_tasks(spec.task)
    wall_log(spec.meter)
    trace(spec.load)


def refuse_here(spec: RunSpec, machine: Machine) -> None:
    """Raise Unsupported where `machine` cannot run the engine or a technique; no model is loaded."""
    stack = list(spec.technique.values())
    check_purpose(stack, spec)
    if spec.task.allow_code_execution:
        shut_off.require()
    runs = engines(spec)
    _refuse_engine(runs["baseline"], machine)
    refuse_lengths(spec, runs)
    refuse_handover(stack, spec, runs["candidate"])
    with spoken_of(stack):
        _refuse_engine(runs["candidate"], machine)
        require_one_gpu(stack, machine)
        require_forms(stack, runs["candidate"])
        require_compilable(stack, machine, spec.workload, runs["candidate"])
        for technique in stack:
            technique.check(machine, runs["candidate"])


def refusals(
    runs: Sequence[tuple[RunSpec, Machine]], *, models: bool, progress: object
) -> list[UserError | None]:
    """What `refuse_here` says of each, and `suited` where the `models` are here: a worker's call, as
    techniques may look at the device."""
    return [_refusal(spec, machine, models) for spec, machine in runs]


def _refusal(spec: RunSpec, machine: Machine, models: bool) -> UserError | None:
    from greenbench.run.workbench import require_meter  # it needs what is here

    try:
        refuse_here(spec, machine)
        if models:
            suited(spec, machine)
        require_meter(spec, machine)
    except UserError as error:
        return error
    return None


def engines(spec: RunSpec) -> dict[Who, Engine]:
    """What runs the baseline and what the candidate. Raises UserError where both are asked for as one."""
    chosen = candidate_engine(list(spec.technique.values()), spec.engine)
    return {"baseline": spec.engine, "candidate": chosen}


def elsewhere(spec: RunSpec) -> str | None:
    """Why no meter here counts the joules of both models; null: they do."""
    stack = list(spec.technique.values())
    for engine in engines(spec).values():
        if reason := engine.elsewhere():
            return reason if engine == spec.engine else spoken(stack, reason)
    return None


def _refuse_engine(engine: Engine, machine: Machine) -> None:
    engine.check(machine)
    if not engine.forms & {"module", "safetensors", "url"}:
        raise Unsupported(
            f"engine={engine.name} takes {', '.join(sorted(engine.forms))}, and the model "
            "is there as safetensors: choose an engine that takes those."
        )


def suited(spec: RunSpec, machine: Machine, *, files_asked: bool = False) -> dict[Who, Build]:
    """The plain model for each engine, once it suits both and its configuration the stack.

    `files_asked`: whether an engine that takes live modules is to get files. Raises UserError or
    Unsupported, in one sentence.
    """
    from greenbench.engines.transformers.load import config, template  # need torch, as above

    path, stack, runs = files.directory(spec.model), list(spec.technique.values()), engines(spec)
    _require_model(runs["baseline"], spec.model, path, machine)
    if runs["candidate"] != runs["baseline"]:
        with spoken_of(stack):
            _require_model(runs["candidate"], spec.model, path, machine)
    known = config(spec.model, path)
    refuse_model(stack, known, spec.workload, allow_partial=spec.allow_partial)
    for technique in stack:
        if isinstance(technique, AnswerSetting):
            technique.manner(template(spec.model, path))
            _refuse_silence(technique, spec.task)
        if isinstance(technique, Replacement):
            given = technique.of(spec.model)
            runs["candidate"].check_model(given, files.directory(given), machine)
            if "module" not in runs["candidate"].forms:
                held = config(given, files.directory(given))
                refuse_files([], held, given, runs["candidate"], machine)
    for who, engine in runs.items():
        if "module" not in engine.forms or files_asked:
            applied = stack if who == "candidate" else []
            with spoken_of(applied):
                refuse_files(applied, known, spec.model, engine, machine)
    forms: dict[Who, Form] = {
        who: "url" if each.forms == {"url"} else "safetensors" for who, each in runs.items()
    }
    gpus = max(1, len(machine.uuids))
    builds = {who: Build(spec.model, form, path, path, gpus=gpus) for who, form in forms.items()}
    for who, build in builds.items():
        _refuse_size(runs[who], build, machine)
    return builds


def _require_model(engine: Engine, spec: ModelSpec, path: Path, machine: Machine) -> None:
    """The plain model must be what the engine runs, and compiles where it is told to."""
    engine.check_model(spec, path, machine)
    if engine.compiles() and (why := engine.obstacle(spec)):
        raise Unsupported(
            f"engine.reference=compiled is not for model {spec.name}: {why}; say engine.reference=eager."
        )


def _refuse_size(engine: Engine, build: Build, machine: Machine) -> None:
    """Both models of a pair are loaded, in turn at least, and the plain one is the larger."""
    needed = engine.room_bytes(build)
    if needed > machine.memory_bytes:
        raise Unsupported(
            f"Model {build.model.name} needs {needed / 1e9:.3g} GB with engine={engine.name}, and "
            f"{machine.device_name} has {machine.memory_bytes / 1e9:.3g} GB: use more GPUs "
            "(device=cuda_all), or take a published smaller form of it (FP8, say) as the model, against "
            "which technique=checkpoint measures one that is smaller still."
        )


def _refuse_silence(technique: Technique, task: TaskSpec) -> None:
    """What is asked otherwise shows in answers alone."""
    if IN_WORDS not in kinds(task):
        raise UserError(
            f"technique={technique.name} shows where questions are answered in words, and none of the tasks "
            "has such: say task=answers, or task.names=[...] with a task that has."
        )


def refuse_model(
    stack: Sequence[Technique],
    config: Any,
    workload: WorkloadSpec,
    *,
    allow_partial: bool = False,
) -> None:
    """Each technique meets the model that those before it leave. `config` is transformers'; no weights
    are read.

    Raises UserError or Unsupported, in one sentence.
    """
    from greenbench.run import reach  # needs torch, as above

    _refuse_length(workload, config)
    for technique in stack:
        _refuse_packed(technique, config)
        if isinstance(technique, ModelEdit):
            reach.foresee(technique, config, allow_partial=allow_partial)
        technique.check_model(config, workload)
        config = technique.after(config)


def refuse_files(
    stack: Sequence[Technique], config: Any, spec: ModelSpec, engine: Engine, machine: Machine
) -> None:
    """Raise Unsupported, in one sentence, where an engine that takes files has no use for what they hold.

    `config` is transformers'; no weights are read.
    """
    packed = packing(config)
    if packed and not engine.forms & {"packed", "url"}:
        raise Unsupported(
            f"Model {spec.name} is packed ({packed}), which engine={engine.name} does not read: "
            "use engine=transformers, or the model that it was made from."
        )
    for grid in grids(config):
        _refuse_grid(f"Model {spec.name}", grid, config, spec, engine, machine)
    for technique in stack:
        if not isinstance(technique, ModelEdit):
            continue
        if packed:
            raise Unsupported(
                f"technique={technique.name} leaves no files of a checkpoint that is packed already "
                f"({packed}): take the model that it was made from."
            )
        if (leaves := technique.packing()) is not None:
            _refuse_others(technique, config)
            _refuse_grid(f"technique={technique.name}", leaves, config, spec, engine, machine)
        config = technique.after(config)


def _refuse_others(technique: Technique, config: Any) -> None:
    """Files in a packed format know linear layers alone."""
    from greenbench.techniques.shared.linear_views import other_kinds

    if kinds := other_kinds(config):
        raise Unsupported(
            f"technique={technique.name} leaves files that hold linear layers, and this model multiplies "
            f"by what {', '.join(kinds)} hold: use engine=transformers, where it needs no files."
        )


def _refuse_grid(
    who: str, grid: Packing, config: Any, spec: ModelSpec, engine: Engine, machine: Machine
) -> None:
    """The engine must be able to multiply by it."""
    from greenbench.techniques.shared.linear_views import shapes

    if why := engine.lacks(grid, shapes(config), spec.dtype, machine):
        raise Unsupported(
            f"{who} has weights of {grid}, which engine={engine.name} does not multiply by here, as {why}: "
            "use engine=transformers, or other knobs."
        )


def _refuse_length(workload: WorkloadSpec, config: Any) -> None:
    """A request must have a place for each of its tokens."""
    from greenbench.models.parts import positions

    limit, asked = positions(config), workload.prompt_tokens + workload.output_tokens
    if limit is not None and asked > limit:
        raise UserError(
            f"workload.prompt_tokens={workload.prompt_tokens} and workload.output_tokens="
            f"{workload.output_tokens} make {asked} tokens, and this model knows {limit} positions: "
            "ask for fewer."
        )


def _refuse_packed(technique: Technique, config: Any) -> None:
    """A checkpoint whose weights are packed is to a technique as one that comes after a packing one."""
    packed = packing(config)
    if packed and technique.traits().needs_plain_weights:
        raise UserError(
            f"technique={technique.name} needs plain weights, and this checkpoint's are packed already "
            f"({packed}): take the model that it was made from."
        )


def wall_log(spec: MeterSpec) -> WallLog | None:
    """The log that `spec` names, read; null where it names none. Raises UserError."""
    if not spec.wall_log:
        return None
    from greenbench.meters.wall_log import WallLog

    return WallLog(Path(spec.wall_log), spec.wall_offset_s)
