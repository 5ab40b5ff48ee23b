"""Two models' answers compared: change by item, and fidelity whatever is right, from the same passes."""

import math
from dataclasses import replace

import pytest
import torch
from helpers.served import module, serve

from greenbench.engines.transformers import fidelity
from greenbench.engines.transformers.fidelity import compared
from greenbench.models import texts
from greenbench.quality import score as scorer
from greenbench.quality.answers import Choice
from greenbench.quality.compare import compare
from greenbench.schema.spec import TaskSpec

SPEC = TaskSpec(names=["arc_easy", "sst2", "wikipedia_bpb"], items=4)


def score(model, tokenizer, spec=SPEC, reference=None):
    return scorer.answers(serve(module(model), tokenizer), spec, lambda *_: None, reference)


@pytest.fixture(scope="module")
def answers(make_model, tokenizer):
    return score(make_model(), tokenizer)


def test_a_pruned_model_is_compared_item_by_item(answers, small_model, tokenizer):
    del small_model.model.layers[1]
    small_model.config.num_hidden_layers = 1
    pruned = score(small_model, tokenizer)
    arc, _, text = compare(answers, pruned)
    assert (arc.baseline.unit, text.change.unit) == ("fraction", "bit/byte")
    assert [item.candidate for item in text.items] == list(pruned.tasks[2].values)
    assert text.change.value == pytest.approx(text.candidate.value - text.baseline.value)
    assert text.change.low < text.change.value < text.change.high
    assert text.change.high - text.change.low < text.baseline.high - text.baseline.low
    assert arc.change.value == pytest.approx(arc.candidate.value - arc.baseline.value)
    assert {q.provenance for q in (arc.baseline, arc.candidate, arc.change)} == {"measured:score"}
    assert arc.change.n == len(arc.items) == 4


def test_the_same_model_twice_shows_no_change_and_claims_no_certainty(answers):
    for task in compare(answers, answers):
        assert task.change.value == 0
        if task.metric == "bits_per_byte":
            assert task.change.low is None
            assert "same value" in task.change.reason
        else:
            assert task.change.low < 0 < task.change.high


def test_answers_to_other_items_are_not_compared(answers, small_model, tokenizer):
    other = score(small_model, tokenizer, TaskSpec(names=SPEC.names, items=4, seed=1))
    with pytest.raises(ValueError, match="not asked the same items"):
        compare(answers, other)


def disturbed(model, size=0.1):
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(size * weight.std() * torch.randn_like(weight))
    return model


def logits(model, tokenizer, text):
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(text)]])
    with torch.no_grad():
        return model(ids).logits[0, :-1]


def test_divergence_is_kullback_and_leiblers():
    """A fair coin against one that falls three times in four: KL is ln(2) - ln(3)/2 nats."""
    fair, bent = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.75, 0.25]]).log()
    ((apart, same),) = compared(fair, bent).tolist()
    assert apart == pytest.approx(math.log(2) - math.log(3) / 2)
    assert same == 1.0
    assert compared(bent, bent.flip(1))[0, 1] == 0.0


def test_on_text_every_token_is_compared_where_there_is_room(
    answers, make_model, tokenizer, small_model
):
    other = disturbed(small_model)
    text = compare(answers, score(other, tokenizer, reference=answers.seen))[2]
    pairs = [
        (logits(make_model(), tokenizer, passage), logits(other, tokenizer, passage))
        for passage in (texts.passages("evaluate")[item.index] for item in text.items)
    ]
    assert sum(len(ours) for ours, _ in pairs) <= fidelity.POSITIONS
    found = torch.cat([compared(ours, theirs) for ours, theirs in pairs])
    assert text.fidelity.divergence.value == pytest.approx(float(found[:, 0].mean()), rel=1e-4)
    assert text.fidelity.agreement.value == pytest.approx(float(found[:, 1].mean()))
    assert text.fidelity.divergence.n == 4
    assert 0 < text.fidelity.divergence.low < text.fidelity.divergence.high


def test_with_less_room_some_places_of_every_text_stand_for_all(
    make_model, tokenizer, small_model, monkeypatch
):
    monkeypatch.setattr(fidelity, "POSITIONS", 60)
    before = score(make_model(), tokenizer)
    assert 30 <= len(before.seen.places) <= 60
    assert {place[:2] for place in before.seen.places} == {("wikipedia_bpb", i) for i in range(4)}
    after = score(disturbed(small_model), tokenizer, reference=before.seen)
    assert sum(text.positions for text in after.nearness) == len(before.seen.places)


def test_the_same_model_twice_is_exactly_itself(answers, small_model, tokenizer):
    again = score(small_model, tokenizer, reference=answers.seen)
    for task in compare(answers, again):
        assert task.fidelity.divergence.value == 0
        assert task.fidelity.agreement.value == 1
    assert again.seen is None


def test_on_questions_the_choices_are_compared(answers, small_model, tokenizer):
    after = score(disturbed(small_model, 1.0), tokenizer)
    arc = compare(answers, after)[0]
    apart, same = [], []
    for before, now in zip(answers.tasks[0].choices, after.tasks[0].choices, strict=True):
        p, q = (
            torch.tensor([choice.log_likelihood for choice in choices]).softmax(0)
            for choices in (before, now)
        )
        apart.append(float((p * (p / q).log()).sum()))
        scores = [[c.log_likelihood / c.length for c in choices] for choices in (before, now)]
        same.append(scores[0].index(max(scores[0])) == scores[1].index(max(scores[1])))
    assert arc.fidelity.divergence.value == pytest.approx(sum(apart) / 4, rel=1e-4)
    assert arc.fidelity.agreement.value == pytest.approx(sum(same) / 4)


def test_a_choice_is_scored_as_the_tasks_metric_does():
    assert Choice(-6.0, 3.0).score == -2.0


def test_items_of_one_passage_say_so(answers, small_model, tokenizer):
    before, *_ = answers.tasks
    twins = ["a", "a", "b", "c"]
    ours = answers._replace(tasks=[replace(before, documents=tuple(twins))])
    (found,) = compare(ours, ours)
    assert [item.document for item in found.items] == twins
    (plain,) = compare(answers._replace(tasks=[before]), answers._replace(tasks=[before]))
    assert [item.document is None for item in plain.items] == [
        document == str(index)
        for document, index in zip(before.documents, before.indices, strict=True)
    ]
