"""Calls as people write them: each is right, or one sentence in GreenBench's own words."""

import math
import re
import shlex
import typing
from dataclasses import fields, is_dataclass

import pytest

from greenbench import engines
from greenbench.campaign.catalog import experiments
from greenbench.campaign.compose import plan
from greenbench.campaign.invocation import BenchSpec
from greenbench.campaign.overrides import require_harmless
from greenbench.errors import UserError
from greenbench.techniques import discover

INNER_WORDS = re.compile(
    r"Error\b|object_type|full_key|reference_type|[Ss]truct|Union\[|Frozen|Optional|NoneType|Config\b"
    r"|omegaconf|ListConfig|DictConfig|defaults list\b.*append|\bstr\b|Integer|Float\b"
)
ONE = {
    "+foo=1": "foo is not a key",
    "++foo=1": "foo is not a key",
    "+experiment=smoke": "experiment is not a key .* experiments",
    "foo.bar=1": r"foo\.bar is not a key",
    "nogroup/a=b": "nogroup/a is not a key",
    "techniqe=gptq": r"techniqe is not a key .* \(did you mean technique\?\)",
    "experiment=smoke": r"\(did you mean experiments\?\)",
    "batch_size=2": r"batch_size is not a key .* \(did you mean workload\.batch_size or training\.batch_",
    "wrkload.batch_size=2": r"\(did you mean workload\?\)",
    "workload.bach_size=2": r"\(did you mean batch_size\?\)",
    "+experiments=smok": r"experiments=smok is unknown: .* \(did you mean smoke\?\)",
    "impact=default": "impact is not a key",
    "defaults=[a]": "defaults is not a key",
    "task.itmes=1": r"task\.itmes is not a key .* items",
    "load.rate=1": r"load\.rate=1 says nothing of load\.arrivals=closed: .*=poisson, gamma",
    "engine.slots=1": r"engine\.slots|engine",
    "model=hub/x": "model=hub/x is unknown",
    "~seed": "~seed takes a key away",
    "~technique": "~technique takes a key away",
    "~task=core": "~task=core takes a key away",
    "task@foo=core": "task@foo=core .* write task=core",
    "+model@technique=hub": "write model=hub",
    "+technique=int8_bnb": r"\+technique=int8_bnb .* write technique=int8_bnb",
    "++task=core": "write task=core",
    "technique=": "technique= is unknown: allowed are activation_sparsity",
    "technique=''": "technique",
    "technique=null": "technique=null is unknown",
    "technique=[]": r"technique=\[\] chooses nothing",
    "technique=[none,null]": "null",
    "technique=[[none]]": "technique",
    "technique={a:1}": r"technique=\{a:1\} is unknown",
    "technique=[int8_bnb,int8_bnb]": "names one twice",
    "technique=[gptq_int3,gptq_int8]": r"gptq_int8\] is one technique more than once, gptq:",
    "technique=[prune_depth_heal,q8_0,q4_0]": r"more than once, gguf: a stack has each once\.",
    "technique=[to_vllm,to_llama_cpp]": r"more than once, engine: a stack",
    "technique=schema/gptq": "technique=schema/gptq is unknown",
    "technique=../model/hub": "is unknown",
    "technique=INT8_BNB": r"INT8_BNB is unknown: .* \(did you mean int8_bnb( or \w+)?\?\)",
    "technique=[gptq,int8_bmb]": r"\(did you mean int8_bnb( or \w+)?\?\)",
    "model=null": "model=null is unknown: allowed are gemma3-1b",
    "model=[hub,local]": r"model=\[hub,local\] is a list",
    "task=[core,smoke]": r"task=\[core,smoke\] is a list, and a run has one task",
    "engine=": "engine= is unknown: allowed are .*transformers",
    "protocol=fast": "protocol=fast is unknown: allowed are dev",
    "experiments=": "experiments= is unknown: allowed are aa-cpu, answers-cpu",
    "task.names=arc_easy": r"task\.names=arc_easy .* takes a list",
    "task.names=null": r"task\.names takes a list",
    "task.names=[]": "a list of one task or more",
    "task.names={a:1}": r"task\.names takes a list",
    "task.names=[null]": r"task\.names\[0\] takes one text",
    "task.names=[[a]]": "a list in a list",
    "task.names.a=b": r"task\.names\.a=b cannot be followed",
    "task.names.9=b": r"task\.names\.9=b is beyond the list's end",
    "model.dtype=fp16": "model.dtype takes one of float32, bfloat16, float16",
    "model.dtype=bflaot16": r"bfloat16, float16 \(did you mean bfloat16 or float16\?\)",
    "meter.order=[raple]": r"\(did you mean rapl\?\)",
    "model.dtype=null": r"model\.dtype takes one of",
    "device=tpu": "device=tpu is not allowed: allowed are auto, cpu, cuda",
    "workload.stop=null": r"workload\.stop takes one of fixed, natural",
    "load=closed": "load takes keys of its own: arrivals",
    "load=null": "load takes keys of its own",
    "load=${model}": r"load=\$\{model\} cannot be followed",
    "force=maybe": "force takes true or false",
    "results=null": "results takes one text",
    "results=[a]": "results takes one text",
    "results=": "results= .* directory",
    "seed.x=1": "seed takes a whole number",
    "seed=null": "seed takes a whole number",
    "seed=1.5": "seed=1.5 is not allowed",
    "seed=nan": "seed takes a whole number",
    "seed=-1": "seed=-1 is out of range: allowed is 0 to 4294967295",
    "seed=4294967296": "0 to 4294967295",
    "task.seed=-1": r"task\.seed=-1 is out of range: allowed is 0 to 4294967295",
    "task.items=1e30": r"task\.items takes a whole number",
    "task.items=99999999999999999999": r"task\.items=9+ is out of range",
    "protocol.window_s=inf": r"protocol\.window_s=inf is out of range",
    "protocol.window_s=nan": r"protocol\.window_s=nan is out of range",
    "protocol.window_s=-1": r"protocol\.window_s=-1",
    "protocol.time_limit_s=inf": r"time_limit_s=inf",
    "protocol.max_blocks=99999999": "5 to 10000",
    "meter.wall_offset_s=nan": r"meter\.wall_offset_s=nan",
    "meter.cpu_tdp_w=-inf": r"cpu_tdp_w=-inf",
    "seed=???": r"seed has no value: give it one with seed=",
    "results=${nope}": r"results cannot be filled in",
    "results=${oc.env:GREENBENCH_NO_SUCH}": "results cannot be filled in",
    "results=${results}": "results cannot be filled in",
    "results=${foo:1}": "results cannot be filled in",
    "seed=${oc.env:PATH}": r"seed takes a whole number, and what its \$\{\.\.\.\} stands for is none",
    "results='${'": r"results='\$\{' cannot be read",
    "results=${": r"results=\$\{ cannot be read",
    "seed": "seed cannot be read: .*KEY=VALUE",
    "": "'' cannot be read",
    "=1": "=1 cannot be read",
    "seed =1": "seed =1 cannot be read",
    "seed\n=1": r"seed\\n=1 cannot be read",
    "results=a\nb": r"results=a\\nb cannot be read",
    "--seed=1": "--seed=1 cannot be read",
    "seed+=1": r"seed\+=1 cannot be read",
    "task.names[0]=a": r"task\.names\[0\]=a cannot be read",
    "technique=[prune_depth,": r"technique=\[prune_depth, cannot be read: .* in quotes where it has brackets",
    "technique='a": "technique='a cannot be read",
    "résultats=1": "résultats=1 cannot be read",
    "seed=foo(1)": r"seed=foo\(1\) cannot be read",
    "task.names=extend_list(sciq)": "extend_list",
    "seed=0,1": "seed=0,1 asks for several runs: add --multirun",
    "seed=range(3)": r"seed=range\(3\) asks for several runs: add --multirun",
    "technique=glob(int8*)": "add --multirun",
    "experiments=smoke": "sweeps technique: add --multirun",
    "hydra.run.dir=x": "hydra.run.dir=x has no effect",
    "hydra.sweep.dir=x": "results=DIR says where records go",
    "hydra.launcher.n_jobs=2": "has no effect",
    "hydra/launcher=joblib": "has no effect",
    "hydra.job.chdir=true": "has no effect",
    "hydra.verbose=true": "has no effect",
    "hydra.mode=MULTIRUN": "--multirun",
    "+hydra.sweeper.params.seed='1,2'": "has no effect",
    "hydra.searchpath=[file:///tmp]": "--config-dir",
}
"""Override and what its sentence says."""
TOGETHER = [
    (["technique=gptq", "technique.gptq=3"], r"technique\.gptq=3 is not allowed"),
    (["technique=int8_bnb", "technique.int8_bnb=null"], r"technique\.int8_bnb=None is not allowed"),
    (["technique=gptq", "technique.gptq.bits=4.5"], r"technique\.gptq\.bits takes a whole number"),
    (["technique=gptq", "technique.gptq.x.y=1"], r"technique\.gptq\.x is not a key"),
    (["technique=gptq", "technique.gptq.bits.x=1"], r"technique\.gptq\.bits takes a whole"),
    (["technique=prune_depth", "technique.prune_depth.heal=1"], "heal takes keys of its own"),
    (["technique=prune_depth", "technique.prune_depth.heal.minutes=inf"], "minutes=inf"),
    (["technique=none", "technique.gptq.bits=4"], r"technique\.gptq is not a key"),
    (["model=hub", "model.id="], r"model\.id is missing"),
    (
        ["model=hub", "model.id='a b/c d/e'"],
        "'a b/c d/e' is no id that a model can have on the hub",
    ),
    (["model=hub", "model.id=a/b/c"], "it is NAME or OWNER/NAME"),
    (["model=hub", "model.id=-a/b"], "no id"),
    (["model=hub", "model.id=a/b..c"], "no id"),
    (["model=hub", "model.id=a/b.git"], "no id"),
    (["technique=gptq", "technique.gptq.bit=4"], r"\(did you mean bits\?\)"),
    (["meter=wall"], r"meter\.wall_log is missing: .* add meter\.wall_log=FILE\.csv"),
    (
        ["meter=wall", "meter.wall_log=null"],
        r"meter=wall without a log .* add meter\.wall_log=FILE\.csv",
    ),
]
SWEPT = {
    "seed=range(0)": "stands for no value",
    "seed=range(0,1,0)": "its step not 0",
    "seed=range(0,1,0.0)": "its step not 0",
    "seed=range(0,nan)": "seed=range",
    "seed=range(0,inf)": "seed=range",
    "seed=range(1,1000000)": "more than 10000 values",
    "seed=interval(0,1)": "no end of values: name them",
    "task=glob(z*)": r"task=glob\(z\*\) stands for no value",
    "seed=glob(*)": "stands for no value",
    "seed=1,": "seed=1, cannot be read",
    "seed=1,x": "seed=x is not allowed",
    "technique=none,bogus": "technique=bogus is unknown",
    "technique=[none],[bogus]": "technique=bogus is unknown",
    "device=cpu,tpu": "device=tpu",
    "~seed=1,2": "takes a key away",
    "hydra.run.dir=a,b": "has no effect",
    "+foo=1,2": "foo is not a key",
}


def sentence(overrides, multirun=False, **place):
    with pytest.raises(UserError) as error:
        plan(overrides, multirun=multirun, **place)
    text = str(error.value)
    assert text.isprintable(), text
    assert text.endswith(".")
    assert not INNER_WORDS.search(text), text
    return text


@pytest.mark.parametrize(("override", "said"), ONE.items())
def test_a_wrong_call_is_one_sentence(override, said):
    assert re.search(said, sentence([override]))


@pytest.mark.parametrize(("overrides", "said"), TOGETHER)
def test_a_call_that_is_wrong_together_is_one_sentence(overrides, said):
    assert re.search(said, sentence(overrides))


@pytest.mark.parametrize(("override", "said"), SWEPT.items())
def test_a_wrong_sweep_is_one_sentence(override, said):
    assert re.search(said, sentence([override], multirun=True))


def test_more_runs_than_one_call_can_mean_are_refused_before_they_are_listed():
    said = sentence(["seed=range(1000)", "task.seed=range(1000)"], multirun=True)
    assert "asks for 1000000 runs" in said


@pytest.mark.parametrize("value", ["a=b", "a,b", "a(b", "a;b", "é", 'say "a"', "a#b", "a 'b' \\ c"])
def test_the_quotes_that_a_mistake_shows_make_it_right(value):
    said = sentence([f"results={value}"])
    shown = re.search(r"""('results=.*?')(\.$| and a list)""", said)[1]
    (job,) = plan(shlex.split(shown), multirun=False)
    assert job.spec.results == value


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("seed=4294967295", "seed", 4294967295),
        ("++seed=3", "seed", 3),
        ("+seed=3", "seed", 3),
        ("results=a b", "results", "a b"),
        ("results=a:b", "results", "a:b"),
        ('results="é"', "results", "é"),
        ("results='a,b=c'", "results", "a,b=c"),
        ("results=${oc.env:GREENBENCH_TEST}/x", "results", "some where/x"),
        ("results=r${seed}", "results", "r0"),
        ("seed=int(2.0)", "seed", 2),
    ],
)
def test_what_hydra_reads_is_right_here_too(override, key, value, monkeypatch):
    monkeypatch.setenv("GREENBENCH_TEST", "some where")
    (job,) = plan([override], multirun=False)
    assert getattr(job.spec, key) == value


def test_of_a_key_that_is_given_twice_the_last_counts():
    (job,) = plan(["seed=1", "technique=fp32", "technique=none", "++seed=2"], multirun=False)
    assert (job.spec.seed, job.spec.technique) == (2, {})
    assert len(plan(["seed=1,2", "seed=3,4,5"], multirun=True)) == 3


@pytest.mark.parametrize(
    ("overrides", "runs"),
    [
        (["results=A,B"], [("A", 0, ""), ("B", 0, "")]),
        (["results='a,b',c d"], [("a,b", 0, ""), ("c d", 0, "")]),
        (["results=${oc.env:GREENBENCH_TEST},x"], [("some where", 0, ""), ("x", 0, "")]),
        (["seed=range(2)"], [("results", 0, ""), ("results", 1, "")]),
        (["seed=choice(3,1)"], [("results", 3, ""), ("results", 1, "")]),
        (["seed=sort(3,1)"], [("results", 1, ""), ("results", 3, "")]),
        (["seed=tag(a,choice(4))"], [("results", 4, "")]),
        (["technique=glob(gptq_int*)"], [("results", 0, "gptq"), ("results", 0, "gptq")]),
        (
            ["technique=[prune_depth,gptq],[dtype]"],
            [("results", 0, "prune_depth+gptq"), ("results", 0, "dtype")],
        ),
        (
            ["technique=none,gptq", "results=A,B"],
            [("A", 0, ""), ("B", 0, ""), ("A", 0, "gptq"), ("B", 0, "gptq")],
        ),
        (["+experiments=smoke", "technique=none"], [("results", 0, "")]),
    ],
)
def test_every_key_is_swept_as_hydra_sweeps(overrides, runs, monkeypatch):
    monkeypatch.setenv("GREENBENCH_TEST", "some where")
    specs = [job.spec for job in plan(overrides, multirun=True)]
    assert [(spec.results, spec.seed, "+".join(spec.technique)) for spec in specs] == runs


def test_devices_models_and_lists_are_swept():
    keys = ["model=smollm2-135m,qwen3-0.6b", "workload.output_tokens=8,16", "device=cpu,cuda"]
    jobs = plan([*keys, "task.names=[arc_easy],[sciq,piqa]"], multirun=True)
    seen = {
        (s.model.name, s.workload.output_tokens, s.device, len(s.task.names))
        for s in (job.spec for job in jobs)
    }
    assert len(jobs) == len(seen) == math.prod([2, 2, 2, 2])


def test_of_several_experiments_each_is_swept_by_itself():
    together = plan(["+experiments=smoke,decoding"], multirun=True)
    apart = [plan([f"+experiments={name}"], multirun=True) for name in ("smoke", "decoding")]
    assert [job.spec for job in together] == [job.spec for jobs in apart for job in jobs]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\n\tbatch_size: 2\n", r"mine\.yaml cannot be read as YAML at line 2: .*'\\t'"),
        ("name: a\nname: b\n", "mine.yaml .* line 2: found duplicate key name"),
        ("name: a\nbogus: 1\n", r"workload/mine\.yaml, workload\.bogus is not a key"),
        ("name: a\nbatch_size: x\n", r"workload\.batch_size takes a whole number"),
        ("- a\n", r"workload/mine\.yaml, keys and values must stand"),
        ("batch_size: 2\n", r"workload\.name has no value"),
        ("name: ${x}\n", r"workload\.name cannot be filled in"),
        ("name: '${'\n", "name cannot be read"),
        ("defaults: [nope]\nname: a\n", r"workload=nope, which workload/mine\.yaml asks for"),
        ("defaults: [shrot]\nname: a\n", r"is unknown: .* \(did you mean short\?\)"),
        ("defaults: {a: b}\n", r"workload/mine\.yaml cannot be used"),
        ("# @package _global_\nfoo: a\n", "foo is not a key"),
        ("name: é\n".encode("latin-1"), r"mine\.yaml is not UTF-8 text"),
    ],
)
def test_a_wrong_file_of_values_is_one_sentence(text, said, tmp_path):
    (tmp_path / "workload").mkdir()
    (tmp_path / "workload" / "mine.yaml").write_bytes(
        text if isinstance(text, bytes) else text.encode()
    )
    assert re.search(said, sentence(["workload=mine"], config_dir=tmp_path))


GLOBAL = "# @package _global_\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("defaults:\n- override /technique: [gptq, gptq]\n", r"one technique more than once, gptq"),
        ("defaults:\n- override /technique: [gptq_int3, gptq_int8]\n", r"more than once, gptq"),
        ("defaults:\n- override /technique: gtpq\n", r"is unknown: .* \(did you mean gptq\?\)"),
        ("defaults:\n- override /tecnique: gptq\n", r"no group .* \(did you mean technique\?\)"),
        ("defaults:\n- /technique: gptq\n", r"write `- override /technique: NAME`"),
        ("defaults:\n- mine\n", r"leads back to it: take it out there"),
        ("defaults:\n- _self_\n- _self_\n", r"experiments/mine\.yaml has _self_ more than once"),
        ("defaults:\n- override /meter: wall\n", r"add meter\.wall_log=FILE\.csv"),
        (
            "defaults:\n- override /meter: wall\nmeter:\n  wall_log: null\n",
            "meter=wall without a log",
        ),
        ("hydra:\n  sweeper:\n    params:\n      technique: '[gptq,gptq]'\n", "names one twice"),
        ("seed: ${nope}\n", "seed cannot be filled in"),
    ],
)
def test_a_wrong_experiment_is_one_sentence(text, said, tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.yaml").write_text(GLOBAL + text)
    assert re.search(said, sentence(["+experiments=mine"], config_dir=tmp_path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\n", "first line must be `# @package _global_`"),
        ("3\n", "holds no keys: write KEY"),
    ],
)
def test_what_is_no_experiment_is_told_how_to_be_one(text, said, tmp_path):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.yaml").write_text(text)
    assert said in sentence(["+experiments=mine"], config_dir=tmp_path)


def test_a_group_of_the_users_own_is_added(tmp_path):
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "big.yaml").write_text("# @package _global_\nseed: 3\n")
    for override in ("server=big", "+server=big"):
        (job,) = plan([override], multirun=False, config_dir=tmp_path)
        assert job.spec.seed == 3
    assert "server=small is unknown: allowed are big" in sentence(
        ["server=small"], config_dir=tmp_path
    )


HARMLESS = [
    "technique=[prune_depth,int8_bnb]", "technique=glob(int8*)", "seed=range(3)", "model=local",
    "model.id=Qwen/Qwen3-0.6B", "model.revision=refs/pr/3", "task.names=[sst2,piqa]", "load.rate=[1,2]",
    "load={arrivals: poisson, rate: 2}", "model.note='a/b, or ../c'", "technique=", "a b", "~seed",
]  # fmt: skip
REACHING = [
    "results=A,B", "load={arrivals: trace, trace: a.csv}", "model={note: {path: a}}", "model.id=a/b,/etc",
    "task.names=[sst2,[own.yml]]", "task.names=[sst2],[own.YAML]", "+model.path=a", "++results=a",
    "model.id='~someone/weights'", "model.id=../weights", "model.note=${oc.env:HOME}", "seed=${seed}",
    "engine.key_variable=HF_TOKEN", "engine={url: 'http://a'}",
    "technique.attention.implementation=kernels-community/flash-attn2", "launcher=slurm",
    "launcher.setup=['touch a']", "+launcher.options={wrap: a}", "launcher={where: ray, address: a}",
]  # fmt: skip


def test_what_says_only_what_to_measure_may_be_said_by_anyone():
    require_harmless([*HARMLESS, *(f"+experiments={name}" for name in experiments())])


@pytest.mark.parametrize("override", REACHING)
def test_what_reaches_for_files_servers_or_foreign_code_is_for_a_person_to_say(override):
    with pytest.raises(UserError, match="is not for an agent to say") as error:
        require_harmless(["technique=none", override])
    assert str(error.value).startswith(override)


def test_a_path_that_is_here_is_no_name_on_a_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    require_harmless(["model.id=org/weights"])
    (tmp_path / "org" / "weights").mkdir(parents=True)
    with pytest.raises(UserError, match="not for an agent"):
        require_harmless(["model.id=org/weights"])


TEXTS = {
    "devices", "device_groups", "device", "model.id", "model.license", "model.name", "model.note",
    "model.packages", "model.revision",
    "task.chat_template", "task.filter", "task.metric", "task.names", "meter.order", "load.rate",
    "load.concurrency", "workload.name", "engine", "engine.model", "technique", "technique.engine.knobs",
    "training.precision", "training.revision", "training.text_field",
}  # fmt: skip
"""Keys that take a text which is no place: names, choices, and what holds further keys."""


def test_every_key_that_takes_a_place_is_known_by_its_name():
    """A new one must hold a word of `REACH`, or stand above once it is clear that it names no place."""
    free = set()
    for key, kind in _keys():
        try:
            require_harmless([f"{key}=a"])
        except UserError:
            continue
        if "str" in str(kind) or kind is typing.Any:
            free.add(key)
    knobs = {key for key in free if key.startswith("technique.")} - TEXTS
    assert free - knobs == TEXTS
    assert {key.rpartition(".")[2] for key in knobs} == {
        "activations", "algorithm", "confidence", "draft", "granularity", "head", "id", "implementation",
        "init", "made_of", "mapping", "mode", "pattern", "precision", "quant_type", "revision",
        "to", "type", "unit",
    }  # fmt: skip


def _keys():
    """All of a run, of every technique and of every engine, with their types."""
    yield from _of(BenchSpec, "")
    for name, cls in discover().items():
        yield from _of(cls, f"technique.{name}.")
    for name in engines.named():
        yield from _of(engines.load(name), "engine.")


def _of(cls, at):
    kinds = typing.get_type_hints(cls)
    for field in fields(cls):
        kind = kinds[field.name]
        if is_dataclass(kind):
            yield from _of(kind, f"{at}{field.name}.")
        else:
            yield f"{at}{field.name}", kind
