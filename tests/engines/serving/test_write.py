"""A server's answers in words: what it is asked, what it said, how many tokens that took."""

import pytest
from helpers.fakes.openai_server import FakeOpenAI

from greenbench.engines.engine import Footprint, Request
from greenbench.engines.serving.client import Client, Endpoint
from greenbench.engines.serving.scoring import NoScorer
from greenbench.engines.serving.served import Body, FromServer
from greenbench.engines.transformers.served import HubTokenizer
from greenbench.engines.writing import Ask, Draw
from greenbench.errors import EngineFault


@pytest.fixture
def server():
    with FakeOpenAI() as running:
        yield running


@pytest.fixture
def served(server, tokenizer):
    client = Client(Endpoint("fake", server.url))
    body = Body(HubTokenizer(tokenizer), tokenizer, 64, Footprint(None, None, None, "unknown"))
    yield FromServer(client, lambda client: NoScorer("none"), body)
    client.close()


def test_it_is_asked_for_a_text_with_stops(served, server):
    (written,) = served.write([Ask((1, 2, 3), 8, ("\n\n", ""))])
    (body,) = server.bodies
    assert body["prompt"] == [1, 2, 3]
    assert (body["max_tokens"], body["stop"], body["temperature"]) == (8, ["\n\n"], 0)
    assert "ignore_eos" not in body
    assert written.text == "x" * 8
    assert written.completion.tokens == len(written.completion.stamps_s) == 8
    assert written.completion.prompt_tokens == 3
    assert written.cut


def test_a_server_that_takes_fewer_stops_than_a_task_has_says_what_to_do(served, server):
    server.script["most_stops"] = 4
    assert served.write([Ask((1,), 4, ("\n", ".", ",", "!"))])[0].text == "xxxx"
    with pytest.raises(
        EngineFault,
        match=r"answered 400 \(body\.stop: .*\) to an answer that ends at any of 5 strings, .* "
        r"VLLM_MAX_STOP_STRINGS=5",
    ):
        served.write([Ask((1,), 4, ("\n", ".", ",", "!", "?"))])


def test_what_is_drawn_is_told_how(served, server):
    served.write([Ask((1,), 4, (), Draw(0.7, 0.9, 0, 5))])
    (body,) = server.bodies
    drawn = {name: body[name] for name in ("temperature", "top_p", "top_k", "seed")}
    assert drawn == {"temperature": 0.7, "top_p": 0.9, "top_k": -1, "seed": 5}


def test_a_text_ends_before_its_stop_and_is_not_cut(served, server):
    server.script |= {"text": "four\n\nand more", "finish": "stop"}
    (written,) = served.write([Ask((1,), 20, ("\n\n",))])
    assert written.text == "four"
    assert not written.cut


def test_all_of_a_batch_are_in_flight_at_once(served, server):
    server.script["first_s"] = 0.05
    found = served.write([Ask((n,), 4) for n in range(5)])
    assert len(found) == 5
    assert server.most > 1


def test_thoughts_are_counted_by_the_chunks_that_they_came_in(
    served, server, tokenizer, monkeypatch
):
    monkeypatch.setattr(tokenizer, "chat_template", "<think></think>", raising=False)
    server.script |= {"text": "<think>well</think>\n4", "finish": "stop", "counts": "ids"}
    (written,) = served.write([Ask((1,), 40)])
    assert written.thought_tokens == len("<think>well</think>")  # one token a character
    assert written.text == "<think>well</think>\n4"
    assert written.completion.tokens == len(written.text)


def test_the_strings_that_end_an_answer_are_asked_for_once_it_has_thought(
    served, server, tokenizer, monkeypatch
):
    monkeypatch.setattr(tokenizer, "chat_template", "<think></think>", raising=False)
    server.script |= {"text": "<think>well\n\nyes", "finish": "stop", "counts": "ids"}
    (written,) = served.write([Ask((1,), 60, ("\n\n",))])
    first, second = server.bodies
    assert (first["stop"], second["stop"]) == (["</think>"], ["\n\n"])
    assert first["max_tokens"] == 60
    assert second["max_tokens"] == 60 - len("<think>well\n\nyes")
    assert written.text.startswith("<think>well\n\nyes</think>\n\n")


def test_a_thought_that_the_prompt_has_ended_is_not_asked_for(
    served, server, tokenizer, monkeypatch
):
    monkeypatch.setattr(tokenizer, "chat_template", "<think></think>", raising=False)
    closed = tuple(tokenizer("2 + 2?<think>\n\n</think>\n\n")["input_ids"])
    served.write([Ask(closed, 8, ("\n\n",))])
    (body,) = server.bodies
    assert body["stop"] == ["\n\n"]


def test_what_does_not_think_ends_at_its_strings(served, server, tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", "<think></think>", raising=False)
    server.script |= {"text": "four\n\nand more", "finish": "stop"}
    (written,) = served.write([Ask((1,), 40, ("\n\n",))])
    assert (written.text, written.cut) == ("four", False)
    assert len(server.bodies) == 1


@pytest.mark.parametrize("dialect", ["completions", "chat"])
def test_how_sure_it_is_is_told_where_that_is_asked_for(served, server, dialect):
    server.script["logprobs"] = dialect
    (written,) = served.write([Ask((1, 2), 4, sure=True)])
    (request,) = served.complete([Request((1, 2), 4, sure=True)])
    assert [body["logprobs"] for body in server.bodies] == [1, 1]
    assert written.completion.confidence == pytest.approx(0.5)
    assert request.confidence == pytest.approx(0.5)


def test_else_it_is_not(served, server):
    (written,) = served.write([Ask((1, 2), 4)])
    assert "logprobs" not in server.bodies[0]
    assert written.completion.confidence is None
