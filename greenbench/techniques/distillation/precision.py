"""The precision of a training's matrix products."""

from __future__ import annotations

from typing import Any

import torch

from greenbench.errors import UserError

TOKENS = 4


def precision(asked: str, student: Any, device: torch.device, key: str) -> str:
    """The precision to train `student` in: as asked, or bfloat16 where it pays and the model allows it.

    It pays where the device computes in it: elsewhere it is emulated, and slower. Raises UserError for
    bfloat16 where the model's own code does not mix precisions; `key` names the training.
    """
    if asked == "float32" or (asked == "auto" and not native(device)):
        return "float32"
    if mixes(student, device):
        return "bfloat16"
    if asked == "auto":
        return "float32"
    raise unmixed(f"{key}.precision=bfloat16", student, f"use {key}.precision=float32")


def unmixed(asked: str, model: Any, remedy: str) -> UserError:
    """That `model` does not mix precisions, as what was `asked` for has it."""
    return UserError(
        f"{asked} needs a model whose code mixes precisions, which that of {type(model).__name__} does not: "
        f"{remedy}."
    )


def accelerator(precision: str, accumulation: int, device: torch.device) -> Any:
    """accelerate keeps its precision for the whole process, but a stack may train twice."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(
        mixed_precision="bf16" if precision == "bfloat16" else "no",
        gradient_accumulation_steps=accumulation,
        cpu=device.type == "cpu",
    )


def native(device: torch.device) -> bool:
    """Whether `device` computes in bfloat16: elsewhere it is emulated."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not hasattr(torch.cpu, "get_capabilities"):  # before torch 2.12
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return any(on for name, on in torch.cpu.get_capabilities().items() if name.endswith("bf16"))


@torch.no_grad()
def mixes(student: Any, device: torch.device, *, mixed: bool = True) -> bool:
    """Whether it runs with weights in float32 and products in bfloat16; experts often add up the two.

    Not `mixed`: whether it runs at all.
    """
    ids = torch.arange(1, TOKENS + 1, device=device)[None]
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
            student(ids, use_cache=False)
    except RuntimeError:  # PyTorch's word for tensors of two types
        return False
    return True
