"""A run that is killed, whenever that comes, leaves nothing of the real llama.cpp that it had started."""

import signal

import psutil
import pytest
from helpers.servers import gone, marked

pytest.importorskip("xllamacpp", reason="no wheel of llama.cpp for this system")

STAGE = "[1/1]   "
RUN = ("engine=llama_cpp", "engine.threads=1", "technique=gguf", "task.items=1")


def kill_at(bench, moment):
    """Kill a run once it has told of so many stages; the stage, and the processes that it had."""
    with bench.start(*RUN, "force=true") as run:
        told = (line for line in run.stdout if line.startswith(STAGE))
        stage = next((line for number, line in enumerate(told) if number == moment), "ended")
        processes = psutil.Process(run.pid).children(recursive=True)
        run.kill()
        run.stdout.read()
    return stage.strip(), {process.pid for process in processes}


@pytest.mark.timeout(900)  # eleven runs, which a busy machine takes long over
@pytest.mark.parametrize("moments", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_at_any_moment(bench, moments):
    status, output = bench.run(*RUN)
    assert status == 0, output
    told = sum(line.startswith(STAGE) for line in output.splitlines())
    stages = set()
    for number in range(1, moments + 1):
        stage, pids = kill_at(bench, number * (told - 1) // moments)
        stages.add(stage)
        assert gone(pids), stage
        assert gone(marked(str(bench.directory))), stage
    assert len(stages) > moments // 2, stages
    (record,) = bench.records()
    assert record["status"] == "completed"  # what was measured is not lost


def test_a_run_that_is_terminated_leaves_no_note_of_a_server(bench):
    """It would name a server that is gone, until the next one starts."""

    def notes():
        return list((bench.directory / "cache" / "servers").glob("*.json"))

    with bench.start(*RUN, "force=true") as run:
        served = any(line.startswith(STAGE) and notes() for line in run.stdout)
        processes = psutil.Process(run.pid).children(recursive=True)
        run.terminate()
        rest = run.stdout.read()
    assert served, rest
    assert run.returncode == 128 + signal.SIGTERM, rest
    assert "Traceback" not in rest
    assert gone({process.pid for process in processes})
    assert notes() == []


def test_a_server_that_dies_while_it_is_measured_is_one_sentence_and_a_record(bench):
    measuring = ("protocol.window_s=30", "protocol.min_iterations=1")
    with bench.start(*RUN, *measuring, "force=true") as run:
        begun = any(line.startswith(f"{STAGE}measure") for line in run.stdout)
        family = psutil.Process(run.pid).children(recursive=True)
        named = {each: " ".join(each.cmdline()) for each in family}
        servers = [
            each
            for each, words in named.items()
            if "serve_gguf" in words and "keeper.py" not in words
        ]
        for each in servers[:1]:
            each.send_signal(signal.SIGABRT)
        rest = run.stdout.read()
    assert begun
    assert servers, rest
    assert run.returncode == 1, rest
    assert "Traceback" not in rest
    (record,) = bench.records()
    assert record["failure"]["reason"] == "engine"
    assert "The server of engine=llama_cpp" in record["failure"]["message"]
    assert "signal 6" in record["failure"]["message"]
    assert record["failure"]["phase"] == "measure"
    assert gone(marked(str(bench.directory)))
