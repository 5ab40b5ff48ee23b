"""What the real engines are served with, and asked."""

import asyncio
import re
import urllib.request
from types import SimpleNamespace

import psutil

from greenbench.engines.engine import Build, Request
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


def listens_at(served):
    """The addresses at which its processes take connections."""
    found = [each for pid in served.pids() for each in psutil.Process(pid).net_connections("tcp")]
    return {each.laddr.ip for each in found if each.status == psutil.CONN_LISTEN}


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
    never = tuple(f"\n{sign}" for sign in "\n#@^~|")  # as many as some tasks have
    (stopped,) = served.write([asks[place]._replace(until=(*never, stop))])
    assert stopped.text == texts[place].partition(stop)[0]
    assert not stopped.cut
    assert stopped.completion.tokens < 6
    return [(each.text.rstrip(halves), each.completion.tokens) for each in (*found, stopped)]


def sureness(served):
    """How sure it is of what it writes after two beginnings, asked in words and as requests."""
    prompts = [
        tuple(served.tokenizer.prompt(text)) for text in ("The president of the", "In the year")
    ]
    written = [served.write([Ask(each, 6, sure=True)])[0].completion for each in prompts]
    fixed = [served.complete([Request(each, 6, sure=True)])[0] for each in prompts]
    assert served.write([Ask(prompts[0], 6)])[0].completion.confidence is None
    return [each.confidence for each in (*written, *fixed)]


def build(path, dtype=Dtype.float32, **start):
    spec = ModelSpec(path.name, Source.local, path=str(path), dtype=dtype)
    return Build(spec, "safetensors", path, path, start=Start(**start))


def queued(requests, queue):
    """A talk that keeps asking for all until the server says `queue` of itself.

    Gives the answers, one of each at least. A busy server says it late: it is still so then.
    """

    async def talk(line):
        answers, seen = [], asyncio.Event()
        async with asyncio.TaskGroup() as lanes:
            for each in requests:
                lanes.create_task(again_and_again(line, each, answers, seen))
            await until_it_says(line, queue)
            seen.set()
        return answers

    return talk


def given_up(requests, full, alone):
    """A talk that keeps asking for all until the server says `full`, then for one until it says `alone`.

    Gives the first one's answers and those of the others, which are given up on their way.
    """

    async def talk(line):
        first, rest, seen = [], [], asyncio.Event()
        kept, *others = (
            asyncio.create_task(again_and_again(line, each, rest if place else first, seen))
            for place, each in enumerate(requests)
        )
        await until_it_says(line, full)
        for each in others:
            each.cancel()
        await asyncio.wait(others)
        await until_it_says(line, alone)
        seen.set()
        await kept
        return first, rest

    return talk


async def again_and_again(line, request, answers, enough):
    while not enough.is_set():
        answers.append(await line.ask(request, []))


async def until_it_says(line, queue):
    while await line.queue() != queue:
        await asyncio.sleep(0.002)


def counted(served, name):
    """What the server's page for Prometheus counts under a name."""
    with urllib.request.urlopen(f"{served._client._endpoint.url}/metrics") as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if re.match(rf"{name}\b", line))
