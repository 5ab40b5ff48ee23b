"""Techniques on top of each other: any two run together, or are refused before a model is loaded."""

import copy
from contextlib import ExitStack
from dataclasses import replace
from itertools import permutations

import pytest
import torch
from helpers.techniques import (
    CPU,
    HERE,
    OPTIONS,
    SMALLER,
    holding,
    live,
    preparation,
    promised,
    stack,
)

from greenbench.campaign.compose import plan
from greenbench.engines.transformers.load import config as config_of
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.run.preflight import refuse_model
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques import check_order
from greenbench.techniques.stack import of_reference, uncompiled

WORKLOAD = WorkloadSpec("w")
KNOBS = SMALLER | {"early_exit": {"exits": [0.5], "threshold": 0.5, "steps": 2}}
ONE_OF_EACH_KIND = (
    "prune_depth", "prune_width", "gptq", "int8_quanto", "early_exit", "self_speculative",
    "static_cache", "kv_quanto", "upcycle", "activation_sparsity",
)  # fmt: skip
UNTRIED = {"compile", "prune_depth_heal", "prune_width_heal", "upcycle_heal"}  # which take long


def suited(option, drafter):
    knobs = KNOBS.get(option, {}) | ({"draft": str(drafter)} if option == "speculative" else {})
    return replace(stack(option)[0], **knobs)


def runs(techniques, model):
    """Whether the stack is let through; then it must run."""
    try:
        check_order(techniques)
        for technique in techniques:
            technique.check(CPU, HERE)
        refuse_model(techniques, model.config, WORKLOAD)
    except (UserError, Unsupported):
        return False
    with ExitStack() as held:
        for technique in techniques:
            promised(technique, model)
            model = live(technique, model, preparation())
            held.enter_context(holding(technique, CPU))
        ids = torch.randint(2, 256, (1, 150))  # more than kv_quanto keeps in full
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, min_new_tokens=8,
            do_sample=False, pad_token_id=0,
        )  # fmt: skip
        model(ids)
    assert out.shape == (1, 158)
    return True


def pairs_that_run(options, tiny, drafter):
    made = {option: suited(option, drafter) for option in options}  # composing takes longest
    return [
        (one, two)
        for one, two in permutations(options, 2)
        if runs([made[one], made[two]], copy.deepcopy(tiny))
    ]


def test_any_two_run_or_are_refused_beforehand(tiny, tiny_drafter):
    ran = pairs_that_run(ONE_OF_EACH_KIND, tiny, tiny_drafter)
    assert ("prune_depth", "gptq") in ran
    assert ("gptq", "prune_width") not in ran
    assert len(ran) > len(ONE_OF_EACH_KIND) ** 2 / 4


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_any_two_of_all_run_or_are_refused_beforehand(tiny, tiny_drafter):
    """Some are another engine's, and run in no stack here."""
    options = [option for option in OPTIONS if option not in UNTRIED]
    alone = [each for each in options if runs([suited(each, tiny_drafter)], copy.deepcopy(tiny))]
    assert len(alone) > len(options) / 2
    assert len(pairs_that_run(options, tiny, tiny_drafter)) > len(alone) ** 2 / 4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("static_cache", "kv_quanto"), "both choose the key-value cache"),
        (("early_exit", "self_speculative"), "both change what the blocks do"),
        (("prompt_lookup", "self_speculative"), "both draft tokens"),
        (("kv_quanto", "prompt_lookup"), "cut from the cache"),
    ],
)
def test_what_cannot_share_a_stack_is_one_sentence(options, sentence):
    with pytest.raises(UserError, match=sentence):
        check_order([*stack(options[0]), *stack(options[1])])


def test_a_technique_is_checked_on_what_those_before_it_leave(smollm2):
    """16 of 30 blocks are left, so that there is no block 20 to exit after."""
    overrides = [
        "technique=[prune_depth,early_exit]",
        "technique.prune_depth.fraction=0.47",
        "technique.early_exit.exits=[20]",
    ]
    techniques = list(plan(overrides, multirun=False)[0].spec.technique.values())
    config = config_of(*smollm2)
    techniques[1].check_model(config, WORKLOAD)
    with pytest.raises(UserError, match="16"):
        refuse_model(techniques, config, WORKLOAD)


def test_a_narrower_model_can_be_quantized_in_groups(smollm2):
    """1536 neurons less a fifth, to the next multiple of 64."""
    techniques = [*stack("prune_width"), *stack("gptq")]
    config = config_of(*smollm2)
    refuse_model(techniques, config, WORKLOAD)
    assert techniques[0].after(config).intermediate_size == 1216


GPU = Machine("cuda", "some GPU", 1 << 34, capability=(9, 0), uuids=("GPU-0",))
EAGER = {
    "early_exit": "cannot be traced",
    "activation_sparsity": "cannot be traced",
    "self_speculative": "a loop of its own",
    "prompt_lookup": "a loop of its own",
    "speculative": "a loop of its own",
    "ngram": "a loop of its own",
    "draft_model": "a loop of its own",
    "draft_qwen3": "a loop of its own",
    "eagle": "a loop of its own",
    "kv_quanto": "a cache of its own",
    "kv_fp8": "a cache of its own",
    "int4_quanto": "cannot be traced",
    "int4_bnb": "not traced in one piece",
    "int8_bnb": "not traced in one piece",
    "flash_attention": "not traced in one piece",
    "flash_kernel": "not traced in one piece",
    "int8dyn_torchao": "takes 17 rows or more where it is compiled, and workload.batch_size is 16",
}
"""What keeps an option's model from being compiled on a GPU; tests/engines/transformers/test_compiled.py
compiles others."""


@pytest.mark.parametrize("option", OPTIONS)
def test_each_technique_says_whether_its_model_can_be_compiled(option, tiny_drafter):
    knobs = ["technique.speculative.draft=x"] if option == "speculative" else []
    spec = plan([f"technique={option}", *knobs], multirun=False)[0].spec
    techniques = list(spec.technique.values())
    said = uncompiled(techniques, GPU, replace(spec, workload=WorkloadSpec("w", batch_size=16)))
    assert (EAGER[option] in said) if option in EAGER else said is None
    assert (of_reference(techniques) == option) == (option in {"static_cache", "compile"})


def test_a_batch_large_enough_for_the_kernel_is_compiled():
    (job,) = plan(["technique=int8dyn_torchao"], multirun=False)
    int8 = list(job.spec.technique.values())
    large = replace(job.spec, workload=WorkloadSpec("w", batch_size=17))
    assert uncompiled(int8, GPU, large) is None
    assert uncompiled(int8, CPU, replace(large, workload=WORKLOAD)) is None
