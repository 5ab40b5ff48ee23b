"""A streamed answer, taken apart."""

import json

from greenbench.engines.serving.answer import Answer
from greenbench.engines.serving.client import Endpoint


def event(text, ids):
    choice = {"text": text, "token_ids": ids}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


def test_what_came_together_is_still_known_apart():
    answer = Answer(Endpoint("fake", "http://127.0.0.1"))
    answer.feed(event("<th", [1]), 1.0)
    answer.feed(b"".join([event("ink>", [2]), event("so", [3]), event("</think>", [4, 5])]), 2.0)
    assert answer.stamps_s() == (1.0, 1.25, 1.5, 1.75, 2.0)
    wanted = ["<th", "<think>", "<think>so", "<think>so</think>", "<think>so</think>"]
    assert [answer.beginning(tokens) for tokens in range(1, 6)] == wanted
