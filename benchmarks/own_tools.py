"""Our clock against each engine's own tool: tokens per second of the same server, taken in turns.

    python benchmarks/own_tools.py [--engine vllm|llama_cpp|openvino] [--rounds 6] [--at-once 1,8]

Serves the embedded model as a run does, and asks for answers of the same lengths by turns: through
GreenBench's client, and through the engine's own tool. That is `vllm bench serve` for vLLM; for llama.cpp,
whose wheel has no llama-bench, it is the server's own account of each answer (`timings`); for OpenVINO GenAI,
whose wheel lacks its benchmark, it is what that prints: `perf_metrics`, of the same pipeline in a process of
its own. The goal: 3 %.

vLLM's tool sends text of random tokens, keeps so many requests in flight and divides all tokens by all
seconds; so do we. Its turns lie half a minute apart, as it takes long to start, and the server's speed drifts
in between: so the server is asked, before and after each turn, how many tokens it has made in how many
seconds of its requests, and a second ratio is of the clocks alone, each over the server's own account of the
very same requests. llama.cpp's account leaves out the connection and the reading of the request; OpenVINO's
has no server before it at all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from greenbench.campaign.compose import plan
from greenbench.engines.engine import Build, Completion, Line, Request, Served
from greenbench.engines.openvino import environment as openvino
from greenbench.engines.start import Start
from greenbench.engines.vllm import environment
from greenbench.machine.detect import detect
from greenbench.models import files
from greenbench.stats.intervals import Interval, paired_ratio

PROMPT, ANSWER = 128, 32
GOAL = 0.03
BENCH_SERVE = """
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""
"""As `vllm bench serve` starts it; the command itself asks for the metadata of a package named otherwise."""

PERF_METRICS = """
import json, sys
import numpy, openvino, openvino_genai

asked = json.load(sys.stdin)
scheduler = openvino_genai.SchedulerConfig()
scheduler.enable_prefix_caching, scheduler.cache_size = False, 0
pipeline = openvino_genai.ContinuousBatchingPipeline(asked["model"], scheduler, "CPU", asked["properties"])
settings = openvino_genai.GenerationConfig(max_new_tokens=asked["answer"], ignore_eos=True)

def told(prompts):
    tensors = [openvino.Tensor(numpy.array([each], dtype=numpy.int64)) for each in prompts]
    found = [each.perf_metrics for each in pipeline.generate(tensors, [settings] * len(tensors))]
    return [[each.get_num_generated_tokens(), each.get_generate_duration().mean] for each in found]

told(asked["batches"][0])  # warms up
print(json.dumps([told(batch) for batch in asked["batches"]]))
"""
"""Its own pipeline and account, set as our server sets it."""


ACCOUNT = ("vllm:request_generation_tokens_sum", "vllm:e2e_request_latency_seconds_sum")


class Turn(NamedTuple):
    """Tokens per second of some requests."""

    speed: float
    """As the client that asked for them tells it."""
    server: float | None
    """As the server does, all its requests' seconds laid end to end; null where it tells none."""


class Subject(NamedTuple):
    """A server, and what answers for it."""

    served: Served
    url: str
    program: Any
    """The engine."""
    build: Build

    @property
    def directory(self) -> Path:
        """The checkpoint's."""
        return self.build.directory


def main() -> int:
    """Print a line for each number of requests at once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=sorted(TOOLS), default="llama_cpp")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--at-once", default="1,8")
    parser.add_argument("--requests", type=int, default=16, help="of each turn")
    parser.add_argument(
        "--threads", type=int, help="of the server; fewer leave cores to the two clients"
    )
    asked = parser.parse_args()
    counts = [int(count) for count in asked.at_once.split(",")]
    tool = TOOLS[asked.engine]
    with serving(asked.engine, max(counts), asked.threads) as subject:
        for count in counts:
            ours: list[Turn] = []
            theirs: list[Turn] = []
            for number in range(asked.rounds + 1):  # the first warms up
                turns = [(ours, _ours), (theirs, tool)]
                random.Random(number).shuffle(turns)
                for told, turn in turns:
                    found = taken(subject, turn, count, asked.requests)
                    if number:
                        told.append(found)
            print(f"{asked.engine}, {count} at once: {compared(ours, theirs)}", flush=True)
    return 0


def taken(
    subject: Subject, turn: Callable[[Subject, int, int], float], at_once: int, requests: int
) -> Turn:
    """One turn, by the clock that took it and by the server's."""
    before = account(subject)
    speed = turn(subject, at_once, requests)
    after = account(subject)
    if before is None or after is None:
        return Turn(speed, None)
    tokens, spent_s = between(before, after)
    return Turn(speed, at_once * tokens / spent_s)


def compared(ours: list[Turn], theirs: list[Turn]) -> str:
    """Both ratios."""
    speeds = [[each.speed for each in turns] for turns in (ours, theirs)]
    mean = [sum(each) / len(each) for each in speeds]
    said = (
        f"ours {mean[0]:.1f} tokens/s, its own tool {mean[1]:.1f}, ratio "
        f"{shown(paired_ratio(speeds[1], speeds[0]))}, goal {1 - GOAL:.2f}-{1 + GOAL:.2f}"
    )
    clocks = [
        [each.speed / each.server for each in turns if each.server] for turns in (ours, theirs)
    ]
    if not all(clocks):
        return said
    return f"{said}; of the clocks alone {shown(paired_ratio(clocks[1], clocks[0]))}"


def shown(ratio: Interval) -> str:
    return f"{ratio.value:.3f} ({ratio.low:.3f}-{ratio.high:.3f})"


def account(subject: Subject, names: Sequence[str] = ACCOUNT) -> tuple[float, ...] | None:
    """What the server has counted by now under these names; null where it does not tell."""
    try:
        with urllib.request.urlopen(f"{subject.url}/metrics") as reply:
            page = reply.read().decode()
    except urllib.error.HTTPError:
        return None
    found = [re.search(rf"^{name}{{.*}} (\S+)$", page, re.MULTILINE) for name in names]
    return None if None in found else tuple(float(each[1]) for each in found if each)


def between(before: Sequence[float], after: Sequence[float]) -> list[float]:
    """What has come to each of two accounts' counts."""
    return [now - then for then, now in zip(before, after, strict=True)]


@contextmanager
def serving(engine: str, at_once: int, threads: int | None = None) -> Iterator[Subject]:
    settings = [f"engine={engine}", "technique=none"]
    settings += [] if threads is None else [f"engine.threads={threads}"]
    (job,) = plan(settings, multirun=False)
    model, program = job.spec.model, job.spec.engine
    machine = detect("auto")
    program.check(machine)
    directory = files.directory(model)
    start = Start(at_once=at_once, tokens=PROMPT + ANSWER + 2)
    build = Build(model, "safetensors", directory, directory, start=start)
    with program.serve(build, machine) as served:
        yield Subject(served, served._client._endpoint.url, program, build)


def prompt(number: int) -> tuple[int, ...]:
    return tuple(random.Random(number).choices(range(1000, 20000), k=PROMPT))


def _ours(subject: Subject, at_once: int, requests: int) -> float:
    """Tokens per second through our client, so many in flight all the time."""
    asked = iter([Request(prompt(number), ANSWER) for number in range(requests)])
    done: list[Completion] = []

    async def one_after_another(line: Line) -> None:
        for request in asked:
            done.append(await line.ask(request, []))

    async def talk(line: Line) -> None:
        await asyncio.gather(*(one_after_another(line) for _ in range(at_once)))

    subject.served.converse(talk)
    spent_s = max(each.done_s for each in done) - min(each.sent_s for each in done)
    return sum(each.tokens for each in done) / spent_s


def _bench_serve(subject: Subject, at_once: int, requests: int) -> float:
    """Tokens per second as `vllm bench serve` tells them."""
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {
            "base-url": subject.url,
            "backend": "openai",
            "model": str(subject.directory),
            "tokenizer": str(subject.directory),
            "dataset-name": "random",
            "random-input-len": PROMPT,
            "random-output-len": ANSWER,
            "num-prompts": requests,
            "max-concurrency": at_once,
            "temperature": 0,  # as ours; else it draws, which costs the server time
            "seed": random.randrange(1 << 30),
            "result-dir": folder,
            "result-filename": "told.json",
        }
        command = [str(environment.python()), "-I", "-c", BENCH_SERVE]
        command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
        command += ["--ignore-eos", "--save-result", "--disable-tqdm"]
        variables = environment.variables("cpu", 1)
        variables.pop("LD_PRELOAD", None)
        subprocess.run(
            command, check=True, capture_output=True, env=variables | {"PATH": "/usr/bin"}
        )
        told = json.loads((Path(folder) / "told.json").read_text())
    return float(told["output_throughput"])


def _timings(subject: Subject, at_once: int, requests: int) -> float:
    """Tokens per second by the server's own account: what it made, over its seconds for prompt and answer."""

    def ask(number: int) -> tuple[float, float]:
        asked = {
            "prompt": list(prompt(number)),
            "n_predict": ANSWER,
            "temperature": 0,
            "ignore_eos": True,
            "cache_prompt": False,
        }
        address = urllib.request.Request(
            f"{subject.url}/completion",
            json.dumps(asked).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(address) as reply:
            timings = json.load(reply)["timings"]
        return timings["predicted_n"], (timings["prompt_ms"] + timings["predicted_ms"]) / 1000

    tokens, spent_s = 0.0, 0.0
    with ThreadPoolExecutor(at_once) as pool:
        for number in range(0, requests, at_once):
            told = list(pool.map(ask, range(number, number + at_once)))
            tokens += sum(count for count, _ in told)
            spent_s += max(seconds for _, seconds in told)
    return tokens / spent_s


def _perf_metrics(subject: Subject, at_once: int, requests: int) -> float:
    """Tokens per second by OpenVINO GenAI's own metrics: what it made, over the duration of its calls."""
    each = range(0, requests, at_once)
    asked = {
        "model": str(subject.program.files(subject.build)),
        "properties": subject.program._properties(subject.build),
        "answer": ANSWER,
        "batches": [[prompt(n) for n in range(first, first + at_once)] for first in each],
    }
    done = subprocess.run(
        [str(openvino.python()), "-I", "-c", PERF_METRICS],
        input=json.dumps(asked),
        check=True,
        capture_output=True,
        text=True,
        env=openvino.variables(subject.program._threads()),
    )
    told = json.loads(done.stdout.splitlines()[-1])
    tokens = sum(count for batch in told for count, _ in batch)
    return tokens / (sum(max(ms for _, ms in batch) for batch in told) / 1000)


TOOLS: dict[str, Callable[[Subject, int, int], float]] = {
    "vllm": _bench_serve,
    "llama_cpp": _timings,
    "openvino": _perf_metrics,
}

if __name__ == "__main__":
    raise SystemExit(main())
