"""Answers in words: the texts of stock lm-eval, their tokens, times and thoughts."""

import json

import pytest
import torch
from helpers.served import load
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from greenbench.engines.transformers.served import HubTokenizer
from greenbench.engines.transformers.write import write
from greenbench.engines.writing import (
    Ask,
    Draw,
    after_thoughts,
    ended_at,
    markers,
    shortest,
    thoughts,
)
from greenbench.quality.lm_eval_quiet import quiet

PROMPTS = ["The capital of France is", "One, two, three,", "Question: What is 2 + 2?\nAnswer:"]


@pytest.fixture(scope="module")
def real(smollm2):
    spec, path = smollm2
    model, tokenizer = load(spec, path, torch.device("cpu"))
    return model.float(), tokenizer


def ask(tokenizer, text, most=12, until=(), draw=None):
    return Ask(tuple(HubTokenizer(tokenizer).prompt(text)), most, until, draw)


def stock(model, tokenizer, text, most, until):
    request = Instance(
        "generate_until", {}, (text, {"until": list(until), "max_gen_toks": most}), 0
    )
    with quiet():
        lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1)
        return lm.generate_until([request], disable_tqdm=True)[0]


@pytest.mark.parametrize("until", [(".", "\n"), (" seven",), ("\n\n",)])
def test_texts_are_those_of_stock(real, until):
    model, tokenizer = real
    for text in PROMPTS:
        ends = (*until, tokenizer.eos_token)
        (written,) = write(model, tokenizer, [ask(tokenizer, text, 12, ends)])
        assert written.text == stock(model, tokenizer, text, 12, until)


def test_tokens_are_those_up_to_the_stop_and_no_more(real):
    model, tokenizer = real
    (whole,) = write(model, tokenizer, [ask(tokenizer, PROMPTS[1], 12)])
    assert (whole.completion.tokens, whole.cut) == (12, True)
    assert len(whole.completion.stamps_s) == 12
    assert whole.completion.stamps_s == tuple(sorted(whole.completion.stamps_s))
    assert whole.completion.sent_s < whole.completion.stamps_s[0]
    (stopped,) = write(model, tokenizer, [ask(tokenizer, PROMPTS[1], 12, (" six",))])
    assert stopped.text == whole.text.partition(" six")[0]
    assert not stopped.cut
    made = tokenizer(stopped.text + " six")["input_ids"]
    assert stopped.completion.tokens == len(made) == len(stopped.completion.stamps_s)


def test_a_batch_says_what_single_questions_do_however_long_they_are(real):
    model, tokenizer = real
    asks = [ask(tokenizer, text, 10, (".", "\n")) for text in PROMPTS]
    together = write(model, tokenizer, asks)
    for one, ask_ in zip(together, asks, strict=True):
        (alone,) = write(model, tokenizer, [ask_])
        assert one.text == alone.text
        assert one.completion.tokens == alone.completion.tokens
        assert one.completion.prompt_tokens == len(ask_.tokens)
        assert one.cut == alone.cut


def test_an_answer_that_ends_by_itself_is_not_cut(real):
    model, tokenizer = real
    before = model.generation_config.eos_token_id
    (first,) = write(model, tokenizer, [ask(tokenizer, PROMPTS[0], 3)])
    end = tokenizer(first.text)["input_ids"][1]
    model.generation_config.eos_token_id = end
    try:
        (written,) = write(model, tokenizer, [ask(tokenizer, PROMPTS[0], 12)])
    finally:
        model.generation_config.eos_token_id = before
    assert (written.completion.tokens, written.cut) == (2, False)


def test_what_is_drawn_is_drawn_by_its_seed(real):
    model, tokenizer = real
    texts = [
        write(model, tokenizer, [ask(tokenizer, PROMPTS[0], 12, (), Draw(1.5, 1.0, 0, seed))])[
            0
        ].text
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_what_is_drawn_does_not_hang_on_what_else_is_in_its_batch(real):
    model, tokenizer = real
    asks = [
        ask(tokenizer, text, 8, (), Draw(1.2, 0.9, 50, seed)) for seed, text in enumerate(PROMPTS)
    ]
    together = write(model, tokenizer, asks)
    alone = [write(model, tokenizer, [each])[0] for each in asks]
    assert [each.text for each in together] == [each.text for each in alone]


def test_drafts_do_not_change_what_is_drawn(real):
    model, tokenizer = real
    drawn = ask(tokenizer, "One, two, three, one, two,", 12, (), Draw(0.3, 1.0, 0, 3))
    plain = write(model, tokenizer, [drawn])[0]

    def drafting(*args, **kwargs):
        kwargs["generation_config"].prompt_lookup_num_tokens = 4
        return model.generate(*args, **kwargs)

    assert write(model, tokenizer, [drawn], drafting)[0].text == plain.text


def test_thoughts_are_ended_by_nothing_and_what_follows_them_is(real):
    model, tokenizer = real
    before, tokenizer.chat_template = tokenizer.chat_template, "<think></think>"
    said = "<think>2.\n\nSo 4.</think>\n\nFour.\n\nAnd more"
    try:
        (written,) = write(
            model, tokenizer, [ask(tokenizer, "2 + 2?", 40, ("\n\n",))], says(tokenizer, said)
        )
    finally:
        tokenizer.chat_template = before
    assert written.text == "<think>2.\n\nSo 4.</think>\n\nFour."
    assert not written.cut
    thought = tokenizer("<think>2.\n\nSo 4.</think>", add_special_tokens=False)["input_ids"]
    assert written.thought_tokens == len(thought)
    assert written.completion.tokens < len(tokenizer(said)["input_ids"])


def says(tokenizer, text):
    """A loop that says `text` whatever is asked, up to where it is ended."""

    def loop(prompt, *, stopping_criteria, streamer, **_):
        streamer.put(prompt)
        for token in tokenizer(text, add_special_tokens=False)["input_ids"]:
            prompt = torch.cat([prompt, torch.tensor([[token]])], dim=1)
            streamer.put(prompt[:, -1])
            if stopping_criteria(prompt, None).all():
                break
        return prompt

    return loop


def test_what_generates_otherwise_answers_too(real):
    model, tokenizer = real
    calls = []

    def loop(*args, **kwargs):
        calls.append(kwargs)
        return model.generate(*args, **kwargs)

    (written,) = write(model, tokenizer, [ask(tokenizer, PROMPTS[0], 5)], loop)
    assert written.completion.tokens == 5
    assert calls


class TestTokenizer:
    def test_a_prompt_is_as_lm_eval_makes_it(self, real):
        model, tokenizer = real
        lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1)
        for text in (*PROMPTS, tokenizer.bos_token + "begun"):
            assert HubTokenizer(tokenizer).prompt(text) == lm.tok_encode(text)

    def test_turns_are_rendered_as_lm_eval_does(self, real):
        model, tokenizer = real
        lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1)
        ours = HubTokenizer(tokenizer)
        assert ours.template
        turns = [{"role": "user", "content": "Hello?"}]
        assert ours.chat(turns) == lm.apply_chat_template(turns)
        turns = [*turns, {"role": "assistant", "content": "The answer"}]
        assert ours.chat(turns, opened=False) == lm.apply_chat_template(
            turns, add_generation_prompt=False
        )

    def test_a_template_that_knows_no_system_is_given_the_others(self, real):
        _, tokenizer = real
        ours = HubTokenizer(tokenizer)
        before = tokenizer.chat_template
        tokenizer.chat_template = (
            "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
            "{{ messages[0].content }}"
        )
        try:
            turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
            assert ours.chat(turns) == "u"
        finally:
            tokenizer.chat_template = before


class TestThoughts:
    MARKS = ("<think>", "</think>")

    def test_markers_are_those_of_the_template(self):
        assert markers(None) is None
        assert markers("{{ messages }}") is None
        assert markers(json.dumps("... <think> ... </think>")) == self.MARKS
        assert markers("[THINK] [/THINK]")[1] == "[/THINK]"

    def pieces(self, *words):
        return lambda tokens: "".join(words[:tokens])

    def test_thoughts_are_the_tokens_up_to_their_end(self):
        words = ("<think>", " well", "</th", "ink>", " four", ".")
        assert thoughts("2 + 2?", self.pieces(*words), 6, self.MARKS) == 4
        assert thoughts("2 + 2?", self.pieces(*words), 6, None) == 0

    def test_a_prompt_may_have_begun_them_and_an_answer_not_ended_them(self):
        words = ("well", " hm", " er")
        assert thoughts("2 + 2?<think>\n", self.pieces(*words), 3, self.MARKS) == 3
        assert thoughts("2 + 2?<think>\n\n</think>\n", self.pieces(*words), 3, self.MARKS) == 0
        assert thoughts("2 + 2?", self.pieces("<think>", *words), 4, self.MARKS) == 4
        assert thoughts("2 + 2?", self.pieces(*words), 3, self.MARKS) == 0

    def test_what_is_graded_comes_after_them(self):
        assert after_thoughts("<think>2</think>\n\n4", "</think>") == "4"
        assert after_thoughts("<think>2", "</think>") == ""


def test_the_first_stop_ends_a_text():
    assert ended_at("one two three", ["three", " two", ""]) == "one"
    assert ended_at("one", []) == "one"


def test_the_fewest_tokens_are_found_by_halving():
    for wanted in range(9):
        assert shortest(8, lambda many, wanted=wanted: many >= wanted) == min(wanted, 8)
