"""Techniques applied to a model as a run applies them, and knobs that suit a tiny one."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import torch

from greenbench.campaign.catalog import options
from greenbench.campaign.compose import plan
from greenbench.engines.transformers.options import apply_options
from greenbench.machine.detect import Machine
from greenbench.techniques import (
    EngineOption,
    MachineSetting,
    ModelEdit,
    Preparation,
    Recipe,
    load,
    named,
)
from greenbench.techniques.distillation.budget import Training

CPU = Machine("cpu", "some CPU", 1 << 34)
RECIPES = [name for name in named() if issubclass(load(name), Recipe)]
"""How models are trained: tried where they are."""
OPTIONS = [o for o in options("technique") if o not in {"none", "cascade", *RECIPES}]
"""A cascade is of two models, and is tried where those are."""
OF_MIXTURES = {"experts_top_k", "prune_experts"}
"""Options that only a mixture of experts is for."""
HERE = SimpleNamespace(name="transformers", forms=frozenset({"module"}))
"""The engine in this process, as far as techniques ask it."""
FILES = SimpleNamespace(name="vllm", forms=frozenset({"safetensors", "packed"}))
"""An engine that loads files."""
BRIEF = Training(tokens=512)
SMALLER = {
    "early_exit": {"exits": [0.5]},
    "prune_depth": {"fraction": 0.25},
    "prune_depth_heal": {"fraction": 0.25, "heal": BRIEF},
    "prune_width_heal": {"heal": BRIEF},
    "upcycle_heal": {"heal": BRIEF},
    "distill": {"training": BRIEF},
    "kv_quanto": {"q_group_size": 16},
}
"""Knobs that suit a model of 4 blocks, 64 wide, where the option's own do not; one line an option."""


class Letters:
    """A tokenizer of 254 symbols for the tiny model."""

    def __call__(self, text, return_tensors="pt", truncation=True, max_length=64):
        return {
            "input_ids": torch.tensor([[2 + ord(letter) % 254 for letter in text][:max_length]])
        }


def preparation():
    """On a CPU, with two texts."""
    return Preparation(torch.device("cpu"), Letters(), lambda: ["abcdefgh" * 8, "hgfedcba" * 8])


def stack(option):
    """The techniques of the option of that name."""
    return list(plan([f"technique={option}"], multirun=False)[0].spec.technique.values())


def live(technique, model, work):
    """The model with `technique`, its ``generate`` being the loop that generates from now on."""
    if isinstance(technique, EngineOption):
        apply_options(model, technique.options(HERE.name))
    if not isinstance(technique, ModelEdit):
        return model
    edited = technique.edit(model, replace(work, loop=vars(model).get("generate")))
    if edited.loop is not None:
        vars(edited.model)["generate"] = edited.loop
    return edited.model


def promised(technique, model):
    """What `technique` promises, whatever its kind."""
    return technique.promise(model) if isinstance(technique, ModelEdit) else technique.promise()


def holding(technique, machine):
    """What `technique` holds while it runs: nothing, unless it sets the machine."""
    return technique.hold(machine, {}) if isinstance(technique, MachineSetting) else nullcontext()
