"""Exports one checkpoint with OpenVINO's own tool; a program, run by the Python of its environment.

    export_ir.py JOB

JOB is a JSON file: `model` (a directory), `flags` (of ``optimum-cli export openvino``), `out` (gets the
files) and `plain` (null, or a file that gets the weights that the packed ones stand for, read back from
`out`). A fault is the last line of the output. It imports nothing of ours.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

TASK = "text-generation-with-past"
PLACE = re.compile(r"__module\.(.+)/(?:aten|ov_ext)::(?:linear/MatMul|embedding/Gather)")
"""What a matrix is used by, and in which module."""


def main(file: str) -> None:
    """Do the job that `file` describes."""
    job = json.loads(Path(file).read_text())
    export(job["model"], job["flags"], job["out"])
    if job["plain"]:
        read_back(job["out"], job["plain"])


def export(model: str, flags: list[str], out: str) -> None:
    """As the tool's command line does it."""
    from optimum.commands.optimum_cli import main as command

    sys.argv = ["optimum-cli", "export", "openvino", "--model", model, "--task", TASK, *flags, out]
    command()
    for name in ("openvino_model.xml", "openvino_detokenizer.xml"):
        if not (Path(out) / name).exists():
            raise RuntimeError(f"the export tool has failed to write {name}")


def read_back(exported: str, file: str) -> None:
    """Write the matrices that the files of `exported` stand for, in float32, by their modules' names."""
    import numpy as np
    import openvino as ov
    from safetensors.numpy import save_file

    core, found = ov.Core(), {}
    for node in core.read_model(Path(exported) / "openvino_model.xml").get_ops():
        if place := PLACE.fullmatch(node.get_friendly_name()):
            which = 1 if node.get_type_name() == "MatMul" else 0
            matrix = ov.Model([node.input_value(which)], [])
            exact = {"INFERENCE_PRECISION_HINT": "f32"}
            numbers: Any = core.compile_model(matrix, "CPU", exact)({})[0]
            found[f"{place[1]}.weight"] = np.ascontiguousarray(numbers, dtype=np.float32)
    if not found:
        raise RuntimeError("the exported model cannot be read back: it has no matrix with a name")
    save_file(found, file)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Exception as error:
        said = " ".join(str(error).split())
        sys.exit(f"{type(error).__name__}: {said}")
