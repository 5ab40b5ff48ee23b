"""A Hugging Face hub on loopback, as far as its own clients ask one: its lists, files, and what is gated."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

COMMIT = "0123456789abcdef" * 2 + "01234567"
ASKED = re.compile(
    r"/api/(?:models/)?((?:datasets/|kernels/)?[^/]+/[^/?]+)"
    r"(?:/(revision|tree|paths-info|refs)(?:/[^/?]+)?(?:/([^?]*))?)?(?:\?(.*))?$"
)
FILE = re.compile(r"/((?:datasets/|kernels/)?[^/]+/[^/]+)/resolve/[^/]+/(.+)")


@contextmanager
def serving(repositories, gated=()):
    """The hub's URL, and the requests it gets as (method, path).

    `repositories` are directories by id, those of data sets by ``datasets/ORG/NAME``.
    """
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

    do_POST = do_GET

    def answer(self, *, body):
        self.server.requests.append((self.command, self.path))
        if self.path.endswith("/overview"):
            told = {
                "name": "org",
                "fullname": "org",
                "avatarUrl": "",
                "trustedKernelPublisher": True,
            }
            self.send(200, json.dumps(told).encode(), {"Content-Type": "application/json"})
        elif asked := ASKED.match(self.path):
            self.tell(*asked.groups())
        elif found := FILE.match(self.path):
            self.give(found[1], found[2], body=body)
        else:
            self.refuse(404, "")

    def tell(self, name, what, inside, options):
        if name not in self.server.repositories:
            return self.refuse(404, "RepoNotFound")
        root = Path(self.server.repositories[name])
        if what == "tree":
            found = (root / (inside or "")).glob(
                "**/*" if "recursive=true" in str(options).lower() else "*"
            )
            told = [listed(path, root) for path in sorted(found)]
        elif what == "paths-info":
            size = int(self.headers["Content-Length"])
            wanted = json.loads(self.rfile.read(size))["paths"]
            told = [listed(root / path, root) for path in wanted if (root / path).exists()]
        else:
            files = sorted(path for path in root.rglob("*") if path.is_file())
            siblings = [sibling(path, root, sized="blobs" in str(options)) for path in files]
            told = {"id": name.partition("/")[2] if name.count("/") > 1 else name, "sha": COMMIT,
                    "siblings": siblings, "private": False, "tags": [], "downloads": 0, "likes": 0,
                    "cardData": card(root / "README.md")}  # fmt: skip
        self.send(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def give(self, name, file, *, body):
        if name in self.server.gated:
            return self.refuse(403, "GatedRepo")
        if name not in self.server.repositories:
            return self.refuse(404, "RepoNotFound")
        path = Path(self.server.repositories[name]) / file
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


def listed(path, root):
    """An entry of a tree."""
    name = path.relative_to(root).as_posix()
    if path.is_dir():
        return {"type": "directory", "path": name, "oid": hashlib.sha1(name.encode()).hexdigest()}
    return {"type": "file", "path": name, "size": path.stat().st_size, "oid": etag(path)}


def sibling(path, root, *, sized):
    """A file of a repository's description."""
    size = {"size": path.stat().st_size, "blobId": etag(path)} if sized else {}
    return {"rfilename": path.relative_to(root).as_posix(), **size}


def card(readme):
    """What stands at the head of it."""
    parts = readme.read_text().split("---\n") if readme.is_file() else []
    return yaml.safe_load(parts[1]) if len(parts) > 2 else None


def etag(path):
    """As git names a file's content."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
