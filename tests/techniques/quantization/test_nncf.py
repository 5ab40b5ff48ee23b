"""NNCF's weights: what is promised and refused, and with the real OpenVINO what its files stand for."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers.architectures import small_tokenizer
from helpers.tiny import tiny_llama, tiny_mixture
from safetensors.torch import save_file
from transformers import LlamaConfig

from greenbench.campaign.compose import plan
from greenbench.engines.engine import Build
from greenbench.engines.openvino import environment
from greenbench.engines.openvino.engine import OpenVino
from greenbench.engines.transformers.engine import Transformers
from greenbench.errors import EngineFault, Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.quality.known_texts import apart, said
from greenbench.schema.enums import Dtype, Source
from greenbench.schema.spec import ModelSpec
from greenbench.techniques.quantization.nncf import Nncf
from greenbench.techniques.sparse_activation.experts_top_k import ExpertsTopK
from greenbench.techniques.sparse_activation.prune_experts import PruneExperts
from greenbench.techniques.sparse_activation.upcycle import Upcycle
from greenbench.techniques.stack import require_forms
from greenbench.techniques.technique import Preparation

CPU = Machine("cpu", "some CPU", 1 << 34)


@pytest.mark.parametrize(
    ("technique", "bytes_of"),
    [
        (Nncf(), lambda rows, inputs, group: rows * inputs + 3 * rows),
        (Nncf(symmetric=True), lambda rows, inputs, group: rows * inputs + 2 * rows),
        (Nncf(4), lambda rows, inputs, group: rows * inputs / 2 + 2.5 * rows * inputs / 64),
        (
            Nncf(4, group_size=32, symmetric=True),
            lambda rows, inputs, group: rows * inputs / 2 + 2 * rows * inputs / 32,
        ),
    ],
)
def test_it_promises_codes_scales_and_zeros(technique, bytes_of):
    model = tiny_llama()
    blocks = [
        each.weight for each in model.model.layers.modules() if isinstance(each, torch.nn.Linear)
    ]
    packed = sum(bytes_of(*weight.shape, 64) for weight in blocks)
    inside = {id(weight) for weight in blocks}
    bytes_a_row = 2 if technique.symmetric else 3
    for weight in model.parameters():
        if weight.ndim < 2:
            packed += weight.nbytes
        elif id(weight) not in inside:
            packed += weight.numel() + bytes_a_row * weight.shape[0]
    whole = sum(weight.nbytes for weight in model.parameters())
    assert technique.promise(model).bytes_ratio == pytest.approx(packed / whole)


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"bits": 3}, r"^technique\.nncf\.bits=3"),
        ({"bits": 4, "group_size": 48}, r"^technique\.nncf\.group_size=48"),
        ({"bits": 4, "ratio": 0}, r"^technique\.nncf\.ratio=0"),
        ({"group_size": 64}, r"are of weights in 4 bits: say technique\.nncf\.bits=4"),
    ],
)
def test_knobs_that_say_nothing_are_refused(knobs, said):
    with pytest.raises(UserError, match=said):
        Nncf(**knobs)


def test_it_is_for_openvino_alone_and_says_how_to_have_it(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENBENCH_OPENVINO", str(tmp_path))
    with pytest.raises(Unsupported, match=r"engine=vllm does not take: use engine=openvino\.$"):
        Nncf().check(CPU, SimpleNamespace(name="vllm", forms=frozenset({"safetensors"})))
    with pytest.raises(Unsupported, match=r"^technique=nncf .* not there: make engine-openvino$"):
        Nncf().check(CPU, OpenVino())
    with pytest.raises(Unsupported, match=r"as openvino, .* does not take: use engine=openvino\.$"):
        require_forms([Nncf()], SimpleNamespace(name="vllm", forms=frozenset({"safetensors"})))


def test_groups_must_divide_the_layers():
    narrow = LlamaConfig(
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=1,
        num_attention_heads=4,
        vocab_size=64,
    )
    Nncf().check_model(narrow, None)
    with pytest.raises(UserError, match=r"^technique\.nncf\.group_size=null suits no group"):
        Nncf(4).check_model(narrow, None)


def test_models_of_other_matrices_than_linear_layers_are_refused():
    with pytest.raises(Unsupported, match=r"by what MixtralExperts hold: choose another technique"):
        Nncf().check_model(tiny_mixture().config, None)


def test_techniques_that_leave_out_experts_are_no_use_to_it():
    for technique in (ExpertsTopK(), PruneExperts(), Upcycle()):
        technique.check(CPU, Transformers())
        said = rf"^technique={technique.name} .* engine=openvino computes all of them: use engine="
        with pytest.raises(Unsupported, match=said):
            technique.check(CPU, OpenVino())


def test_a_matrix_that_is_not_read_back_is_a_fault(tmp_path, monkeypatch):
    """All else the module would keep as it was, and quality be measured of other weights than are served."""

    def export(who, job, folder, progress):
        weights = dict(tiny_llama().named_parameters())
        weights.pop("model.layers.1.mlp.up_proj.weight")
        save_file(weights, job.plain)

    monkeypatch.setattr("greenbench.engines.openvino.exported.export", export)
    work = Preparation(torch.device("cpu"), small_tokenizer(), lambda: (), workspace=tmp_path)
    said = r"left 1 of the blocks' 28 matrices without their names, model\.layers\.1\.mlp\.up_proj"
    with pytest.raises(EngineFault, match=said):
        Nncf().edit(tiny_llama(), work)


def test_its_variants_compose():
    (job,) = plan(["technique=[to_openvino_rounding,prune_depth,nncf_int4]"], multirun=False)
    engine, _, nncf = job.spec.technique.values()
    assert engine.other() == OpenVino(round_activations=True)
    assert nncf == Nncf(4)
    assert nncf.label() == "nncf(4)"


@pytest.mark.openvino
@pytest.mark.skipif(
    environment.version("nncf") is None, reason="OpenVINO is not installed: make engine-openvino"
)
@pytest.mark.parametrize("bits", [8, 4])
def test_what_is_served_is_what_the_module_says_it_is(bits, tmp_path):
    words = small_tokenizer()
    model = tiny_llama().to(torch.bfloat16) if bits == 4 else tiny_llama()
    model.resize_token_embeddings(len(words))
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    technique = Nncf(bits)
    promised = technique.promise(model).bytes_ratio * sum(w.nbytes for w in before.values())
    work = Preparation(torch.device("cpu"), words, lambda: (), workspace=tmp_path)
    edited = technique.edit(model, work)
    changed = [name for name, weight in model.named_parameters() if not weight.equal(before[name])]
    assert set(changed) == {name for name, weight in before.items() if weight.ndim == 2}
    for name in changed:
        error = (dict(model.named_parameters())[name] - before[name]).abs().max()
        assert error < before[name].abs().max() * (0.02 if bits == 8 else 0.2)
    dtype = Dtype.bfloat16 if bits == 4 else Dtype.float32
    spec = ModelSpec("m", Source.local, path=str(tmp_path), dtype=dtype)
    model.config.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    packed = Build(spec, "openvino", edited.files, tmp_path)
    module = replace(packed, form="module", source=edited.model)
    with (
        OpenVino(threads=1).serve(packed, CPU) as ours,
        Transformers().serve(module, CPU) as theirs,
    ):
        assert ours.footprint().held_bytes == pytest.approx(promised, rel=0.05)
        assert apart(said(ours, greedily=False), said(theirs, greedily=False)) < 0.02
