"""Our latencies beside GuideLLM's, of one server under one load, taken in turns.

    python benchmarks/peers.py --guidellm ENVIRONMENT/bin/guidellm [--engine vllm|llama_cpp] [--rate 1]
        [--requests 24] [--rounds 5] [--threads N]

Install GuideLLM into an environment of its own (1.5 GB: ``pip install torch==2.13.0 guidellm``); it is no
part of GreenBench. Requests of the same lengths are due at a constant rate, in turns: through GreenBench's
load generator, and through GuideLLM. The goal: 5 %. vLLM also counts for itself, so that each client's
clock is set over the server's own account of the very same requests. What the figures mean:

- time to the first token: both, from the sending of a request. (Runs count from when it was due.)
- inter-token latency: both, from the first token to the last over all tokens but the first. It is
  GreenBench's time per output token; GuideLLM's figure of that name holds the first token, so it is compared
  with ours over all tokens from the sending.
- tokens per second: of all answers, from the first sending to the last end. Both take the server's `usage`.

Why GuideLLM and not AIPerf: AIPerf counts tokens by tokenizing the answers again, its inter-token latency
leaves the first token out, and with a local directory as tokenizer it fails under HF_HUB_OFFLINE=1.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from own_tools import ANSWER, PROMPT, TOOLS, Subject, account, between, prompt, serving, shown

from greenbench.engines.engine import Request
from greenbench.measure.arrivals import Due
from greenbench.measure.driver import at_times
from greenbench.measure.outcomes import Outcome
from greenbench.stats.intervals import paired_ratio

GOAL = 0.05
QUIET = {"GUIDELLM__LOGGING__CONSOLE_LOG_LEVEL": "ERROR"}
PATIENCE_S = 120.0


OWN = (
    "vllm:request_decode_time_seconds_sum",
    "vllm:request_generation_tokens_sum",
    "vllm:request_generation_tokens_count",
)
"""Seconds from first tokens to last ones, tokens, and how many answers, as the server counts."""


class Figures(NamedTuple):
    """What a turn shows."""

    ttft_ms: float
    inter_token_ms: float
    per_token_with_first_ms: float
    tokens_per_s: float


def main() -> int:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--guidellm", type=Path, required=True)
    parser.add_argument("--engine", choices=sorted(TOOLS), default="llama_cpp")
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--requests", type=int, default=24, help="of each turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--threads", type=int, help="of the server; fewer leave cores to the two clients"
    )
    asked = parser.parse_args()
    ours: list[Figures] = []
    theirs: list[Figures] = []
    servers: dict[str, list[float]] = {"ours": [], "theirs": []}
    with serving(asked.engine, 8, asked.threads) as subject:
        for number in range(asked.rounds + 1):  # the first warms up
            turns = [("ours", ours), ("theirs", theirs)]
            random.Random(number).shuffle(turns)
            for who, found in turns:
                before = account(subject, OWN)
                if who == "ours":
                    seen = _ours(subject, asked.rate, asked.requests, number)
                else:
                    seen = _guidellm(asked.guidellm, subject, asked.rate, asked.requests, number)
                if number:
                    found.append(seen)
                    servers[who] += _own_gap_ms(before, account(subject, OWN))
    print(
        f"{asked.engine}, {asked.rate:g} requests/s, {asked.rounds} turns of {asked.requests} each"
    )
    for name in Figures._fields:
        mine, other = ([getattr(each, name) for each in side] for side in (ours, theirs))
        ratio = paired_ratio(other, mine)
        print(
            f"{name}: ours {sum(mine) / len(mine):.1f}, GuideLLM's {sum(other) / len(other):.1f}, ratio "
            f"{ratio.value:.3f} ({ratio.low:.3f}-{ratio.high:.3f}), goal {1 - GOAL:.2f}-{1 + GOAL:.2f}",
            flush=True,
        )
    if servers["ours"]:
        print(_by_the_server(ours, theirs, servers))
    return 0


def _own_gap_ms(before: Sequence[float] | None, after: Sequence[float] | None) -> list[float]:
    """Between later tokens, of the requests in between, by the server's own account; empty: it tells none."""
    if before is None or after is None:
        return []
    decoding_s, tokens, answers = between(before, after)
    return [1000 * decoding_s / (tokens - answers)]


def _by_the_server(
    ours: Sequence[Figures], theirs: Sequence[Figures], servers: Mapping[str, Sequence[float]]
) -> str:
    """How much slower it was beside one client than beside the other, and what is left: the clocks."""
    mine, other = servers["ours"], servers["theirs"]
    clocks = [
        [turn.inter_token_ms / own for turn, own in zip(turns, each, strict=True)]
        for turns, each in ((theirs, other), (ours, mine))
    ]
    return (
        f"inter_token_ms by the server itself: in our turns {sum(mine) / len(mine):.1f}, in GuideLLM's "
        f"{sum(other) / len(other):.1f}, ratio {shown(paired_ratio(other, mine))}; of the clocks alone "
        f"{shown(paired_ratio(*clocks))}"
    )


def _ours(subject: Subject, rate: float, requests: int, number: int) -> Figures:
    def due() -> Iterator[Due]:
        for place in range(requests):
            yield Due(place / rate, Request(prompt(1000 * number + place), ANSWER))

    with at_times(subject.served, due()) as flow:
        flow.wait(requests / rate)
        outcomes, _ = flow.stop(PATIENCE_S)
    return figures(outcomes)


def figures(done: list[Outcome]) -> Figures:
    """Of answers that are all whole."""
    whole = [each for each in done if each.done_s is not None]
    assert [len(each.stamps_s) for each in whole] == [ANSWER] * len(done)
    ttft = [each.stamps_s[0] - each.sent_s for each in whole]
    gaps = [(each.stamps_s[-1] - each.stamps_s[0]) / (ANSWER - 1) for each in whole]
    with_first = [(each.done_s - each.sent_s) / ANSWER for each in whole if each.done_s]
    ends = [each.done_s for each in whole if each.done_s]
    spent_s = max(ends) - min(each.sent_s for each in whole)
    means = [1000 * sum(times) / len(times) for times in (ttft, gaps, with_first)]
    return Figures(*means, ANSWER * len(whole) / spent_s)


def _guidellm(program: Path, subject: Subject, rate: float, requests: int, seed: int) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told.json"
        options = {
            "backend": json.dumps(
                {
                    "kind": "openai_http",
                    "target": subject.url,
                    "model": str(subject.directory),
                    "request_format": "/v1/completions",
                    "extras": {"body": {"temperature": 0}},  # as ours
                }
            ),
            "profile": f"kind=constant,rate={rate}",
            "constraint": f"kind=max_requests,count={requests}",
            "tokenizer": f"kind=hf_auto,model={subject.directory}",
            "data": f"kind=synthetic_text,prompt_tokens={PROMPT},output_tokens={ANSWER}",
            "seed": f"kind=static,value={seed}",
            "output": f"kind=json,path={told}",
        }
        command = [str(program), "run", "--disable-console"]
        command += [word for name, value in options.items() for word in (f"--{name}", value)]
        offline = os.environ | {"HF_HUB_OFFLINE": "1", **QUIET}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=offline)
        (benchmark,) = json.loads(told.read_text())["benchmarks"]
    metrics = benchmark["metrics"]
    names = ("time_to_first_token_ms", "inter_token_latency_ms", "time_per_output_token_ms")
    means = [metrics[name]["successful"]["mean"] for name in names]
    return Figures(*means, metrics["output_tokens_per_second"]["successful"]["mean"])


if __name__ == "__main__":
    raise SystemExit(main())
