"""What OpenVINO's runtime spends a batch in: its counters of each node, in a process of its own.

The pipeline that serves tells nothing of its nodes. The runtime beneath it reads the same files with the same
kernels, but for attention, which is the model's own there.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from greenbench.engines.engine import Request
from greenbench.engines.openvino import environment
from greenbench.engines.serving.client import Client
from greenbench.engines.serving.kept import Kept, finished
from greenbench.engines.serving.served import Body, FromServer
from greenbench.engines.timeline import Key
from greenbench.errors import Unavailable
from greenbench.schema.profile import Operation, Trace

if TYPE_CHECKING:
    from greenbench.engines.serving.scoring import Scorer

SCRIPT: Final = Path(__file__).with_name("trace_ir.py")
NUMBERS: Final = {
    "f32": "float", "f16": "c10::Half", "bf16": "c10::BFloat16", "i64": "long int", "i32": "int",
    "i8": "signed char", "u8": "unsigned char", "i4": "signed char", "u4": "unsigned char",
}  # fmt: skip
"""Of torch, by OpenVINO's names: shapes are of single numbers there, in however few bits each is."""


class Traced(FromServer):
    """Its server, beside which the runtime is looked into."""

    def __init__(
        self,
        client: Client,
        scorer: Callable[[Client], Scorer],
        body: Body,
        model: Mapping[str, object],
        variables: Mapping[str, str],
    ) -> None:
        """`model`: the directory and properties that the runtime is told; `variables` beside ours."""
        super().__init__(client, scorer, body)
        self._model, self._variables = model, variables
        self.tool = f"OpenVINO {environment.version('openvino')}, its runtime's counters"

    def traced(self, batch: Sequence[Request]) -> Trace:
        """Of a batch whose prompts and answers are of one length each."""
        lengths = {(len(each.tokens), each.new_tokens) for each in batch}
        if len(lengths) != 1:
            raise Unavailable("OpenVINO's runtime is only looked into with prompts of one length")
        ((_, new_tokens),) = lengths
        with TemporaryDirectory(prefix="greenbench-") as place:
            job, out, log = (Path(place) / name for name in ("job", "out", "log"))
            asked = {"prompts": [each.tokens for each in batch], "new_tokens": new_tokens}
            job.write_text(json.dumps({**self._model, **asked, "out": str(out)}))
            log.write_bytes(b"")
            command = [str(environment.python()), "-I", str(SCRIPT), str(job)]
            finished(
                Kept(command, self._variables, log),
                lambda: None,
                lambda how: f"OpenVINO's runtime could not be looked into ({how}).",
            )
            return trace(json.loads(out.read_text()))


def trace(counted: Mapping[str, Any]) -> Trace:
    """Of what `trace_ir.py` has found: what no node took is outside of them. The time in which others had the
    processor is taken off both, in proportion."""
    seconds: defaultdict[Key, float] = defaultdict(float)
    calls: Counter[Key] = Counter()
    left = max(0.0, 1 - counted["queued_s"] / max(counted["counted_s"], 1e-12))
    for node in counted["nodes"]:
        shapes = tuple(tuple(shape) for shape, _ in node["inputs"])
        numbers = tuple(NUMBERS.get(form, form) for _, form in node["inputs"])
        key = f"openvino::{node['name']}", shapes, numbers
        seconds[key] += left * node["seconds"]
        calls[key] += node["calls"]
    operations = tuple(Operation(*key, calls[key], seconds[key]) for key in seconds)
    between_s = max(0.0, left * counted["counted_s"] - sum(seconds.values()))
    return Trace(counted["wall_s"], operations, between_s, 0.0, 0.0, 0.0)
