"""The package ``kernels``, as far as transformers and GreenBench call it, and kernels as its hub has them."""

from __future__ import annotations

import json
from pathlib import Path

PACKAGE = """
import importlib.util, os, sys
from pathlib import Path
from types import SimpleNamespace

from huggingface_hub import snapshot_download

_loaded = []


def install_kernel(repo_id, *, revision):
    root = snapshot_download(
        repo_id, repo_type="kernel", revision=revision, allow_patterns=["build/torch-cpu/*"]
    )
    build = Path(root) / "build" / "torch-cpu"
    if not build.is_dir():
        raise FileNotFoundError(f"Cannot find a build variant for this system in {repo_id}")
    return build


def _local(repo_id):
    name, _, root = os.environ["LOCAL_KERNELS"].partition("=")  # a hub is not to be asked
    assert name == repo_id, (name, repo_id)
    return Path(root) / "build" / "torch-cpu" / "__init__.py"


def has_kernel(repo_id, *, revision, check_arch):
    return _local(repo_id).is_file()


def get_kernel(repo_id, *, revision=None, version=None, user_agent=None, trust_remote_code=False):
    file = _local(repo_id)
    spec = importlib.util.spec_from_file_location("a_kernel", file)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    _loaded.append(SimpleNamespace(module=module))
    return module


def get_loaded_kernels():
    return list(_loaded)


def use_kernel_forward_from_hub(name):
    return lambda layer: layer


def use_kernelized_func(*functions):
    return lambda layer: layer


def __getattr__(name):  # what is only imported
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (), {})
"""
ATTENTION = """
import torch

calls = 0


def flash_attn_func(
    q, k, v, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1), deterministic=False
):
    global calls
    calls += 1
    q, k, v = (each.transpose(1, 2) for each in (q, k, v))
    mask = None
    if causal:
        mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).tril(k.shape[2] - q.shape[2])
    out = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, scale=softmax_scale, enable_gqa=True
    )
    return out.transpose(1, 2)


def flash_attn_varlen_func(
    q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p=0.0, softmax_scale=None,
    causal=False, window_size=(-1, -1), deterministic=False,
):
    raise NotImplementedError("prompts of one length need none")
"""
"""Attention in torch, laid out as flash attention's: (rows, length, heads, size)."""
BROKEN = 'raise ImportError("undefined symbol: of another torch")\n'


def install(folder: Path, version: str = "0.18.2") -> Path:
    """What belongs on Python's path to have the package."""
    (folder / "kernels").mkdir(parents=True)
    (folder / "kernels" / "__init__.py").write_text(PACKAGE)
    about = folder / f"kernels-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: kernels\nVersion: {version}\n")
    (about / "top_level.txt").write_text("kernels\n")
    (about / "RECORD").write_text("kernels/__init__.py,,\n")
    return folder


def repository(folder: Path, code: str = ATTENTION) -> Path:
    """A kernel's repository with a build for any CPU, and one for a torch that there never was."""
    for build in ("torch-cpu", "torch11-cxx11-cu130-x86_64-linux"):
        place = folder / "build" / build
        place.mkdir(parents=True)
        (place / "__init__.py").write_text(code)
        about = {
            "id": f"_{folder.name.replace('-', '_')}_{build.partition('-')[0]}", "name": folder.name,
            "version": 1, "license": "Apache-2.0", "python-depends": [], "kernel-depends": [],
            "backend": {"type": "cpu" if build == "torch-cpu" else "cuda"},
        }  # fmt: skip
        (place / "metadata.json").write_text(json.dumps(about))
    return folder
