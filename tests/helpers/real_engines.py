"""What the real engines are served with, and asked."""

import asyncio
from types import SimpleNamespace

from greenbench.engines.engine import Build
from greenbench.engines.start import Start
from greenbench.engines.writing import Ask
from greenbench.schema.enums import Dtype, Source
from greenbench.schema.spec import ModelSpec

PAIRS = [
    ("The president of the country", " said that the law was passed in 1995."),
    ("The president of the country", " is a book"),
    ("", "A text of its own, after nothing."),
    ("Is it true? ", "yes"),
]
TEXTS = ["It was the first time that the team had won the cup.", "x"]


def asked(*each):
    return [SimpleNamespace(args=args, task_name="t", doc_id=i) for i, args in enumerate(each)]


def went_on(served):
    """What is written after two beginnings, with the tokens that it took; one of them ends at a string."""
    asks = [
        Ask(tuple(served.tokenizer.prompt("The president of the")), 6, ("\n\n\n",)),
        Ask(tuple(served.tokenizer.prompt("In the year")), 6, ("\n\n\n",)),
    ]
    found = [served.write([ask])[0] for ask in asks]
    assert all(each.text for each in found)
    assert all(each.cut and each.completion.tokens == 6 for each in found)
    halves = "\ufffd"  # of letters, by a model of random weights: vLLM waits for the rest
    texts = [each.text.rstrip(halves) for each in found]
    place, stop = next(
        (place, sign)
        for place, text in enumerate(texts)
        for sign in text[1:]
        if sign.isprintable() and sign not in f"{text[:1]}{halves}"
    )
    (stopped,) = served.write([asks[place]._replace(until=(stop,))])
    assert stopped.text == texts[place].partition(stop)[0]
    assert not stopped.cut
    assert stopped.completion.tokens < 6
    return [(each.text.rstrip(halves), each.completion.tokens) for each in (*found, stopped)]


def build(path, dtype=Dtype.float32, **start):
    spec = ModelSpec(path.name, Source.local, path=str(path), dtype=dtype)
    return Build(spec, "safetensors", path, path, start=Start(**start))


def queued(requests, queue, step_s=0.002):
    """A talk that asks for all at once and waits until the server says `queue` of itself: the answers.

    The first must be long enough to be still on its way then.
    """

    async def talk(line):
        answered = [asyncio.create_task(line.ask(each, [])) for each in requests]
        while (said := await line.queue()) != queue:
            assert not any(each.done() for each in answered), (
                f"one is answered already, and it says {said}"
            )
            await asyncio.sleep(step_s)
        return await asyncio.gather(*answered)

    return talk
