"""What comes from a server is counted as it says and timed as it comes, and its faults are sentences."""

import asyncio
import itertools

import pytest
from helpers.fakes.openai_server import FakeOpenAI

from greenbench.engines.engine import Request
from greenbench.engines.serving.answer import Answer
from greenbench.engines.serving.client import Client, Endpoint
from greenbench.errors import Busy, EngineFault, UserError
from greenbench.schema.enums import Stop

PROMPT = Request((1, 2, 3, 4), 6)


@pytest.fixture
def asked():
    """Call with a script, and with what an endpoint has beside its address: the server and a client."""
    opened = []

    def ask(script=None, **endpoint):
        server = FakeOpenAI(**(script or {})).__enter__()
        client = Client(Endpoint("fake", server.url, **endpoint))
        opened.append((server, client))
        return server, client

    yield ask
    for server, client in opened:
        client.close()
        server.__exit__()


def complete(asked, request=PROMPT, **script):
    (done,) = asked(script)[1].complete([request])
    return done


# Counting and timing


@pytest.mark.parametrize("counts", ["usage", "ids", "timings", "continuous"])
@pytest.mark.parametrize("per_chunk", [1, 2, 4, 6])
def test_tokens_are_those_the_server_says_and_never_its_chunks(asked, counts, per_chunk):
    done = complete(asked, counts=counts, per_chunk=per_chunk, token_s=0.005, first_s=0.02)
    assert (done.tokens, done.prompt_tokens, len(done.stamps_s)) == (6, 4, 6)
    assert list(done.stamps_s) == sorted(done.stamps_s)
    assert done.ttft_s >= 0.02
    assert done.stamps_s[-1] <= done.done_s


def test_tokens_of_one_chunk_share_its_wait(asked):
    done = complete(asked, counts="ids", per_chunk=3, token_s=0.01)
    assert done.gaps_s[:2] == [0.0, 0.0]  # the first ones: nothing came before them
    assert done.gaps_s[2:] == pytest.approx([sum(done.gaps_s[2:]) / 3] * 3)
    assert 0.03 <= sum(done.gaps_s[2:]) < 0.2


def test_where_chunks_do_not_say_how_many_tokens_they_hold_all_share_them_evenly(asked):
    done = complete(asked, Request((1,), 7), counts="usage", per_chunk=2, token_s=0.005)
    assert (done.tokens, len(done.stamps_s)) == (7, 7)


@pytest.mark.parametrize("noise", [{"keep_alives": True}, {"halves": True}, {"empty_chunks": True}])
def test_keep_alives_half_lines_and_chunks_without_text_are_no_tokens(asked, noise):
    done = complete(asked, token_s=0.005, **noise)
    assert (done.tokens, len(done.stamps_s)) == (6, 6)


@pytest.mark.parametrize("counts", ["usage", "continuous"])
def test_an_answer_of_no_token_is_one(asked, counts):
    done = complete(asked, Request((1,), 5, Stop.natural), counts=counts, tokens=0)
    assert (done.tokens, done.stamps_s, done.gaps_s) == (0, (), [])


def test_an_answer_that_ends_by_itself_may_be_shorter(asked):
    assert complete(asked, Request((1,), 5, Stop.natural), tokens=3).tokens == 3
    with pytest.raises(EngineFault, match=r"made 3 tokens where 5 were asked for, .*stop=natural"):
        complete(asked, Request((1,), 5), tokens=3)


def test_a_server_that_does_not_count_is_refused(asked):
    with pytest.raises(EngineFault, match="does not say how many tokens it has made"):
        complete(asked, counts="none")


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_it_does_not_matter_how_the_bytes_are_cut(size):
    event = b'data: {"choices": [{"text": "ab", "token_ids": [4, 5]}]}\r\n\r\n: still there\n\n'
    whole = (
        event * 3 + b'data: {"choices": [{"text": "", "finish_reason": "stop"}]}\ndata: [DONE]\n'
    )
    answer, clock = Answer(Endpoint("fake", "")), itertools.count()
    for start in range(0, len(whole), size):
        answer.feed(whole[start : start + size], next(clock))
    assert answer.ended
    assert answer.tokens() == len(answer.stamps_s()) == 6


# In flight


def test_a_batch_is_in_flight_at_once(asked):
    server, client = asked({"first_s": 0.3})
    done = client.complete([PROMPT] * 8)
    assert server.most == 8
    assert max(each.done_s for each in done) - min(each.sent_s for each in done) < 1.5
    assert [body["max_tokens"] for body in server.bodies] == [6] * 8
    assert {body["ignore_eos"] for body in server.bodies} == {True}
    assert [body["prompt"] for body in server.bodies] == [[1, 2, 3, 4]] * 8


def test_whole_answers_come_in_order_and_not_too_many_at_once(asked):
    server, client = asked()
    bodies = [{"prompt": [n], "echo": True, "max_tokens": 0} for n in range(9)]
    found = client.ask([("/v1/completions", body) for body in bodies], 3)
    assert len(found) == 9
    assert server.most <= 6  # it takes a moment to see that an answer has gone


def test_a_proxy_is_never_asked(asked, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert complete(asked).tokens == 6


# Faults

FAULTS = {
    "garbage": r"streams what is no JSON \(a web page\)",
    "cut": r"cut the connection \(",
    "end": r"ended its answer in the middle",
    "error": r"answers with an error \(the engine is lost\)",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence(asked, fault):
    with pytest.raises(EngineFault, match=FAULTS[fault]) as found:
        complete(asked, fault=fault)
    assert str(found.value).count(". ") == 0
    assert str(found.value).startswith("The server of engine=fake ")


def test_one_that_hangs_is_given_up(asked):
    _, client = asked({"fault": "hang"}, silence_s=0.3)
    with pytest.raises(EngineFault, match=r"hangs: it has sent nothing for 0\.3 s"):
        client.complete([PROMPT] * 2)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (500, EngineFault, r"answered 500 \(told to fail\)"),
        (429, Busy, r"answered 429"),
        (503, Busy, r"answered 503"),
        (401, UserError, r"refuses the key \(401\)"),
        (403, UserError, r"refuses the key \(403\)"),
        (404, UserError, r"knows no such model or address \(404: told to fail\)"),
    ],
)
def test_a_status_is_one_sentence(asked, status, kind, said):
    with pytest.raises(kind, match=said):
        complete(asked, status=status)


def test_no_one_there_is_one_sentence():
    client = Client(Endpoint("fake", "http://127.0.0.1:9"))
    with pytest.raises(EngineFault, match=r"takes no connection at 127\.0\.0\.1:9: see its log"):
        client.complete([PROMPT])
    client.close()


def test_a_key_is_sent_and_enters_no_message(asked):
    server, client = asked({"key": "secret-1"}, key="secret-1")
    assert client.complete([PROMPT])[0].tokens == 6
    server.script["key"] = "another"
    with pytest.raises(UserError) as found:
        client.complete([PROMPT])
    assert "secret-1" not in str(found.value)


KEY = "the-servers-own-key"
ECHOES = {
    "a status": {"status": 500},
    "garbage": {"fault": "garbage"},
    "an error in the stream": {"fault": "error"},
}


@pytest.mark.parametrize("before", [0, 30, 40, 100, 110, 180])
@pytest.mark.parametrize("fault", ECHOES)
def test_a_key_that_comes_back_is_hidden_and_so_is_half_of_it(asked, fault, before):
    """Wherever the sentence cuts what the server says."""
    _, client = asked(ECHOES[fault] | {"echoes": before}, key=KEY)
    with pytest.raises(EngineFault) as found:
        client.complete([PROMPT])
    assert "Bearer" in str(found.value) or before > 30
    assert KEY[:4] not in str(found.value)


@pytest.mark.parametrize("before", [0, 40])
def test_a_key_in_what_is_no_json_is_hidden_too(asked, before):
    _, client = asked({"metrics": "." * before + KEY}, key=KEY)
    with pytest.raises(EngineFault, match="is no JSON") as found:
        client.get("/metrics")
    assert KEY[:4] not in str(found.value)


def test_one_that_sends_us_elsewhere_is_not_followed(asked):
    other, _ = asked(
        metrics := {"metrics": "vllm:num_requests_running 1\nvllm:num_requests_waiting 0\n"}
    )
    _, client = asked({"moved": other.url, **metrics})
    with pytest.raises(
        UserError, match=r"sends requests on to 127\.0\.0\.1, which nobody has named"
    ):
        client.complete([PROMPT])
    with pytest.raises(UserError, match="sends requests on"):
        client.get("/v1/models")
    assert client.converse(lambda line: line.queue()) is None
    assert not other.bodies
    assert not other.looks


def test_a_program_that_has_ended_says_so_itself(asked):
    def ended():
        raise EngineFault("The server of engine=fake ended (exit code 7).")

    _, client = asked({"fault": "cut"}, alive=ended)
    with pytest.raises(EngineFault, match="exit code 7"):
        client.complete([PROMPT])


def test_an_interrupt_is_let_through(asked):
    _, client = asked()

    async def interrupted(post):
        raise asyncio.CancelledError

    with pytest.raises(BaseException):  # noqa: B017, PT011  # whatever it is, it ends
        client.chains([interrupted])
    assert client.complete([PROMPT])[0].tokens == 6
