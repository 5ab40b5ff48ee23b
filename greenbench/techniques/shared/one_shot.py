"""Compresses one checkpoint with llm-compressor; a program, run by the Python of its environment.

    one_shot.py JOB

JOB is a JSON file: `model` (a directory), `recipe` (modifiers by name, with their arguments, in order),
`tokens` (lists of ids to calibrate on; none where the recipe needs none), `device` (cpu or cuda), `out`
(gets the checkpoint, as compressed-tensors lays it out) and `plain` (gets the weights that it stands for,
read back from it). A fault is the last line of the output. It imports nothing of ours.
"""

import json
import sys
from pathlib import Path
from typing import Any


def main(file: str) -> None:
    """Do the job that `file` describes."""
    job = json.loads(Path(file).read_text())
    require(job["device"])
    compress(**{name: job[name] for name in ("model", "recipe", "tokens", "out", "trust")})
    read_back(job["out"], job["plain"], trust=job["trust"])


def require(device: str) -> None:
    """Where the run has a GPU, so must its torch, which needs a newer driver than the run's may have."""
    import torch

    if device == "cuda" and not torch.accelerator.is_available():
        raise RuntimeError(
            f"its torch {torch.__version__}, built for CUDA {torch.version.cuda}, sees no GPU: the "
            "driver may be too old for it"
        )


def compress(
    model: str, recipe: dict[str, Any], tokens: list[list[int]], out: str, *, trust: bool
) -> None:
    """Write the checkpoint."""
    import torch
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.pipelines.cache import IntermediatesCache

    if not torch.accelerator.is_available():  # 0.14 pins memory for copies to one all the same
        IntermediatesCache.pin_memory = lambda *args, **kwargs: None
    rows = {"input_ids": tokens, "attention_mask": [[1] * len(each) for each in tokens]}
    calibration = {
        "dataset": Dataset.from_dict(rows),
        "num_calibration_samples": len(tokens),
        "max_seq_length": max(map(len, tokens), default=1),
        "shuffle_calibration_samples": False,
    }
    oneshot(
        model=model,
        recipe=json.dumps({"our_stage": {"our_modifiers": recipe}}),
        output_dir=out,
        trust_remote_code_model=trust,
        **(calibration if tokens else {}),
    )


def read_back(checkpoint: str, file: str, *, trust: bool) -> None:
    """Write the weights that the files of `checkpoint` stand for."""
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, CompressedTensorsConfig

    model = AutoModelForCausalLM.from_pretrained(
        checkpoint,
        quantization_config=CompressedTensorsConfig(dequantize=True),
        trust_remote_code=trust,
    )
    save_file(
        {name: weight.detach().contiguous() for name, weight in model.named_parameters()}, file
    )


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Exception as error:
        said = " ".join(str(error).split())
        sys.exit(f"{type(error).__name__}: {said}")
