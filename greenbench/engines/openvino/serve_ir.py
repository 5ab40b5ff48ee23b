"""Serves an exported model over HTTP with OpenVINO GenAI, until it is ended: a script, its options as JSON.

OpenVINO GenAI is a library: its pipeline of continuous batching is what computes here, one step after
another. A step keeps Python's lock, so that all else, the connections too, is done between two steps by the
same thread: what has connected during one is taken in before the next, and joins it. Imports nothing of ours.
"""

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai

TURNS = 8
"""Of the event loop, from a connection that waits to its first bytes, with some to spare."""
PATIENCE_S = 0.02
"""What has begun to arrive may join the next step if it is there by then."""
NO_ROOM = "no room for keys and values"
"""Why the pipeline ignores a request."""
UNFINISHED = "\ufffd"
"""What the first bytes of a letter look like."""


class Text:
    """The text of tokens as they come."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._begin = self._told = 0

    def more(self, ids: list[int], *, last: bool) -> str:
        """What `ids` add to it; half a letter waits for its rest."""
        self._ids += ids
        whole = self._words(len(self._ids))
        if whole.endswith(UNFINISHED) and not last:
            return ""
        new = whole[len(self._words(self._told)) :]
        self._begin, self._told = self._told, len(self._ids)
        return new

    def _words(self, end: int) -> str:
        ids = self._ids[self._begin : end]
        return str(self._tokenizer.decode(ids)) if ids else ""


class Asked:
    """One request on its way."""

    def __init__(self, body: Mapping[str, Any], writer: asyncio.StreamWriter, text: Text) -> None:
        self.body, self.made = body, 0
        self.done, self.gone = asyncio.Event(), False
        self._writer, self._text = writer, text
        self._told = "stop" in body  # its text: to read tokens as words takes time
        self._handle: Any = None
        self._nats: list[float] = []
        self._finish: str | None = None

    def begin(self, pipeline: Any, number: int) -> bool:
        """Hand it to the pipeline; whether that takes it."""
        prompt = ov.Tensor(np.array([self.body["prompt"]], dtype=np.int64))
        try:
            settings = _settings(self.body, pipeline.get_config())
            self._handle = pipeline.add_request(number, prompt, settings)
        except Exception as error:  # whatever was asked for: it may not end the server
            self._refuse("400 Bad Request", f"{type(error).__name__}: {error}")
            return False
        if self.body.get("stream"):
            _head(self._writer, "200 OK", "text/event-stream")
        return True

    def _refuse(self, status: str, why: str) -> None:
        _head(self._writer, status, "application/json")
        self._writer.write(json.dumps({"error": why}).encode())
        self.done.set()

    def give_up(self) -> None:
        """Nobody waits for it any more."""
        self.gone = True
        if self._handle is not None:
            self._handle.cancel()

    def deliver(self) -> bool:
        """Write what has come of it; whether that was all."""
        status = self._handle.get_status()
        while self._handle.can_read():
            for output in self._handle.read().values():
                self._chunk(output)
        if status == genai.GenerationStatus.RUNNING:
            return False
        if status != genai.GenerationStatus.IGNORED:
            self._end()
        elif self.body.get("stream"):
            self._event({"error": NO_ROOM})
        else:
            self._refuse("500 Internal Server Error", NO_ROOM)
        self.done.set()
        return True

    def _chunk(self, output: Any) -> None:
        ids, nats = list(output.generated_ids), list(output.generated_log_probs)
        self._nats += nats
        self.made += len(ids)
        reason = output.finish_reason
        if reason != genai.GenerationFinishReason.NONE:
            self._finish = reason.name.lower()
        if self.body.get("stream"):
            choice: dict[str, Any] = {
                "text": self._text.more(ids, last=self._finish is not None) if self._told else "",
                "token_ids": ids,
                "finish_reason": self._finish,
            }
            if self.body.get("logprobs"):
                choice["logprobs"] = {"token_logprobs": nats}
            self._event({"choices": [choice]})

    def _end(self) -> None:
        if self.body.get("stream"):
            usage = {"prompt_tokens": len(self.body["prompt"]), "completion_tokens": self.made}
            self._event({"choices": [], "usage": usage})
            self._writer.write(b"data: [DONE]\n\n")
        else:
            _head(self._writer, "200 OK", "application/json")
            whole = {"choices": [{"logprobs": {"token_logprobs": self._nats}}]}
            self._writer.write(json.dumps(whole).encode())

    def _event(self, event: Mapping[str, Any]) -> None:
        self._writer.write(b"data: " + json.dumps(event).encode() + b"\n\n")


class Serving:
    """The pipeline, and all that is asked of it."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        scheduler = genai.SchedulerConfig()
        scheduler.enable_prefix_caching = False  # no request profits from an earlier one
        scheduler.cache_size = 0  # keys and values take room as they need it
        self._pipeline = genai.ContinuousBatchingPipeline(
            options["model"], scheduler, "CPU", options["properties"]
        )
        self._tokenizer = self._pipeline.get_tokenizer()
        self._seats = options["seats"]
        self._live: list[Asked] = []
        self._waiting: deque[Asked] = deque()  # its own queue has no end to its seats
        self._wanted = asyncio.Event()
        self._arriving = self._begun = self._made = 0

    async def steps(self) -> None:
        """Compute for ever."""
        while True:
            await self._wanted.wait()
            while self._live or self._waiting:
                await self._arrivals()
                self._admit()
                if self._live:
                    self._pipeline.step()
                    self._live = [asked for asked in self._live if not self._delivered(asked)]
            self._wanted.clear()

    def _admit(self) -> None:
        while self._waiting and len(self._live) < self._seats:
            asked, self._begun = self._waiting.popleft(), self._begun + 1
            if not asked.gone and asked.begin(self._pipeline, self._begun):
                self._live.append(asked)

    def _delivered(self, asked: Asked) -> bool:
        before, ended = asked.made, asked.deliver()
        self._made += asked.made - before
        return ended

    async def _arrivals(self) -> None:
        """Let those who have asked meanwhile be heard."""
        until_s = time.monotonic() + PATIENCE_S
        for _ in range(TURNS):
            await asyncio.sleep(0)
        while self._arriving and time.monotonic() < until_s:
            await asyncio.sleep(0)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, which asks once."""
        with suppress(OSError, asyncio.IncompleteReadError):
            self._arriving += 1
            try:
                body = await _request(reader)
            finally:
                self._arriving -= 1
            if body:
                await self._answered(Asked(body, writer, Text(self._tokenizer)), reader)
            else:
                _head(writer, "200 OK", "text/plain")
                writer.write(self._page().encode())
            await writer.drain()
        writer.close()

    async def _answered(self, asked: Asked, reader: asyncio.StreamReader) -> None:
        self._waiting.append(asked)
        self._wanted.set()
        await _either(asked.done.wait(), reader.read())  # an end of file: who asked is gone
        if not asked.done.is_set():
            asked.give_up()

    def _page(self) -> str:
        """For Prometheus."""
        return (
            f"openvino_genai:requests_running {len(self._live)}\n"
            f"openvino_genai:requests_waiting {len(self._waiting)}\n"
            f"openvino_genai:tokens_total {self._made}\n"
        )


def _settings(body: Mapping[str, Any], own: Any) -> Any:
    """The ends of the model's maker (`own`), and nothing else that the maker sets."""
    found = genai.GenerationConfig()
    found.eos_token_id, found.stop_token_ids = own.eos_token_id, own.stop_token_ids
    found.max_new_tokens = body["max_tokens"]
    found.ignore_eos = bool(body.get("ignore_eos"))
    found.echo, found.logprobs = bool(body.get("echo")), int(body.get("logprobs") or 0)
    found.stop_strings = set(body.get("stop") or ())
    found.include_stop_str_in_output = True  # its tokens were made
    if body.get("temperature"):
        found.do_sample = True
        found.temperature, found.top_p = body["temperature"], body["top_p"]
        found.rng_seed = body["seed"]
        if body["top_k"] > 0:
            found.top_k = body["top_k"]
    return found


async def _request(reader: asyncio.StreamReader) -> dict[str, Any]:
    """What is asked; empty for a look at the page."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = (line.partition(":") for line in head.split("\r\n"))
    fields = {name.lower(): value for name, _, value in lines}
    size = int(fields.get("content-length", 0))
    return dict(json.loads(await reader.readexactly(size))) if size else {}


async def _either(*work: Any) -> None:
    """Until one of them is done."""
    tasks = [asyncio.ensure_future(each) for each in work]
    _, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for each in rest:
        each.cancel()


def _head(writer: asyncio.StreamWriter, status: str, kind: str) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())


async def main(options: Mapping[str, Any]) -> None:
    """``{"model": PATH, "port": N, "seats": N, "properties": {...}}``"""
    serving = Serving(options)
    await asyncio.start_server(serving.answer, "127.0.0.1", options["port"])
    await serving.steps()  # its failure ends all, as nothing waits for connections


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
