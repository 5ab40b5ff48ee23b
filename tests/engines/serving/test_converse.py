"""Many requests at the same time: each is answered, fails or is given up by itself, holding up no other."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest
from helpers.fakes.openai_server import FakeOpenAI
from helpers.in_flight import at_once

from greenbench.engines.engine import Queue, Request
from greenbench.engines.serving import reply
from greenbench.engines.serving.client import Client
from greenbench.engines.serving.endpoint import Endpoint
from greenbench.engines.serving.gauges import busy
from greenbench.errors import EngineFault, UserError
from greenbench.schema.enums import Stop

FAULTY = 99


@pytest.fixture
def opened():
    """Call with a script, and with what an endpoint has beside its address: the server and a client."""
    running = []

    def open_(script=None, **endpoint):
        server = FakeOpenAI(**(script or {})).__enter__()
        client = Client(Endpoint("fake", server.url, **endpoint))
        running.append((server, client))
        return server, client

    yield open_
    for server, client in running:
        client.close()
        server.__exit__()


every = partial(at_once, return_exceptions=True)


def some(count, new_tokens=6, first=1, stop=Stop.fixed):
    return [Request((first + place, 2, 3), new_tokens, stop) for place in range(count)]


async def begun(server, count=1):
    """Until the server has so many in flight."""
    while server.now < count:
        await asyncio.sleep(0.005)


# Answers


@pytest.mark.parametrize(
    "script",
    [
        {"counts": "usage", "per_chunk": 4},
        {"counts": "ids", "per_chunk": 3, "keep_alives": True},
        {"counts": "timings", "halves": True},
        {"counts": "continuous", "per_chunk": 2, "empty_chunks": True},
    ],
)
def test_all_are_in_flight_at_once_and_their_tokens_are_those_the_server_says(opened, script):
    server, client = opened({"first_s": 0.3, "token_s": 0.002, **script})
    done = client.converse(every(*some(12)))
    assert [(each.tokens, each.prompt_tokens, len(each.stamps_s)) for each in done] == [
        (6, 3, 6)
    ] * 12
    assert server.most == 12
    for each in done:
        assert each.ttft_s >= 0.3
        assert list(each.stamps_s) == sorted(each.stamps_s)
        assert each.stamps_s[-1] <= each.done_s


def test_an_answer_of_no_token_is_one_where_it_may_end_by_itself(opened):
    _, client = opened({"tokens": 0})
    (done,) = client.converse(every(*some(1, stop=Stop.natural)))
    assert (done.tokens, done.stamps_s) == (0, ())
    (fault,) = client.converse(every(*some(1)))
    assert isinstance(fault, EngineFault)


def test_what_talk_returns_or_raises_comes_back(opened):
    _, client = opened()

    async def tell(line):
        return "said"

    async def fail(line):
        raise ZeroDivisionError

    assert client.converse(tell) == "said"
    with pytest.raises(ZeroDivisionError):
        client.converse(fail)
    assert client.converse(every(*some(2)))[1].tokens == 6


def test_no_request_has_a_place_of_its_own(opened):
    server, client = opened(extra=lambda place: {"place": place})
    client.converse(every(*some(3)))
    assert [body["place"] for body in server.bodies] == [None] * 3
    client.complete(some(2))
    assert sorted(body["place"] for body in server.bodies[3:]) == [0, 1]


def test_threads_may_use_it_one_after_another(opened):
    """As the run's own does for batches, and the load's beside it."""
    _, client = opened()
    assert client.complete(some(2))[1].tokens == 6
    for _ in range(2):
        with ThreadPoolExecutor(1) as other:
            assert len(other.submit(client.converse, every(*some(5))).result()) == 5
    assert client.complete(some(2))[1].tokens == 6


def test_the_first_use_may_be_anothers(opened):
    _, client = opened()
    with ThreadPoolExecutor(1) as other:
        other.submit(client.converse, every(*some(2))).result()
    assert client.complete(some(1))[0].tokens == 6


# Faults

FAULTS = {
    "garbage": {"fault": "garbage"},
    "cut the connection": {"fault": "cut"},
    "ended its answer in the middle": {"fault": "end"},
    "answers with an error": {"fault": "error"},
    "hangs": {"fault": "hang"},
    "answered 500": {"status": 500},
    "answered 503": {"status": 503},
}


@pytest.mark.parametrize("said", FAULTS)
def test_one_that_fails_says_so_and_the_others_go_on(opened, said):
    script = {"only": FAULTY, "token_s": 0.01, **FAULTS[said]}
    _, client = opened(script, silence_s=0.5)
    requests = [*some(3), Request((FAULTY, 2), 6), *some(3)]
    done = client.converse(every(*requests))
    fault = done.pop(3)
    assert isinstance(fault, EngineFault)
    assert ("no JSON" if said == "garbage" else said) in str(fault)
    assert str(fault).startswith("The server of engine=fake ")
    assert [each.tokens for each in done] == [6] * 6


def test_no_one_there_is_a_fault_of_each():
    client = Client(Endpoint("fake", "http://127.0.0.1:9"))
    faults = client.converse(every(*some(3)))
    assert all(isinstance(each, EngineFault) for each in faults)
    client.close()


def test_a_wrong_key_is_the_users_mistake(opened):
    _, client = opened({"key": "right"}, key="wrong")
    (fault,) = client.converse(every(*some(1)))
    assert isinstance(fault, UserError)


def test_who_looks_whether_the_program_lives_holds_no_other_request_up(opened, monkeypatch):
    monkeypatch.setattr(reply, "DYING_S", 1.5)
    _, client = opened({"only": FAULTY, "fault": "cut", "token_s": 0.01})
    ended = []

    async def talk(line):
        async def note(request):
            with suppress(EngineFault):
                await line.ask(request, [])
            ended.append(request.tokens[0])

        await asyncio.gather(note(Request((FAULTY, 2), 2)), note(Request((1, 2), 20)))

    client.converse(talk)
    assert ended == [1, FAULTY]


# Given up


@pytest.mark.parametrize("script", [{"token_s": 0.01}, {"first_s": 0.4}])
def test_to_give_a_request_up_hangs_up_on_the_server(opened, script):
    """In the middle of its answer, or before it."""
    server, client = opened(script)

    async def talk(line):
        long = asyncio.create_task(line.ask(Request((1, 2), 100_000), []))
        short = asyncio.create_task(line.ask(Request((3, 4), 6), []))
        await begun(server)
        await asyncio.sleep(0.1)
        long.cancel()
        with suppress(asyncio.CancelledError):
            await long
        return long.cancelled(), await short

    cancelled, short = client.converse(talk)
    assert cancelled
    assert short.tokens == 6
    assert server.left.acquire(timeout=20)
    assert client.complete(some(1))[0].tokens == 6


@pytest.mark.parametrize("counts", ["ids", "usage"])
def test_the_moments_of_what_came_before_it_was_given_up_are_kept(opened, counts):
    """Of a server that says how many tokens there were at the end only, one for each chunk."""
    _, client = opened({"token_s": 0.01, "counts": counts})
    cut = []

    async def talk(line):
        sent_s = time.perf_counter()
        long = asyncio.create_task(line.ask(Request((1, 2), 100_000), cut))
        await line.ask(Request((3, 4), 20), [])
        long.cancel()
        with suppress(asyncio.CancelledError):
            await long
        return sent_s

    sent_s = client.converse(talk)
    assert cut == sorted(cut)
    assert len(cut) >= 5
    assert all(sent_s < each < time.perf_counter() for each in cut)


def test_what_came_of_an_answer_before_its_connection_was_cut_is_kept(opened):
    _, client = opened({"fault": "cut", "counts": "ids"})
    cut = []

    async def talk(line):
        with pytest.raises(EngineFault):
            await line.ask(Request((1, 2), 6), cut)

    client.converse(talk)
    assert 0 < len(cut) < 6


def test_what_talk_leaves_unanswered_is_given_up(opened):
    server, client = opened({"token_s": 0.01})

    async def talk(line):
        asked = [asyncio.create_task(line.ask(each, [])) for each in some(3, 100_000)]
        await begun(server, 3)
        return asked

    asked = client.converse(talk)
    assert all(each.cancelled() for each in asked)
    for _ in asked:
        assert server.left.acquire(timeout=20)


# Gauges

VLLM = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a {strange} name"} 3.0
vllm:num_requests_running{engine="1",model_name="a {strange} name"} 2.0
vllm:num_requests_waiting{engine="0",model_name="m"} 7.0
vllm:num_requests_waiting{engine="1",model_name="m"} 0.0 1395066363000
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 100.0
"""
LLAMA_CPP = """# HELP llamacpp:requests_processing Number of requests processing.
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 4
llamacpp:requests_deferred 1.6e+01
llamacpp:n_busy_slots_per_decode 3.5
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (VLLM, Queue(5, 7)),
        (LLAMA_CPP, Queue(4, 16)),
        ("", None),
        ("up 1\n", None),
        ("llamacpp:requests_processing 4\n", None),
        ("llamacpp:requests_processing four\nllamacpp:requests_deferred 1\n", None),
        ("<html>not a page</html>", None),
    ],
)
def test_a_page_is_read_for_the_two_gauges(text, found):
    assert busy(text) == found


def looks(count):
    async def talk(line):
        return [await line.queue() for _ in range(count)]

    return talk


def test_a_server_tells_how_busy_it_is(opened):
    server, client = opened({"metrics": LLAMA_CPP})
    assert client.converse(looks(2)) == [Queue(4, 16)] * 2
    server.script["metrics"] = VLLM
    assert client.converse(looks(1)) == [Queue(5, 7)]
    del server.script["metrics"]
    assert client.converse(looks(1)) == [None]
    server.script["metrics"] = VLLM  # it told once, so it is asked on
    assert client.converse(looks(1)) == [Queue(5, 7)]


@pytest.mark.parametrize("script", [{}, {"metrics": "up 1\n"}])
def test_one_that_does_not_is_asked_once(opened, script):
    server, client = opened(script)
    assert client.converse(looks(3)) + client.converse(looks(2)) == [None] * 5
    assert server.looks == ["/metrics"]


def test_one_that_cannot_be_asked_tells_nothing(opened):
    client = Client(Endpoint("fake", "http://127.0.0.1:9"))
    assert client.converse(looks(2)) == [None, None]
    client.close()
