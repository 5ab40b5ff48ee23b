"""The real llama.cpp says of texts what the same weights say in process, and answers as they do."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from dataclasses import replace

import psutil
import pytest
from helpers.architectures import checkpoint, small_tokenizer
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
from helpers.servers import gone, none_marked
from safetensors.torch import load_file, save_file

from greenbench.engines.engine import Queue, Request
from greenbench.engines.llama_cpp.engine import LlamaCpp
from greenbench.engines.llama_cpp.gguf_header import header
from greenbench.engines.llama_cpp.gguf_writer import convert, model_shape
from greenbench.engines.llama_cpp.scoring import ByForce, in_one_pass
from greenbench.engines.query import Query
from greenbench.engines.transformers.engine import Transformers
from greenbench.errors import EngineFault, Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.machine.processes import OwnProcesses
from greenbench.schema.enums import Dtype, Stop

pytest.importorskip("xllamacpp", reason="no wheel of llama.cpp for this system")

CPU = Machine("cpu", "some CPU", 1 << 34)
GPU = Machine("cuda", "H100", 1 << 34, capability=(9, 0), uuids=("GPU-0",))
LONG = 900
NATS = 5e-4
"""Per token: an order of rows or a rotary base that is wrong makes 2e-3 and more, even on random weights."""


@pytest.fixture(scope="module")
def words():
    return small_tokenizer()


@pytest.fixture(scope="module")
def make(words, tmp_path_factory):
    """Call with a kind: a directory with a small random model of it."""

    def path(kind, **more):
        return checkpoint(kind, words, tmp_path_factory.mktemp("models") / kind, **more)

    return path


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def llama(make):
    return make("llama")


def log_likelihoods(served):
    model = served.language_model(lambda: None, None)
    return model.loglikelihood(asked(*PAIRS)), model.loglikelihood_rolling(
        asked(*((text,) for text in TEXTS))
    )


KINDS = {
    "llama": {},
    "mistral": {"sliding_window": None},
    "qwen2": {},
    "qwen3": {},
    "llama scaled": {
        "rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0,
                            "high_freq_factor": 4.0, "original_max_position_embeddings": 64},
    },
    "llama tied": {"tie_word_embeddings": True},
    "llama deep": {"num_hidden_layers": 6, "num_key_value_heads": 4, "attention_bias": True},
}  # fmt: skip


def test_more_threads_than_cpus_are_refused(monkeypatch):
    monkeypatch.setattr("greenbench.machine.allowance.threads", lambda: 4)
    LlamaCpp(threads=4).check(CPU)
    with pytest.raises(
        UserError, match=r"^engine\.threads=900 is out of range: allowed is 1 to 4 here"
    ):
        LlamaCpp(threads=900).check(CPU)


@pytest.mark.parametrize("kind", KINDS)
def test_log_likelihoods_are_those_of_the_same_weights_in_process(kind, make, words):
    plain = build(make(kind.split()[0], **KINDS[kind]), at_once=2)
    with LlamaCpp(threads=1).serve(plain, CPU) as ours, Transformers().serve(plain, CPU) as theirs:
        (pairs, texts), (pairs_there, texts_there) = map(log_likelihoods, (ours, theirs))
    for (nats, greedy), (there, greedy_there), (_, after) in zip(
        pairs, pairs_there, PAIRS, strict=True
    ):
        assert nats == pytest.approx(there, abs=NATS * len(words.encode(after)))
        assert greedy == greedy_there
    for nats, there, text in zip(texts, texts_there, TEXTS, strict=True):
        assert nats == pytest.approx(there, abs=NATS * len(words.encode(text)))


def test_a_text_longer_than_one_pass_is_read_in_pieces(make, words):
    plain = build(make("llama", max_position_embeddings=1024))
    before, after = TEXTS[0] * 10, TEXTS[0] * 32
    length = len(words.encode(after))
    assert 520 < length < 900
    with LlamaCpp(threads=1).serve(plain, CPU) as ours, Transformers().serve(plain, CPU) as theirs:
        found, there = (
            each.language_model(lambda: None, None).loglikelihood(
                asked((before, after), (before, TEXTS[1]), (before, after + TEXTS[1]))
            )
            for each in (ours, theirs)
        )
    for (nats, _), (nats_there, _) in zip(found, there, strict=True):
        assert nats == pytest.approx(nats_there, abs=NATS * length)


def test_a_library_that_says_otherwise_than_the_server_is_refused(llama, make, tmp_path):
    other, surer = tmp_path / "other.gguf", make("llama")
    weights = load_file(surer / "model.safetensors")
    weights["lm_head.weight"] *= 50
    save_file(weights, surer / "model.safetensors", {"format": "pt"})
    convert(surer, Dtype.float32, "other", other)
    queries = [Query((5, 6, 7, 8), (7, 8, 9))]
    with LlamaCpp(threads=1).serve(build(llama), CPU) as served:
        server = ByForce(served._client, 1, 256)
        asked_of = {"model": str(other), "threads": 1, "context": 256}
        with pytest.raises(
            EngineFault, match=r"library and its server are .* apart on the same text"
        ):
            in_one_pass(server, asked_of).score(queries, lambda *_: None)
        asked_of["model"] = str(tmp_path / "none.gguf")
        with pytest.raises(EngineFault, match="ended while it read a text"):
            in_one_pass(server, asked_of).score(queries, lambda *_: None)


def test_answers_are_timed_and_as_many_as_are_asked_for_are_in_flight(llama):
    with LlamaCpp(threads=1).serve(build(llama, at_once=3), CPU) as served:
        batch = [Request(tuple(range(5 + i, 21 + i)), 8) for i in range(3)]
        for _ in range(2):
            done = served.complete(batch)
            assert [(each.tokens, each.prompt_tokens) for each in done] == [(8, 16)] * 3
            for each in done:
                assert each.sent_s < each.stamps_s[0] <= each.stamps_s[-1] <= each.done_s
            starts, ends = [d.sent_s for d in done], [d.done_s for d in done]
            assert max(starts) < min(ends)
        (short,) = served.complete([Request((5, 6, 7), 1)])
        assert short.tokens == 1
        (free,) = served.complete([Request((5, 6, 7), 8, Stop.natural)])
        assert 1 <= free.tokens <= 8
        assert served.max_tokens == 256
        assert len(served.pids()) == 1


@pytest.mark.parametrize(
    ("asked", "context", "longest", "room"),
    [
        ({"at_once": 3}, 64, 64, 3 * 64),
        ({"at_once": 3, "tokens": 40}, 64, 64, 3 * 40),
        ({"at_once": 3, "tokens": 100}, 64, 100, 3 * 100),
        ({"at_once": 3, "tokens": 10**9}, 64, 256, 3 * 256),  # a trace's: no request has so many
    ],
)
def test_there_is_room_for_the_longest_requests_that_the_model_takes(
    llama, asked, context, longest, room
):
    with LlamaCpp(threads=1, context=context).serve(build(llama, **asked), CPU) as served:
        assert served.max_tokens == longest
        assert sum(slot["n_ctx"] for slot in slots(served)) >= room
        (pid,) = served.pids()
        command = psutil.Process(pid).cmdline()
    assert json.loads(command[-1])["context"] == room


def test_more_requests_than_slots_wait_in_the_servers_queue(make):
    plain = build(make("llama", max_position_embeddings=1024), at_once=4, tokens=LONG, queues=True)
    requests = [Request(tuple(range(5 + i, 21 + i)), LONG - i) for i in range(8)]
    with LlamaCpp(threads=1).serve(plain, CPU) as served:
        assert len(slots(served)) == 4
        for _ in range(2):
            done = served.converse(queued(requests, Queue(4, 4)))
            assert {each.tokens for each in done} == {LONG - i for i in range(8)}
            assert {each.prompt_tokens for each in done} == {16}
        assert served.complete(requests[:1])[0].tokens == LONG


def test_a_request_that_is_given_up_frees_its_slot(make):
    plain = build(make("llama", max_position_embeddings=1024), tokens=LONG + 10, queues=True)
    requests = [Request((5 + i, 6, 7), LONG) for i in range(5)]
    with LlamaCpp(threads=1).serve(plain, CPU) as served:
        first, rest = served.converse(given_up(requests, Queue(1, 4), Queue(1, 0)))
        said = counted(served, "llamacpp:tokens_predicted_total")
    assert {each.tokens for each in (*first, *rest)} == {LONG}
    most = len(first + rest) + 1  # one may end as it is given up, the others never begin
    assert said <= LONG * most


def test_greedy_text_is_that_of_the_same_weights_in_process(llama):
    plain = build(llama)
    with LlamaCpp(threads=1).serve(plain, CPU) as ours, Transformers().serve(plain, CPU) as theirs:
        assert listens_at(ours) == {"127.0.0.1"}
        assert went_on(ours) == went_on(theirs)
        assert sureness(ours) == pytest.approx(sureness(theirs), rel=0.02)


def test_what_its_process_computes_is_the_runs_own(llama):
    own = OwnProcesses()
    with LlamaCpp(threads=1).serve(build(llama, at_once=2, tokens=250), CPU) as served:
        own.add(served.pids())
        (pid,) = served.pids()
        server, before_s = psutil.Process(pid), own.cpu_s()
        used_s = sum(server.cpu_times()[:2])
        served.complete([Request(tuple(range(5, 105)), 150)] * 2)
        theirs_s = sum(server.cpu_times()[:2]) - used_s
        assert own.cpu_s() - before_s >= theirs_s - 0.02 > 0.03


def slots(served):
    with urllib.request.urlopen(f"{served._client._endpoint.url}/slots") as answer:
        return json.load(answer)


def test_scoring_leaves_nothing_in_the_slots_that_would_slow_what_is_measured(llama):
    with LlamaCpp(threads=1).serve(build(llama), CPU) as served:
        before = slots(served)
        log_likelihoods(served)
        after = slots(served)
    assert len(before) == len(after) == 8
    assert not any(slot.get("n_prompt_tokens_cache") for slot in after)


def test_what_it_holds_is_read_off_the_file(llama):
    with LlamaCpp(threads=1).serve(build(llama, Dtype.bfloat16), CPU) as served:
        found = served.footprint()
    assert found.layers == 4
    assert set(found.bytes_by_dtype) == {"bf16", "f32"}
    from transformers import AutoModelForCausalLM

    assert found.parameters == AutoModelForCausalLM.from_pretrained(llama).num_parameters()
    assert LlamaCpp().room_bytes(build(llama, Dtype.bfloat16)) == 2 * found.parameters


def test_a_model_is_converted_once(llama, tmp_path):
    with LlamaCpp(threads=1).serve(build(llama), CPU):
        (file,) = (tmp_path / "cache").rglob("model.gguf")
        made = file.stat().st_mtime_ns
    with LlamaCpp(threads=1).serve(build(llama), CPU):
        assert [f.stat().st_mtime_ns for f in (tmp_path / "cache").rglob("*.gguf")] == [made]
    with LlamaCpp(threads=1).serve(build(llama, Dtype.float16), CPU):
        assert len(list((tmp_path / "cache").rglob("model.gguf"))) == 2


def test_its_own_tokenizer_agrees_though_it_is_never_asked(smollm2, tokenizer, tmp_path):
    """What stands in the file must be right for whoever takes it elsewhere."""
    spec, path = smollm2
    text = "Hello 1234 world, the  cat.\n\nIt's 5 o'clock: naïve café!"
    with LlamaCpp(threads=1).serve(replace(build(path), model=spec), CPU) as served:
        (found,) = served._client.ask([("/tokenize", {"content": text})])
    assert found["tokens"] == tokenizer.encode(text, add_special_tokens=False)


# Refusals


def test_what_cannot_be_written_as_gguf_is_one_sentence(make, words, tmp_path):
    cases = {
        "is a gpt2": make("gpt2"),
        "attends within a window of 16": make("mistral"),
        r"scales its rotary positions \(yarn\)": make(
            "llama", rope_parameters={"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}
        ),
    }
    for said, path in cases.items():
        with pytest.raises(Unsupported, match=rf"^Model m {said}.* technique=gguf_file"):
            model_shape(path, "m")
    plain = make("llama")
    (plain / "tokenizer.json").write_text('{"model": {"type": "Unigram"}}')
    with pytest.raises(Unsupported, match=r"has a tokenizer \(Unigram\) that engine=llama_cpp"):
        LlamaCpp().check_model(build(plain).model, plain, CPU)


def test_a_gpu_is_refused_and_so_is_a_machine_without_the_package(monkeypatch):
    LlamaCpp().check(CPU)
    with pytest.raises(Unsupported, match="computes on CPUs, and the device is cuda"):
        LlamaCpp().check(GPU)
    monkeypatch.setattr("greenbench.engines.llama_cpp.engine.find_spec", lambda name: None)
    with pytest.raises(Unsupported, match=r"which is not installed: pip install xllamacpp$"):
        LlamaCpp().check(CPU)
    assert LlamaCpp().version() is None


def test_a_file_that_is_no_gguf_is_one_sentence(tmp_path, llama):
    file = tmp_path / "some.gguf"
    file.write_bytes(b"GGUF and no more")
    with pytest.raises(UserError, match=r"^some\.gguf is no GGUF file that can be read"):
        header(file)
    with (
        pytest.raises(UserError, match=r"some\.gguf is no GGUF"),
        LlamaCpp().serve(replace(build(llama), options={"file": str(file)}), CPU),
    ):
        pass


def test_a_file_of_ones_own_is_served_as_it_is(llama, tmp_path):
    convert(llama, Dtype.float16, "m", tmp_path / "own.gguf")
    given = replace(build(llama), options={"file": str(tmp_path / "own.gguf")})
    with LlamaCpp(threads=1).serve(given, CPU) as served:
        assert set(served.footprint().bytes_by_dtype) == {"f16", "f32"}
    changed = replace(given, source=tmp_path / "pruned")
    with (
        pytest.raises(UserError, match="takes the place of the model"),
        LlamaCpp().serve(changed, CPU),
    ):
        pass


RUN = """
import sys
from pathlib import Path
from greenbench.engines.engine import Build, Request
from greenbench.engines.start import Start
from greenbench.engines.llama_cpp.engine import LlamaCpp
from greenbench.machine.detect import Machine
from greenbench.schema.enums import Source
from greenbench.schema.spec import ModelSpec
path = Path(sys.argv[1])
build = Build(ModelSpec("m", Source.local, path=sys.argv[1]), "safetensors", path, path)
with LlamaCpp(threads=1).serve(build, Machine("cpu", "some CPU", 1 << 34)) as served:
    print("ready", *served.pids(), flush=True)
    while True: served.complete([Request(tuple(range(5, 37)), 64)])
"""


def test_sigkill_of_the_run_while_it_measures_leaves_no_server(llama):
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(llama)], stdout=subprocess.PIPE, text=True
    ) as run:
        word, *pids = run.stdout.readline().split()
        assert word == "ready"
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    assert gone({int(pid) for pid in pids})
    assert none_marked(str(llama))
