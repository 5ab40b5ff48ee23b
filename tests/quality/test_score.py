"""Answers are lm-eval's, item by item, whatever is done to the model; comparisons are paired."""

import math
from dataclasses import replace

import pytest
import torch
from helpers.served import load, module, serve
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaForCausalLM

from greenbench.engines.transformers import prefix_forward
from greenbench.models import texts
from greenbench.quality import score as scorer
from greenbench.quality.tasks import FOLDER, load_tasks, pick_items
from greenbench.schema.spec import TaskSpec

SPEC = TaskSpec(names=["arc_easy", "sst2", "wikipedia_bpb"], items=4)


def silent(_done, _total):
    pass


def score(model, tokenizer, spec=SPEC, progress=silent):
    return scorer.answers(serve(module(model), tokenizer), spec, progress).tasks


def bits(model, tokenizer, text):
    """Bits of `text` after the start token, from the model's logits alone."""
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(text)]])
    with torch.no_grad():
        logs = model(ids).logits[0, :-1].float().log_softmax(-1)
    return -logs.gather(1, ids[0, 1:, None]).sum().item() / math.log(2)


@pytest.fixture(scope="module")
def answers(make_model, tokenizer):
    return score(make_model(), tokenizer)


@pytest.mark.parametrize(
    ("names", "fewshot"),
    [(("arc_easy", "piqa", "sst2", "wikipedia_bpb"), 0), (("boolq", "mmlu"), 2)],
)
def test_answers_are_those_of_stock_lm_eval(small_model, tokenizer, names, fewshot):
    spec = TaskSpec(names=list(names), items=5, fewshot=fewshot)
    loaded = TaskManager(include_path=str(FOLDER), include_defaults=False).load(list(names))
    for task in loaded["tasks"].values():
        if task.get_config("num_fewshot") != 0:
            task.set_config("num_fewshot", fewshot)
        task.set_fewshot_seed(spec.seed)
    items = {
        name: pick_items(name, len(task.eval_docs), spec) for name, task in loaded["tasks"].items()
    }
    lm = HFLM(pretrained=small_model, tokenizer=tokenizer, batch_size=1)
    stock = evaluate(lm, loaded, samples=items, bootstrap_iters=0)
    for mine in score(small_model, tokenizer, spec):
        theirs = stock["samples"][mine.task]
        assert list(mine.indices) == [sample["doc_id"] for sample in theirs] == items[mine.task]
        expected = [sample[mine.metric] for sample in theirs]
        if mine.task == "wikipedia_bpb":
            assert mine.weights == tuple(size for _, size in expected)
            nats = [-value * math.log(2) for value in mine.values]
            assert nats == pytest.approx([value for value, _ in expected], rel=1e-5)
        else:
            assert list(mine.values) == expected
        total = stock["results"][mine.task][f"{mine.metric},none"]
        assert sum(mine.values) / sum(mine.weights) == pytest.approx(total, rel=1e-5)


def test_in_the_chat_template_answers_are_those_of_stock_too(small_model, tokenizer):
    spec = TaskSpec(names=["arc_easy", "sst2"], items=5, chat_template=True, fewshot=1)
    loaded = TaskManager(include_path=str(FOLDER), include_defaults=False).load(spec.names)
    for task in loaded["tasks"].values():
        task.set_config("num_fewshot", 1 if task.config.task == "arc_easy" else 0)
        task.set_fewshot_seed(1234)
    items = {
        name: pick_items(name, len(task.eval_docs), spec) for name, task in loaded["tasks"].items()
    }
    lm = HFLM(pretrained=small_model, tokenizer=tokenizer, batch_size=1)
    how = {"samples": items, "bootstrap_iters": 0, "fewshot_as_multiturn": True}
    stock = evaluate(lm, loaded, apply_chat_template=True, **how)
    spec = replace(spec, names=["arc_easy"])
    (mine,) = score(small_model, tokenizer, spec)
    expected = [sample["acc_norm"] for sample in stock["samples"]["arc_easy"]]
    assert list(mine.values) == expected
    asked = stock["samples"]["arc_easy"][0]["arguments"][0][0]
    assert asked.count("<|im_start|>user") == 2


def test_the_answers_say_what_they_are(answers):
    described = [(a.task, a.metric, a.higher_is_better, a.split) for a in answers]
    assert described == [
        ("arc_easy", "acc_norm", True, "test"),
        ("sst2", "acc", True, "validation"),
        ("wikipedia_bpb", "bits_per_byte", False, "evaluate"),
    ]
    assert set(answers[0].values) == {0.0, 1.0}  # else the comparison with stock shows little


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bits_per_byte_is_the_text_in_bits_over_its_bytes(small_model, tokenizer, dtype):
    model = small_model.to(dtype)
    found = score(model, tokenizer)[-1]
    for index, value, size in zip(found.indices, found.values, found.weights, strict=True):
        text = texts.passages("evaluate")[index]
        assert size == len(text.encode())
        assert value == pytest.approx(bits(model, tokenizer, text), rel=1e-3)


def test_a_text_longer_than_the_models_context_is_scored_in_windows(small_model, tokenizer):
    small_model.config.max_position_embeddings = 40
    found = score(small_model, tokenizer)[-1]
    text = texts.passages("evaluate")[found.indices[0]]
    ids = [tokenizer.bos_token_id, *tokenizer.encode(text)]
    assert len(ids) > 80
    total = 0.0
    for start in range(0, len(ids) - 1, 40):
        window = torch.tensor([ids[start : start + 41]])
        if window.shape[1] < 41:  # lm-eval gives the last window all the context it can hold
            window = torch.tensor([ids[-41:]])
        with torch.no_grad():
            logs = small_model(window[:, :-1]).logits[0].log_softmax(-1)
        scored = logs.gather(1, window[0, 1:, None])[-min(40, len(ids) - 1 - start) :]
        total -= scored.sum().item() / math.log(2)
    assert found.values[0] == pytest.approx(total, rel=1e-5)


def test_batches_do_not_matter(answers, small_model, tokenizer, monkeypatch):
    monkeypatch.setitem(prefix_forward.PAYS, "cpu", 1)  # every row a batch of its own
    for mine, other in zip(answers, score(small_model, tokenizer), strict=True):
        assert mine.values == pytest.approx(other.values, rel=1e-5)


def test_a_model_that_cannot_leave_logits_out_gets_the_same_answers(
    answers, small_model, tokenizer, config
):
    class Plain(LlamaForCausalLM):
        def forward(self, input_ids):
            return super().forward(input_ids)

    plain = Plain(config).eval()
    plain.load_state_dict(small_model.state_dict())
    for mine, other in zip(answers, score(plain, tokenizer), strict=True):
        assert mine.values == pytest.approx(other.values, rel=1e-5)


def test_scoring_leaves_the_model_as_it_was(small_model, tokenizer):
    """The head was replaced by a technique while its configuration still says it is tied."""
    small_model.lm_head.weight = torch.nn.Parameter(small_model.lm_head.weight * 0.5)
    before = {name: id(value) for name, value in small_model.named_parameters()}
    assert "lm_head.weight" in before
    score(small_model, tokenizer)
    assert {name: id(value) for name, value in small_model.named_parameters()} == before
    small_model.tie_weights()
    assert "lm_head.weight" not in dict(small_model.named_parameters())


def test_progress_counts_every_request_over_all_tasks(small_model, tokenizer):
    seen = []
    found = score(small_model, tokenizer, progress=lambda *counts: seen.append(counts))
    arc = load_tasks(SPEC)["arc_easy"]
    choices = [len(arc.doc_to_choice(arc.eval_docs[index])) for index in found[0].indices]
    total = sum(choices) + 2 * 4 + 4
    assert seen == [(done, total) for done in range(1, total + 1)]


def test_scoring_is_quiet(small_model, tokenizer, capfd, caplog):
    score(small_model, tokenizer)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_likelihoods_that_are_not_numbers_are_an_error_not_chance_level(small_model, tokenizer):
    with torch.no_grad():
        small_model.model.layers[0].mlp.up_proj.weight[0, 0] = math.inf
    with pytest.raises(
        FloatingPointError, match=r"arc_easy: .* not finite numbers on 4 of 4 items"
    ):
        score(small_model, tokenizer)


@pytest.mark.parametrize("kind", ["load_in_4bit", "load_in_8bit"])
def test_a_bitsandbytes_model_is_scored_where_it_is(small_model, tokenizer, tmp_path, kind):
    small_model.to(torch.bfloat16).save_pretrained(tmp_path)
    quantized = AutoModelForCausalLM.from_pretrained(
        tmp_path, quantization_config=BitsAndBytesConfig(**{kind: True}), dtype=torch.bfloat16
    )
    found = score(quantized, tokenizer)[-1]
    text = texts.passages("evaluate")[found.indices[0]]
    assert found.values[0] == pytest.approx(bits(quantized, tokenizer, text), rel=2e-2)


def test_the_embedded_model_is_far_better_than_chance(smollm2):
    spec, path = smollm2
    model, tokenizer = load(spec, path, torch.device("cpu"))
    task = TaskSpec(names=["sciq", "wikipedia_bpb"], items=3)
    sciq, text = score(model, tokenizer, task)
    assert sum(sciq.values) >= 2  # of 3; chance is 0.75
    assert sum(text.values) / sum(text.weights) < 1.5
