"""What OpenVINO's export tool makes of a checkpoint, in processes of its own that end with us."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree.ElementTree import iterparse

from greenbench.engines.openvino import environment, export_ir
from greenbench.engines.serving import journal
from greenbench.engines.serving.kept import Kept, finished
from greenbench.machine import allowance

USUAL_S = 60
"""About what it takes for a small model, for people who wait."""
LEAST = 64
"""Constants of fewer numbers are axes, shapes and bounds of the graph, and no weights."""
DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
"""Those of plain numbers, by the names that OpenVINO has for them."""
NUMBERS = {**DTYPES, "i8": "int8", "u8": "uint8", "i4": "int4", "u4": "uint4"}


@dataclass(frozen=True)
class Job:
    """What is to be exported, and how; `export_ir` does it."""

    model: str
    """The plain checkpoint's directory."""
    flags: Sequence[str]
    """Of ``optimum-cli export openvino``."""
    out: str
    """Directory that gets the files."""
    plain: str | None = None
    """File that gets the weights that packed ones stand for."""


def export(who: str, job: Job, folder: Path, progress: Callable[[int, int], None]) -> None:
    """Do `job`, with what is written beside it in `folder`. `who` begins the sentence of a fault.

    Raises EngineFault, or MemoryError, in one sentence.
    """
    journal.end_leftovers()
    folder.mkdir(parents=True, exist_ok=True)
    file, log = folder / "job.json", folder / "export.log"
    file.write_text(json.dumps(asdict(job)))
    log.write_bytes(b"")
    command = [str(environment.python()), "-I", export_ir.__file__, str(file)]
    program = Kept(command, environment.variables(allowance.threads()), log)
    began_s = time.monotonic()

    def tell() -> None:
        progress(min(int(time.monotonic() - began_s), USUAL_S), USUAL_S)

    finished(
        program,
        tell,
        lambda how: (
            f"{who} could not be exported, as OpenVINO's tool ended with {how}: choose another "
            "or technique."
        ),
    )


def held(directory: Path) -> dict[str, int]:
    """Bytes of the weights in an exported model, by their dtype."""
    found: dict[str, int] = {}
    for _, node in iterparse(directory / "openvino_model.xml"):
        if node.tag == "layer" and node.get("type") == "Const":
            data = node.find("data")
            if data is not None and (name := NUMBERS.get(data.get("element_type", ""))):
                size = int(data.get("size", 0))
                found[name] = found.get(name, 0) + size * (size >= LEAST)
            node.clear()
    return {name: size for name, size in found.items() if size}
