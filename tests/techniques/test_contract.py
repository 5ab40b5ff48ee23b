"""What every technique says of itself: its family, its traits, and where it may stand in a stack."""

import ast
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from helpers.techniques import FILES, HERE

import greenbench.techniques
from greenbench.campaign.compose import plan
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.schema.technique import Promise
from greenbench.techniques import (
    AnswerSetting,
    Edited,
    EngineOption,
    Handover,
    MachineSetting,
    ModelEdit,
    Recipe,
    Traits,
    check_order,
    discover,
    load,
    named,
    require_forms,
)
from greenbench.techniques.distillation.budget import Training
from greenbench.techniques.distillation.distill import Distill
from greenbench.techniques.early_exit.early_exit import EarlyExit
from greenbench.techniques.pruning.depth import PruneDepth
from greenbench.techniques.pruning.single_weights import PruneMagnitude, PruneSparseGpt, PruneWanda
from greenbench.techniques.pruning.width import PruneWidth
from greenbench.techniques.quantization.dtype import Dtype
from greenbench.techniques.quantization.gptq import Gptq
from greenbench.techniques.quantization.quanto import Int4Quanto, Int8Quanto
from greenbench.techniques.runtime.compile import Compile
from greenbench.techniques.runtime.kernels_and_threads import Attention, StaticCache, Threads
from greenbench.techniques.technique import FAMILIES

ROOT = Path(greenbench.techniques.__file__).parent
GPU = Machine("cuda", "H100", 1 << 34, capability=(9, 0), uuids=("GPU-0",))


def ours():
    """Techniques of this package; tests define others."""
    return [cls for cls in discover().values() if cls.__module__.startswith("greenbench.")]


def edit(name, **traits):
    """An edit with these traits; in no list of techniques, as its name is not the class's."""

    class Some(ModelEdit):
        summary = "some"

        def traits(self):
            return Traits(**traits)

        def promise(self, model):
            return Promise(note="nothing")

        def edit(self, model, work):
            return Edited(model)

    some = Some()
    some.name = name
    return some


# Families


def test_the_families_are_the_folders():
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"shared"}
    assert set(FAMILIES) == folders


def test_every_technique_has_the_family_of_its_folder():
    assert len(ours()) == 52 + 13
    for cls in ours():
        assert cls.__module__.split(".")[2] == cls.family, cls.name
    assert {cls.family for cls in ours()} == set(FAMILIES)


@pytest.mark.parametrize(
    ("package", "stated", "family"),
    [
        ("someones.pruning", {}, "pruning"),
        ("someones.pruning", {"family": "runtime"}, "pruning"),
        ("someones", {"family": "runtime"}, "runtime"),
        ("someones", {}, "other"),
        ("", {}, "other"),
    ],
)
def test_a_plug_ins_folder_is_its_family_or_else_it_says_so(package, stated, family, monkeypatch):
    module = ModuleType("someones_module")
    module.__package__ = package
    monkeypatch.setitem(sys.modules, module.__name__, module)
    cls = type("Theirs", (ModelEdit,), {"__module__": module.__name__, **stated})
    assert cls.family == family


def test_a_technique_made_of_another_stays_in_its_family():
    class Mine(PruneDepth):
        pass

    assert Mine.family == "pruning"


# Kinds


def test_every_technique_is_of_one_kind():
    kinds = (ModelEdit, EngineOption, MachineSetting, AnswerSetting, Handover, Recipe)
    assert all(sum(issubclass(cls, kind) for kind in kinds) == 1 for cls in ours())
    names = [{cls.name for cls in ours() if issubclass(cls, kind)} for kind in kinds[1:]]
    assert names == [
        {
            "attention", "static_cache", "gguf_file", "ngram", "prefix_caching", "enforce_eager", "kv_fp8",
            "draft_model", "eagle", "fp8_at_load", "engine", "checkpoint",
        },
        {"threads", "power_limit", "clock_lock"},
        {"thinking"},
        {"cascade"},
        {
            "adamw_fused", "adafactor", "lion", "adamw_8bit", "muon", "train_precision",
            "gradient_checkpointing", "lora", "qlora", "freeze_blocks", "pack_sequences", "train_batch",
            "train_compile",
        },
    ]  # fmt: skip


def test_what_holds_plain_weights_can_be_saved_as_such():
    dense = {cls.name for cls in ours() if getattr(cls, "form", None) == "safetensors"}
    assert dense == {
        "prune_depth", "prune_width", "prune_magnitude", "prune_wanda", "prune_sparsegpt",
        "distill", "dtype", "experts_top_k", "prune_experts", "upcycle",
    }  # fmt: skip
    assert {cls.form for cls in ours() if issubclass(cls, ModelEdit)} == {
        "module", "safetensors", "packed", "gguf", "openvino",
    }  # fmt: skip


# Traits


def test_nothing_is_claimed_by_default():
    plain = Traits()
    assert (plain.traceable, plain.compiled_rows) == (True, 1)
    claims = {field.name for field in fields(plain)} - {"traceable", "compiled_rows"}
    assert not any(getattr(plain, claim) for claim in claims)


def test_only_healing_needs_plain_weights_to_drop_blocks():
    assert not PruneDepth().traits().needs_plain_weights
    assert PruneDepth(heal=Training(minutes=1)).traits().needs_plain_weights
    assert PruneDepth().traits().changes_blocks


@pytest.mark.parametrize("cls", [PruneMagnitude, PruneWanda, PruneSparseGpt])
def test_only_two_of_four_may_leave_packed_weights(cls):
    assert not cls().traits().packs_weights
    assert not cls(pattern="4:8").traits().packs_weights
    assert cls(pattern="2:4").traits() == Traits(
        on_linears=True, needs_plain_weights=True, packs_weights=True
    )


def test_a_kind_of_packing_adds_to_what_packing_says():
    assert Int4Quanto().traits() == replace(Int8Quanto().traits(), traceable=False)


# Order

PLAIN = {"needs_plain_weights": True}
PACKS = r"^technique=b cannot come after a, which packs the weights: put b first\.$"
HOLDS = (
    r"^technique=b cannot come after a, which keeps to the blocks and weights that it found: put b "
    r"first\.$"
)
TRACES = r"^technique=b cannot come after a, whose forward pass it cannot trace: leave one of them out\.$"
RULES = [
    ({"packs_weights": True}, PLAIN, PACKS),
    ({"holds_blocks": True}, PLAIN, HOLDS),
    ({"holds_blocks": True}, {"changes_blocks": True}, HOLDS),
    ({"traceable": False}, {"traces": True}, TRACES),
]
SOLE = [
    ("drafts_tokens", "draft tokens for one pass to check"),
    ("adds_exits", "change what the blocks do"),
    ("chooses_cache", "choose the key-value cache"),
]


@pytest.mark.parametrize(("earlier", "later", "sentence"), RULES)
def test_an_order_that_cannot_work_is_one_sentence_and_the_other_is_let_through(
    earlier, later, sentence
):
    one, other = edit("a", **earlier), edit("b", **later)
    with pytest.raises(UserError, match=sentence):
        check_order([one, other])
    with pytest.raises(UserError, match=sentence):  # whatever stands between
        check_order([one, edit("c"), other])
    check_order([other, one])


def test_nothing_is_edited_after_one_that_has_written_the_files():
    options = ["technique=[upcycle,nncf_int4,experts_top_k]", "engine=openvino"]
    said = r"^technique=experts_top_k cannot come after nncf, which has written the model's files"
    with pytest.raises(UserError, match=said):
        plan(options, multirun=False)
    for writes in ("gguf", "awq"):
        assert load(writes)().traits().leaves_files


@pytest.mark.parametrize(("trait", "what"), SOLE)
def test_a_stack_has_room_for_one_of_a_kind(trait, what):
    one, other = edit("a", **{trait: True}), edit("b", **{trait: True})
    said = rf"^technique=b cannot be stacked with a, as both {what}: choose one\.$"
    with pytest.raises(UserError, match=said):
        check_order([one, other])
    check_order([one, edit("c")])


def test_drafts_and_a_cache_of_ones_own_are_apart_in_either_order():
    drafts, cache = edit("a", drafts_tokens=True), edit("b", chooses_cache=True)
    said = (
        r"^technique=a cannot be stacked with b, as drafts that are rejected must be cut from the"
    )
    for stack in ([drafts, cache], [cache, drafts]):
        with pytest.raises(UserError, match=said):
            check_order(stack)


def test_the_first_rule_and_the_first_technique_that_is_in_the_way_are_named():
    stack = [edit("a", holds_blocks=True, packs_weights=True), edit("b", packs_weights=True)]
    with pytest.raises(UserError, match="cannot come after a, which packs the weights"):
        check_order([*stack, edit("c", **PLAIN)])


def test_options_and_settings_may_stand_anywhere_among_the_edits():
    others = [Attention("eager"), StaticCache(), Threads(1)]
    edits = [PruneDepth(), PruneWidth(), Distill(), Gptq(), EarlyExit()]
    for one, other in product(edits, others):
        check_order([one, other])
        check_order([other, one])
    check_order([StaticCache(), Threads(1), Compile()])


# What an engine takes


def test_an_engine_in_this_process_takes_every_edit():
    require_forms([PruneDepth(), Gptq(), Compile(), StaticCache(), Threads(1)], HERE)


@pytest.mark.parametrize("technique", [EarlyExit(), Compile(), Int8Quanto()])
def test_what_lives_in_the_models_code_is_refused_elsewhere_in_one_sentence(technique):
    said = (
        rf"^technique={technique.name} lives in the model's own Python code, which engine=vllm does "
        r"not run: use engine=transformers\.$"
    )
    with pytest.raises(Unsupported, match=said):
        require_forms([PruneDepth(), technique], FILES)


def test_an_engine_that_loads_files_takes_what_can_be_saved():
    require_forms([PruneDepth(), Distill(), Dtype("float16"), Gptq(), Threads(1)], FILES)
    server = SimpleNamespace(name="openai_url", forms=frozenset({"url"}))
    require_forms([Threads(1)], server)
    with pytest.raises(
        Unsupported, match=r"leaves a model as safetensors, which engine=openai_url"
    ):
        require_forms([PruneDepth()], server)


def test_weights_that_pytorch_compresses_are_for_its_own_engine():
    for cls in (PruneMagnitude, PruneWanda, PruneSparseGpt):
        cls(pattern="2:4").check(GPU, HERE)
        cls(pattern="4:8").check(GPU, FILES)
        cls(pattern="2:4").check(Machine("cpu", "some CPU", 1 << 34), FILES)  # which stay dense
        with pytest.raises(
            Unsupported, match=r"pattern=2:4 compresses .* say pattern=unstructured"
        ):
            cls(pattern="2:4").check(GPU, FILES)


def test_a_setting_tells_nothing_that_it_did_not_try():
    @dataclass(frozen=True)
    class Fan(MachineSetting):
        summary = "a fan"

        def promise(self):
            return Promise(note="nothing")

        def hold(self, machine, observed):
            return nullcontext()

    assert Fan().tried(GPU) == {}


def test_what_a_technique_is_can_be_known_without_torch():
    code = "import sys, greenbench.techniques; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers"} & set(run.stdout.split())


ALWAYS = {"accelerate", "filelock", "psutil", "torch", "transformers", "greenbench"}
"""What every run computes with, or what computes nothing."""
PACKAGE = {"optimum": "optimum-quanto"}
"""Where the package is called otherwise than its module."""


def reached(module, seen):
    """What `module` imports from outside, also through other modules of techniques."""
    if module in seen:
        return set()
    seen.add(module)
    found = set()
    source = Path(find_spec(module).origin).read_text()
    for node in ast.walk(ast.parse(source)):
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            found.add(name.partition(".")[0])
            inside = name.startswith("greenbench.techniques.") and name.count(".") == 3
            found |= reached(name, seen) if inside else set()
    return found - sys.stdlib_module_names - ALWAYS


@pytest.mark.parametrize("name", named())
def test_a_technique_says_which_packages_compute_it_as_they_decide_its_result(name):
    cls = load(name)
    if not cls.__module__.startswith("greenbench."):
        pytest.skip("a plug-in's")
    packages = {PACKAGE.get(top, top) for top in reached(cls.__module__, set())}
    assert packages <= set(cls.packages)
