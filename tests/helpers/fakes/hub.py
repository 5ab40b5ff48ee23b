"""A Hugging Face hub on loopback, as far as its own client asks one: its lists, files, and what is gated."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef" * 2 + "01234567"
ASKED = re.compile(r"/api/models/([^/]+/[^/]+)/(revision|tree)/([^?]+)")
FILE = re.compile(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)")


@contextmanager
def serving(repositories, gated=()):
    """The hub's URL, and the requests it gets as (method, path); `repositories` are directories by id."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.repositories, server.gated, server.requests = repositories, gated, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", server.requests
    finally:
        server.shutdown()


class Handler(BaseHTTPRequestHandler):
    """Answers by what its server holds."""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        self.server.requests.append((self.command, self.path))
        if asked := ASKED.match(self.path):
            self.tell(asked[1], asked[2])
        elif found := FILE.match(self.path):
            self.give(found[1], found[2], body=body)
        else:
            self.refuse(404, "")

    def tell(self, name, what):
        if name not in self.server.repositories:
            return self.refuse(404, "RepoNotFound")
        files = [path for path in self.server.repositories[name].iterdir() if path.is_file()]
        if what == "tree":
            told = [
                {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": etag(path)}
                for path in files
            ]
        else:
            siblings = [{"rfilename": path.name} for path in files]
            told = {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings,
                    "private": False, "tags": [], "downloads": 0, "likes": 0}  # fmt: skip
        self.send(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def give(self, name, file, *, body):
        if name in self.server.gated:
            return self.refuse(403, "GatedRepo")
        path = self.server.repositories[name] / file
        if not path.is_file():
            return self.refuse(404, "EntryNotFound")
        headers = {"ETag": f'"{etag(path)}"', "X-Repo-Commit": COMMIT}
        self.send(200, path.read_bytes(), headers, body=body)

    def refuse(self, status, code):
        self.send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    def send(self, status, data, headers, *, body=True):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_):
        pass


def etag(path):
    """As git names a file's content."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
