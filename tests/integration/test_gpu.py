"""What only a GPU can show: NVML's real counters, and every technique on CUDA's own kernels.

One run at a time has the device: these tests gain nothing from several processes.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import pytest
import torch
from helpers.in_flight import at_once
from helpers.served import load
from helpers.techniques import live, stack

from greenbench.campaign.catalog import options
from greenbench.engines.vllm import environment
from greenbench.techniques import ModelEdit
from greenbench.techniques.shared.compressed import Compressed

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

QUICK = [
    "model=smollm2-135m", "device=cuda", "task=smoke", "workload=short", "protocol=smoke",
]  # fmt: skip
EAGER = "engine.reference=eager"
ELSEWHERE = {"threads": "say device=cpu", "flash_attention": "needs the package flash-attn"}
if find_spec("kernels") is None:
    ELSEWHERE["flash_kernel"] = "needs the package kernels"
BY_CARD = {"float8_torchao"}
"""What old cards have no kernels for."""


def must_run(option):
    """Whether it changes the model in process, so that no other engine and no other card is needed."""
    return option not in BY_CARD and any(
        isinstance(each, ModelEdit) and not isinstance(each, Compressed) and each.name != "gguf"
        for each in stack(option)
    )


SETTINGS = {
    "power_limit",
    "clock_lock",
    "clock_lock_unlocked",
}  # for whoever else is on the card too
BRIEF = {  # in tokens: of seconds a busy machine may spend all before the first step
    "prune_depth_heal": ["technique.prune_depth.heal.tokens=4096"],
    "prune_width_heal": ["technique.prune_width.heal.tokens=4096"],
    "distill": ["technique.distill.training.tokens=4096"],
    "dtype": ["technique.dtype.to=float16"],
}


def bench(directory, *overrides):
    """Exit status, output and records of one bench in its own process."""
    done = subprocess.run(
        [sys.executable, "-m", "greenbench", "bench", *QUICK, *overrides],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=False,
    )
    records = [json.loads(p.read_text()) for p in directory.glob("results/records/*.json")]
    return done.returncode, done.stdout + done.stderr, records


@pytest.fixture(scope="session")
def shallow_draft(tmp_path_factory, smollm2):
    """The embedded model's first 10 blocks: a bad drafter of the same vocabulary."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = tmp_path_factory.mktemp("draft") / "shallow"
    model = AutoModelForCausalLM.from_pretrained(smollm2[1], dtype=torch.bfloat16)
    model.model.layers = model.model.layers[:10]
    model.config.num_hidden_layers = 10
    model.save_pretrained(path)
    AutoTokenizer.from_pretrained(smollm2[1]).save_pretrained(path)
    return path


@pytest.mark.parametrize("technique", [n for n in options("technique") if n not in SETTINGS])
def test_every_technique_runs_on_cuda_or_says_why_not(technique, tmp_path, smollm2, request):
    knobs = BRIEF.get(technique, [])
    if technique == "speculative":
        knobs = [f"technique.speculative.draft={request.getfixturevalue('shallow_draft')}"]
    if technique == "cascade":
        small = f"technique.cascade.path={request.getfixturevalue('shallow_draft')}"
        knobs = [small, "technique.cascade.threshold=0.5", "task.names=[squad]"]
    if technique == "checkpoint":
        knobs = [f"technique.checkpoint.path={smollm2[1]}"]
    status, output, records = bench(tmp_path, f"technique={technique}", EAGER, *knobs)
    if (
        status == 2
    ):  # of another engine, or what has no kernel on this card: a sentence, and nothing loaded
        assert not must_run(technique), output
        assert output.count("\n") == 1
        assert "greenbench: " in output
        assert not records
        return
    if technique in ELSEWHERE:
        assert status == 1
        assert ELSEWHERE[technique] in output
        assert "Traceback" not in output
        return
    assert status == 0, output[-3000:]
    (record,) = records
    assert record["status"] == "completed"
    assert record["environment"]["gpus"]
    energy = record["candidate"]["metrics"]["energy_per_token_j"]
    assert energy["provenance"] == "measured:counter:nvml"
    assert energy["value"] > 0


def test_a_load_has_joules_of_the_counter_and_idle_power_on_cuda(tmp_path, smollm2):
    """One answer after another in process: at rates from idle to beyond what it can do."""
    load = ["workload=online", "load.rate=[0.5,50]", "protocol.window_s=3", "protocol.idle_s=1"]
    status, output, (record,) = bench(tmp_path, "technique=none", EAGER, *load)
    assert status == 0, output[-3000:]
    light, heavy = record["load"]["points"]
    for name in ("energy_per_request_j", "marginal_energy_per_request_j"):
        told = light["baseline"]["metrics"][name]
        assert told["provenance"] == "measured:counter:nvml"
        assert told["value"] > 0
    assert heavy["baseline"]["saturated"]
    assert not light["baseline"]["saturated"]
    assert record["idle"]["both"]["value"] > 0


def test_the_last_gpu_is_measured_where_it_is_asked_for(tmp_path, smollm2):
    last = torch.cuda.device_count() - 1
    status, output, records = bench(tmp_path, "technique=none", EAGER, f"device=cuda:{last}")
    assert status == 0, output[-3000:]
    (record,) = records
    uuid = f"GPU-{torch.cuda.get_device_properties(last).uuid}"
    assert record["environment"]["device"]["uuids"] == [uuid]


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_joules_of_all_gpus_are_those_of_a_model_that_is_spread_over_them(tmp_path, smollm2):
    status, output, records = bench(tmp_path, "technique=none", EAGER, "device=cuda_all")
    assert status == 0, output[-3000:]
    (record,) = records
    assert len(record["environment"]["device"]["uuids"]) == torch.cuda.device_count()
    assert record["candidate"]["metrics"]["energy_per_token_j"]["value"] > 0


def test_models_in_turn_free_the_gpu_for_each_other_and_are_prepared_once(tmp_path, smollm2):
    turns = ["technique=gptq", EAGER, "protocol.design=sequential"]
    status, output, records = bench(tmp_path, *turns)
    assert status == 0, output[-3000:]
    (record,) = records
    assert record["design"] == "sequential"
    prepared = [each for each in record["windows"] if each["phase"] == "prepare"]
    assert len(prepared) == 1


@pytest.mark.parametrize("technique", sorted(SETTINGS))
def test_a_setting_is_held_and_given_back_or_refused_in_a_sentence(technique, tmp_path, smollm2):
    from greenbench.machine.gpus import opened

    def settings():
        import pynvml

        with opened([f"GPU-{torch.cuda.get_device_properties(0).uuid}"]) as (gpu,):
            return pynvml.nvmlDeviceGetPowerManagementLimit(gpu.handle)

    before = settings()
    status, output, records = bench(tmp_path, f"technique={technique}", EAGER)
    assert settings() == before
    if status != 0:  # without the rights, or with another's setting in place
        assert output.count("greenbench: ") <= 1
        assert "Traceback" not in output
        assert not [each for each in records if each["status"] == "completed"]
        return
    assert records[0]["techniques"][0]["observed"]


@pytest.mark.skipif(environment.version("vllm") is None, reason="needs vLLM: make engine-vllm")
@pytest.mark.parametrize("technique", ["none", "w8a8_fp8"])
def test_vllm_serves_on_the_gpu_and_its_joules_are_the_counters(technique, tmp_path, smollm2):
    status, output, records = bench(tmp_path, f"technique={technique}", "engine=vllm")
    if status == 2:  # no kernel on this card, or no llm-compressor
        assert technique != "none", output
        return
    assert status == 0, output[-3000:]
    (record,) = records
    energy = record["candidate"]["metrics"]["energy_per_token_j"]
    assert energy["provenance"] == "measured:counter:nvml"
    assert energy["value"] > 0
    assert record["engine"]["name"] == "vllm"


STACKS = ["[prune_depth,gptq]", "[prune_depth,int8_torchao,prompt_lookup]", "[int4_bnb,kv_quanto]"]


@pytest.mark.parametrize("stack", STACKS)
def test_stacks_run_on_cuda(stack, tmp_path, smollm2):
    status, output, _ = bench(tmp_path, f"technique={stack}", EAGER)
    assert status == 0, output[-3000:]


def test_cuda_graphs_are_built_once(tmp_path, smollm2):
    status, output, records = bench(
        tmp_path, "technique=[static_cache,compile]", "technique.compile.mode=reduce-overhead"
    )
    assert status == 0, output[-3000:]
    assert records[0]["techniques"][1]["observed"]["graphs_compiled_later"] == 0


@pytest.mark.skipif(find_spec("kernels") is None, reason="needs the package kernels")
def test_a_kernel_that_the_hub_has_built_attends_as_sdpa_does(tmp_path, smollm2):
    """It expects nearly the same tokens, and its run names the commit."""
    task = ["task.names=[wikipedia_bpb]", "task.items=8"]
    status, output, records = bench(tmp_path, "technique=flash_kernel", EAGER, *task)
    if "can neither be had from the hub" in output:
        pytest.skip(output)
    assert status == 0, output[-3000:]
    (record,) = records
    (technique,) = record["spec"]["technique"]
    name, _, commit = technique["implementation"].partition("@")
    assert name == "kernels-community/flash-attn2"
    assert len(commit) == 40
    assert record["techniques"][0]["details"]["before"] == {"attn_implementation": "sdpa"}
    (score,) = record["quality"]
    assert score["fidelity"]["agreement"]["value"] > 0.95


@pytest.mark.parametrize(
    ("technique", "references"),
    [
        ("none", {"compiled": {}}),
        ("int4_torchao", {"compiled": {}}),
        ("prompt_lookup", {"compiled": {"candidate": "a loop of its own"}, "eager": "both"}),
        ("int8dyn_torchao", {"compiled": {"candidate": "takes 17 rows"}, "eager": "both"}),
    ],
)
def test_the_reference_is_compiled_on_cuda_where_the_technique_lets_it(
    technique, references, tmp_path, smollm2
):
    status, output, records = bench(tmp_path, f"technique={technique}")
    assert status == 0, output[-3000:]
    found = {each["spec"]["engine"]["reference"]: each["engine"]["eager"] for each in records}
    assert set(found) == set(references)
    for who, why in references["compiled"].items():
        assert why in found["compiled"][who]
    assert "baseline" not in found["compiled"]
    if "eager" in found:
        assert set(found["eager"]) == {"baseline", "candidate"}


def test_two_compiled_models_keep_their_cuda_graphs_and_say_what_eager_ones_say(smollm2):
    """Over more requests than torch records graphs anew for before it gives them up (128)."""
    from torch._dynamo.utils import counters
    from torch._inductor.cudagraph_trees import get_container

    from greenbench.engines.engine import Build, Request
    from greenbench.engines.start import Start
    from greenbench.engines.transformers.engine import Transformers
    from greenbench.machine.detect import detect
    from greenbench.models import texts
    from greenbench.schema.enums import Dtype, Reference

    spec, path = smollm2
    machine = detect("cuda")
    build = Build(
        replace(spec, dtype=Dtype.float32), "safetensors", path, path, start=Start(1, tokens=40)
    )
    compiled, eager = (
        Transformers(reference) for reference in (Reference.compiled, Reference.eager)
    )
    with compiled.serve(build, machine) as one, compiled.serve(build, machine) as two, eager.serve(
        build, machine
    ) as plain:  # fmt: skip
        asked = [
            [Request(tuple(plain.tokenizer.encode(text)[:32]), 8)]
            for text in texts.passages("prompt")[:20]
        ]
        for batch in asked[:3]:
            said = [_tokens(served, batch) for served in (plain, one, two)]
            assert said[0] == said[1] == said[2]
        recorded = next(get_container(0).tree_manager.graph_counter)
        for turn in range(150):
            for served in (one, two):
                served.complete(asked[turn % 20])
        assert next(get_container(0).tree_manager.graph_counter) == recorded + 1
        for served in (one, two):  # in a thread of its own, which finds the graphs of this one
            done = served.converse(at_once(*(batch[0] for batch in asked)))
            assert [each.tokens for each in done] == [8] * len(asked)
        assert next(get_container(0).tree_manager.graph_counter) == recorded + 2
        assert counters["inductor"]["cudagraph_skips"] == 0
        quick, slow = (min(e.complete(asked[0])[0].seconds for _ in range(9)) for e in (one, plain))
        assert quick < 0.7 * slow


def _tokens(served, batch):
    """The tokens that its model answers with."""
    prompt = torch.tensor([batch[0].tokens]).to("cuda")
    with torch.inference_mode():
        return served._model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, pad_token_id=0,
            min_new_tokens=batch[0].new_tokens, max_new_tokens=batch[0].new_tokens,
        ).tolist()  # fmt: skip


def test_a_2_of_4_mask_runs_on_the_sparse_kernel(tmp_path, smollm2):
    status, output, records = bench(
        tmp_path, "technique=prune_wanda", "technique.prune_wanda.pattern='2:4'"
    )
    assert status == 0, output[-3000:]
    assert records[0]["techniques"][0]["promise"]["kernel"] == "sparse_semi_structured"


@pytest.mark.parametrize("option", ["prompt_lookup", "self_speculative"])
def test_drafting_gives_greedy_decodings_tokens_on_cuda(option, smollm2):
    from greenbench.models import texts
    from greenbench.schema.enums import Dtype
    from greenbench.techniques import Preparation
    from greenbench.techniques.decoding.assisted import PromptLookup
    from greenbench.techniques.early_exit.self_speculative import SelfSpeculative

    spec, path = smollm2
    loaded = load(replace(spec, dtype=Dtype.float32), path, torch.device("cuda"))
    prompts = [
        loaded.tokenizer(text, return_tensors="pt").input_ids[:, :48].to("cuda")
        for text in texts.passages("prompt")[:20]
    ]

    def outputs(model):
        knobs = {"max_new_tokens": 32, "min_new_tokens": 32, "do_sample": False}
        return [model.generate(p, pad_token_id=0, **knobs)[0].tolist() for p in prompts]

    expected = outputs(loaded.model)
    technique = PromptLookup() if option == "prompt_lookup" else SelfSpeculative()
    calibrate = partial(texts.passages, "calibrate")
    work = Preparation(torch.device("cuda"), loaded.tokenizer, calibrate)
    assert outputs(live(technique, loaded.model, work)) == expected
    assert work.observed["drafted"] > 0


def test_the_energy_counter_agrees_with_the_sampled_power_under_load():
    from greenbench.machine.gpus import visible_uuids
    from greenbench.meters.nvml_counter import NvmlCounter
    from greenbench.meters.nvml_power import NvmlPower

    uuid = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
    assert uuid in visible_uuids()
    counter, power = NvmlCounter([uuid]), NvmlPower([uuid]).start()
    try:
        assert 0 < counter.tick_s < 0.5
        weights = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
        before = counter.read(), power.read()
        end = time.monotonic() + 6
        while time.monotonic() < end:
            for _ in range(20):
                weights @ weights
            torch.cuda.synchronize()
        after = counter.read(), power.read()
    finally:
        counter.close()
        power.close()
    counted, integrated = (b.energy_j - a.energy_j for a, b in zip(before, after, strict=True))
    assert counted > 0
    assert integrated == pytest.approx(counted, rel=0.1)
