"""The baseline's answers are computed once, found again by content, and never half written."""

import multiprocessing
import os
import signal
from dataclasses import replace
from importlib import metadata

import pytest
import torch

from greenbench.engines.query import Seen
from greenbench.quality import baseline_cache, score
from greenbench.quality.answers import Answers, Choice, TaskAnswers
from greenbench.schema.spec import TaskSpec

TASK = TaskAnswers(
    task="sciq", metric="acc", higher_is_better=True, split="validation", indices=(3, 7),
    values=(1.0, 0.0), weights=(1.0, 1.0), documents=("3", "ab"),
    choices=((Choice(-1.5, 1.0), Choice(-2.25, 1.0)), (Choice(-3.0, 1.0), Choice(-1.0, 1.0))),
)  # fmt: skip
SEEN = Seen([("text", 0, 0, 5), ("text", 1, 0, 9)], torch.randn(2, 11).to(torch.bfloat16))
ANSWERS = Answers([TASK], SEEN, [])


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path))
    return baseline_cache.entry({"model": "a"})


def test_what_is_kept_comes_back_as_it_was(file):
    assert baseline_cache.read(file) is None
    with baseline_cache.claimed(file):
        baseline_cache.write(file, ANSWERS)
    found = baseline_cache.read(file)
    assert found.answers.tasks == [TASK]
    assert found.answers.seen.places == SEEN.places
    assert torch.equal(found.answers.seen.logits, SEEN.logits)
    assert found.scored_at.endswith("+00:00")


def test_without_texts_nothing_was_seen(file):
    with baseline_cache.claimed(file):
        baseline_cache.write(file, ANSWERS._replace(seen=None))
    assert baseline_cache.read(file).answers.seen is None


def test_an_entry_is_named_by_all_that_the_answers_depend_on(file):
    assert baseline_cache.entry({"model": "a"}) == file
    assert baseline_cache.entry({"model": "b"}) != file
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    assert baseline_cache.entry({"model": "a"}) != file
    torch.set_num_threads(threads)


@pytest.mark.parametrize("package", ["torch", "transformers", "tokenizers", "lm-eval", "Jinja2"])
def test_what_computes_answers_is_part_of_an_entrys_name(file, monkeypatch, package):
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0" if name == package else version(name))
    assert baseline_cache.entry({"model": "a"}) != file


def test_content_is_every_request():
    spec = TaskSpec(names=["sst2", "wikipedia_bpb"], items=3)
    assert score.content(spec) == score.content(spec)
    others = [replace(spec, items=4), replace(spec, seed=1), replace(spec, names=["sst2"])]
    shots = replace(spec, names=["boolq"]), replace(spec, names=["boolq"], fewshot=1)
    assert len({score.content(each) for each in (spec, *others, *shots)}) == 6


def test_content_is_what_is_compared_too():
    spec = TaskSpec(names=["sciq"], items=3)
    assert score.content(replace(spec, metric="acc_norm")) != score.content(spec)
    assert score.content(replace(spec, metric="acc")) == score.content(spec)  # its main one


@pytest.mark.parametrize("harm", [b"", b"half a zip", None])
def test_a_damaged_entry_is_made_anew(file, harm):
    with baseline_cache.claimed(file):
        baseline_cache.write(file, ANSWERS)
    file.write_bytes(file.read_bytes()[:-40] if harm is None else harm)
    assert baseline_cache.read(file) is None


def _die_while_writing(cache, started):
    os.environ["GREENBENCH_CACHE"] = cache
    file = baseline_cache.entry({"model": "a"})
    save = torch.save

    def half(told, path):
        save(told, path)
        os.truncate(path, path.stat().st_size // 2)
        started.set()
        os.kill(os.getpid(), signal.SIGKILL)

    torch.save = half
    with baseline_cache.claimed(file):
        baseline_cache.write(file, ANSWERS)


def test_a_process_killed_while_it_writes_leaves_nothing_and_no_one_waiting(file, tmp_path):
    spawn = multiprocessing.get_context("spawn")
    started = spawn.Event()
    child = spawn.Process(target=_die_while_writing, args=(str(tmp_path), started))
    child.start()
    assert started.wait(60)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    with baseline_cache.claimed(file):
        assert baseline_cache.read(file) is None
        baseline_cache.write(file, ANSWERS)
    assert baseline_cache.read(file).answers.tasks == [TASK]


def _compute_once(cache, counter, barrier):
    os.environ["GREENBENCH_CACHE"] = cache
    file = baseline_cache.entry({"model": "a"})
    barrier.wait()
    with baseline_cache.claimed(file):
        if baseline_cache.read(file) is None:
            with counter.get_lock():
                counter.value += 1
            baseline_cache.write(file, ANSWERS)


def test_two_processes_compute_an_entry_once(file, tmp_path):
    spawn = multiprocessing.get_context("spawn")
    counter, barrier = spawn.Value("i", 0), spawn.Barrier(2)
    children = [
        spawn.Process(target=_compute_once, args=(str(tmp_path), counter, barrier)) for _ in "ab"
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert counter.value == 1
