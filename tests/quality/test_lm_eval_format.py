"""A task file in lm-eval's format gives the same items, prompts, examples and answers as stock lm-eval.

The files lie in lm_eval_tasks/, each using other features of the format; they read data that is made here.
"""

import json
import math
import random
import shutil
from dataclasses import replace
from pathlib import Path

import datasets
import lm_eval
import pytest
from helpers.hash_lm import HashLM, Serving
from lm_eval.tasks import TaskManager

from greenbench.errors import UserError
from greenbench.quality import tasks
from greenbench.quality.prompts import prompts
from greenbench.quality.score import answers, content
from greenbench.schema.spec import TaskSpec

FILES = Path(__file__).parent / "lm_eval_tasks"
NAMES = sorted(path.stem for path in FILES.glob("*.yaml"))
TOPICS = ("ice", "fire", "snow", "salt", "sand")


def row(split, number):
    topic = TOPICS[number % len(TOPICS)]
    options = [f"{topic} {word}" for word in ("melts", "größer", "stays as it was")][
        : 2 + number % 2
    ]
    return {
        "number": number,
        "topic": topic,
        "question": f"What does {topic} do in case {number} of {split}?",
        "options": options,
        "answer": number % len(options),
        "right": [number % 3, (number + 1) % 3],
        "text": f"In case {number} the {topic} of {split} is über all {topic}",
    }


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Where the files are, and where a program that uses them is started."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(lm_eval.evaluator, "add_env_info", lambda results: None)  # takes a second
    shutil.copytree(FILES, tmp_path / "mine")
    (tmp_path / "data").mkdir()
    for split, count in (("train", 7), ("validation", 9), ("test", 13)):
        rows = [json.dumps(row(split, number)) for number in range(count)]
        (tmp_path / "data" / f"{split}.jsonl").write_text("\n".join(rows))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stock(*names, folder="mine", **options):
    """What stock lm-eval asks, and its samples by task, started as from its command line."""
    lm = HashLM()
    found = lm_eval.simple_evaluate(
        lm,
        tasks=list(names),
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
        **options,
    )
    return lm.asked, found["samples"]


def ours(spec):
    """What we ask, and our answers by task; their functions are allowed."""
    tasks.check_tasks(replace(spec, allow_task_code=True))
    served = Serving()
    found = answers(served, spec, lambda done, total: None)
    return served.lm.asked, {each.task: each for each in found.tasks}


class Letters:
    """A token for each letter."""

    prefix_id = 0

    def encode(self, text):
        return list(map(ord, text))

    def prompt(self, text):
        return self.encode(text)


def value(metric, sample):
    if metric == "bits_per_byte":
        nats, size = sample[metric]
        return -nats / math.log(2), size
    return sample[metric], 1


def assert_same(mine, theirs):
    """Requests, items, main metric of each item and gold."""
    (asked, scored), (expected, samples) = mine, theirs
    assert asked == expected
    assert scored.keys() == samples.keys()
    for name, answered in scored.items():
        first = [s for s in samples[name] if s["filter"] == samples[name][0]["filter"]]
        assert answered.indices == tuple(sample["doc_id"] for sample in first)
        pairs = [value(answered.metric, sample) for sample in first]
        assert list(zip(answered.values, answered.weights, strict=True)) == pairs
        assert len(set(answered.values)) > 1  # else they show little


@pytest.mark.parametrize("name", NAMES)
def test_a_file_asks_and_scores_as_in_stock_by_path_and_by_name(name):
    theirs = stock(name)
    assert_same(ours(TaskSpec([f"mine/{name}.yaml"], items=0)), theirs)
    assert_same(ours(TaskSpec([name], items=0, include_path="mine")), theirs)


@pytest.mark.parametrize("name", ["shots_of_the_file", "first_shots", "functions", "whole_text"])
@pytest.mark.parametrize("fewshot", [0, 1])
def test_shots_that_are_asked_for_are_those_of_stock(name, fewshot):
    spec = TaskSpec([f"mine/{name}.yaml"], items=0, fewshot=fewshot)
    assert_same(ours(spec), stock(name, num_fewshot=fewshot))


def test_a_metric_that_is_named_is_that_of_stock_where_a_task_has_it():
    names = ["shots_of_the_file", "per_byte"]
    mine = ours(TaskSpec(names, items=0, include_path="mine", metric="acc"))
    assert {name: found.metric for name, found in mine[1].items()} == dict(
        zip(names, ("acc", "acc_bytes"), strict=True)
    )
    lengths = [choice.length for item in mine[1][names[0]].choices for choice in item]
    assert set(lengths) == {1.0}  # what decides is what is compared
    assert_same(mine, stock(*names))


def test_a_metric_without_a_value_for_each_item_is_refused_by_name(here):
    last = TaskSpec(["mine/last_word.yaml"], items=3, metric="perplexity")
    with pytest.raises(UserError, match=r"^task\.metric=perplexity .*: they have acc; choose one"):
        tasks.check_tasks(last)
    bare = "include: functions.yaml\ntask: bare\nmetadata: {version: 1}\n"
    (here / "mine" / "bare.yaml").write_text(bare)
    spec = TaskSpec(["mine/bare.yaml"], items=3, allow_task_code=True)
    with pytest.raises(UserError, match=r"reports closeness, none of which .* by task\.metric,"):
        tasks.check_tasks(spec)
    mine = ours(replace(spec, metric="closeness"))
    assert mine[1]["bare"].metric == "closeness"


def test_chosen_items_are_asked_as_in_stock():
    mine = ours(TaskSpec(["mine/shots_of_the_file.yaml"], items=5))
    indices = list(mine[1]["shots_of_the_file"].indices)
    assert len(indices) == 5
    assert_same(mine, stock("shots_of_the_file", samples={"shots_of_the_file": indices}))


@pytest.mark.parametrize(
    "spec",
    [
        TaskSpec(["mine/grouped/group.yaml"], items=0),
        TaskSpec(["a_group"], items=0, include_path="mine/grouped"),
    ],
)
def test_a_group_is_that_of_stock_by_path_and_by_name(spec):
    mine = ours(spec)
    assert list(mine[1]) == [
        "first_member",
        "second_member",
        "fourth_member",
        "third_member",
        "fifth_member",
        "a_group::sixth_member",
    ]
    assert_same(mine, stock("a_group", folder="mine/grouped"))


def test_prompts_and_content_are_those_of_what_is_asked():
    """Also where the documents are drawn at random as they are processed."""
    names = ["mine/drawn_choices.yaml", "mine/last_word.yaml", "mine/shots_among_questions.yaml"]
    spec = TaskSpec(names, items=4)
    assert content(spec) == content(spec)
    asked, _ = ours(spec)
    contexts = {(task, doc): args[0] for task, doc, number, _, args in asked if number == 0}
    found = prompts(Letters(), spec)
    assert len(found) == 8  # last_word has no choices
    items = tasks.chosen(tasks.load_tasks(spec), spec)
    for (task, index), tokens in found.items():
        assert "".join(map(chr, tokens)) == contexts[task, items[task].index(index)]


def test_a_tag_in_the_include_path_is_that_of_stock():
    spec = TaskSpec(["a_tag_of_tests"], items=0, include_path="mine")
    assert_same(ours(spec), stock("a_tag_of_tests"))


def test_tasks_that_are_asked_together_draw_as_in_stock():
    """lm-eval seeds its generators once for all tasks."""
    spec = TaskSpec(NAMES, items=0, include_path="mine")
    assert_same(ours(spec), stock(*NAMES))


def test_a_task_leaves_the_generators_of_the_process_alone():
    random.seed(3)
    before = random.getstate()
    ours(TaskSpec(["mine/drawn_choices.yaml"], items=3))
    assert random.getstate() == before


def test_loading_is_quiet(capfd):
    ours(TaskSpec(["mine/functions.yaml"], items=3))
    assert capfd.readouterr() == ("", "")


CHOICES = "include: _choices_yaml\ntask: mine\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CHOICES + "num_fewshot: 14\n", r"num_fewshot=14 of task mine .* than the 13 that"),
        (CHOICES + "doc_to_text: '{{question.nothing.at_all}}'\n", "no task that lm-eval can load"),
        (CHOICES + "doc_to_text: '{{question + 3}}'\n", "no task that lm-eval can load"),
        (CHOICES + "test_split: null\n", "no task that lm-eval can load"),
        (CHOICES + "no_such_key: 1\n", "no task that lm-eval can load .*no_such_key"),
        (
            CHOICES + "process_docs: !function nowhere.f\n",
            "no task that lm-eval can load .*nowhere",
        ),
        (CHOICES + "include: [_choices_yaml, gone]\n", "no task that lm-eval can load"),
        (CHOICES + "unsafe_code: true\n", r"task mine runs code that models write"),
        (CHOICES + "doc_to_image: picture\n", "task mine asks about images"),
        (CHOICES + "metric_list: [{metric: f1}]\n", "task mine reports f1, none of which"),
        (CHOICES + "metric_list: [{metric: acc, aggregation: median}]\n", "task mine reports acc,"),
        (CHOICES + "num_fewshot: 1\nfewshot_config: {sampler: balanced}\n", "no task that lm-eval"),
        (
            CHOICES
            + "num_fewshot: 1\nfewshot_config: {doc_to_target: '{{nothing}}', split: train, "
            "doc_to_choice: null}\n",
            "task mine cannot put its questions",
        ),
        ("task: [one, two]\n", "no task that lm-eval can load .it says neither"),
        ("group: mine\ntask: [mine]\n", "no task that lm-eval can load"),
        ("group: mine\ntask: []\n", "a group of no tasks"),
        ("group: mine\ntask: [{alias: x}]\n", "no task that lm-eval can load"),
    ],
)
def test_what_a_file_cannot_have_is_one_sentence(here, content, message):
    (here / "mine" / "mine.yaml").write_text(content)
    with pytest.raises(UserError, match=message) as error:
        tasks.check_tasks(TaskSpec(["mine/mine.yaml"], items=5, allow_task_code=True))
    assert str(error.value).count("\n") == 0
    assert str(error.value).endswith(".")


def test_two_tasks_of_one_name_are_refused(here):
    shutil.copy(here / "mine" / "functions.yaml", here / "mine" / "again.yaml")
    for names in (["mine/functions.yaml", "mine/again.yaml"], ["a_group", "first_member"]):
        with pytest.raises(UserError, match=r"two tasks that are both called (functions|first_m)"):
            tasks.check_tasks(TaskSpec(names, items=3, include_path="mine", allow_task_code=True))
    sciq = CHOICES.replace("mine", "sciq")
    (here / "mine" / "sciq.yaml").write_text(sciq)
    with pytest.raises(UserError, match="both called sciq"):
        tasks.check_tasks(TaskSpec(["sciq", "mine/sciq.yaml"], items=3))


def test_the_include_path_goes_before_our_own(here):
    (here / "mine" / "sciq.yaml").write_text(CHOICES.replace("mine", "sciq"))
    spec = TaskSpec(["sciq", "sst2"], items=3, include_path="mine")
    loaded = tasks.load_tasks(spec)
    assert loaded["sciq"].config.test_split == "test"
    assert len(loaded["sst2"].eval_docs) == 872


def test_an_include_path_that_is_none_is_one_sentence(here):
    with pytest.raises(UserError, match=r"^task\.include_path=nowhere is no directory: .*\.$"):
        tasks.check_tasks(TaskSpec(["sciq"], include_path="nowhere"))
    (here / "mine" / "broken.yaml").write_text("task: [")
    with pytest.raises(
        UserError, match=r"function is unknown \(did you mean functions\?\): broken"
    ):
        tasks.check_tasks(TaskSpec(["function"], include_path="mine"))
