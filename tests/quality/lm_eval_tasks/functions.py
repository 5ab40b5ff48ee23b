"""What the YAML files beside this one call."""

import random

from datasets import Dataset
from lm_eval.api.samplers import ContextSampler
from lm_eval.api.task import ConfigurableTask


def shorter(split):
    return split.select(range(4))


def upper(split):
    kept = split.filter(lambda doc: doc["number"] % 4)
    return kept.map(lambda doc: {"question": doc["question"].upper()})


def shuffled(split):
    """As lm-eval's gpqa does it: with the generator of the whole process."""
    docs = []
    for doc in split:
        options = list(doc["options"])
        random.shuffle(options)
        right = doc["options"][doc["answer"]]
        docs.append({**doc, "options": options, "answer": options.index(right)})
    return Dataset.from_list(docs)


def prompt(doc):
    return f"{doc['topic']}: {doc['question']}"


def choices(doc):
    return [*doc["options"], "none of these"]


def gold(doc):
    return doc["answer"]


def results(doc, results):
    nats = [nats for nats, _ in results]
    return {"closeness": nats[doc["answer"]] / sum(nats)}


def made(count, **_):
    """A data set of the file's own."""
    rows = [
        {"question": f"Is {n} even?", "odd": n % 2, "hint": f"{n} has digits"} for n in range(count)
    ]
    return {"validation": Dataset.from_list(rows)}


class LastSampler(ContextSampler):
    def sample(self, n, eval_doc=None, df=None, **_):
        return self.df[-n:]


class Shouting(ConfigurableTask):
    """A task that is a class."""

    def __init__(self, config):
        super().__init__(config={key: config[key] for key in config if key != "class"})

    def doc_to_text(self, doc, doc_to_text=None):
        return super().doc_to_text(doc, doc_to_text).upper()
