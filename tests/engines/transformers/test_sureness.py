"""How sure a model is of its own tokens, held against a pass over the whole text."""

import pytest
import torch
from helpers.served import load

from greenbench.engines.engine import Request
from greenbench.engines.transformers.generate import complete
from greenbench.engines.transformers.write import write
from greenbench.engines.writing import Ask, Draw

TEXTS = ["The capital of France is", "One, two, three, one, two,", "In the year"]


@pytest.fixture(scope="module")
def real(smollm2):
    spec, path = smollm2
    model, tokenizer = load(spec, path, torch.device("cpu"))
    return model.float(), tokenizer


def expected(model, prompt, answer):
    """The geometric mean of the probabilities of `answer` (tokens) after `prompt`."""
    ids = torch.tensor([[*prompt, *answer]])
    with torch.inference_mode():
        nats = model(ids).logits[0].log_softmax(dim=-1)
    places = range(len(prompt) - 1, ids.shape[1] - 1)
    return float(torch.stack([nats[p, ids[0, p + 1]] for p in places]).mean().exp())


def ask(tokenizer, text, most=6, until=(), draw=None):
    return Ask(tuple(tokenizer(text)["input_ids"]), most, until, draw, sure=True)


def test_each_row_of_a_batch_is_as_sure_as_it_says(real):
    model, tokenizer = real
    asks = [ask(tokenizer, text, most) for text, most in zip(TEXTS, (6, 6, 3), strict=True)]
    for one, each in zip(asks, write(model, tokenizer, asks), strict=True):
        made = tokenizer(each.text, add_special_tokens=False)["input_ids"]
        assert each.completion.confidence == pytest.approx(
            expected(model, one.tokens, made), rel=1e-3
        )


def test_what_comes_after_its_end_counts_not(real):
    model, tokenizer = real
    asks = [ask(tokenizer, TEXTS[1], 12, (" six",)), ask(tokenizer, TEXTS[0], 12)]
    (stopped, _), (alone,) = write(model, tokenizer, asks), write(model, tokenizer, asks[:1])
    assert stopped.completion.tokens < 12
    assert stopped.completion.confidence == pytest.approx(alone.completion.confidence, rel=1e-3)


def test_drafts_and_draws_are_told_as_the_model_has_them(real):
    model, tokenizer = real

    def drafting(*args, **kwargs):
        kwargs["generation_config"].prompt_lookup_num_tokens = 4
        return model.generate(*args, **kwargs)

    for draw in (None, Draw(2.0, 1.0, 0, 3)):
        one = ask(tokenizer, TEXTS[1], 8, (), draw)
        (plain,), (drafted,) = (write(model, tokenizer, [one], loop) for loop in (None, drafting))
        made = tokenizer(plain.text, add_special_tokens=False)["input_ids"]
        wanted = expected(model, one.tokens, made)
        assert plain.text == drafted.text
        for each in (plain, drafted):
            assert each.completion.confidence == pytest.approx(wanted, rel=1e-3)


def test_requests_of_a_fixed_length_tell_it_where_they_are_asked_to(real):
    model, tokenizer = real
    request = Request(tuple(tokenizer(TEXTS[0])["input_ids"]), 5)
    (silent,) = complete(model, [request])
    assert silent.confidence is None
    (told,) = complete(model, [request._replace(sure=True)])
    (written,) = write(model, tokenizer, [ask(tokenizer, TEXTS[0], 5)])
    # The end of a text is out of the question there, which makes all else a little likelier.
    assert told.confidence == pytest.approx(written.completion.confidence, rel=0.03)
    assert told.confidence > written.completion.confidence


def test_nobody_asks_nobody_is_told(real):
    model, tokenizer = real
    (written,) = write(model, tokenizer, [ask(tokenizer, TEXTS[0])._replace(sure=False)])
    assert written.completion.confidence is None
