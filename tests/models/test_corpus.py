"""Texts to train on: of a data set some documents are held out, and what cannot be read is one sentence."""

import json
from dataclasses import replace

import pytest
from datasets import Dataset

from greenbench.errors import UserError
from greenbench.models import corpus, texts
from greenbench.schema.training.spec import TrainingSpec

SPEC = TrainingSpec(tokens=100, sequence=32, batch_size=2, seeds=1, longer=1.0, passages=3)
BODIES = [
    f"Text number {place} of a data set, {'long ' * (place % 7)}and of its own."
    for place in range(40)
]


def jsonl(path, rows):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.fixture
def of(tmp_path):
    """Call with rows and changes: the spec of a training on a file that has them."""

    def make(rows, **changes):
        path = jsonl(tmp_path / "mine.jsonl", rows)
        return replace(SPEC, dataset=str(path), **changes)

    return make


def test_documents_are_held_out_and_none_is_in_two_parts(of):
    rows = [{"text": body} for body in [*BODIES, *BODIES[:5], " ", None]]
    train, held_out, to_tune = corpus.read(of(rows, tokens=10_000))
    assert (len(held_out), len(to_tune)) == (3, 3)
    assert sorted([*train, *held_out, *to_tune]) == sorted(BODIES)
    assert list(train) == [body for body in BODIES if body in train]  # in its own order
    assert corpus.read(of(rows, tokens=10_000)) == (train, held_out, to_tune)


def test_a_text_that_holds_one_that_is_held_out_is_not_trained_on(of):
    _, held_out, to_tune = corpus.read(of([{"text": body} for body in BODIES], tokens=10_000))
    longer = [f"Before it. {body} After it." for body in (*held_out, *to_tune)]
    train, held_again, _ = corpus.read(
        of([{"text": body} for body in [*BODIES, *longer]], tokens=10_000)
    )
    assert not [text for text in train if any(each in text for each in held_again)]


def test_no_more_is_read_than_the_trainings_need(of):
    """Of each text a sequence at most, four characters a token, and twice as many to be safe.

    What is held out comes on top."""
    rows = [{"text": f"{place:06} " * 40} for place in range(1000)]
    train, held_out, to_tune = corpus.read(of(rows))
    assert len(held_out) + len(to_tune) == 6
    assert len(train) == 7  # 7 x 128 characters: 2 x 100 tokens of 4


@pytest.mark.parametrize("words", [5, 40, 400])
def test_what_is_left_to_train_on_has_the_tokens_that_are_asked_for(of, words):
    """In texts short and long, with more held out than is trained on; of four characters a token."""
    rows = [{"text": f"{place:06} " * words} for place in range(2000)]
    spec = of(rows, tokens=1000, longer=1.5, passages=64)
    train, held_out, to_tune = corpus.read(spec)
    tokens = sum(min(len(text) // texts.CHARACTERS, spec.sequence) for text in train)
    assert tokens >= spec.tokens * spec.longer
    assert len(held_out) + len(to_tune) + len(train) < len(rows)


@pytest.mark.parametrize("form", ["folder", "disk", "txt", "csv"])
def test_folders_and_other_formats_are_read_too(tmp_path, form):
    place = tmp_path / "data"
    if form == "disk":
        Dataset.from_dict({"text": BODIES}).save_to_disk(str(place))
    else:
        place.mkdir()
    if form == "folder":
        jsonl(place / "train.jsonl", [{"text": body} for body in BODIES])
        jsonl(place / "test.jsonl", [{"text": "of another split"}])
    elif form == "txt":
        place /= "lines.txt"
        place.write_text("\n".join(BODIES))
    elif form == "csv":
        place /= "rows.csv"
        place.write_text("\n".join(["id,text", *(f'1,"{body}"' for body in BODIES)]))
    spec = replace(SPEC, dataset=str(place), tokens=10_000)
    assert sorted(text for part in corpus.read(spec) for text in part) == sorted(BODIES)
    assert corpus.exact(spec) == spec
    corpus.check(spec)


def test_the_text_wheel_is_what_there_is_without_a_data_set():
    train, held_out, to_tune = corpus.read(SPEC)
    assert train == texts.passages("calibrate")
    assert held_out == texts.passages("evaluate")[:3]
    assert to_tune == texts.passages("prompt")[:3]


def test_a_column_that_is_not_there_is_one_sentence_with_those_that_are(of):
    said = r"no column of text called text; its columns of text are title, body: "
    with pytest.raises(UserError, match=said):
        corpus.read(of([{"title": "a", "body": "b", "n": 1}] * 9))
    with pytest.raises(
        UserError, match=r"columns of text are none: name one with training\.text_field"
    ):
        corpus.read(of([{"text": ["a", "b"]}] * 9))


def test_too_few_texts_are_one_sentence(of):
    said = r"has 6 different texts, and training\.passages=3 of them are held out"
    with pytest.raises(UserError, match=said):
        corpus.read(of([{"text": body} for body in BODIES[:6]]))


def test_several_splits_of_which_none_is_to_train_on_are_one_sentence(tmp_path):
    for name in ("test", "validation"):
        jsonl(tmp_path / f"{name}.jsonl", [{"text": body} for body in BODIES])
    with pytest.raises(
        UserError, match=r"no split called train but (test, validation|validation, test): "
    ):
        corpus.read(replace(SPEC, dataset=str(tmp_path)))


def test_what_is_neither_here_nor_can_be_on_a_hub_is_refused_before_anything_runs(of, tmp_path):
    with pytest.raises(
        UserError, match="neither a file or folder here nor a name that a data set can have"
    ):
        corpus.check(replace(SPEC, dataset=str(tmp_path / "nothing.jsonl")))
    with pytest.raises(
        UserError, match=r"training\.revision=main is of a hub, and .* is a local file"
    ):
        corpus.check(of([{"text": "x"}], revision="main"))
    corpus.check(replace(SPEC, dataset="org/data:config"))
    corpus.check(SPEC)


def test_a_hub_that_cannot_be_reached_and_a_file_that_is_broken_are_one_sentence(tmp_path):
    with pytest.raises(UserError) as error:
        corpus.exact(replace(SPEC, dataset="nobody/nothing:config", revision="main"))
    said = "training.dataset=nobody/nothing:config, revision main can neither be read here nor on the hub ("
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{")
    with pytest.raises(
        UserError, match=r"broken\.jsonl can neither be read here nor on the hub \("
    ):
        corpus.read(replace(SPEC, dataset=str(broken)))


@pytest.mark.parametrize("changes", [{"revision": "main"}, {"text_field": "body"}])
def test_what_is_said_of_a_data_set_without_one_is_one_sentence(changes):
    with pytest.raises(UserError, match=r"say nothing of the text wheel: add training\.dataset"):
        TrainingSpec(tokens=100, **changes)
