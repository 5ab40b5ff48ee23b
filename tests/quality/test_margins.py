"""The baseline's margins against a hand computation, and prompts against those that are scored."""

import pytest
import torch
from helpers.served import module, serve
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM

from greenbench.engines.transformers.served import HubTokenizer
from greenbench.quality import score
from greenbench.quality.compare import compare
from greenbench.quality.prompts import prompts
from greenbench.quality.tasks import load_tasks, pick_items
from greenbench.schema.spec import TaskSpec


def likelihood(model, tokenizer, context, answer):
    """Nats of `answer` after `context`, one sequence at a time."""
    whole = tokenizer.encode(context + answer)
    start = len(tokenizer.encode(context))
    with torch.no_grad():
        logs = model(torch.tensor([whole])).logits[0, :-1].log_softmax(-1)
    return logs.gather(1, torch.tensor(whole)[1:, None])[start - 1 :].sum().item()


@pytest.fixture(scope="module")
def compared(make_model, tokenizer):
    spec = TaskSpec(names=["arc_easy", "sst2", "wikipedia_bpb"], items=4)
    found = score.answers(serve(module(make_model()), tokenizer), spec, lambda *_: None)
    return spec, compare(found, found)


@pytest.mark.parametrize(("place", "per_character"), [(0, True), (1, False)])
def test_a_margin_is_the_best_choice_less_the_second_best(
    compared, small_model, tokenizer, place, per_character
):
    spec, scores = compared
    task = load_tasks(spec)[scores[place].task]
    assert len({item.margin for item in scores[place].items}) > 1
    for item in scores[place].items:
        doc = task.eval_docs[item.index]
        choices = task.doc_to_choice(doc)
        values = sorted(
            likelihood(small_model, tokenizer, task.doc_to_text(doc), f" {choice}")
            / (len(choice) if per_character else 1)
            for choice in choices
        )
        assert item.margin == pytest.approx(values[-1] - values[-2], rel=1e-3, abs=1e-4)


def test_text_has_no_margin(compared):
    assert {item.margin for item in compared[1][2].items} == {None}


@pytest.mark.parametrize(
    ("names", "fewshot"), [(["boolq", "mmlu"], 2), (["sciq", "winogrande", "lambada_openai"], 0)]
)
def test_prompts_are_those_that_lm_eval_scores(small_model, tokenizer, names, fewshot):
    spec = TaskSpec(names=names, items=3, fewshot=fewshot)
    tasks = load_tasks(spec)
    items = {name: pick_items(name, len(task.eval_docs), spec) for name, task in tasks.items()}
    lm = HFLM(pretrained=small_model, tokenizer=tokenizer, batch_size=1)
    samples = evaluate(lm, {"tasks": tasks}, samples=items, bootstrap_iters=0)["samples"]
    expected = {
        (name, sample["doc_id"]): lm._encode_pair(*sample["arguments"][0])[0]
        for name in names
        if name != "lambada_openai"  # it has no choices
        for sample in samples[name]
    }
    assert prompts(HubTokenizer(tokenizer), spec) == expected
