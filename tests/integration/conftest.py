"""Real sweeps through the command line, on a tiny local model and with techniques from outside."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.architectures import checkpoint, small_tokenizer

PLUGIN = '''
"""Techniques that live outside GreenBench and misbehave in every way."""

import os, signal, time
from dataclasses import dataclass
from typing import ClassVar

import torch

from greenbench.schema.technique import Promise
from greenbench.techniques import Edited, ModelEdit


@dataclass(frozen=True)
class Outside(ModelEdit):
    name: ClassVar[str] = "outside"
    summary: ClassVar[str] = "scales the output head, or fails as it is told"

    scale: float = 2.0
    fail: str = ""

    def promise(self, model):
        return Promise(bytes_ratio=1.0, note="nothing")

    def edit(self, model, work):
        if os.environ.get("OUTSIDE_FAILS"):
            os._exit(1)
        if self.fail == "raise":
            print("about to raise at", __file__, os.environ.get("SOME_API_KEY"))
            raise RuntimeError("told to raise in /home/someone/secret/place.py")
        if self.fail == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fail == "profile":
            from greenbench.engines.transformers.served import InProcess

            InProcess.traced = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        if self.fail == "exit":
            os._exit(3)
        if self.fail == "hang":
            time.sleep(3600)
        if self.fail == "meddle":
            with open(os.environ["MEDDLE"], "a") as stream:
                stream.write(" ")
        if self.fail == "memory":
            torch.empty(1 << 50)
        with torch.no_grad():
            model.lm_head.weight.mul_(self.scale)
        work.details["scaled"] = self.scale
        return Edited(model)
'''


LOOPBACK = """
import ipaddress, sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        try:
            near = ipaddress.ip_address(arguments[1][0]).is_loopback
        except ValueError:
            near = arguments[1][0] == "localhost"
        if not near:
            raise PermissionError(f"a test reached for {arguments[1]}")

sys.addaudithook(refuse)
"""
"""In every process of a test: only loopback is contacted."""


@pytest.fixture(scope="session")
def plugin(tmp_path_factory):
    """An installed plug-in: one Python file, and the entry point in its metadata."""
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(LOOPBACK)
    (site / "outside_plugin.py").write_text(PLUGIN)
    info = site / "outside_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[greenbench.techniques]\noutside = outside_plugin\n")
    return site


class Bench:
    """``greenbench`` in its own process, in an empty directory."""

    def __init__(self, model: Path, plugin: Path, directory: Path) -> None:
        self.directory = directory
        self.results = directory / "results"
        self.quick = [
            "model=local", f"model.path={model}", "task=smoke", "task.items=3", "workload=short",
            "workload.prompt_tokens=8", "workload.output_tokens=3", "protocol=smoke",
            "protocol.window_s=0.001", "protocol.warmup_s=0", "protocol.warmup_limit_s=0",
            "protocol.idle_s=0.1", "device=cpu",
        ]  # fmt: skip
        self.environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(plugin), os.environ.get("PYTHONPATH", "")]),
            "GREENBENCH_CACHE": str(self._cache(directory)),
            "SOME_API_KEY": "very-secret-value-123",
            "OMP_NUM_THREADS": "1",
        }

    @staticmethod
    def _cache(directory: Path) -> Path:
        """One of its own, as runs that share one wait for each other; what takes long is made once."""
        cache = directory / "cache"
        cache.mkdir()
        for made in ("models", "roofline"):
            once = Path(os.environ["GREENBENCH_CACHE"]) / made
            once.mkdir(parents=True, exist_ok=True)
            (cache / made).symlink_to(once)
        return cache

    def start(self, *arguments: str, quick: bool = True) -> subprocess.Popen:
        return self._start("bench", *(self.quick if quick else []), *arguments)

    def _start(self, *words: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "greenbench", *words],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def call(self, *words: str) -> tuple[int, str]:
        """Another command than bench."""
        process = self._start(*words)
        output, _ = process.communicate(timeout=280)
        return process.returncode, output

    def run(self, *arguments: str, quick: bool = True) -> tuple[int, str]:
        process = self.start(*arguments, quick=quick)
        output, _ = process.communicate(timeout=280)
        return process.returncode, output

    def records(self) -> list[dict]:
        return [
            json.loads(path.read_text()) for path in sorted(self.results.glob("records/*.json"))
        ]


@pytest.fixture
def bench(tiny_directory, plugin, tmp_path):
    return Bench(tiny_directory, plugin, tmp_path)


@pytest.fixture(scope="module")
def shared_bench(shared_tiny_directory, plugin, tmp_path_factory):
    """One for all tests of a module."""
    return Bench(shared_tiny_directory, plugin, tmp_path_factory.mktemp("bench"))


@pytest.fixture
def wide(tmp_path):
    """Overrides for a tiny model whose heads and dtype vLLM has kernels for on every CPU."""
    directory = checkpoint("llama", small_tokenizer(), tmp_path / "wide", hidden_size=128)
    return [f"model.path={directory}", "model.dtype=float32"]
