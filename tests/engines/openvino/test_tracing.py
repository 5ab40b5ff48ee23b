"""What OpenVINO's runtime counts of each node: counts that the real one wrote, and the real one itself."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from helpers.architectures import checkpoint, small_tokenizer
from helpers.real_engines import build

from greenbench.analysis.energy.operators import known, profiled
from greenbench.engines.engine import Request
from greenbench.engines.openvino import environment
from greenbench.engines.openvino.engine import OpenVino
from greenbench.engines.openvino.tracing import trace
from greenbench.engines.tracing import Traceable
from greenbench.errors import Unavailable
from greenbench.machine.detect import Machine

RECORDED = Path(__file__).parent / "traces" / "nodes.json.gz"
"""By `trace_ir.py` with OpenVINO 2026.4.1: a prompt of 32 tokens and two more after the first, by a Llama of
4 layers, 128 wide, with 4 heads, 2 of keys, and 512 words; others had the processor most of the time."""
PER_TOKEN = 4 * 128 * (256 + 128 + 256 + 128)
"""Multiplications in its layers: heads, what joins them, and both halves of what is behind."""
ANGLES = 16
"""And for what turns a token's heads by its place, half as wide as these."""
FULLY_S, ANGLES_S, NODES_S = 1393e-6, 275e-6, 2958e-6
"""Sums over the file: of layers' products, of the angles', and of all nodes."""


def counted():
    return json.loads(gzip.decompress(RECORDED.read_bytes()))


def test_nodes_are_operators_with_their_shapes_and_what_no_node_took_is_outside():
    alone = {**counted(), "queued_s": 0.0}
    found = trace(alone)
    layers = [each for each in found.operations if each.name == "openvino::FullyConnected"]
    assert sum(each.seconds for each in layers) == pytest.approx(FULLY_S)
    sides = profiled([found], known([found], on_host=True))
    assert sides.multiplications == 34 * (PER_TOKEN + ANGLES) + 3 * 128 * 512
    assert sides.kinds_s["products"] == [pytest.approx(FULLY_S + ANGLES_S)]
    whole_s = sum(each for (each,) in sides.kinds_s.values())
    assert whole_s == pytest.approx(alone["counted_s"])
    assert found.wall_s == alone["wall_s"]
    assert found.between_s == pytest.approx(alone["counted_s"] - NODES_S)


def test_the_time_in_which_others_had_the_processor_is_taken_off_in_proportion():
    busy = counted()
    left = 1 - busy["queued_s"] / busy["counted_s"]
    assert 0 < left < 0.5
    alone, found = trace({**busy, "queued_s": 0.0}), trace(busy)
    assert found.between_s == pytest.approx(left * alone.between_s)
    for one, other in zip(found.operations, alone.operations, strict=True):
        assert one[:4] == other[:4]
        assert one.seconds == pytest.approx(left * other.seconds)


def test_packed_weights_are_seen_by_their_number_format():
    inputs = [[[1, 32, 128], "f32"], [[256, 128], "u8"], [[256, 1], "f16"]]
    node = {"name": "FullyConnected", "inputs": inputs, "calls": 3, "seconds": 1.0}
    found = trace({"nodes": [node], "wall_s": 2.0, "counted_s": 2.0, "queued_s": 0.0})
    (kind,) = profiled([found], known([found], on_host=True)).calls
    assert kind == "packed products"


@pytest.mark.openvino
@pytest.mark.skipif(
    environment.version("openvino-genai") is None,
    reason="the real OpenVINO is not installed: make engine-openvino",
)
def test_the_real_one_counts_its_nodes_beside_the_server(tmp_path):
    path = checkpoint("llama", small_tokenizer(), tmp_path / "llama", hidden_size=128)
    batch = [Request(tuple(range(3, 35)), 3)] * 2
    with OpenVino(threads=1).serve(build(path), Machine("cpu", "some CPU", 1 << 34)) as served:
        assert isinstance(served, Traceable)
        assert served.tool == f"OpenVINO {environment.version('openvino')}, its runtime's counters"
        found = served.traced(batch)
        with pytest.raises(Unavailable, match="only looked into with prompts of one length"):
            served.traced([*batch, Request((3, 4), 3)])
    side = profiled([found], known([found], on_host=True))
    assert side.multiplications == 2 * (34 * (PER_TOKEN + ANGLES) + 3 * 128 * 512)
    assert {"products", "attention", "outside operators"} <= side.kinds_s.keys()
    assert found.wall_s > 0
