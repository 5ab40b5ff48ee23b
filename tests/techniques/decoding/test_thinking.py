"""Thoughts switched off by the template, or ended at their budget; both count what they cost."""

import pytest
from helpers.techniques import CPU

from greenbench.campaign.compose import plan
from greenbench.engines.engine import Completion
from greenbench.engines.tokenizer import Manner
from greenbench.engines.transformers import load
from greenbench.engines.transformers.served import HubTokenizer
from greenbench.engines.writing import Ask, Written, bounded
from greenbench.errors import Unsupported, UserError
from greenbench.run.preflight import suited
from greenbench.techniques.decoding.thinking import Thinking

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
)
MARKS = ("<think>", "</think>")


def test_the_template_is_told(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", TEMPLATE)
    turns = [{"role": "user", "content": "2 + 2?"}]
    plain = HubTokenizer(tokenizer)
    off = HubTokenizer(tokenizer, Thinking().manner(plain.template))
    assert plain.chat(turns) == "<user>2 + 2?<assistant>"
    assert off.chat(turns) == "<user>2 + 2?<assistant><think></think>"
    assert off.most_thoughts is None
    assert Thinking(budget=7).manner(TEMPLATE) == Manner(most_thoughts=7)


def test_a_model_that_does_not_think_or_cannot_be_told_is_one_sentence():
    with pytest.raises(Unsupported, match="knows no thoughts: choose such a model"):
        Thinking().manner("{{ messages }}")
    with pytest.raises(Unsupported, match="knows no thoughts"):
        Thinking(budget=4).manner(None)
    with pytest.raises(Unsupported, match=r"no enable_thinking: say technique\.thinking\.budget=1"):
        Thinking().manner("<think></think>")
    with pytest.raises(UserError, match="1 or more, or null"):
        Thinking(budget=0)


def test_labels():
    assert Thinking().label() == "thinking(off)"
    assert Thinking(budget=64).label() == "thinking(budget=64)"


class Model:
    """Thinks for so many words, then answers; a token is a word."""

    def __init__(self, thought=6):
        self.words = ["<think>", *["hm"] * (thought - 2), "</think>", "four", "."]
        self.asked = []

    def write(self, asks):
        self.asked.append(asks)
        return [self._one(ask) for ask in asks]

    def _one(self, ask):
        thought = "</think>" not in ask.until and ask.tokens[-1] == 99
        words = ["four", "."] if thought else self.words
        made = words[: ask.most_tokens]
        text = " ".join(made)
        for stop in ask.until:
            text = text.partition(stop)[0]
        stopped = len(text) < len(" ".join(made))
        tokens = len(text.split()) + stopped
        thinks = 0 if thought else tokens
        stamps = tuple(float(n) for n in range(tokens))
        return Written(text, Completion(tokens, len(ask.tokens), 0.0, stamps, float(tokens)),
                       cut=not stopped and len(made) < len(words), thought_tokens=thinks)  # fmt: skip


def encode(text):
    return [len(word) for word in text.split()] + [99]


def test_a_thought_is_ended_at_its_budget_and_both_steps_count():
    model = Model(thought=20)
    (found,) = bounded(model.write, [Ask((1, 2), 50, (), None, 5)], encode, MARKS)
    assert found.text == "<think> hm hm hm hm</think>\n\nfour ."
    assert found.thought_tokens == 5
    assert found.completion.tokens == 5 + 2
    assert not found.cut
    first, second = model.asked
    assert (first[0].most_tokens, first[0].until) == (5, ("</think>",))
    assert second[0].tokens[:2] == (1, 2)
    assert len(second[0].tokens) > len(first[0].tokens)
    assert second[0].most_tokens == 45


def test_a_thought_that_ends_before_its_budget_is_left_as_it_is():
    model = Model(thought=4)
    (found,) = bounded(model.write, [Ask((1, 2), 50, (), None, 30)], encode, MARKS)
    assert found.text.endswith("</think>\n\nfour .")
    assert found.completion.tokens == 4 + 2


def test_without_a_budget_nothing_is_changed():
    model = Model()
    asks = [Ask((1, 2), 50)]
    bounded(model.write, asks, encode, MARKS)
    assert model.asked == [asks]


@pytest.mark.slow
def test_where_no_question_is_answered_in_words_it_would_show_nothing(monkeypatch):
    words = ["technique=thinking", "model=smollm2-135m"]
    monkeypatch.setattr(load, "template", lambda spec, directory: TEMPLATE)
    silent = plan([*words, "task=smoke"], multirun=False)[0].spec
    with pytest.raises(UserError, match="none of the tasks has such: say task=answers"):
        suited(silent, CPU)
    asked = plan([*words, "task=answers"], multirun=False)[0].spec
    assert set(suited(asked, CPU)) == {"baseline", "candidate"}
