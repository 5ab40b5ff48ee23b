"""Texts are scored through a server as in process: the same tokens, cuts and sums."""

from types import SimpleNamespace

import pytest
from helpers.fakes.openai_server import FakeOpenAI, log_probability

from greenbench.engines.query import Query
from greenbench.engines.serving.client import Client, Endpoint
from greenbench.engines.serving.scoring import ByPrompt, ServedModel
from greenbench.engines.transformers.scoring import LoadedModel
from greenbench.engines.transformers.served import HubTokenizer
from greenbench.errors import EngineFault

PAIRS = [
    ("The cat sat on", " the mat."),
    ("", "A text of its own."),
    ("The cat sat on ", "a chair"),  # the space goes with what follows
    ("One two three " * 40, "four"),
    ("The cat sat on", " the roof."),
]
TEXTS = ["", "Short.", "A longer text, which takes many windows of few tokens. " * 6]


def asked(*each):
    return [SimpleNamespace(args=args, task_name="t", doc_id=i) for i, args in enumerate(each)]


@pytest.fixture
def server():
    with FakeOpenAI() as running:
        yield running


@pytest.fixture
def client(server):
    opened = Client(Endpoint("fake", server.url))
    yield opened
    opened.close()


@pytest.fixture
def served(client, tokenizer):
    """Call with the longest sequence: the model, and how often it has said that a request is done."""

    def make(longest=64):
        done = []
        chat = HubTokenizer(tokenizer).chat
        model = ServedModel(tokenizer, longest, ByPrompt(client, 3), chat, lambda: done.append(1))
        return model, done

    return make


def test_turns_are_rendered_as_in_process(served, small_model, tokenizer):
    theirs, (ours, _) = LoadedModel(small_model, tokenizer), served()
    turns = [{"role": "user", "content": "Hello?"}]
    assert ours.apply_chat_template(turns) == theirs.apply_chat_template(turns)


def test_queries_are_those_of_the_engine_in_process(served, small_model, tokenizer):
    theirs = LoadedModel(small_model, tokenizer)
    theirs._max_length = 32
    ours, _ = served(32)
    assert [ours.pair(*pair) for pair in PAIRS] == [theirs.pair(*pair) for pair in PAIRS]
    assert [ours.windows(text) for text in TEXTS] == [theirs.windows(text) for text in TEXTS]
    assert ours.prefix_token_id == theirs.prefix_token_id


def expected(query: Query):
    whole = [*query.tokens, query.targets[-1]]
    places = range(len(whole) - len(query.targets), len(whole))
    nats = [log_probability(whole[place], place) for place in places]
    return sum(nats), all(whole[place] % 2 == 0 for place in places)


def test_log_likelihoods_are_sums_over_the_continuations_tokens(served):
    model, done = served()
    found = model.loglikelihood(asked(*PAIRS))
    for answer, pair in zip(found, PAIRS, strict=True):
        nats, greedy = expected(model.pair(*pair))
        assert answer == (pytest.approx(nats), greedy)
    assert len(done) == len(PAIRS)


def test_a_whole_text_is_the_sum_over_its_windows_and_an_empty_one_is_nothing(served):
    model, done = served(16)
    found = model.loglikelihood_rolling(asked(*((text,) for text in TEXTS)))
    assert found[0] == 0.0
    for nats, text in zip(found, TEXTS, strict=True):
        assert nats == pytest.approx(sum(expected(query)[0] for query in model.windows(text)))
    assert len(model.windows(TEXTS[2])) > 2
    assert len(done) == len(TEXTS)


def test_requests_are_in_flight_beside_each_other_but_not_too_many(served, server):
    model, _ = served()
    server.script["first_s"] = 0.02
    model.loglikelihood(asked(*PAIRS * 5))
    assert 1 < server.most <= 6  # the server takes a moment to see that an answer has gone
    assert len(server.bodies) == 5 * len(PAIRS)


def test_a_server_that_tells_no_log_probabilities_is_one_sentence(served, server):
    server.script["echo"] = False
    with pytest.raises(EngineFault, match="does not tell the log-probabilities of a prompt's"):
        served()[0].loglikelihood(asked(*PAIRS))


def test_what_the_model_cannot_hold_is_refused(served):
    model, _ = served(4)
    with pytest.raises(ValueError, match=r"continuation of .* tokens cannot be scored"):
        model.pair("a", " and many more words than four")
