"""What is refused before a run."""

from dataclasses import replace

import pytest
from helpers.architectures import DECODERS, checkpoint, small_tokenizer
from helpers.windows import Watts, protocol
from transformers import AutoConfig

from greenbench.campaign.compose import plan
from greenbench.engines.transformers import compiled
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.meters import OpenMeters
from greenbench.run.preflight import refuse_here, refuse_model, suited
from greenbench.run.workbench import require_ticks
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques.pruning.single_weights import PruneMagnitude
from greenbench.techniques.quantization.torchao import Int8WeightOnly

SMALL = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256}
SHORT = WorkloadSpec("short", prompt_tokens=8, output_tokens=4)
CPU = Machine("cpu", "some CPU", 1 << 34)


def test_windows_shorter_than_ten_ticks_are_refused():
    meter = Watts(1.0)
    meter.tick_s = 0.1
    require_ticks(OpenMeters(meters=[meter]), protocol(window_s=1.0))
    with pytest.raises(UserError, match=r"window_s=0.5.*10 ticks"):
        require_ticks(OpenMeters(meters=[meter]), protocol(window_s=0.5))


def test_a_request_must_have_a_place_for_each_of_its_tokens():
    config = AutoConfig.for_model("gpt2", **SMALL)
    refuse_model([], config, WorkloadSpec("w", prompt_tokens=200, output_tokens=56))
    with pytest.raises(UserError, match="make 257 tokens, and this model knows 256 positions"):
        refuse_model([], config, WorkloadSpec("w", prompt_tokens=200, output_tokens=57))


def test_a_packed_checkpoint_is_as_an_earlier_technique_that_packs():
    config = AutoConfig.for_model(
        "gpt2", **SMALL, quantization_config={"quant_method": "awq", "bits": 4}
    )
    refuse_model([], config, SHORT)
    with pytest.raises(UserError, match=r"prune_magnitude needs plain weights.*\(awq, 4 bits\)"):
        refuse_model([PruneMagnitude()], config, SHORT)


def test_a_technique_that_would_reach_little_of_the_blocks_is_refused_unless_asked_for():
    dbrx = AutoConfig.for_model("dbrx", **DECODERS["dbrx"])
    with pytest.raises(UserError, match=r"int8_torchao reaches .* % .* allow_partial=true"):
        refuse_model([Int8WeightOnly()], dbrx, SHORT)
    refuse_model([Int8WeightOnly()], dbrx, SHORT, allow_partial=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["engine=openai"], r"add engine\.url=http://HOST:PORT"),
        (["engine=openai", "engine.url=http://h", "engine.context=90"],
         "make 128 tokens, and engine.context=90 says"),
        (["engine=openai", "engine.url=http://h", "technique=gptq"], "which engine=openai does not take"),
        (["engine=openai", "engine.url=http://h", "technique=fp32"], "which engine=openai does not take"),
        (["engine=openai", "engine.url=http://h", "technique=early_exit"], "openai does not run"),
        (["engine=llama_cpp", "technique=gptq"], "as packed, which engine=llama_cpp does not take"),
        (["engine=llama_cpp", "technique=early_exit"], "which engine=llama_cpp does not run"),
        (["engine=llama_cpp", "technique=gguf", "technique.gguf.type=q4_k_m"], "with llama-quantize"),
        (["technique=gguf"], "use engine=llama_cpp"),
        (["technique=gguf_file"], "use engine=llama_cpp"),
        (["engine=llama_cpp", "technique=[gguf,prune_depth]"], "put prune_depth first"),
    ],
)  # fmt: skip
def test_what_an_engine_cannot_run_is_one_sentence_before_anything_is_served(arguments, said):
    def refuse():
        (job,) = plan(["device=cpu", *arguments], multirun=False)
        refuse_here(job.spec, CPU)

    with pytest.raises(UserError, match=said):
        refuse()


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """The files of a model that knows 256 positions."""
    return checkpoint("llama", small_tokenizer(), tmp_path_factory.mktemp("llama"))


@pytest.mark.parametrize(
    "engine",
    [
        ["engine=transformers"],
        ["engine=llama_cpp"],
        ["engine=llama_cpp", "engine.context=100000"],
        ["engine=vllm"],
        ["engine=vllm", "engine.context=100000"],
    ],
)
def test_a_request_longer_than_the_model_knows_is_one_sentence_for_each_engine(engine, llama):
    said = [*engine, "model=local", f"model.path={llama}", "device=cpu"]
    (job,) = plan([*said, "workload.output_tokens=193"], multirun=False)
    with pytest.raises(UserError, match="make 257 tokens, and this model knows 256 positions: ask"):
        suited(job.spec, Machine("cpu", "some CPU", 1 << 34))


GPU = Machine("cuda", "some GPU", 1 << 34, capability=(9, 0), uuids=("GPU-0",))


@pytest.mark.parametrize("technique", ["static_cache", "compile", "[int8_torchao,compile]"])
def test_what_the_compiled_reference_is_made_of_shows_nothing_against_it(technique):
    (job,) = plan([f"technique={technique}", "engine.reference=compiled"], multirun=False)
    with pytest.raises(Unsupported, match=r"is part of engine.reference=compiled.*reference=eager"):
        refuse_here(job.spec, CPU)


def test_a_kernel_that_takes_no_few_rows_compiled_is_refused_before_it_dies(monkeypatch):
    monkeypatch.setattr(compiled, "find_spec", lambda name: object())
    said = ["technique=[int8dyn_torchao,compile]", "workload=batch8"]
    refuse_here(plan(said, multirun=False)[0].spec, CPU)
    with pytest.raises(Unsupported, match=r"int8dyn_torchao cannot .*batch_size=8 on some GPU.*17"):
        refuse_here(plan(said, multirun=False)[0].spec, GPU)
    (job,) = plan([*said, "workload.batch_size=17"], multirun=False)
    refuse_here(job.spec, GPU)


TWO = Machine("cuda", "2 x some GPU", 1 << 35, capability=(9, 0), uuids=("GPU-0", "GPU-1"))


@pytest.mark.parametrize(
    "technique",
    [
        "early_exit",
        "self_speculative",
        "distill",
        "prune_depth_heal",
        "prune_width_heal",
        "[gptq,early_exit]",
    ],
)
def test_what_keeps_to_one_gpu_is_refused_where_the_model_is_spread_over_several(technique):
    (job,) = plan([f"technique={technique}", "device=cuda_all"], multirun=False)
    refuse_here(job.spec, GPU)
    with pytest.raises(Unsupported, match=r"spreads this model over 2: say device=cuda:0"):
        refuse_here(job.spec, TWO)


def test_what_follows_each_layer_may_be_spread():
    for technique in ("int4_bnb", "gptq", "prune_depth", "prompt_lookup"):
        refuse_here(
            plan([f"technique={technique}", "device=cuda_all"], multirun=False)[0].spec, TWO
        )


def test_an_engine_is_told_over_how_many_gpus_a_model_is_spread():
    (job,) = plan(["model=smollm2-135m"], multirun=False)
    assert suited(job.spec, TWO)["candidate"].gpus == 2
    assert suited(job.spec, CPU)["candidate"].gpus == 1


@pytest.mark.parametrize("engine", ["transformers", "llama_cpp"])
def test_a_model_larger_than_the_device_is_refused_before_it_is_loaded(engine):
    (job,) = plan([f"engine={engine}"], multirun=False)
    plain = suited(job.spec, CPU)["baseline"]
    needed = job.spec.engine.room_bytes(plain)
    suited(job.spec, replace(CPU, memory_bytes=needed))
    with pytest.raises(Unsupported, match=r"needs 0\.269 GB .*technique=checkpoint") as refused:
        suited(job.spec, replace(CPU, memory_bytes=needed - 1))
    assert "\n" not in str(refused.value)
