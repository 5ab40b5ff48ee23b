"""An OpenAI-compatible server that does as it is told: its delays, its chunks, its faults.

Also a program: ``openai_server.py PORT SCRIPT`` with the script as JSON.
"""

import json
import math
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SCRIPT = {
    "models": ["fake"],
    "key": None,
    "first_s": 0.0,
    "token_s": 0.0,
    "per_chunk": 1,
    "tokens": None,  # made, whatever was asked for
    "finish": "length",  # why an answer ends
    "logprobs": "completions",  # or chat: how they are told
    "counts": "usage",  # or ids, timings, continuous, none
    "keep_alives": False,
    "halves": False,
    "empty_chunks": False,
    "status": 200,
    "fault": None,  # garbage, cut, hang, error, die
    "only": None,  # first token of the prompts that status and fault are for; null: all
    "every": 1,  # ... and of them each so manieth prompt
    "moved": None,  # to where it sends whoever asks
    "page": None,  # status and text of whatever is looked at
    "most_stops": None,  # as many strings as an answer may end at
    "metrics": None,  # the text of its page for Prometheus
    "echo": True,
    "echoes": None,  # each fault tells the key that was sent, after so many dots
    "text": None,  # of answers that may stop, a token each character; null: as many x as were asked for
    "sleeps": False,  # has vLLM's endpoints for it
    "sleepless": False,  # ... and does nothing when it is told to
    # of the program
    "not_ready_s": 0.0,
    "exit": None,
    "says": "",
    "children": 0,
    "workers": 0,
}


def log_probability(token, place):
    """What the fake thinks of a token at a place of a prompt: greedy for even ones."""
    return -0.5 if token % 2 == 0 else -1.0 - (token % 7) / 10 - place / 1000


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    @property
    def script(self):
        return self.server.script

    def do_GET(self):
        if self.script["moved"]:
            return self._move()
        if self.path == "/health":
            ready = time.monotonic() - self.server.since_s > self.script["not_ready_s"]
            return self._json({}, 200 if ready else 503)
        self.server.looks.append(self.path)
        if self.script["page"] is not None:
            status, text = self.script["page"]
            return self._text(text, status)
        if self.path == "/metrics" and self.script["metrics"] is not None:
            return self._text(self.script["metrics"])
        if self.path == "/v1/models" and self._allowed():
            return self._json({"data": [{"id": name} for name in self.script["models"]]})
        if self.path == "/is_sleeping" and self.script["sleeps"]:
            return self._json({"is_sleeping": self.server.asleep})
        return None if self.path == "/v1/models" else self._json({"error": "no such"}, 404)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.script["moved"]:
            return self._move()
        if self.path in ("/sleep?level=1", "/wake_up") and self.script["sleeps"]:
            self.server.asleep = self.path != "/wake_up" and not self.script["sleepless"]
            return self._json({"status": "done"})
        with self.server.counted:
            self.server.bodies.append(body)
            self.number = len(self.server.bodies)
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        try:
            self._answer(body)
        except OSError:
            self.server.left.release()
            raise
        finally:
            with self.server.counted:
                self.server.now -= 1

    def _answer(self, body):
        script = self.script
        if not self._allowed():
            return
        if self.server.asleep:
            self._json({"error": {"message": "asked while asleep"}}, 500)
        elif script["status"] != 200 and self._meant(body):
            self._text(self._told("told to fail"), script["status"])
        elif script["most_stops"] is not None and len(body.get("stop", ())) > script["most_stops"]:
            wrong = f"body.stop: List should have at most {script['most_stops']} items"
            self._json({"error": {"message": wrong}}, 400)
        elif body.get("model") not in (None, *script["models"]):
            self._json({"error": {"message": f"no model {body['model']}"}}, 404)
        elif body.get("stream"):
            self._stream(body)
        elif body.get("echo"):
            self._echo(body)
        else:
            text = script["text"] or "answer" + (body.get("stop") or [""])[0] + " more"
            self._json({"choices": [{"text": text, "finish_reason": "stop"}]})

    def _told(self, message, form='{"error": {"message": "%s"}}'):
        """What is wrong, with the key that was sent where the script says so."""
        if self.script["echoes"] is not None:
            message = self.script["echoes"] * "." + self.headers["Authorization"]
        return form % message if form else message

    def _meant(self, body):
        only = self.script["only"]
        mine = only is None or only == body["prompt"][0]
        return mine and self.number % self.script["every"] == 0

    def _allowed(self):
        key = self.script["key"]
        if key and self.headers.get("Authorization") != f"Bearer {key}":
            self._json({"error": {"message": "bad key"}}, 401)
            return False
        return True

    def _move(self):
        self.send_response(307)
        self.send_header("Location", self.script["moved"] + self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _json(self, value, status=200):
        self._text(json.dumps(value), status, "application/json")

    def _text(self, text, status=200, kind="text/plain"):
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _echo(self, body):
        time.sleep(self.script["first_s"])
        if not self.script["echo"]:
            return self._json({"choices": [{"text": "", "logprobs": None}]})
        nats = [log_probability(token, place) for place, token in enumerate(body["prompt"])]
        top = [{"a": each, "b": -0.6} for each in nats]
        told = {"token_logprobs": [None, *nats[1:]], "top_logprobs": [None, *top[1:]]}
        return self._json({"choices": [{"text": "", "logprobs": told}]})

    def _stream(self, body):
        script = self.script
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        total = body["max_tokens"] if script["tokens"] is None else script["tokens"]
        written = script["text"] if "stop" in body else None
        if written is not None:
            total = len(written)
        time.sleep(script["first_s"])
        made = 0
        while made < total:
            count = min(script["per_chunk"], total - made)
            if made:
                time.sleep(script["token_s"] * count)
            made += count
            if made > total // 2 and self._meant(body) and self._fault():
                return
            chunk = self._chunk(count, made, len(body["prompt"]), written)
            if body.get("logprobs"):
                chunk["choices"][0]["logprobs"] = self._likely(count)
            self._event(chunk)
        self._event({"choices": [{"text": "", "finish_reason": script["finish"]}]})
        if script["counts"] in ("usage", "continuous"):
            usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": total}
            self._event({"choices": [], "usage": usage})
        self._write(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, count, made, read, written):
        text = written or "x" * made
        choice = {"text": text[made - count : made], "finish_reason": None}
        event = {"choices": [choice]}
        match self.script["counts"]:
            case "ids":
                choice["token_ids"] = list(range(count))
            case "timings":
                event["timings"] = {"predicted_n": made}
            case "continuous":
                event["usage"] = {"prompt_tokens": read, "completion_tokens": made}
        return event

    def _likely(self, count):
        """Of each token: as likely as not."""
        nats = [math.log(0.5)] * count
        if self.script["logprobs"] == "chat":
            return {"content": [{"logprob": each} for each in nats]}
        return {"token_logprobs": nats}

    def _fault(self):
        match self.script["fault"]:
            case "garbage":
                self._write(f"data: {self._told('<html>no</html>', '')}\n\n".encode())
                self.wfile.write(b"0\r\n\r\n")
            case "cut":
                self.connection.close()
            case "end":
                self.wfile.write(b"0\r\n\r\n")
            case "error":
                self._event(json.loads(self._told("the engine is lost")))
                self.wfile.write(b"0\r\n\r\n")
            case "hang":
                self.server.ended.wait(30)
            case "die":
                print("fatal error: out of luck", flush=True)
                os._exit(7)
        return self.script["fault"] is not None

    def _event(self, value):
        if self.script["keep_alives"]:
            self._write(b": keep-alive\n\n")
            self._write(b"event: message\n")
        if self.script["empty_chunks"]:
            self._write(b'data: {"choices": [{"text": ""}]}\n\n')
        data = b"data: " + json.dumps(value).encode() + b"\n\n"
        if self.script["halves"]:
            middle = len(data) // 2
            self._write(data[:middle])
            time.sleep(0.002)
            data = data[middle:]
        self._write(data)

    def _write(self, data):
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()


class FakeOpenAI(ThreadingHTTPServer):
    """Answers in threads of this process; what it was asked is in `bodies` and `looks`, and `left` is
    released whenever someone hangs up on it."""

    daemon_threads, request_queue_size = True, 64

    def __init__(self, port=0, **script):
        super().__init__(("127.0.0.1", port), Handler)
        self.script = SCRIPT | script
        self.bodies, self.looks, self.left = [], [], threading.Semaphore(0)
        self.now, self.most, self.asleep = 0, 0, False
        self.counted, self.ended = threading.Lock(), threading.Event()
        self.since_s = time.monotonic()

    def handle_error(self, request, client_address):
        """Who asks may be gone before the answer is: no news."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.shutdown()
        self.server_close()


def main(port, script):
    asked = SCRIPT | json.loads(script)
    print(asked["says"], flush=True)
    for _ in range(
        asked["children"]
    ):  # workers that leave the program's group, and heed no SIGTERM
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    for _ in range(asked["workers"]):  # and such as stay, as vLLM's do
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if asked["exit"] is not None:
        sys.exit(asked["exit"])
    FakeOpenAI(int(port), **asked).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
