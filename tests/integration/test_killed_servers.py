"""SIGKILL of a run, whenever it comes, leaves nothing of the real llama.cpp that it had started."""

import psutil
import pytest
from helpers.servers import gone, marked

pytest.importorskip("xllamacpp", reason="no wheel of llama.cpp for this system")

MOMENTS = 10
STAGE = "[1/1]   "
RUN = ("engine=llama_cpp", "engine.threads=1", "technique=gguf", "task.items=1")


def kill_at(bench, moment):
    """Kill a run once it has told of so many stages; the stage, and the processes that it had."""
    with bench.start(*RUN, "force=true") as run:
        told = (line for line in run.stdout if line.startswith(STAGE))
        stage = next(line for number, line in enumerate(told, 1) if number == moment)
        processes = psutil.Process(run.pid).children(recursive=True)
        run.kill()
        run.stdout.read()
    return stage.strip(), {process.pid for process in processes}


def test_at_ten_moments(bench):
    stages = []
    for moment in range(3, 3 + MOMENTS):
        stage, pids = kill_at(bench, moment)
        stages.append(stage)
        assert gone(pids), stage
        assert gone(marked(str(bench.directory))), stage
    assert len(set(stages)) >= MOMENTS - 3, stages  # of both models, some twice
    assert bench.records() == []
    status, output = bench.run(*RUN)
    assert status == 0, output
    (record,) = bench.records()
    assert record["status"] == "completed"
