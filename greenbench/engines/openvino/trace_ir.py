"""Counts what OpenVINO's own runtime spends a batch of answers in, node by node: a script, its job a file.

    trace_ir.py JOB

The pipeline that serves tells nothing of its nodes; the runtime beneath it reads the same files. JOB is a
JSON file: `model` (a directory), `properties`, `prompts` (of one length), `new_tokens`, and `out`, the JSON
file that gets `wall_s` (as always), `counted_s` (with counters), `queued_s` (of that, others had the
processor) and `nodes`. A fault is the last line of the output. Imports nothing of ours.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13

Counts = Mapping[str, float]
"""By node, seconds; the runtime tells those of one call in the mean of all, and no others."""


def main(file: str) -> None:
    """Do the job that `file` describes."""
    job = json.loads(Path(file).read_text())
    counted = Answers(job, count=True)
    found: dict[str, Any] = {"nodes": counted.nodes()}
    found |= {"counted_s": counted.wall_s, "queued_s": counted.queued_s}
    del counted  # one at a time is in memory
    plain = Answers(job, count=False)
    plain.twice()
    Path(job["out"]).write_text(json.dumps(found | {"wall_s": plain.wall_s}))


class Answers:
    """A model that answers the job's prompts, greedily."""

    def __init__(self, job: Mapping[str, Any], *, count: bool) -> None:
        core = ov.Core()
        model = core.read_model(f"{job['model']}/openvino_model.xml")
        keep_last(model)
        properties = {**job["properties"], "PERF_COUNT": "YES" if count else "NO"}
        self._compiled = core.compile_model(model, "CPU", properties)
        self._asks = self._compiled.create_infer_request()
        self._names = {name for each in self._compiled.inputs for name in each.names}
        self._prompts, self._steps = job["prompts"], job["new_tokens"] - 1
        self._read = 0
        self.wall_s = self.queued_s = 0.0
        """Since the last prompt was begun; the second: while others had the processor."""

    def twice(self) -> None:
        """Give all answers, and once more: what is made at a first call is made."""
        for _ in range(2):
            self._prompt()
            self._step(self._steps)

    def nodes(self) -> list[dict[str, Any]]:
        """What each node took, the prompt and the steps after it apart."""
        self._prompt()
        self._step(1)  # what is made at a first call is made
        before = self._counts()
        self._prompt()
        prompt, found = self._counts(), []
        found += self._told(more(before, 2, prompt, 3), 1)
        if self._steps:
            self._step(self._steps)
            found += self._told(more(prompt, 3, self._counts(), 3 + self._steps), self._steps)
        return found

    def _told(self, spent: Counts, calls: int) -> list[dict[str, Any]]:
        """Those that were executed, also in less than a microsecond, which reads 0; the runtime's graph has
        the shapes of the last call."""
        graph = self._compiled.get_runtime_model().get_ops()
        inputs = {node.get_friendly_name(): shapes(node) for node in graph}
        return [
            {
                "name": self._kinds[name],
                "inputs": inputs.get(name, []),
                "calls": calls,
                "seconds": max(0.0, seconds),
            }
            for name, seconds in spent.items()
        ]

    def _prompt(self) -> None:
        self._asks.reset_state()
        self._read = 0
        self.wall_s = self.queued_s = 0.0
        self._infer(self._prompts)

    def _step(self, many: int) -> None:
        for _ in range(many):
            self._infer(self._next)

    def _infer(self, tokens: Sequence[Sequence[int]]) -> None:
        begun_s, waited_s = time.perf_counter(), queued_s()
        rows, width = len(tokens), len(tokens[0])
        end = self._read + width
        places = np.arange(self._read, end, dtype=np.int64)
        given = {
            "input_ids": np.array(tokens, dtype=np.int64),
            "attention_mask": np.ones((rows, end), dtype=np.int64),
            "position_ids": np.tile(places, (rows, 1)),
            "beam_idx": np.arange(rows, dtype=np.int32),
        }
        said = self._asks.infer({name: given[name] for name in given.keys() & self._names})
        self._next = said["logits"][:, -1].argmax(-1)[:, None].tolist()
        self._read = end
        self.wall_s += time.perf_counter() - begun_s
        self.queued_s += queued_s() - waited_s

    def _counts(self) -> Counts:
        told = self._asks.get_profiling_info()
        known = [each for each in told if each.status == ov.ProfilingInfo.Status.EXECUTED]
        self._kinds = {each.node_name: each.node_type for each in known}
        return {each.node_name: each.real_time.total_seconds() for each in known}


def more(before: Counts, calls: int, after: Counts, then: int) -> Counts:
    """Seconds from the one mean to the other, each over all calls so far."""
    return {name: then * mean - calls * before.get(name, 0.0) for name, mean in after.items()}


def keep_last(model: Any) -> None:
    """Have it make the words after the last token alone, as the pipeline does."""
    product = model.output("logits").get_node().input_value(0).get_node()
    if product.get_type_name() != "MatMul":
        raise RuntimeError(f"its words come from {product.get_type_name()}, and not from a product")
    end, before, back, axis = (opset13.constant(np.array([each])) for each in (-1, -2, -1, 1))
    last = opset13.slice(product.input_value(0), end, before, back, axis)
    product.input(0).replace_source_output(last.output(0))
    model.validate_nodes_and_infer_types()


def shapes(node: Any) -> list[tuple[list[int], str]]:
    """Shape and number format of each input."""
    found = []
    for each in node.inputs():
        source = each.get_source_output()
        open_or_not = source.get_partial_shape()
        shape = list(open_or_not.to_shape()) if open_or_not.is_static else []
        found.append((shape, source.get_element_type().get_type_name()))
    return found


def queued_s() -> float:
    """That this thread has waited while others had the processor; 0 where the system does not say."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Exception as error:
        said = " ".join(str(error).split())
        sys.exit(f"{type(error).__name__}: {said}")
