"""A language model that answers by hashes: as good as any to see what is asked of it, and at no cost."""

import hashlib
from types import SimpleNamespace

from lm_eval.api.model import LM


class HashLM(LM):
    """Remembers every request: task, item, number, type and arguments."""

    def __init__(self, done=lambda: None):
        super().__init__()
        self.done, self.asked = done, []

    def loglikelihood(self, requests):
        return [(nats, nats > -4) for nats in map(self._nats, requests)]

    def loglikelihood_rolling(self, requests):
        return list(map(self._nats, requests))

    def generate_until(self, requests):
        return [str(self._nats(request)) for request in requests]

    def _nats(self, request):
        self.done()
        self.asked.append(
            (request.task_name, request.doc_id, request.idx, request.request_type, request.args)
        )
        return -8 * hashlib.sha256(repr(request.args).encode()).digest()[0] / 256 - 0.01


class Serving:
    """It, as an engine serves it."""

    tokenizer = SimpleNamespace(template=None)

    def __init__(self):
        self.lm = None

    def language_model(self, done, reference):
        self.lm = HashLM(done)
        return self.lm

    def nearness(self):
        return None, []
