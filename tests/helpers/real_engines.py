"""What the real engines are served with, and asked."""

import asyncio
from itertools import accumulate
from types import SimpleNamespace

from greenbench.engines.engine import Build
from greenbench.engines.start import Start
from greenbench.schema.enums import Dtype, Source
from greenbench.schema.spec import ModelSpec
from helpers.in_flight import answers

PAIRS = [
    ("The president of the country", " said that the law was passed in 1995."),
    ("The president of the country", " is a book"),
    ("", "A text of its own, after nothing."),
    ("Is it true? ", "yes"),
]
TEXTS = ["It was the first time that the team had won the cup.", "x"]


def asked(*each):
    return [SimpleNamespace(args=args, task_name="t", doc_id=i) for i, args in enumerate(each)]


def build(path, dtype=Dtype.float32, **start):
    spec = ModelSpec(path.name, Source.local, path=str(path), dtype=dtype)
    return Build(spec, "safetensors", path, path, start=Start(**start))


def crowd(requests, step_s=0.005):
    """A talk that asks for all at once: their answers, and what the server said of its queue meanwhile."""

    async def talk(line):
        asked = answers(line, requests)
        queues = []
        while not asked.done():
            queues.append(await line.queue())
            await asyncio.sleep(step_s)
        return await asked, queues

    return talk


def most_beside_each_other(done):
    """Of the answers, those that were being made at the same moment."""
    ends = [(each.stamps_s[0], 1) for each in done] + [(each.stamps_s[-1], -1) for each in done]
    return max(accumulate(step for _, step in sorted(ends)))
