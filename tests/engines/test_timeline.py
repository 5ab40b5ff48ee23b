"""One profile of torch, taken from its memory and read from the file that it writes, is one trace."""

from __future__ import annotations

import torch
from torch.profiler import ProfilerActivity, profile

from greenbench.engines import timeline
from greenbench.engines.serving import chrome_trace
from greenbench.engines.timeline import Spent
from greenbench.engines.transformers import tracing
from greenbench.engines.vllm.tracing import Watched
from greenbench.engines.vllm.tracing import traced as of_server


def work():
    a = torch.ones(8, 16, dtype=torch.bfloat16)
    for _ in range(3):
        torch.cat([a @ torch.ones(16, 16, dtype=torch.bfloat16), a]).float().sum()


def test_what_torch_writes_is_what_it_keeps(tmp_path):
    work()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
        work()
    seen.export_chrome_trace(str(tmp_path / "written.json"))
    events = [tracing._event(each) for each in seen.profiler.kineto_results.events()]
    spent = Spent(1.0, 1.0, 0.0, 0.0)
    kept = timeline.trace(events, spent, spent, on_gpu=False)
    watched = Watched(1.0, {})
    read = of_server([chrome_trace.read(tmp_path / "written.json")], watched, watched, on_gpu=False)
    assert {each[:4] for each in read.operations} == {each[:4] for each in kept.operations}
    assert {"aten::mm", "aten::cat"} <= {each.name for each in kept.operations}
    for one in (kept, read):
        assert abs(sum(each.seconds for each in one.operations) + one.between_s - 1) < 1e-6
    assert abs(kept.between_s - read.between_s) < 1e-6
