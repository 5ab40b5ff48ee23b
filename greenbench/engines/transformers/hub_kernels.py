"""Attention's kernels as a hub has them built: fetched, found in its cache, and loaded from there alone."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import torch

from greenbench.engines.transformers.load import said
from greenbench.errors import Unsupported, UserError

KERNEL = re.compile(r"kernels-community/[\w.-]+(@[\w.-]+)?")
"""Of the publisher whose code transformers runs without being told to trust it, and a revision."""
COMMIT = re.compile("[0-9a-f]{40}")
LOCAL = "LOCAL_KERNELS"
"""Where the package kernels looks for files to use in a hub's place: NAME=DIRECTORY."""


def is_kernel(implementation: str) -> bool:
    """Whether it names one, instead of an implementation that is installed."""
    return KERNEL.fullmatch(implementation) is not None


def repository(kernel: str) -> str:
    """Its name without a revision: as transformers calls it."""
    return kernel.partition("@")[0]


def lacking() -> str | None:
    """The requirement that loads kernels, where none is installed that this transformers takes; or null."""
    from transformers.utils import import_utils as known

    least, below = known.KERNELS_MIN_VERSION, known.KERNELS_MAX_VERSION
    return None if known.is_kernels_available() else f"kernels>={least},<{below}"


def cached(kernel: str) -> Path | None:
    """Its files in the hub's cache, a build for this torch and device among them; null: there are none."""
    from huggingface_hub.constants import HF_HUB_CACHE

    root = Path(os.environ.get("KERNELS_CACHE", HF_HUB_CACHE))
    root /= f"kernels--{repository(kernel).replace('/', '--')}"
    commit = _revision(kernel)
    reference = root / "refs" / commit
    if reference.is_file():
        commit = reference.read_text().strip()
    files = root / "snapshots" / commit
    return files if files.is_dir() and _has_build(kernel, files) else None


def fetch(kernel: str) -> Path:
    """`cached`, which is brought here first where the hub has another. Raises UserError where it has none."""
    from kernels import install_kernel

    exact = COMMIT.fullmatch(kernel.partition("@")[2])
    if exact and (here := cached(kernel)):
        return here
    try:
        return Path(install_kernel(repository(kernel), revision=_revision(kernel))).parents[1]
    except Exception as error:  # the package has none of its own
        if here := cached(kernel):
            return here
        raise _missing(kernel, error) from error


def missing_bytes(kernel: str) -> int | None:
    """How much `fetch` would bring now, at most; null where the hub does not say. Raises UserError as it."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    here, hub, name = cached(kernel), HfApi(), repository(kernel)
    try:
        newest = hub.repo_info(name, revision=_revision(kernel), repo_type="kernel").sha
        if here and here.name == newest:
            return 0
        tree = hub.list_repo_tree(
            name, "build", recursive=True, revision=newest, repo_type="kernel"
        )
        files = [file for file in tree if isinstance(file, RepoFile)]
    except Exception as error:  # of a hub's answer, or of the network, which are many
        if here:
            return 0
        raise _missing(kernel, error) from error
    ours = f"torch{''.join(torch.__version__.split('.')[:2])}-"
    sizes: Counter[str] = Counter()
    for file in files:
        build = file.path.split("/")[1]
        if build.startswith((ours, "torch-")):  # one of which will do
            sizes[build] += file.size
    return max(sizes.values(), default=None)


def use(kernel: str) -> str:
    """What transformers is to be asked for: from now on this process loads it from the cache, asking no hub.

    Raises Unsupported where it is not there.
    """
    os.environ[LOCAL] = f"{repository(kernel)}={require(kernel)}"
    return repository(kernel)


def require_loaded(kernel: str) -> None:
    """Raise UserError where this process has not loaded it from those very files."""
    from kernels import get_loaded_kernels

    here = require(kernel)
    files = [Path(str(loaded.module.__file__)) for loaded in get_loaded_kernels()]
    if not any(file.is_relative_to(here) for file in files):
        raise UserError(
            f"attention={kernel} was not loaded from {here}, where it is: leave the technique out, or "
            "choose technique.attention.implementation=sdpa."
        )


def require(kernel: str) -> Path:
    """`cached`. Raises Unsupported where there is none."""
    if here := cached(kernel):
        return here
    raise Unsupported(
        f"attention={kernel} is not in the hub's cache, in a build for torch {torch.__version__}: bring it "
        f"here with `greenbench fetch technique=attention technique.attention.implementation={kernel}`, or "
        "choose technique.attention.implementation=sdpa."
    )


def _missing(kernel: str, error: Exception) -> UserError:
    return UserError(
        f"attention={kernel} can neither be had from the hub nor found in its cache in a build for torch "
        f"{torch.__version__} ({said(error)}): check its name and the network, or choose "
        "technique.attention.implementation=sdpa."
    )


def _has_build(kernel: str, files: Path) -> bool:
    """Whether one of the builds in `files` is for this torch and device."""
    from kernels import has_kernel

    before = os.environ.get(LOCAL)
    os.environ[LOCAL] = f"{repository(kernel)}={files}"
    try:  # the GPU itself is looked at as the kernel is loaded: no process but the run's should touch it
        return bool(has_kernel(repository(kernel), revision=_revision(kernel), check_arch=False))
    except Exception:  # of files that are no kernel
        return False
    finally:
        os.environ.pop(LOCAL)
        os.environ.update({LOCAL: before} if before is not None else {})


def _revision(kernel: str) -> str:
    """The one that it names, or the branch of the version that transformers knows how to call."""
    from transformers.integrations.hub_kernels import get_attn_kernel_version

    name, _, revision = kernel.partition("@")
    return revision or f"v{get_attn_kernel_version(name)}"
