"""A server at a URL: what is wrong with it is said before anything is measured, and its key never."""

import json
import pickle
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from helpers.fakes.openai_server import FakeOpenAI
from helpers.servers import FAKE

from greenbench.engines import openai
from greenbench.engines.engine import Build, Request
from greenbench.engines.llama_cpp.engine import LlamaCpp
from greenbench.engines.openai import OpenAI
from greenbench.engines.serving.server import free_port
from greenbench.engines.transformers.engine import Transformers
from greenbench.engines.vllm.engine import Vllm
from greenbench.errors import EngineFault, Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.schema.enums import Source
from greenbench.schema.spec import ModelSpec
from greenbench.scrub import HIDDEN, scrub

CPU = Machine("cpu", "some CPU", 1 << 34)


@pytest.fixture
def server():
    with FakeOpenAI() as running:
        yield running


def look(engine):
    engine.check_model(None, None, CPU)


def test_an_address_is_needed_and_must_be_one():
    with pytest.raises(Unsupported, match=r"needs the address .* add engine\.url=http://HOST:PORT"):
        OpenAI().check(CPU)
    with pytest.raises(UserError, match=r"engine\.url=some\.where is no address"):
        OpenAI("some.where")
    with pytest.raises(UserError, match="has a key or password in it") as found:
        OpenAI("http://me:secret@some.where")
    assert "secret" not in str(found.value)


def test_the_key_is_taken_from_the_environment_and_is_no_knob(server, monkeypatch):
    server.script["key"] = "very-secret"
    with pytest.raises(UserError, match=r"refuses the key \(401\)"):
        look(OpenAI(server.url))
    engine = OpenAI(server.url, key_variable="SOME_KEY")
    with pytest.raises(UserError, match="names an environment variable that is not set"):
        engine.check(CPU)
    monkeypatch.setenv("SOME_KEY", "wrong-secret")
    with pytest.raises(UserError, match="refuses the key") as found:
        look(engine)
    monkeypatch.setenv("SOME_KEY", "very-secret")
    engine.check(CPU)
    look(engine)
    assert "secret" not in f"{engine}{found.value}"


@pytest.mark.parametrize("end", ["/v1?api_key=abcd", "?abcd", "/#abcd"])
def test_an_address_with_a_key_in_its_query_is_refused(end):
    with pytest.raises(UserError, match=r"has a \? or # in it.* engine\.key_variable") as found:
        OpenAI(f"http://127.0.0.1:9{end}")
    assert "abcd" not in str(found.value)


def test_a_key_in_place_of_its_variables_name_is_refused_and_not_told():
    with pytest.raises(UserError, match=r"is no name of an environment variable") as found:
        OpenAI("http://127.0.0.1:9", key_variable="sk-abcd")
    assert "abcd" not in str(found.value)
    engine = OpenAI("http://127.0.0.1:9", key_variable="mysecretkeyvalue99")
    with pytest.raises(UserError, match="variable that is not set") as found:
        engine.settled(None, CPU, None, of_reference=False)
    assert "secret" not in str(found.value)


def test_what_the_named_variable_holds_is_scrubbed_whatever_it_is_called(server, monkeypatch):
    monkeypatch.setenv("SRV", "the-servers-own")
    assert "the-servers-own" in scrub("it says the-servers-own")
    made = pickle.dumps(OpenAI(server.url, key_variable="SRV"))
    monkeypatch.setattr("greenbench.scrub._named", set())  # as in a worker
    look(pickle.loads(made))
    assert scrub("it says the-servers-own") == f"it says {HIDDEN}"


def test_a_model_that_is_not_there_is_refused_with_those_that_are(server):
    look(OpenAI(server.url))
    look(OpenAI(f"{server.url}/v1/", model="fake"))
    with pytest.raises(UserError, match=r"has no model other: say engine\.model as one of fake\."):
        look(OpenAI(server.url, model="other"))
    server.script["models"] = ["one", "two"]
    with pytest.raises(
        UserError, match=r"has no one model: say engine\.model as one of one, two\."
    ):
        look(OpenAI(server.url))


NOT_THERE = {
    "http://127.0.0.1:9": "127.0.0.1:9",
    "https://no.such.invalid/v1": "no.such.invalid:443",
}


@pytest.mark.parametrize("url", NOT_THERE)
def test_no_one_at_the_address_is_one_sentence(url):
    with pytest.raises(EngineFault) as found:
        look(OpenAI(url))
    said = f"Nothing answers at engine.url ({NOT_THERE[url]}): start the server, or correct the address."
    assert str(found.value) == said


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999", "http://here:port", "http://[::1", "http://"]
)
def test_what_is_no_address_is_refused_before_anyone_is_asked(url):
    with pytest.raises(UserError, match=r"is no address: say one as http://127\.0\.0\.1:8000\.$"):
        OpenAI(url)


def test_one_that_never_answers_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(openai, "LOOK_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(EngineFault, match=r"openai hangs: it has sent nothing for 0\.2 s; see"):
            look(OpenAI(url))


def test_one_that_speaks_no_https_is_one_sentence(server):
    with pytest.raises(EngineFault, match=r"does not speak https .*: say http:// where"):
        look(OpenAI(server.url.replace("http", "https")))


@pytest.mark.parametrize("status", [200, 404, 500])
def test_a_web_page_is_not_quoted(server, status):
    server.script["page"] = (status, "<!doctype html><title>Welcome!</title>")
    with pytest.raises((EngineFault, UserError), match=r"a web page\): [cs]") as found:
        look(OpenAI(server.url))
    assert "<" not in str(found.value)


@pytest.mark.parametrize("data", [5, None, "fake", {"id": "fake"}])
def test_what_lists_no_models_is_one_sentence(server, data):
    server.script["page"] = (200, json.dumps({"data": data}))
    with pytest.raises(UserError, match="lists no models at /v1/models"):
        look(OpenAI(server.url))


@pytest.fixture
def build(smollm2):
    spec, path = smollm2
    return Build(spec, "url", path, path)


def test_it_is_asked_by_name_and_tells_nothing_of_its_size(server, build):
    with OpenAI(server.url).serve(build, CPU) as served:
        (done,) = served.complete([Request((1, 2, 3), 5)])
        assert (done.tokens, done.prompt_tokens) == (5, 3)
        assert served.footprint().held_bytes is None
        assert "does not tell what it holds" in served.footprint().reason
        assert served.max_tokens == 4096
        assert served.pids()  # it is this process's
    body = server.bodies[-1]
    assert (body["model"], body["cache_prompt"], body["prompt"]) == ("fake", False, [1, 2, 3])


def test_what_it_is_told_of_prompts_it_may_not_heed():
    """A server of ours has no cache of them, and one of another's is told not to use it."""
    keeps = {
        engine.name for engine in (OpenAI, LlamaCpp, Vllm, Transformers) if engine.keeps_prompts
    }
    assert keeps == {"openai"}


def test_how_it_tells_log_probabilities_is_found_by_a_try(server, build):
    with OpenAI(server.url).serve(build, CPU) as served:
        assert served.language_model(lambda: None, None).cannot == {}
        server.script["echo"] = False
        cannot = served.language_model(lambda: None, None).cannot
    assert set(cannot) == {"loglikelihood", "loglikelihood_rolling"}


NOT_SEEN = "engine.url is answered by no process that is seen here"


def test_a_server_whose_processes_are_not_seen_says_so(server, monkeypatch):
    engine = OpenAI(server.url)
    assert engine.unseen() is None
    assert OpenAI("http://some.where").unseen() is None  # it is elsewhere
    monkeypatch.setattr("psutil.net_connections", lambda kind: [])  # as of another user's
    assert engine.unseen().startswith(NOT_SEEN)


def test_a_program_that_passes_requests_on_is_not_the_server(tmp_path):
    tunnel, port = tmp_path / "socat", free_port()
    tunnel.symlink_to(Path(sys.executable).resolve())
    with subprocess.Popen([tunnel, FAKE, str(port), "{}"], stdout=subprocess.DEVNULL) as passing:
        engine = OpenAI(f"http://127.0.0.1:{port}")
        end_s = time.monotonic() + 20
        while time.monotonic() < end_s:
            with suppress(EngineFault):
                look(engine)
                break
        try:
            look(engine)
            assert engine.unseen().startswith(NOT_SEEN)
        finally:
            passing.kill()


def test_meters_of_this_machine_count_nothing_of_another():
    assert OpenAI("http://localhost:8000").elsewhere() is None
    said = "engine.url is at some.where, and a meter of this machine counts nothing there."
    assert OpenAI("https://some.where/v1").elsewhere() == said
    spec = ModelSpec("m", Source.local, path="m")
    assert OpenAI("http://some.where").room_bytes(Build(spec, "url", None, None)) == 0
    assert OpenAI("http://some.where")._pids() is None
