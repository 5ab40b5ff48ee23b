"""What `run` measures, left as files for the user to deploy: the same preparation, the same bytes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from greenbench.engines.engine import Engine
from greenbench.errors import Unsupported, UserError
from greenbench.files import unwritable
from greenbench.machine.detect import detect_used
from greenbench.machine.processes import OwnProcesses
from greenbench.measure.schedule import Progress
from greenbench.models import files
from greenbench.run.checkpoint import in_process, kept
from greenbench.run.preflight import engines, refuse_here, suited
from greenbench.run.prepare import Candidate
from greenbench.run.workbench import Bench, Place, Stages, opened
from greenbench.schema.spec import RunSpec
from greenbench.techniques import EngineOption, Handover, ModelEdit


class Made(NamedTuple):
    """What was left, and where."""

    directory: Path
    checkpoint: str
    """Hash of its content, as a run's record has it."""
    files: tuple[str, ...]
    flags: tuple[str, ...]
    """What the engine is told beside it, by the stack's options; empty for none."""


def refuse(spec: RunSpec, target: Path) -> None:
    """Raise UserError or Unsupported, in one sentence, for what leaves no files, or has no place to."""
    stack, engine = list(spec.technique.values()), engines(spec)["candidate"]
    if "url" in engine.forms:
        raise Unsupported(
            f"engine={engine.name} is a server that is running already, which is handed no files: "
            "say engine=vllm, llama_cpp or transformers."
        )
    if pair := [each.name for each in stack if isinstance(each, Handover)]:
        raise Unsupported(
            f"technique={pair[0]} is two models, and files are of one: leave it out, for what its stack "
            "makes of the small one."
        )
    if alone := in_process(stack):
        raise Unsupported(
            f"technique={alone} lives in the model's own Python code, so that there are no files of it to "
            "deploy: leave it out."
        )
    if stack and not any(isinstance(each, ModelEdit) for each in stack):
        names, flags = ",".join(spec.technique), " ".join(_flags(spec))
        how = f"serve the plain model with {flags}" if flags else "set the machine"
        raise Unsupported(
            f"technique={names} leaves the model as it is, so that there is nothing to make: {how}."
        )
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(f"{target} is there already and not empty: name a new directory with -o.")


def make(spec: RunSpec, target: Path, *, progress: Progress) -> Made:
    """Prepare what `spec`'s engine would be handed, and leave it in `target`; what a run has kept is taken.

    Raises as `refuse`, before any model is loaded.
    """
    stages, own = Stages(progress), OwnProcesses()
    machine = detect_used(spec.device)
    refuse(spec, target)
    refuse_here(spec, machine)
    with opened(spec, machine, own) as meters:
        bench = Bench(spec, machine, meters, own)
        fingerprint = files.fingerprint(spec.model)
        base = suited(spec, machine, files_asked=True)["candidate"]
        engine = bench.engines["candidate"]
        place = Place(machine, engine, base, fingerprint, files=True)
        candidate = Candidate(spec, list(spec.technique.values()), place, bench.recorder, progress)
        recipe = candidate.recipe()
        made = kept(recipe) if recipe else None
        if made is None:
            with stages("prepare"):
                made = engine.files(candidate.build())
        with stages("write"):
            names = _left(made, target)
            checkpoint = files.content(made)
        candidate.close()
    return Made(target, checkpoint, names, tuple(_flags(spec)))


def _flags(spec: RunSpec) -> list[str]:
    """What the stack's options tell the engine, in its words."""
    options: Mapping[str, object] = {}
    engine: Engine = engines(spec)["candidate"]
    for technique in spec.technique.values():
        if isinstance(technique, EngineOption):
            options = {**options, **technique.options(engine.name)}
    return engine.flags(options)


def _left(made: Path, target: Path) -> tuple[str, ...]:
    """Copy a file, or what counts of a model's directory, to `target`: whole, or not at all."""
    parts = files.parts(made) if made.is_dir() else {made.name: made}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=target.parent, prefix=".making-") as work:
            fresh = Path(work) / target.name
            for name, part in parts.items():
                (fresh / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(part, fresh / name)
            fresh.rename(target)
    except OSError as error:
        raise unwritable(
            f"The files cannot be written to {target}", error, "choose another directory"
        ) from error
    return tuple(parts)
