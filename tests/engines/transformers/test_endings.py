"""Where an answer ends: as soon as one of its strings is there, and not amid its thoughts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from greenbench.engines.transformers.endings import Endings
from greenbench.engines.writing import Ask

MARKS = ("<think>", "</think>")
PROMPT = [1, 2, 3]


def ends_at(tokenizer, text, until, marker=None, prompt=PROMPT, steps=None):
    """After how many tokens of `text` it ends; null: it does not."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    looks = Endings(tokenizer, [Ask(tuple(prompt), 99, until)], len(prompt), marker)
    for many in steps or range(1, len(ids) + 1):
        if looks(torch.tensor([[*prompt, *ids[:many]]]), None).tolist() == [True]:
            return many
    return None


def fewest(tokenizer, text, has):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return next(
        (n for n in range(1, len(ids) + 1) if has(tokenizer.decode(ids[:n]))),
        None,
    )


@settings(max_examples=80, deadline=None)
@given(
    text=st.text(st.sampled_from("ab .\n:é日🙂"), min_size=1, max_size=40),
    until=st.lists(st.text(st.sampled_from("ab .\né🙂"), min_size=1, max_size=4), max_size=3),
)
def test_it_ends_with_the_first_token_that_completes_a_string(tokenizer, text, until):
    wanted = fewest(tokenizer, text, lambda said: any(stop in said for stop in until))
    assert ends_at(tokenizer, text, tuple(until)) == wanted


def test_tokens_that_come_together_are_looked_at_together(tokenizer):
    text = "one two three. four five six seven eight nine ten"
    assert ends_at(tokenizer, text, (".",), steps=[9]) == 9
    assert ends_at(tokenizer, text, ("!",), steps=[2, 9]) is None


def test_what_stands_in_the_prompt_ends_nothing(tokenizer):
    prompt = tokenizer("a. b.")["input_ids"]
    assert ends_at(tokenizer, "c d", (".",), prompt=prompt) is None


def test_rows_end_apart(tokenizer):
    ids = tokenizer(["a b.", "a b c"], add_special_tokens=False)["input_ids"]
    asks = [Ask((1,), 9, (".",)), Ask((1,), 9, ("c",))]
    looks = Endings(tokenizer, asks, 0, None)
    rows = torch.tensor([each[:3] for each in ids])
    found = [looks(rows[:, :many], None).tolist() for many in (1, 2, 3)]
    assert found == [[False, False], [False, False], [True, True]]
    assert Endings(tokenizer, asks[::-1], 0, None)(rows, None).tolist() == [False, False]


@pytest.mark.parametrize("opened", [False, True], ids=["by_itself", "by_the_prompt"])
def test_nothing_ends_a_thought_nor_the_blanks_after_it(tokenizer, opened):
    thought = "so.\n\nIt is 4.\n\n</think>"
    prompt = tokenizer("2 + 2?" + ("<think>" if opened else ""))["input_ids"]
    begun = thought if opened else f"<think>{thought}"
    text = f"{begun}\n\nFour.\n\nAnd more"
    wanted = fewest(tokenizer, text, lambda said: "Four.\n\n" in said)
    assert ends_at(tokenizer, text, ("\n\n",), MARKS, prompt) == wanted
    whole = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    assert ends_at(tokenizer, text, ("\n\n",), MARKS, prompt, steps=[whole]) == whole
    assert ends_at(tokenizer, begun, ("\n\n", "."), MARKS, prompt) is None


def test_who_does_not_think_ends_as_others_do(tokenizer):
    closed = tokenizer("2 + 2?<think>\n\n</think>\n\n")["input_ids"]
    for prompt in (PROMPT, closed):
        assert ends_at(tokenizer, "Four.\n\nAnd", ("\n\n",), MARKS, prompt) is not None
