"""What a model must be for this engine, told from its files before any weights are read."""

from __future__ import annotations

import copy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from greenbench.engines.transformers.load import config, load_tokenizer, said
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.models.packing import packing
from greenbench.models.parts import blueprint, decoder_blocks
from greenbench.schema.spec import ModelSpec

SUPPORTED = (
    "supported are decoders that attend to what came before and generate from left to right, such as "
    "Llama, Qwen, Gemma, Mixtral or GPT-2"
)
READERS = {
    "awq": "gptqmodel",
    "gptq": "gptqmodel",
    "hqq": "hqq",
    "aqlm": "aqlm",
    "quark": "amd-quark",
}
"""What transformers reads a packed checkpoint with, where it does not say so itself."""
PROBE_TOKENS, PROBE_VOCABULARY = 6, 64


def require_suited(spec: ModelSpec, directory: Path, machine: Machine) -> None:
    """Raise UserError or Unsupported, in one sentence, for a model that cannot be measured."""
    found = config(spec, directory)
    require_decoder(spec, found)
    require_unpacker(spec, found, machine)
    load_tokenizer(spec, directory)


def require_causal(model: Any, name: str) -> None:
    """Raise Unsupported where a later token changes what the model says of an earlier one."""
    if not is_causal(model):
        raise _refused(name, type(model).__name__, "looks ahead in its text")


@torch.inference_mode()
def is_causal(model: Any) -> bool:
    """Whether what it says of a text's beginning stays the same when its end changes."""
    vocabulary = model.config.get_text_config().vocab_size
    text = torch.arange(1, PROBE_TOKENS + 1, device=model.device)[None] % vocabulary
    other = text.clone()
    other[0, -1] = (other[0, -1] + 1) % vocabulary
    one, two = (model(ids, use_cache=False).logits[0].float() for ids in (text, other))
    change = (one - two).abs().amax(-1)
    rounding = 1e-4 if model.dtype is torch.float32 else 2e-2
    return bool(change[:-1].max() <= rounding * change[-1])


def require_decoder(spec: ModelSpec, found: Any) -> None:
    """Raise UserError or Unsupported, in one sentence, where `found`, a configuration, is of another kind."""
    from transformers import AutoModelForCausalLM

    kind = found.model_type
    remote = "AutoModelForCausalLM" in (getattr(found, "auto_map", None) or {})
    if getattr(found, "is_encoder_decoder", False):
        raise _refused(spec.name, kind, "has an encoder")
    if type(found) not in AutoModelForCausalLM._model_mapping and not remote:
        raise _refused(spec.name, kind, "is no language model that generates text")
    model = _shell(spec, found)
    if getattr(model, "_is_stateful", False):
        raise _refused(spec.name, kind, "keeps a recurrent state in place of keys and values")
    if not model.can_generate():
        raise _refused(spec.name, kind, "does not generate")
    flags = {
        bool(part.is_causal) for part in _blocks(model).modules() if hasattr(part, "is_causal")
    }
    if flags == {False} or (not flags and _looks_ahead(found)):
        raise _refused(spec.name, kind, "looks ahead in its text")


def _shell(spec: ModelSpec, found: Any) -> Any:
    try:
        return blueprint(found)
    except Exception as error:  # of a configuration that its own class cannot build from
        raise UserError(
            f"Model {spec.name} cannot be built from its config.json: {said(error)}."
        ) from error


def _blocks(model: Any) -> nn.Module:
    try:
        return decoder_blocks(model)
    except Unsupported:
        return model  # type: ignore[no-any-return]


def _looks_ahead(found: Any) -> bool:
    """Whether one block of the kind does: asked where its attention does not say."""
    try:
        return not is_causal(one_block(found))
    except Exception:  # a kind that cannot be so small: its own weights will tell
        return False


def one_block(found: Any) -> Any:
    """A model of the kind of `found`, a configuration, with one block, few tokens and random weights.

    Raises whatever its class does where a kind cannot be so small.
    """
    from transformers import AutoModelForCausalLM

    small = copy.deepcopy(found)
    text = small.get_text_config()
    text.num_hidden_layers, text.vocab_size = 1, PROBE_VOCABULARY
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        if hasattr(text, name):
            setattr(text, name, 0)
    return AutoModelForCausalLM.from_config(small).eval()


def require_unpacker(spec: ModelSpec, found: Any, machine: Machine) -> None:
    """What reads a packed checkpoint must be installed, and run on this device. Raises Unsupported."""
    from transformers.quantizers.auto import AutoHfQuantizer

    packed = packing(found)
    if packed is None:
        return
    try:
        quantizer = AutoHfQuantizer.from_config(found.quantization_config, pre_quantized=True)
        quantizer.validate_environment(device_map=machine.device_map, dtype=torch.bfloat16)
    except Exception as error:  # each method's own, of many kinds
        method = packed.partition(",")[0]
        needs = READERS.get(method)
        needs = needs if needs and find_spec(needs) is None else None
        why = f"it needs the package {needs} (pip install {needs})" if needs else said(error)
        raise Unsupported(
            f"Model {spec.name} is packed ({packed}), which transformers cannot read here: {why}; "
            "engine=vllm may serve it."
        ) from error


def _refused(name: str, kind: str, why: str) -> Unsupported:
    return Unsupported(f"Model {name} ({kind}) {why}, so it cannot be measured: {SUPPORTED}.")
