"""OpenVINO: what is asked of its environment, tool and server, with a fake one; what it computes, really."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.architectures import checkpoint, small_tokenizer
from helpers.fakes import openai_server
from helpers.real_engines import (
    PAIRS,
    TEXTS,
    asked,
    build,
    counted,
    given_up,
    listens_at,
    queued,
    sureness,
    went_on,
)
from helpers.servers import gone
from transformers import AutoConfig

from greenbench.engines.engine import Queue, Request
from greenbench.engines.openvino import environment, exported
from greenbench.engines.openvino.engine import OpenVino
from greenbench.engines.transformers.engine import Transformers
from greenbench.errors import EngineFault, Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.models import files, tensors
from greenbench.schema.enums import Dtype, Stop

CPU = Machine("cpu", "some CPU", 1 << 34)
GPU = Machine("cuda", "H100", 1 << 34, capability=(9, 0))
real = [
    pytest.mark.openvino,
    pytest.mark.skipif(
        environment.version("openvino-genai") is None,
        reason="the real OpenVINO is not installed: make engine-openvino",
    ),
]
NATS = 5e-4
"""Per token, in float32."""
LONG = 2000
"""Tokens of an answer that is given up before its end."""
GRAPH = """<net><layers>
<layer type="Const"><data element_type="u4" shape="64, 64" offset="0" size="2048"/></layer>
<layer type="Const"><data element_type="f16" shape="64, 1" offset="2048" size="128"/></layer>
<layer type="Const"><data element_type="f16" shape="1" offset="2176" size="2"/></layer>
<layer type="Const"><data element_type="i64" shape="64" offset="2178" size="512"/></layer>
<layer type="MatMul"/>
</layers></net>"""
CONFIGS = """
@register_in_tasks_manager("llama", *["feature-extraction", "text-generation"])
class LlamaConfig: pass
@register_in_tasks_manager(
    "bert", *["feature-extraction"])
class BertConfig: pass
"""


@pytest.fixture(scope="module")
def words():
    return small_tokenizer()


@pytest.fixture(scope="module")
def llama(words, tmp_path_factory):
    """A directory with a small random Llama."""
    return checkpoint("llama", words, tmp_path_factory.mktemp("models") / "llama", hidden_size=128)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Call with the fake server's script: what was seen of its start and of the exports, once they were."""

    def make(*, exports=True, **script):
        folder, script = tmp_path / "environment", {"counts": "ids", "page": [200, "ok"], **script}
        place = folder / "lib/python3.11/site-packages"
        info = place / "openvino_genai-1.2.3.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: openvino-genai\nVersion: 1.2.3\n"
        )
        configs = place / "optimum/exporters/openvino/model_configs.py"
        configs.parent.mkdir(parents=True)
        configs.write_text(CONFIGS)
        python = folder / "bin" / "python"
        python.parent.mkdir()
        python.write_text(
            f"#!{sys.executable}\n"
            "import json, os, sys, runpy\n"
            "from pathlib import Path\n"
            f"seen = Path({str(folder)!r})\n"
            "if sys.argv[2].endswith('export_ir.py'):\n"
            "    job = json.loads(Path(sys.argv[3]).read_text())\n"
            "    with (seen / 'jobs').open('a') as jobs: print(json.dumps(job), file=jobs)\n"
            f"    if not {exports}: sys.exit('KeyError: no such layer')\n"
            "    Path(job['out']).mkdir(exist_ok=True)\n"
            f"    (Path(job['out']) / 'openvino_model.xml').write_text({GRAPH!r})\n"
            "    sys.exit()\n"
            "(seen / 'seen').write_text(json.dumps([sys.argv[2:], dict(os.environ)]))\n"
            f"sys.argv = ['fake', str(json.loads(sys.argv[3])['port']), {json.dumps(script)!r}]\n"
            f"runpy.run_path({openai_server.__file__!r}, run_name='__main__')\n"
        )
        python.chmod(0o755)
        return folder

    monkeypatch.setenv("GREENBENCH_OPENVINO", str(tmp_path / "environment"))
    return make


def jobs(folder):
    return [json.loads(line) for line in (folder / "jobs").read_text().splitlines()]


# Refusals


def test_without_its_environment_the_sentence_says_how_to_make_it(fake):
    with pytest.raises(Unsupported, match=r"^engine=openvino .* not there: make engine-openvino$"):
        OpenVino().check(CPU)
    assert (OpenVino().version(), OpenVino().system()) == (None, None)


def test_a_gpu_and_more_threads_than_cpus_are_refused(fake, monkeypatch):
    fake()
    with pytest.raises(
        Unsupported, match=r"computes on CPUs, and the device is cuda: say device=cpu"
    ):
        OpenVino().check(GPU)
    monkeypatch.setattr("greenbench.machine.allowance.threads", lambda: 4)
    OpenVino(threads=4).check(CPU)
    with pytest.raises(
        UserError, match=r"^engine\.threads=5 is out of range: allowed is 1 to 4 here"
    ):
        OpenVino(threads=5).check(CPU)
    assert OpenVino().version() == "1.2.3"


@pytest.mark.parametrize("knobs", [{"context": 0}, {"threads": 0}])
def test_knobs_out_of_range_are_one_sentence(knobs):
    with pytest.raises(UserError, match=rf"^engine\.{next(iter(knobs))}="):
        OpenVino(**knobs)


def test_a_kind_that_its_tool_cannot_export_is_refused_before_anything_is_read(
    fake, tmp_path, llama
):
    fake()
    OpenVino().check_model(build(llama).model, llama, CPU)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(Unsupported, match=r"cannot run m: .* knows no bert models; choose another"):
        OpenVino().check_model(replace(build(llama).model, name="m"), tmp_path, CPU)


def test_a_model_with_a_recurrent_state_is_refused_before_anything_is_read(fake, tmp_path):
    folder = fake()
    (configs,) = folder.glob(environment.CONFIGS)
    configs.write_text(CONFIGS.replace("llama", "mamba"))
    environment.kinds.cache_clear()
    tiny = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "vocab_size": 64}
    AutoConfig.for_model("mamba", **tiny).save_pretrained(tmp_path)
    with pytest.raises(Unsupported, match=r"keeps a recurrent state in place of keys and values"):
        OpenVino().check_model(replace(build(tmp_path).model, name="m"), tmp_path, CPU)


# What it is started with


def test_a_model_is_exported_once_by_content_and_dtype(fake, llama):
    folder = fake()
    plain = build(llama)
    first = OpenVino().files(plain)
    assert OpenVino(threads=1).files(plain) == first
    OpenVino().files(replace(plain, model=replace(plain.model, dtype=Dtype.bfloat16)))
    assert [job["flags"] for job in jobs(folder)] == [
        ["--weight-format", "fp32"],
        ["--weight-format", "fp16"],
    ]
    assert {job["model"] for job in jobs(folder)} == {str(llama)}


def test_it_computes_at_the_models_dtype_unless_it_is_told_to_round(fake, llama):
    folder = fake()
    exact = {"KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    own = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    for rounds, properties in ((False, own | exact), (True, own)):
        engine = OpenVino(threads=1, round_activations=rounds)
        with engine.serve(build(llama, at_once=12, tokens=40), CPU) as served:
            (done,) = served.complete([Request((1, 2, 3), 5)])
            assert (done.tokens, done.prompt_tokens) == (5, 3)
            assert served.max_tokens == 256
            pids, footprint = served.pids(), served.footprint()
        assert gone(pids, 0)
        (script, options), variables = json.loads((folder / "seen").read_text())
        assert Path(script).name == "serve_ir.py"
        asked_for = json.loads(options)
        assert asked_for["properties"] == properties
        assert asked_for["seats"] == 12
        assert variables["HF_HUB_OFFLINE"] == "1"
    assert footprint.bytes_by_dtype == {"uint4": 2048, "float16": 128}


def test_what_goes_wrong_with_the_export_is_one_sentence(fake, llama):
    fake(exports=False)
    with pytest.raises(EngineFault) as found:
        OpenVino().files(build(llama))
    assert "\n" not in str(found.value)
    assert (
        "could not be exported, as OpenVINO's tool ended with exit code 1: KeyError: no such layer: "
        in str(found.value)
    )


def test_weights_are_counted_and_shapes_are_not(tmp_path):
    (tmp_path / "openvino_model.xml").write_text(GRAPH)
    assert exported.held(tmp_path) == {"uint4": 2048, "float16": 128}


# The real one


def log_likelihoods(served):
    model = served.language_model(lambda: None, None)
    return model.loglikelihood(asked(*PAIRS)), model.loglikelihood_rolling(
        asked(*((text,) for text in TEXTS))
    )


class TestReal:
    pytestmark = real

    @pytest.fixture(scope="class")
    def plain(self, words, tmp_path_factory):
        """A model with room for long answers, exported once for all."""
        folder = tmp_path_factory.mktemp("real")
        path = checkpoint(
            "llama", words, folder / "llama", hidden_size=128, max_position_embeddings=LONG + 100
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GREENBENCH_CACHE", str(folder / "cache"))
            made = OpenVino().files(build(path))
        return lambda **start: replace(build(path, **start), form="openvino", source=made)

    @pytest.fixture
    def here(self, plain):
        """The same weights in process."""
        return replace(plain(), form="safetensors", source=plain().directory)

    def test_it_says_and_answers_what_the_same_weights_do_in_process(self, plain, here, words):
        with (
            OpenVino(threads=1).serve(plain(at_once=3), CPU) as ours,
            Transformers().serve(here, CPU) as theirs,
        ):
            (pairs, rolling), (pairs_there, rolling_there) = map(log_likelihoods, (ours, theirs))
            assert listens_at(ours) == {"127.0.0.1"}
            assert went_on(ours) == went_on(theirs)
            assert sureness(ours) == pytest.approx(sureness(theirs), rel=0.02)
            self.answers_are_timed_and_counted(ours)
            held, pids = ours.footprint().held_bytes, ours.pids()
        assert gone(pids, 0)
        numbers = tensors.elements(files.weights(here.directory))
        assert held == pytest.approx(4 * numbers, rel=0.01)
        for (nats, greedy), (there, greedy_there), (_, after) in zip(
            pairs, pairs_there, PAIRS, strict=True
        ):
            assert nats == pytest.approx(there, abs=NATS * len(words.encode(after)))
            assert greedy == greedy_there
        for nats, there, text in zip(rolling, rolling_there, TEXTS, strict=True):
            assert nats == pytest.approx(there, abs=NATS * len(words.encode(text)))

    def answers_are_timed_and_counted(self, served):
        batch = [Request(tuple(range(5 + i, 21 + i)), 8) for i in range(3)]
        for _ in range(2):
            done = served.complete(batch)
            assert [(each.tokens, each.prompt_tokens) for each in done] == [(8, 16)] * 3
            for each in done:
                assert each.sent_s < each.stamps_s[0] <= each.stamps_s[-1] <= each.done_s
            assert max(d.sent_s for d in done) < min(d.done_s for d in done)
        (longest,) = served.complete([Request(tuple(range(5, 205)), 50)])
        assert longest.tokens == 50
        (free,) = served.complete([Request((5, 6, 7), 8, Stop.natural)])
        assert 1 <= free.tokens <= 8

    def test_a_text_longer_than_one_pass_is_read_in_pieces(self, plain, here, words):
        before, after = TEXTS[0] * 10, TEXTS[0] * 32
        length = len(words.encode(after))
        assert 520 < length < 900
        queries = asked((before, after), (before, TEXTS[1]), (before, after + TEXTS[1]))
        with (
            OpenVino(threads=1).serve(plain(), CPU) as ours,
            Transformers().serve(here, CPU) as theirs,
        ):
            found, there = (
                each.language_model(lambda: None, None).loglikelihood(queries)
                for each in (ours, theirs)
            )
        for (nats, _), (nats_there, _) in zip(found, there, strict=True):
            assert nats == pytest.approx(nats_there, abs=NATS * length)

    def test_more_requests_than_seats_wait_and_one_that_is_given_up_ends(self, plain):
        requests = [Request(tuple(range(5 + i, 21 + i)), 120 - i) for i in range(8)]
        long = [Request((5, 6, 7), 100), Request((5, 6, 8), LONG)]
        served_with = plain(at_once=4, tokens=LONG + 10, queues=True)
        with OpenVino(threads=1).serve(served_with, CPU) as served:
            done = served.converse(queued(requests, Queue(4, 4)))
            assert {each.tokens for each in done} == {120 - i for i in range(8)}
            assert {each.prompt_tokens for each in done} == {16}
            before = counted(served, "openvino_genai:tokens_total")
            first, rest = served.converse(given_up(long, Queue(2, 0), Queue(1, 0)))
            made = counted(served, "openvino_genai:tokens_total") - before
            assert {each.tokens for each in first} == {100}
            assert made < 100 * len(first) + LONG * (len(rest) + 1)  # not to its end
