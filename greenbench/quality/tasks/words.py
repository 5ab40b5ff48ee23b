"""What the YAML files of tasks answered in words read, and how their answers are graded."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections import Counter
from string import punctuation
from typing import Any

from datasets import Dataset

from greenbench.quality.shut_off import in_time
from greenbench.quality.tasks.data import EXAMPLES, SPLIT, requests_of

PROGRAM_S = 10.0
"""A program that takes longer is wrong."""
SQUAD_EXAMPLE = re.compile(
    r"(?P<query>Title: .*?\nBackground: (?P<passage>.*?)\nQuestion: .*?\nAnswer:) (?P<answer>.*)",
    re.DOTALL,
)


def squad(**_: object) -> dict[str, Any]:
    """Questions of SQuAD's development split, and the examples that OLMES shows before each."""
    rows: list[dict[str, Any]] = []
    given: list[dict[str, Any]] = []
    for request in requests_of("squad/bpb_5shot"):
        doc = request["doc"]
        passage = doc["query"].partition("\nBackground: ")[2].rpartition("\nQuestion: ")[0]
        rows.append({"query": doc["query"], "passage": passage, "answers": doc["answers_text"]})
        if not given:
            _, *shots, _ = request["request"]["context"].split("\n\nTitle: ")
            given = [_example(f"Title: {shot}") for shot in shots]
    return {SPLIT: Dataset.from_list(rows), EXAMPLES: Dataset.from_list(given)}


def _example(text: str) -> dict[str, Any]:
    found = SQUAD_EXAMPLE.fullmatch(text)
    if found is None:
        raise ValueError(f"no example: {text!r}")
    return {"query": found["query"], "passage": found["passage"], "answers": [found["answer"]]}


def in_passage(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """SQuAD's exact match and F1 against the nearest of the known answers."""
    said = _words(results[0])
    known = [_words(answer) for answer in doc["answers"]]
    return {
        "exact_match": float(said in known),
        "f1": max(_f1(answer, said) for answer in known),
    }


def _words(text: str) -> list[str]:
    """As SQuAD's own evaluation script sees them: no case, no punctuation, no articles."""
    bare = "".join(sign for sign in text.lower() if sign not in punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def _f1(wanted: list[str], said: list[str]) -> float:
    """Harmonic mean of the shares of words that both have."""
    common = (Counter(wanted) & Counter(said)).total()
    if not wanted or not said:
        return float(wanted == said)
    return 2 * common / (len(wanted) + len(said))


def last_word(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Whether the first word that the model writes is the passage's last."""
    said = results[0].split()
    wanted = doc["text"].split(" ")[-1]
    return {"exact_match": float(bool(said) and _bare(said[0]) == _bare(wanted))}


def _bare(word: str) -> str:
    return word.strip("\"'`.,!?;:").lower()


def humaneval(**_: object) -> dict[str, Any]:
    """HumanEval's problems: the beginning of a function, and what checks it."""
    rows = [
        {name: request["doc"][name] for name in ("task_id", "prompt", "test", "entry_point")}
        | {"solution": request["doc"]["canonical_solution"]}
        for request in requests_of("codex_humaneval/gold_bpb_0shot")
    ]
    return {"test": Dataset.from_list(rows)}


def passes(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Whether the function, gone on with as the model wrote, passes its check in time.

    Runs it: for a process that is shut off.
    """
    end, last = os.pipe()
    word = secrets.token_hex()  # a program that leaves early ends well too
    program = f"{doc['prompt']}{results[0]}\n{doc['test']}\ncheck({doc['entry_point']})\n"
    program += f"__import__('os').write({last}, b'{word}')\n"
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with open(end, "rb", buffering=0) as told:
        os.set_blocking(end, False)
        try:
            in_time([sys.executable, "-I", "-c", program], PROGRAM_S, pass_fds=(last,), **silent)
        finally:
            os.close(last)
        return {"pass_at_1": float(told.read() == word.encode())}


def gsm8k(**_: object) -> dict[str, Any]:
    """GSM8K's test split, each question after the same eight worked examples, and its number."""
    rows = [
        {
            "context": request["request"]["context"],
            "answer": request["doc"]["short_answer"].replace(",", ""),
        }
        for request in requests_of("gsm8k/gold_bpb_5shot")
    ]
    return {"test": Dataset.from_list(rows)}
