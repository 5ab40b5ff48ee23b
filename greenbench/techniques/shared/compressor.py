"""llm-compressor, in an environment of its own, as its transformers and compressed-tensors are not ours.

`make compressor` makes it, in the cache; ``GREENBENCH_COMPRESSOR`` names another folder.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from greenbench.engines.serving import journal
from greenbench.engines.serving.kept import Kept, finished
from greenbench.errors import Unsupported
from greenbench.machine import allowance
from greenbench.machine.environments import Environment
from greenbench.techniques.shared import one_shot

OWN = Environment("compressor", "GREENBENCH_COMPRESSOR")
PACKAGES = ("llmcompressor", "compressed-tensors")
"""Those that decide what comes out."""
STEP = re.compile(r"\((\d+)/(\d+)\): (?:Calibrating|Propagating)")
"""Of its sequential pipeline: the part of the model that it is at."""


@dataclass(frozen=True)
class Job:
    """What is to be compressed, and how; `one_shot` does it."""

    model: str
    """The plain checkpoint's directory."""
    recipe: dict[str, Any]
    """Modifiers of llm-compressor by name, in order, with their arguments."""
    tokens: Sequence[Sequence[int]]
    """Texts to calibrate on; none where the recipe looks at weights alone."""
    out: str
    """Directory that gets the checkpoint."""
    plain: str
    """File that gets the weights that it stands for."""
    trust: bool = False
    """Whether the model's own code may run."""


def require_installed(technique: str) -> None:
    """Raise Unsupported, in one sentence, where llm-compressor is not there."""
    if OWN.version(PACKAGES[0]) is None:
        raise Unsupported(
            f"technique={technique} is llm-compressor's, which runs in an environment of its own that is "
            "not there: make compressor"
        )


def versions() -> dict[str, str]:
    """Of what computes there."""
    found = {name: OWN.version(name) for name in (*PACKAGES, "torch", "transformers")}
    return {f"compressor:{name}": number for name, number in found.items() if number}


def compress(
    technique: str, job: Job, folder: Path, device: str, progress: Callable[[int, int], None]
) -> None:
    """Do `job` in processes of their own, with what they write in `folder`; they end with us.

    Raises EngineFault, or MemoryError, in one sentence.
    """
    journal.end_leftovers()
    file, log = folder / "job.json", folder / "compressor.log"
    file.write_text(json.dumps(asdict(job) | {"device": device}))
    log.write_bytes(b"")
    program = Kept([str(OWN.python()), "-I", one_shot.__file__, str(file)], _variables(device), log)

    def tell() -> None:
        if steps := STEP.findall(program.tail()):
            done, total = map(int, steps[-1])
            progress(done - 1, total)

    finished(
        program,
        tell,
        lambda how: (
            f"technique={technique} could not be applied, as llm-compressor ended with {how}: change "
            "the technique's knobs, or choose another."
        ),
    )


def _variables(device: str) -> dict[str, str]:
    """What its processes are to find: no network, the CPUs that are ours, a GPU only if the run has one."""
    found = {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(allowance.threads()),
        "OMP_WAIT_POLICY": "passive",  # threads that wait spin else, for long on a busy machine
    }
    return found if device == "cuda" else found | {"CUDA_VISIBLE_DEVICES": ""}
