"""Models loaded by transformers, from a directory of safetensors."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Iterator, Mapping
from copy import copy
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from greenbench.errors import Unsupported, UserError
from greenbench.models.packing import grids
from greenbench.models.parts import blueprint
from greenbench.schema.spec import ModelSpec


def seed(value: int) -> None:
    """Begin torch's random numbers anew, for what draws from them without a seed of its own."""
    torch.manual_seed(value)


def config(spec: ModelSpec, path: Path) -> Any:
    """The transformers config of the model in `path`; no weights are read."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(path, trust_remote_code=spec.trust_remote_code)
    except Exception as error:  # of many kinds, each with many lines
        raise UserError(
            f"Model {spec.name} has a config.json that transformers {metadata.version('transformers')} "
            f"does not know: {said(error)}."
        ) from error


def shell(spec: ModelSpec, path: Path) -> Any:
    """The model in `path` without weights, in the spec's reference dtype."""
    return blueprint(config(spec, path)).to(getattr(torch, spec.dtype.value))


def template(spec: ModelSpec, directory: Path) -> str | None:
    """The chat template of the model whose files lie in `directory`; null: it has none."""
    plain = load_tokenizer(spec, directory)
    return str(plain.get_chat_template()) if plain.chat_template else None


def load_tokenizer(spec: ModelSpec, path: Path) -> Any:
    """The tokenizer in `path`, which pads with its end of text where it has nothing else."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=spec.trust_remote_code)
    except Exception as error:  # of many kinds, each with many lines
        raise UserError(
            f"Model {spec.name} has no tokenizer that can be read: put its tokenizer.json and "
            f"tokenizer_config.json beside its weights ({said(error)})."
        ) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def said(error: Exception) -> str:
    """The first line of what an error says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")


def empty_caches() -> None:
    """Let go of what no one holds any more, on the host and on the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def save(model: Any, plain: Path, directory: Path) -> None:
    """Save `model` as safetensors in `directory`, with the tokenizer of the `plain` model's."""
    model.save_pretrained(directory, safe_serialization=True)
    for file in sorted(plain.iterdir()):
        if "token" in file.name or file.suffix in {".jinja", ".model"}:
            shutil.copy(file, directory)


def save_module(model: Any, file: Path) -> None:
    """Write all of a live module to `file`, for `load_module`; raises what pickling does where it cannot."""
    from accelerate.hooks import remove_hook_from_module

    hooks = {name: _plain(part._hf_hook) for name, part in _hooked(model)}
    remove_hook_from_module(model, recurse=True)  # they hold functions, which no file does
    for name in hooks:
        _forget_own_forward(model.get_submodule(name))
    try:
        torch.save((model, hooks), file)
    finally:
        _hook(model, hooks)


def load_module(file: Path) -> Any:
    """What `save_module` has written, on the devices it was on; only our own file is ever read so."""
    model, hooks = torch.load(file, weights_only=False)
    _hook(model, hooks)
    return model


def _hooked(model: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a model that is spread over devices, which bring what comes to them to theirs."""
    return (each for each in model.named_modules() if hasattr(each[1], "_hf_hook"))


def _forget_own_forward(part: Any) -> None:
    """Where a hook has been, the class's method stands in the part itself, which a file holds by a name that
    the part does not have before all of it is read."""
    own = vars(part).get("forward")
    if getattr(own, "__func__", None) is type(part).forward:
        del part.forward


def _plain(hook: Any) -> Any:
    """`hook` without the map of tied weights by address, which is for weights that lie elsewhere."""
    plain = copy(hook)
    plain.tied_params_map = None
    return plain


def _hook(model: Any, hooks: Mapping[str, Any]) -> None:
    from accelerate.hooks import add_hook_to_module

    for name, hook in hooks.items():
        add_hook_to_module(model.get_submodule(name), hook)


def _unpacking(path: Path) -> dict[str, Any]:
    """Have integers of compressed-tensors unpacked as they are read: where they are kept packed until
    they are used first, its versions 0.19 and 0.20 fail at zeros that are packed too."""
    from transformers import CompressedTensorsConfig

    packed = grids(json.loads((path / "config.json").read_text()))
    return {"quantization_config": CompressedTensorsConfig(dequantize=True)} if packed else {}


def _refuse_offload(spec: ModelSpec, model: Any, device_map: Any) -> None:
    """What lies elsewhere than on the run's devices has other bytes and joules. Raises Unsupported."""
    asked = device_map.values() if isinstance(device_map, Mapping) else [device_map]
    if all(str(place) == "cpu" for place in asked):
        return
    places = {str(place) for place in (getattr(model, "hf_device_map", None) or {}).values()}
    # Of a model that lies in one place transformers says none.
    places |= {weight.device.type for weight in model.parameters()}
    if places & {"cpu", "disk", "meta"}:
        raise _too_large(spec)


def _too_large(spec: ModelSpec) -> Unsupported:
    return Unsupported(
        f"Model {spec.name} does not fit on the device: parts of it would lie in the host's memory or on "
        "disk, and its bytes and joules would be theirs; use more GPUs (device=cuda_all), a smaller "
        "model, or engine=vllm, which spreads one over GPUs."
    )


def load_model(spec: ModelSpec, path: Path, device_map: Any) -> Any:
    """Load the model in `path` at the spec's reference dtype where `device_map` says.

    Of its own generation config only the tokens that begin, end and pad a text stay, and keys and
    values are kept: ``generate`` takes from there what a request leaves open, and every model is to answer
    the same request.
    """
    from transformers import AutoModelForCausalLM, GenerationConfig
    from transformers.utils import logging

    logging.disable_progress_bar()  # a run's log is no terminal
    try:
        model = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=getattr(torch, spec.dtype.value),
            device_map=device_map,
            use_safetensors=True,
            trust_remote_code=spec.trust_remote_code,
            **_unpacking(path),
        ).eval()
    except ValueError as error:
        if "offload" in str(error):  # a folder to offload to, which it is not given
            raise _too_large(spec) from error
        raise
    _refuse_offload(spec, model, device_map)
    own = model.generation_config
    model.generation_config = GenerationConfig(
        use_cache=True,
        **{name: getattr(own, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")},
    )
    return model
