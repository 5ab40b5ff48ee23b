"""A neighbour: keeps the one GPU that it sees, and a core of the CPU, as busy as a run does.

``python -m greenbench.machine.busy_gpu``: prints a line once it is at work, and ends with its standard input.
"""

from __future__ import annotations

import os
import sys
import threading

WIDTH, PRODUCTS, LAUNCHES = 4096, 64, 4096
ON_CPU = 16
"""How much less of all of it where there is no GPU, as in tests."""


def main() -> None:
    """Many operations of one launch, as prefill, then many launches of little, as decoding, over and over."""
    import torch

    gpu = torch.cuda.is_available()
    if torch.version.cuda and not gpu:
        sys.exit("torch sees no GPU here that could be kept busy")
    device, less = ("cuda", 1) if gpu else ("cpu", ON_CPU)
    dtype = torch.float16 if gpu else torch.float32
    large = torch.randn(WIDTH // less, WIDTH // less, device=device, dtype=dtype)
    small = torch.zeros(64, device=device)
    threading.Thread(target=_end_with_input, daemon=True).start()
    print("busy", flush=True)
    while True:
        for _ in range(PRODUCTS):
            large @ large
        for _ in range(LAUNCHES // less):
            small.add_(1)
        if gpu:
            torch.cuda.synchronize()


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
