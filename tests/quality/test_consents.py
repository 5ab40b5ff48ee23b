"""Somebody else's task may be code: none of it is imported before the user has allowed it."""

import pytest

from greenbench.errors import UserError
from greenbench.quality.tasks import check_tasks, load_tasks
from greenbench.quality.tasks.digests import identities
from greenbench.schema.spec import TaskSpec

PLAIN = """
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/data.jsonl}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{q}}}}"
doc_to_choice: ["no", "yes"]
doc_to_target: "{{{{a}}}}"
metric_list: [{{metric: acc}}]
"""
EVIL = """
from pathlib import Path
Path(__file__).with_name("ran").touch()
def docs(found):
    return found
"""
FILES = {
    "mine.yaml": "include: shared_yaml\ntask: mine\ntag: my_tag\nprocess_docs: !function evil.docs\n",
    "hidden.yaml": "include: with_code_yaml\ntask: hidden\n",
    "spelt.yaml": "include: shared_yaml\ntask: spelt\nprocess_docs: !<!function> evil.docs\n",
    "deep.yaml": "include: shared_yaml\ntask: deep\nmetadata: {a: [{b: !function evil.docs}]}\n",
    "installed.yaml": "include: shared_yaml\ntask: installed\nprocess_docs: !function os.system\n",
    "group.yaml": "group: my_group\ntask: [mine]\n",
    "inline.yaml": "group: inline\ntask: [{task: within, process_docs: !function evil.docs}]\n",
    "with_code_yaml": "include: shared_yaml\nprocess_docs: !function evil.docs\n",
    "shared_yaml": PLAIN,
    "evil.py": EVIL,
    "data.jsonl": '{"q": "is it", "a": 0}\n{"q": "was it", "a": 1}\n',
}
BY_PATH = ["mine", "hidden", "spelt", "deep", "installed", "group", "inline"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for name, text in FILES.items():
        shown = text.format(folder=tmp_path) if text is PLAIN else text
        (tmp_path / name).write_text(shown)
    return tmp_path


@pytest.mark.parametrize("name", [f"{name}.yaml" for name in BY_PATH])
def test_a_file_that_names_code_runs_none_of_it(folder, name):
    with pytest.raises(UserError, match=r"allow it by task\.allow_task_code=true, or") as error:
        check_tasks(TaskSpec([str(folder / name)]))
    assert str(error.value).count("\n") == 0
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("name", ["mine", "hidden", "my_tag", "my_group"])
def test_a_name_in_the_include_path_runs_none_of_it(folder, name):
    spec = TaskSpec([name], include_path=str(folder))
    identities(spec)
    with pytest.raises(UserError, match=r"its own \(!function evil\.docs in \w+\.yaml\), which"):
        check_tasks(spec)
    assert not (folder / "ran").exists()


def test_what_is_allowed_is_run(folder):
    spec = TaskSpec(["mine"], items=0, include_path=str(folder), allow_task_code=True)
    check_tasks(spec)
    assert (folder / "ran").exists()
    assert len(load_tasks(spec)["mine"].eval_docs) == 2


def test_a_file_without_code_and_ours_need_no_leave(folder):
    (folder / "plain.yaml").write_text("include: shared_yaml\ntask: plain\n")
    check_tasks(TaskSpec(["plain", "sciq"], items=0, include_path=str(folder)))
    check_tasks(TaskSpec(["sciq"]))  # whose own file names our reader
