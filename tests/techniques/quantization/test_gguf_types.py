"""Files in GGUF types hold what was promised, and llama.cpp computes with what the module then holds."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers.architectures import checkpoint, small_tokenizer
from helpers.techniques import CPU, preparation

from greenbench.engines.engine import Build
from greenbench.engines.llama_cpp.engine import LlamaCpp
from greenbench.engines.llama_cpp.gguf_header import header
from greenbench.engines.transformers.engine import Transformers
from greenbench.errors import Unsupported, UserError
from greenbench.quality.known_texts import apart, said
from greenbench.schema.enums import Dtype, Source
from greenbench.schema.spec import ModelSpec
from greenbench.techniques.quantization.gguf_file import GgufFile
from greenbench.techniques.quantization.gguf_types import TYPES, Gguf

GGUF = SimpleNamespace(name="llama_cpp", forms=frozenset({"gguf"}))


@pytest.fixture(scope="module")
def words():
    return small_tokenizer()


@pytest.fixture(scope="module")
def directories(words, tmp_path_factory):
    """Models with a head of their own, and with none."""
    folder = tmp_path_factory.mktemp("models")
    return {
        tied: checkpoint("llama", words, folder / str(tied), tie_word_embeddings=tied, head_dim=32)
        for tied in (False, True)
    }


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", TYPES)
def test_a_file_holds_what_was_promised_and_says_what_the_module_says(
    kind, tied, directories, words, tmp_path
):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(directories[tied]).eval()
    technique = Gguf(kind)
    before = sum(weight.nbytes for weight in model.parameters())
    plain = {name: weight.clone() for name, weight in model.named_parameters()}
    promise = technique.promise(model)
    work = replace(preparation(), workspace=tmp_path, tokenizer=words)
    edited = technique.edit(model, work)
    held = header(edited.files).footprint()
    assert held.held_bytes == round(promise.bytes_ratio * before)
    assert set(held.bytes_by_dtype) == {"f32", "q8_0", kind}
    assert set(work.details["types"]) == {"f32", "q8_0", kind}
    for name, weight in model.named_parameters():  # vectors stay as they are
        assert torch.equal(weight, plain[name]) == (weight.ndim < 2)
    spec = ModelSpec("m", Source.local, path=str(tmp_path), dtype=Dtype.float32)
    file = Build(spec, "gguf", edited.files, edited.files.parent)
    module = replace(file, form="module", source=edited.model)
    with LlamaCpp(threads=1).serve(file, CPU) as ours, Transformers().serve(module, CPU) as theirs:
        assert apart(said(ours, greedily=False), said(theirs, greedily=False)) < 0.02


def test_rows_that_blocks_do_not_fill_stay_plain():
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(48, 8), "b": torch.nn.Linear(64, 8)})
    bytes_ = (48 * 8 * 2 + 8 * 4) + (64 * 8 * 18 / 32 + 8 * 4)
    before = sum(weight.nbytes for weight in model.parameters())
    assert Gguf("q4_0").promise(model).bytes_ratio == pytest.approx(bytes_ / before)


def test_k_quants_and_unknown_types_are_refused_in_one_sentence():
    for kind in ("q4_k_m", "Q6_K", "iq2_xs"):
        with pytest.raises(
            UserError, match=r"needs llama\.cpp's own quantizer, .* technique=gguf_file"
        ):
            Gguf(kind)
    with pytest.raises(UserError, match=r"technique\.gguf\.type=q9"):
        Gguf("q9")


def test_they_are_for_llama_cpp_alone(tmp_path):
    Gguf().check(CPU, GGUF)
    with pytest.raises(Unsupported, match="use engine=llama_cpp"):
        Gguf().check(CPU, SimpleNamespace(name="vllm", forms=frozenset({"safetensors"})))
    with pytest.raises(Unsupported, match="use engine=llama_cpp"):
        GgufFile().options("vllm")
    file = tmp_path / "mine.gguf"
    with pytest.raises(UserError, match="is no file: give that of a GGUF file"):
        GgufFile(str(file)).disclosed()
    file.write_bytes(b"GGUF")
    shown = GgufFile(str(file)).disclosed()["path"]
    assert shown.startswith("mine.gguf@")
    assert str(tmp_path) not in shown
    assert GgufFile().options("llama_cpp") == {"file": None}


def test_a_file_that_is_none_is_refused_before_anything_is_loaded(tmp_path):
    bad = tmp_path / "x.txt"
    bad.write_text("no GGUF file at all")
    with pytest.raises(UserError, match=r"^x\.txt is no GGUF file .* give another\.$"):
        GgufFile(str(bad)).check(CPU, GGUF)


def test_a_row_does_not_say_where_a_file_lies():
    assert GgufFile("/home/me/models/my.gguf").label() == "gguf_file(my.gguf)"
    assert GgufFile().label() == "gguf_file"
