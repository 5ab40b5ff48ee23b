"""The server's script on a pipeline that does as it is told, in place of OpenVINO's: who joins which step,
and what becomes of faults."""

import asyncio
import importlib
import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import Enum
from types import ModuleType, SimpleNamespace

import pytest

from greenbench.engines.serving.server import free_port

Status = Enum("Status", "RUNNING FINISHED IGNORED CANCEL STOP")
Finish = Enum("Finish", "NONE STOP LENGTH")
SCRIPT = "greenbench.engines.openvino.serve_ir"
PATIENCE_S = 20


class Broken(Exception):
    """What a step may end with."""


class Handle:
    """A request that gets a token a step."""

    def __init__(self, prompt, settings):
        self.prompt, self.left = prompt.shape[1], settings.max_new_tokens
        self.status, self.unread = Status.RUNNING, False

    def get_status(self):
        return self.status

    def can_read(self):
        return self.unread

    def read(self):
        self.unread = False
        why = Finish.NONE if self.left else Finish.LENGTH
        return {
            0: SimpleNamespace(generated_ids=[7], generated_log_probs=[-1.0], finish_reason=why)
        }

    def cancel(self):
        self.status = Status.CANCEL

    def step(self, room):
        self.left, self.unread = self.left - room, room
        ended = Status.RUNNING if self.left else Status.FINISHED
        self.status = ended if room else Status.IGNORED


class Pipeline:
    """Notes the lengths of the prompts of each step, in which it does what it is told."""

    def __init__(self, during, *, room=True):
        self.during, self.room, self.live, self.steps, self.decoded = during, room, [], [], 0

    def get_tokenizer(self):
        return self

    def decode(self, ids):
        self.decoded += 1
        return "x" * len(ids)

    def get_config(self):
        return SimpleNamespace(eos_token_id=2, stop_token_ids={2})

    def add_request(self, number, prompt, settings):
        self.live.append(Handle(prompt, settings))
        return self.live[-1]

    def step(self):
        live = [each for each in self.live if each.status is Status.RUNNING]
        self.steps.append([each.prompt for each in live])
        self.during(len(self.steps))
        for each in live:
            each.step(self.room)


@contextmanager
def served(pipeline, monkeypatch):
    """The port of the script as its own Python would run it; a step that fails ends it."""
    openvino, genai = ModuleType("openvino"), ModuleType("openvino_genai")
    openvino.Tensor = lambda numbers: numbers
    genai.SchedulerConfig = genai.GenerationConfig = SimpleNamespace
    genai.ContinuousBatchingPipeline = lambda *_: pipeline
    genai.GenerationStatus, genai.GenerationFinishReason = Status, Finish
    for name, module in (("openvino", openvino), ("openvino_genai", genai)):
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules.pop(SCRIPT, None)
    script, port = importlib.import_module(SCRIPT), free_port()
    sys.modules.pop(SCRIPT)
    options = {"model": "m", "port": port, "seats": 4, "properties": {}}
    with ThreadPoolExecutor() as pool:
        running = pool.submit(asyncio.run, script.main(options))
        while not listens(port):
            assert not running.done()
        yield port
        pipeline.during = fails
        with asked(port, 1), pytest.raises(Broken):
            running.result(PATIENCE_S)  # whoever is connected


def fails(_):
    raise Broken


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def asked(port, prompt, tokens=3, **more):
    """A connection over which a prompt of so many tokens was sent."""
    body = {"prompt": [5] * prompt, "max_tokens": tokens, "stream": True} | more
    text = json.dumps({name: value for name, value in body.items() if value is not None})
    found = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    found.sendall(f"POST / HTTP/1.1\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
    return found


def read(connection):
    """All that comes over it."""
    with connection, connection.makefile(newline="") as file:
        return file.read().replace("\r\n", "\n")


def test_who_connects_during_a_step_joins_the_next(monkeypatch):
    others = []

    def during(step):
        if step == 2:
            others.extend(asked(port, 20 + place) for place in range(2))

    pipeline = Pipeline(during)
    with served(pipeline, monkeypatch) as port:
        first = read(asked(port, 10, tokens=5))
        assert first.count("token_ids") == 5
        assert all("[DONE]" in read(other) for other in others)
    assert pipeline.steps[:6] == [[10], [10], [10, 20, 21], [10, 20, 21], [10, 20, 21], [1]]


def test_only_who_wants_words_has_tokens_read_as_words(monkeypatch):
    pipeline = Pipeline(lambda step: None)
    with served(pipeline, monkeypatch) as port:
        assert '"text": ""' in read(asked(port, 10))
        assert pipeline.decoded == 0
        assert '"text": "x"' in read(asked(port, 10, stop=[]))
        assert pipeline.decoded > 0


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_without_room_is_an_error_and_no_answer(monkeypatch, stream):
    with served(Pipeline(lambda step: None, room=False), monkeypatch) as port:
        said = read(asked(port, 10, stream=stream))
    assert '{"error": "no room for keys and values"}' in said
    assert "choices" not in said
    assert said.startswith("HTTP/1.1 200" if stream else "HTTP/1.1 500")


def test_what_cannot_be_asked_for_is_refused_and_others_are_answered(monkeypatch):
    with served(Pipeline(lambda step: None), monkeypatch) as port:
        assert read(asked(port, 10, tokens=None)).startswith("HTTP/1.1 400")
        assert "KeyError: 'max_tokens'" in read(asked(port, 10, tokens=None))
        assert "[DONE]" in read(asked(port, 10))


def test_a_step_that_fails_ends_the_server_whoever_is_connected(monkeypatch):
    def during(step):
        if step == 2:
            raise Broken

    idle = []
    with served(Pipeline(during), monkeypatch) as port:
        idle.append(socket.create_connection(("127.0.0.1", port)))
        idle.append(asked(port, 10))
    for each in idle:
        each.close()
