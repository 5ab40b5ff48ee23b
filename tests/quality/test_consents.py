"""Somebody else's task may be code: none of it is imported before the user has allowed it."""

import pytest

from greenbench.errors import UserError
from greenbench.quality.tasks import check_tasks, load_tasks
from greenbench.quality.tasks.digests import identities
from greenbench.schema.spec import TaskSpec

PLAIN = """
dataset_path: json
dataset_kwargs: {data_files: {test: {folder}/data.jsonl}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{q}}"
doc_to_choice: ["no", "yes"]
doc_to_target: "{{a}}"
metric_list: [{metric: acc}]
"""
EVIL = """
from pathlib import Path
Path("{folder}/ran").touch()
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
    "like_ours.yaml": "include: shared_yaml\ntask: like_ours\n"
    "process_docs: !function greenbench.quality.tasks.data.docs\n",
    "twice.yaml": "include: shared_yaml\ntask: twice\n"
    "process_docs: !function evil.docs\nprocess_docs: null\n",
    "overridden.yaml": "include: with_code_yaml\ntask: overridden\nprocess_docs: null\n",
    "pairs.yaml": "include: shared_yaml\ntask: pairs\nmetadata: {a: !!pairs [b: !function evil.docs]}\n",
    "escaped.yaml": "include: shared_yaml\ntask: escaped\nprocess_docs: !%66unction evil.docs\n",
    "mapped.yaml": "include: shared_yaml\ntask: mapped\nprocess_docs: !function {=: evil.docs}\n",
    "graded.yaml": "include: shared_yaml\ntask: graded\nmetric_list: [{metric: {folder}/evil.py}]\n",
    "renamed.yaml": "include: shared_yaml\ntask: renamed\n"
    "metric_list: [{metric: acc}, {metric: {folder}/evil.py, hf_evaluate: true}]\n",
    "graded_within.yaml": "group: graded_within\n"
    "task: [{task: plain, metric_list: [{metric: {folder}/evil.py}]}]\n",
    "with_code_yaml": "include: shared_yaml\nprocess_docs: !function evil.docs\n",
    "elsewhere/pointed_yaml": "include: shared_yaml\ntask: pointed\n",
    "elsewhere/shared_yaml": "include: ../with_code_yaml\n",
    "shared_yaml": PLAIN,
    "evil.py": EVIL,
    "greenbench/quality/tasks/data.py": EVIL,
    "plain.yaml": "include: shared_yaml\ntask: plain\n",
    "data.jsonl": '{"q": "is it", "a": 0}\n{"q": "was it", "a": 1}\n',
}
BY_PATH = [
    "mine", "hidden", "spelt", "deep", "installed", "group", "inline", "like_ours", "twice", "overridden",
    "pairs", "escaped", "mapped", "graded", "renamed", "graded_within",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.replace("{folder}", str(tmp_path)))
    (tmp_path / "pointed.yaml").symlink_to("elsewhere/pointed_yaml")
    return tmp_path


def ran(folder):
    return (folder / "ran").exists()


@pytest.mark.parametrize("name", [f"{name}.yaml" for name in BY_PATH])
def test_a_file_that_names_code_runs_none_of_it(folder, name):
    with pytest.raises(UserError, match=r"allow it by task\.allow_task_code=true, or") as error:
        check_tasks(TaskSpec([str(folder / name)]))
    assert str(error.value).count("\n") == 0
    assert not ran(folder)


@pytest.mark.parametrize("name", ["mine", "hidden", "my_tag", "my_group", "pointed"])
def test_a_name_in_the_include_path_runs_none_of_it(folder, name):
    spec = TaskSpec([name], include_path=str(folder))
    identities(spec)
    with pytest.raises(UserError, match=r"its own \(!function evil\.docs in \w+\.yaml\), which"):
        check_tasks(spec)
    assert not ran(folder)


@pytest.mark.parametrize(
    ("name", "code"), [("like_ours", "greenbench/quality/tasks/data.py"), ("pairs", "evil.py")]
)
def test_code_that_is_named_in_an_odd_place_is_part_of_the_task(folder, name, code):
    spec = TaskSpec([name], include_path=str(folder))
    before = identities(spec)
    (folder / code).write_text("changed = 1\n")
    assert identities(spec) != before


def test_what_is_allowed_is_run(folder):
    spec = TaskSpec(["mine"], items=0, include_path=str(folder), allow_task_code=True)
    check_tasks(spec)
    assert ran(folder)
    assert len(load_tasks(spec)["mine"].eval_docs) == 2


def test_a_file_without_code_and_ours_need_no_leave(folder):
    check_tasks(TaskSpec(["plain", "sciq"], items=0, include_path=str(folder)))
    check_tasks(TaskSpec(["sciq"]))  # whose own file names our reader
