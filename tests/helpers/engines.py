"""Engines without torch: one works in the run's process, one in a child's."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar

from lm_eval.api.model import LM

from greenbench.engines import in_turn
from greenbench.engines.engine import Completion, Engine, Footprint, Request
from greenbench.engines.writing import Written

CHILD = """
import json, sys, time
for line in sys.stdin:
    count, stamps = int(line), []
    for _ in range(count):
        end_s = time.perf_counter() + 0.002
        while time.perf_counter() < end_s: pass
        stamps.append(time.perf_counter())
    print(json.dumps(stamps), flush=True)
"""


class Words:
    """A tokenizer of one id per word, with a begin-of-text token."""

    prefix_id = 7

    def encode(self, text):
        return [10 + len(word) for word in text.split()]

    def frame(self, *, chat):
        return [self.prefix_id], []

    template = ending = most_thoughts = None

    def chat(self, turns, *, opened=True):
        raise NotImplementedError("there is no template")

    def prompt(self, text):
        return [self.prefix_id, *self.encode(text)]


class Guess(LM):
    """Log-likelihoods by hash."""

    def __init__(self, done):
        super().__init__()
        self._done = done

    def _each(self, requests):
        for request in requests:
            self._done()
            yield -float(sha256(repr(request.args).encode()).digest()[0] + 1)

    def loglikelihood(self, requests):
        return [(nats, False) for nats in self._each(requests)]

    def loglikelihood_rolling(self, requests):
        return list(self._each(requests))

    def generate_until(self, requests):
        raise NotImplementedError("what it writes, it writes itself")


class Here:
    """Works in this process, on no device."""

    def synchronize(self):
        pass

    reset_peaks = synchronize

    def device_peak_bytes(self):
        return None

    def pids(self):
        return frozenset()


class Echoing(Here):
    """Takes its time for each token."""

    max_tokens, tokenizer = None, Words()

    def __init__(self, work, pids=frozenset()):
        self._work, self._pids = work, pids

    def complete(self, batch):
        sent_s = time.perf_counter()
        stamps = tuple(self._work(batch[0].new_tokens))
        done_s = time.perf_counter()
        return [
            Completion(len(stamps), len(request.tokens), sent_s, stamps, done_s)
            for request in batch
        ]

    def converse(self, talk):
        return in_turn.converse(self.complete, talk)

    def write(self, asks):
        done = self.complete([Request(ask.tokens, ask.most_tokens) for ask in asks])
        return [Written("word " * each.tokens, each, cut=True) for each in done]

    def language_model(self, done, reference):
        return Guess(done)

    def nearness(self):
        return None, []

    def footprint(self):
        return Footprint(None, None, None, "this engine does not tell what it holds")

    def pids(self):
        return self._pids


@dataclass(frozen=True)
class Echo(Engine):
    """In the run's own process."""

    name: ClassVar[str] = "echo"
    summary: ClassVar[str] = "spins for each token"
    forms: ClassVar = frozenset({"safetensors"})

    token_s: float = 0.002

    def room_bytes(self, build):
        return 1 << 20

    @contextmanager
    def serve(self, build, machine):
        def spin(count):
            for _ in range(count):
                end_s = time.perf_counter() + self.token_s
                while time.perf_counter() < end_s:
                    pass
                yield time.perf_counter()

        yield Echoing(spin)


@dataclass(frozen=True)
class Aside(Engine):
    """In a process of its own."""

    name: ClassVar[str] = "aside"
    summary: ClassVar[str] = "spins for each token in a child process"
    forms: ClassVar = frozenset({"safetensors"})

    def room_bytes(self, build):
        return 1 << 20

    @contextmanager
    def serve(self, build, machine):
        pipe = subprocess.PIPE
        with subprocess.Popen([sys.executable, "-c", CHILD], stdin=pipe, stdout=pipe) as child:

            def ask(count):
                child.stdin.write(f"{count}\n".encode())
                child.stdin.flush()
                return json.loads(child.stdout.readline())

            yield Echoing(ask, frozenset({child.pid}))
            child.stdin.close()


class Drowsing(Echoing):
    """Cannot answer while it sleeps."""

    asleep = False

    def complete(self, batch):
        assert not self.asleep
        return super().complete(batch)

    def sleep(self):
        assert not self.asleep
        self.asleep = True

    def wake(self):
        assert self.asleep
        self.asleep = False


@dataclass(frozen=True)
class Drowsy(Echo):
    """Sleeps while the other is measured: two are awake at no time, and none is started twice."""

    name: ClassVar[str] = "drowsy"
    summary: ClassVar[str] = "spins for each token, and sleeps where two do not fit"
    served: ClassVar[list] = []

    def sleeps(self, machine):
        return True

    @contextmanager
    def serve(self, build, machine):
        with super().serve(build, machine) as plain:
            assert build.start.sleeps
            assert len(self.served) < 2
            assert all(each.asleep for each in self.served)
            self.served.append(Drowsing(plain._work))
            yield self.served[-1]
