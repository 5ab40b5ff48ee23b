"""Models with planted reasons for not saving time, to be told by what a profiler sees of them alone.

Each is real work of this process. Nothing but these functions knows what was planted.
"""

from __future__ import annotations

import ctypes
import queue
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from greenbench.analysis.energy.causes import (
    AMDAHL,
    CACHE,
    COMPUTE,
    DEQUANTIZATION,
    FALLBACK,
    HOST,
    LAUNCHES,
    OWN,
    SLOW,
    SPILLED,
    WAITS,
    ZEROS,
    Claim,
)
from greenbench.engines.transformers.tracing import TOOL, traced

WIDTH = 1024
HALF = Claim(0.5)
FEWER = Claim(0.5, work=0.5)
NONE = Claim()


class Shape(NamedTuple):
    """Rows of a prompt, and of each of some steps after it."""

    prompt: int = 16
    rows: int = 1
    steps: int = 4


class Net(nn.Module):
    """Layers one after the other, each with a norm before it and a sum after it."""

    def __init__(self, layers, width=WIDTH):
        super().__init__()
        self.layers, self.width = nn.ModuleList(layers), width

    def forward(self, x):
        for layer in self.layers:
            x = x + layer(functional.layer_norm(x, (self.width,)))
        return x


class Answering:
    """What a run serves, as far as a profile asks."""

    tool = TOOL

    def __init__(self, net, shape):
        torch.manual_seed(0)
        self.net, self.shape = net.eval(), shape
        self.prompt, self.step = (
            torch.randn(shape.prompt, net.width),
            torch.randn(shape.rows, net.width),
        )

    @torch.inference_mode()
    def answer(self):
        self.net(self.prompt)
        for _ in range(self.shape.steps):
            self.net(self.step)

    def traced(self, batch):
        return traced(self.answer, torch.device("cpu"))


class Both:
    """A pair of models."""

    def __init__(self, baseline, candidate):
        self.each = {"baseline": baseline, "candidate": candidate}

    @contextmanager
    def use(self, who):
        yield self.each[who]


def linear(width=WIDTH, outer=None):
    torch.manual_seed(width)
    return nn.Linear(width, outer or width).requires_grad_(False)


def dense(layers=4, width=WIDTH):
    return [linear(width) for _ in range(layers)]


class Wrapped(nn.Module):
    """A layer, and something done before it."""

    def __init__(self, layer, before):
        super().__init__()
        self.layer, self.before = layer, before

    def forward(self, x):
        self.before(x)
        return self.layer(x)


class Weighted(nn.Module):
    """A linear layer whose weights are had by `weights` at every call."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def forward(self, x):
        return functional.linear(x, self.weights())


def after(before, layers=None):
    return [Wrapped(layer, before) for layer in layers or dense()]


def low_rank(width=WIDTH, rank=24):
    return nn.Sequential(linear(width, rank), linear(rank, width))


def halved(width=WIDTH):
    """About half of the multiplications, by half as many outputs."""

    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.left = linear(width, width // 2)

        def forward(self, x):
            half = self.left(x)
            return torch.cat([half, half], -1)

    return Half()


def int8():
    torch.manual_seed(1)
    whole = torch.randint(-127, 127, (WIDTH, WIDTH), dtype=torch.int8)
    scale = torch.rand(WIDTH, 1)
    return lambda: whole.to(torch.float32) * scale


def int4():
    torch.manual_seed(1)
    packed = torch.randint(0, 255, (WIDTH, WIDTH // 2), dtype=torch.uint8)
    scale = torch.rand(WIDTH, 1)

    def weights():
        both = torch.stack([packed & 15, packed >> 4], -1).reshape(WIDTH, WIDTH)
        return (both.to(torch.float32) - 8) * scale

    return weights


def spilled():
    stored, place = torch.randn(WIDTH, WIDTH), torch.empty(WIDTH, WIDTH)
    return lambda: place.copy_(stored)


def cloned():
    stored = torch.randn(WIDTH, WIDTH)
    return stored.clone


def masked():
    weight, mask = torch.randn(WIDTH, WIDTH), torch.rand(WIDTH, WIDTH)
    return lambda: weight * mask


def zeroed():
    layers = dense()
    for layer in layers:
        layer.weight[torch.rand(WIDTH, WIDTH) < 0.5] = 0
    return layers


def thinking(x):
    sum(place * place for place in range(40_000))


def objects(x):
    sorted({str(place): place for place in range(6_000)}.items())


def native(x):
    """A kernel that torch knows nothing of."""
    text = ctypes.create_string_buffer(20_000_000)
    ctypes.memset(text, 1, len(text))


def compiled():
    """Work that torch makes one kernel of, which on a processor is no operator."""
    return torch.compile(lambda x: torch.special.erfinv(torch.tanh(MANY)).sin().sum())


def sleeping(x):
    threading.Event().wait(0.003)


class Elsewhere:
    """A helper that answers after a while."""

    def __init__(self):
        self.asked, self.answers = queue.Queue(), queue.Queue()
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        while True:
            self.asked.get()
            time.sleep(0.003)
            self.answers.put(None)

    def __call__(self, x):
        self.asked.put(None)
        self.answers.get()


def in_pieces(x):
    for piece in x[:1].chunk(128, -1):
        piece.mul(2).add(1)


class Cut(nn.Module):
    """A linear layer as many."""

    def __init__(self, pieces=128):
        super().__init__()
        self.weights = linear().weight.chunk(pieces)

    def forward(self, x):
        return torch.cat([functional.linear(x, weight) for weight in self.weights], -1)


class ByHand(nn.Module):
    """A linear layer whose products are taken number by number."""

    def __init__(self, at_once, width=WIDTH):
        super().__init__()
        self.weights = linear(width).weight.split(at_once)

    def forward(self, x):
        return torch.cat([(x[:, None] * weight).sum(-1) for weight in self.weights], -1)


class Double(nn.Module):
    """In numbers twice as long."""

    def __init__(self, outer=WIDTH):
        super().__init__()
        self.weight, self.times = linear(outer=outer).weight.double(), WIDTH // outer

    def forward(self, x):
        return functional.linear(x.double(), self.weight).float().repeat(1, self.times)


MANY = torch.rand(400_000)


def heavy(x):
    torch.special.erfinv(torch.tanh(MANY))


def sorting(x):
    torch.sort(x[:1].repeat(1, 16), -1)


class Cached(nn.Module):
    """Attends to a long cache, and then multiplies."""

    def __init__(self, layer, places=1024, heads=8):
        super().__init__()
        self.layer, self.heads = layer, heads
        self.keys, self.values = torch.randn(2, 1, heads, places, WIDTH // heads).unbind(0)

    def forward(self, x):
        query = x.view(1, self.heads, x.shape[0], -1)
        seen = functional.scaled_dot_product_attention(query, self.keys, self.values)
        return self.layer(seen.reshape(x.shape))


class Plant(NamedTuple):
    """Two models, what was promised, and the causes that a profile must show, and no other."""

    baseline: Callable[[], list[nn.Module]]
    candidate: Callable[[], list[nn.Module]]
    claim: Claim
    causes: frozenset[str]
    shape: Shape = Shape()
    width: int = WIDTH

    def pair(self):
        nets = (Net(make(), self.width) for make in (self.baseline, self.candidate))
        return Both(*(Answering(net, self.shape) for net in nets))


def plant(baseline, candidate, claim, *causes, **more):
    return Plant(baseline, candidate, claim, frozenset(causes), **more)


BATCH = Shape(prompt=512, rows=64, steps=1)
FEW = Shape(prompt=5, steps=2)
PLANTS = {
    "nothing": plant(dense, dense, NONE),
    "nothing, in a batch": plant(lambda: dense(2), lambda: dense(2), NONE, shape=BATCH),
    "kept": plant(dense, lambda: dense(2), FEWER),
    "sleeps": plant(dense, lambda: after(sleeping), HALF, WAITS),
    "asks another thread": plant(dense, lambda: after(Elsewhere()), HALF, WAITS),
    "int8": plant(dense, lambda: [Weighted(int8()) for _ in range(4)], HALF, DEQUANTIZATION),
    "int4": plant(dense, lambda: [Weighted(int4()) for _ in range(4)], Claim(0.3), DEQUANTIZATION),
    "copied in": plant(dense, lambda: [Weighted(spilled()) for _ in range(4)], NONE, SPILLED),
    "cloned": plant(dense, lambda: [Weighted(cloned()) for _ in range(4)], NONE, SPILLED),
    "python": plant(dense, lambda: after(thinking), HALF, HOST),
    "objects": plant(dense, lambda: after(objects), HALF, HOST),
    "python in both": plant(
        lambda: after(thinking), lambda: after(thinking, [halved() for _ in range(4)]), FEWER, HOST
    ),
    "beside torch": plant(dense, lambda: after(native), HALF, HOST),
    "compiled": plant(dense, lambda: after(compiled()), HALF),
    "small operators": plant(dense, lambda: after(in_pieces), HALF, LAUNCHES, shape=FEW),
    "small products": plant(
        dense, lambda: [Cut() for _ in range(4)], HALF, LAUNCHES, shape=FEW
    ),
    "one layer of four": plant(dense, lambda: [low_rank(), *dense(3)], FEWER, AMDAHL),
    "other operators": plant(
        lambda: after(heavy), lambda: after(heavy, [halved() for _ in range(4)]), FEWER, AMDAHL,
        shape=FEW,
    ),
    "long cache": plant(
        lambda: [Cached(layer) for layer in dense()],
        lambda: [Cached(halved()) for _ in range(4)], FEWER, CACHE,
    ),
    "large batch": plant(lambda: dense(2), lambda: dense(2), HALF, COMPUTE, shape=BATCH),
    "zeros": plant(dense, zeroed, Claim(0.5, zeros=True), ZEROS),
    "by hand": plant(dense, lambda: [ByHand(64) for _ in range(4)], HALF, FALLBACK, shape=FEW),
    "by hand, one by one": plant(
        lambda: dense(2, 128), lambda: [ByHand(1, 128) for _ in range(2)], HALF, FALLBACK, width=128,
        shape=FEW,
    ),
    "double": plant(dense, lambda: [Double() for _ in range(4)], HALF, SLOW),
    "double, half of them": plant(
        dense, lambda: [Double(WIDTH // 2) for _ in range(4)], FEWER, SLOW
    ),
    "sorts": plant(dense, lambda: after(sorting), HALF, OWN),
    "masks": plant(dense, lambda: [Weighted(masked()) for _ in range(4)], NONE, OWN),
    "int8 and python": plant(
        dense, lambda: after(objects, [Weighted(int8()) for _ in range(4)]), HALF, DEQUANTIZATION, HOST
    ),
}  # fmt: skip
