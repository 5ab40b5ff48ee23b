"""Questions answered in words: asked as lm-eval asks them, graded as lm-eval grades them, item by item."""

import os
import socketserver
import uuid
from dataclasses import replace
from types import SimpleNamespace

import datasets
import lm_eval.tasks
import pytest
from helpers.servers import none_marked
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager

from greenbench.engines.transformers.served import HubTokenizer
from greenbench.engines.writing import Draw
from greenbench.errors import UserError
from greenbench.quality import generated, shut_off
from greenbench.quality.lm_eval_quiet import quiet
from greenbench.quality.lm_eval_seeds import seeded
from greenbench.quality.tasks import (
    FOLDER,
    check_tasks,
    kinds,
    load_tasks,
    pick_items,
    words,
)
from greenbench.schema.spec import TaskSpec

WORDS = ["gsm8k_words", "lambada_words", "squad", "triviaqa"]
SPEC = TaskSpec(names=WORDS, items=6)
SAID = {
    "gsm8k_words": [
        "So the answer is 18.",
        "She has 3 left, 1,234 in all.",
        "no number",
        "$70",
        "",
        "5 6",
    ],
    "lambada_words": ["signs", " door of", "", "Gabriel", "the", "x"],
    "squad": [" 23 years", "The Denver Broncos", "", "a b c", "1066.", "in the 10th century"],
    "triviaqa": ["Paris", " paris ", "", "The Beatles", "42", "x"],
}


class Says(LM):
    """Stock lm-eval's model that says what it is told, by task and item."""

    def __init__(self, said):
        super().__init__()
        self.said, self.asked = said, []

    def generate_until(self, requests):
        self.asked += [(r.task_name, r.doc_id, r.args) for r in requests]
        return [self.said[r.task_name][r.doc_id] for r in requests]

    def loglikelihood(self, requests):
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood


def stock(spec, said, kind=Says, **how):
    """Its samples, and what it asked."""
    with quiet(), seeded():
        tasks = TaskManager(include_path=str(FOLDER), include_defaults=False).load(spec.names)
        items = {
            name: pick_items(name, len(task.eval_docs), spec)
            for name, task in tasks["tasks"].items()
        }
        for task in tasks["tasks"].values():
            task.set_fewshot_seed(1234)
        lm = kind(said)
        found = evaluate(lm, tasks, samples=items, bootstrap_iters=0, **how)
    return found["samples"], lm.asked


def right(spec):
    """An answer to each item that its task takes for right."""
    with quiet(), seeded():
        return {name: [_target(task, place) for place in pick_items(name, len(task.eval_docs), spec)]
                for name, task in load_tasks(spec).items()}  # fmt: skip


def _target(task, place):
    found = task.doc_to_target(task.eval_docs[place])
    return str(found[0] if isinstance(found, list) else found)


@pytest.mark.parametrize("texts", [SAID, None])
def test_grades_are_those_of_lm_eval_item_by_item_and_filter_by_filter(texts):
    said = texts or right(SPEC)
    theirs, _ = stock(SPEC, said)
    ours = generated.grades(SPEC, said)
    assert set(ours) == set(WORDS)
    for name in WORDS:
        for filter_ in {sample["filter"] for sample in theirs[name]}:
            mine = [grade[filter_] for grade in ours[name]]
            wanted = [
                {metric: float(sample[metric]) for metric in sample["metrics"]}
                for sample in theirs[name]
                if sample["filter"] == filter_
            ]
            assert mine == wanted
    if texts is None:  # what is right is graded so, in every task
        for exam in exams():
            assert {grade[exam.filter][exam.metric] for grade in ours[exam.task]} == {1.0}


class Plain:
    """A tokenizer of characters, with or without a template."""

    ending, most_thoughts = "<end>", None

    def __init__(self, template=None):
        self.template = template

    def prompt(self, text):
        return [ord(sign) for sign in text]

    def chat(self, turns, *, opened=True):
        said = "".join(f"<{turn['role']}>{turn['content']}" for turn in turns)
        return said + ("<assistant>" if opened else "")


def exams(spec=SPEC, tokenizer=None, most=None, **how):
    return generated.exams(spec, tokenizer or Plain(), most, **how)


def text(ask):
    return "".join(map(chr, ask.tokens))


def test_questions_are_those_of_lm_eval():
    _, asked = stock(SPEC, {name: [""] * 6 for name in WORDS})
    for exam in exams():
        mine = [text(ask) for ask in exam.asks]
        theirs = [args[0] for name, _, args in asked if name == exam.task]
        assert mine == theirs
        how = next(args[1] for name, _, args in asked if name == exam.task)
        assert exam.asks[0].until[: len(how["until"])] == tuple(how["until"])
        assert exam.asks[0].until[-1] == "<end>"
        assert exam.asks[0].most_tokens == how.get("max_gen_toks", 256)
        assert not exam.chat


def test_in_the_chat_template_they_are_lm_evals_too_but_a_text_that_goes_on():
    tokenizer = Plain("template")
    spec = replace(SPEC, names=["squad", "gsm8k_words"])

    class Chats(Says):
        tokenizer_name = ""

        def apply_chat_template(self, turns, add_generation_prompt=True):
            return tokenizer.chat(turns, opened=add_generation_prompt)

    unsaid = {name: [""] * 6 for name in spec.names}
    how = {"apply_chat_template": True, "fewshot_as_multiturn": True}
    _, lm_asked = stock(spec, unsaid, Chats, **how)
    for exam in exams(spec, tokenizer):
        assert exam.chat
        assert [text(ask) for ask in exam.asks] == [a[0] for n, _, a in lm_asked if n == exam.task]
    squad = next(exam for exam in exams(spec, tokenizer) if exam.task == "squad")
    assert text(squad.asks[0]).count("<user>") == 6  # five examples and the question
    by_name = {exam.task: exam for exam in exams(SPEC, tokenizer)}
    assert not by_name["lambada_words"].chat
    assert not any(exam.chat for exam in exams(replace(SPEC, chat_template=False), tokenizer))


def test_a_template_that_is_not_there_is_one_sentence():
    with pytest.raises(UserError, match=r"task\.chat_template=true asks for a chat template, and"):
        exams(replace(SPEC, chat_template=True))
    with pytest.raises(UserError, match="none of auto, true and false"):
        replace(SPEC, chat_template="yes")


def test_a_task_keeps_its_own_examples_unless_others_are_asked_for():
    shots = {exam.task: exam.shots for exam in exams()}
    assert shots == {"gsm8k_words": 0, "lambada_words": 0, "squad": 5, "triviaqa": 0}
    (exam,) = exams(replace(SPEC, names=["squad"], fewshot=2))
    assert exam.shots == 2
    assert text(exam.asks[0]).count("\nBackground: ") == 3


def test_the_flexible_filter_is_compared_unless_another_is_named():
    (exam,) = exams(replace(SPEC, names=["gsm8k_words"]))
    assert exam.filter == "flexible-extract"
    (exam,) = exams(replace(SPEC, names=["gsm8k_words"], filter="strict-match"))
    assert exam.filter == "strict-match"
    check_tasks(replace(SPEC, filter="strict-match"))
    with pytest.raises(
        UserError, match=r"task.filter=strict is a filter of none .*flexible-extract"
    ):
        check_tasks(replace(SPEC, filter="strict"))
    with pytest.raises(UserError, match="of none of the tasks: they have none; choose"):
        check_tasks(replace(SPEC, names=["squad"], filter="strict-match"))
    with pytest.raises(UserError, match="none is answered in words"):
        check_tasks(TaskSpec(names=["sst2"], filter="strict-match"))


def test_a_metric_that_is_named_is_compared_where_a_task_has_it():
    spec = replace(SPEC, names=["squad", "triviaqa"], metric="f1")
    check_tasks(spec)
    assert [(exam.task, exam.metric, exam.higher_is_better) for exam in exams(spec)] == [
        ("squad", "f1", True),
        ("triviaqa", "exact_match", True),
    ]
    none = (
        r"^task\.metric=f2 has a value for each item in none .*: they have exact_match, f1; choose"
    )
    with pytest.raises(UserError, match=none):
        check_tasks(replace(spec, metric="f2"))


def test_strict_and_flexible_differ_where_the_sentence_is_not_the_examples():
    found = generated.grades(replace(SPEC, names=["gsm8k_words"]), {"gsm8k_words": right_numbers()})
    assert [grade["flexible-extract"]["exact_match"] for grade in found["gsm8k_words"]] == [1.0] * 6
    assert [grade["strict-match"]["exact_match"] for grade in found["gsm8k_words"]] == [0.0] * 6


def right_numbers():
    return [
        f"It is {answer}" for answer in right(replace(SPEC, names=["gsm8k_words"]))["gsm8k_words"]
    ]


def test_prompts_are_cut_from_the_left_to_leave_room_for_the_answer():
    (exam,) = exams(replace(SPEC, names=["squad"]), most=300)
    whole = exams(replace(SPEC, names=["squad"]))[0]
    for short, long in zip(exam.asks, whole.asks, strict=True):
        assert short.tokens == long.tokens[-250:]
    with pytest.raises(UserError, match="may have 50 tokens, and the model takes 40"):
        exams(replace(SPEC, names=["squad"]), most=40)


def test_a_model_that_thinks_is_ended_by_the_same_strings_once_it_has():
    both = [
        exams(replace(SPEC, names=["squad"]), Plain(kind))[0] for kind in (None, "<think></think>")
    ]
    assert both[0].asks[0].until == both[1].asks[0].until != ()


def test_how_long_an_answer_may_be_is_the_tasks_own_unless_another_length_is_asked_for():
    spec = replace(SPEC, names=["squad", "gsm8k_words"], answer_tokens=64)
    check_tasks(spec)
    assert {ask.most_tokens for exam in exams(spec) for ask in exam.asks} == {64}
    own = {exam.task: exam.asks[0].most_tokens for exam in exams(replace(spec, answer_tokens=None))}
    assert own == {"squad": 50, "gsm8k_words": 256}
    squad = replace(spec, names=["squad"])
    (few, many) = (exams(replace(squad, answer_tokens=most), most=300)[0] for most in (1, 299))
    assert (len(few.asks[0].tokens), len(many.asks[0].tokens)) == (299, 1)
    for most in (300, 301):
        too_long = rf"may have {most} tokens, and the model takes 300 in all: .*task\.answer_tokens"
        with pytest.raises(UserError, match=too_long):
            exams(replace(squad, answer_tokens=most), most=300)


def test_a_length_of_answers_is_refused_where_none_is_in_words_or_none_is_left():
    with pytest.raises(
        UserError, match=r"^task\.answer_tokens=64 .* none of the tasks is answered"
    ):
        check_tasks(TaskSpec(names=["sst2"], answer_tokens=64))
    check_tasks(TaskSpec(names=["sst2", "squad"], answer_tokens=64))
    with pytest.raises(UserError, match=r"task\.answer_tokens=0 is out of range: allowed is 1 or"):
        TaskSpec(names=["squad"], answer_tokens=0)


def test_how_an_answer_is_drawn_is_by_item():
    (exam,) = exams(replace(SPEC, names=["squad"]), draw=lambda item: Draw(1.0, 1.0, 0, item))
    assert [ask.draw.seed for ask in exam.asks] == list(exam.indices)


def test_the_embedded_model_is_asked_as_it_is_deployed(tokenizer):
    (exam,) = generated.exams(
        replace(SPEC, names=["squad"], items=2), HubTokenizer(tokenizer), 2048
    )
    assert exam.chat
    asked = tokenizer.decode(exam.asks[0].tokens)
    assert asked.rstrip().endswith("assistant")
    assert asked.count("<|im_start|>user") == 6


def test_scores_of_squad_are_those_of_its_own_script():
    in_passage = words.in_passage

    def said(text, *answers):
        found = in_passage({"answers": list(answers)}, [text])
        return found["exact_match"], pytest.approx(found["f1"])

    assert said(" The Denver Broncos.", "Denver Broncos") == (1.0, 1.0)
    assert said("Denver", "Denver Broncos", "Broncos") == (0.0, 2 / 3)
    assert said("", "Denver") == (0.0, 0.0)
    assert said("a b b", "b b c") == (0.0, pytest.approx(0.8))  # the article is no word


def test_tasks_of_lm_evals_own_that_are_answered_in_words_are_taken(monkeypatch):
    task = SimpleNamespace(
        OUTPUT_TYPE="generate_until",
        config=SimpleNamespace(task="ifeval", metadata=None),
        higher_is_better=lambda: {"prompt_level_strict_acc": True, "inst_level_strict_acc": True},
        aggregation=lambda: {
            "prompt_level_strict_acc": lm_eval.api.metrics.mean,
            "inst_level_strict_acc": len,
        },
    )
    from greenbench.quality.tasks import main_metric

    assert main_metric(task) == "prompt_level_strict_acc"


CODE = TaskSpec(names=["humaneval_words"], items=4, allow_code_execution=True)
TRIES_THE_NETWORK = """    import socket
    with socket.socket() as s:
        s.settimeout(2)
        try:
            s.connect(("127.0.0.1", %d))
        except OSError:
            raise SystemExit(3)
"""


GATED = """
task: gated
tag: a_gated_tag
unsafe_code: true
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/data.jsonl}}}}
output_type: generate_until
test_split: test
doc_to_text: "{{{{q}}}}"
doc_to_target: "{{{{a}}}}"
process_results: !function gate.graded
metric_list: [{{metric: pass_at_1, aggregation: mean, higher_is_better: true}}]
"""
GATE = """
import os
from pathlib import Path

Path(__file__).with_name("loaded").touch()
if os.environ.get("HF_ALLOW_CODE_EVAL") != "1":  # as HF's code_eval
    raise ValueError("The module executes untrusted code.\\nOnce you have read this, set a variable.")


def graded(doc, results):
    return {"pass_at_1": float(results[0] == doc["a"])}
"""


@pytest.fixture
def gated(tmp_path, monkeypatch):
    """Call for the spec of a task whose module refuses without its variable."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_ALLOW_CODE_EVAL", raising=False)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "data.jsonl").write_text('{"q": "1 + 1", "a": "2"}\n{"q": "2 + 2", "a": "4"}\n')
    (folder / "gated.yaml").write_text(GATED.format(folder=folder))
    (folder / "group.yaml").write_text("group: a_gated_group\ntask: [gated]\n")
    (folder / "gate.py").write_text(GATE)

    def spec(name, **options):
        name = str(folder / name) if name.endswith(".yaml") else name
        return TaskSpec(
            [name], items=0, include_path=str(folder), **({"allow_task_code": True} | options)
        )

    spec.loaded = folder / "loaded"
    return spec


class TestCode:
    def test_it_is_run_only_where_that_is_allowed(self):
        with pytest.raises(
            UserError, match=r"runs code .* allow it by task\.allow_code_execution=true"
        ):
            check_tasks(replace(CODE, allow_code_execution=False))
        check_tasks(CODE)

    @pytest.mark.parametrize("name", ["gated", "a_gated_group", "a_gated_tag", "gated.yaml"])
    def test_a_module_that_asks_for_consent_by_its_variable_has_it_while_it_is_loaded(
        self, gated, name
    ):
        spec = gated(name, allow_code_execution=True)
        check_tasks(spec)
        assert kinds(spec) == {"generate_until"}
        assert list(load_tasks(spec)) == ["gated"]
        assert "HF_ALLOW_CODE_EVAL" not in os.environ

    def test_a_value_of_the_users_own_is_given_back(self, gated, monkeypatch):
        monkeypatch.setenv("HF_ALLOW_CODE_EVAL", "0")
        check_tasks(gated("gated", allow_code_execution=True))
        assert os.environ["HF_ALLOW_CODE_EVAL"] == "0"

    def test_so_it_has_in_the_process_that_grades(self, gated):
        spec = gated("gated", allow_code_execution=True)
        found = generated.grades(spec, {"gated": ["2", "5"]})
        assert [grade["none"]["pass_at_1"] for grade in found["gated"]] == [1.0, 0.0]

    @pytest.mark.parametrize("runs_code", [True, False])
    @pytest.mark.parametrize("name", ["mine/gated.yaml", "mine/group.yaml", "gated"])
    def test_what_was_asked_by_a_relative_path_is_graded(self, gated, monkeypatch, name, runs_code):
        """In a process of its own it is found too, though what it runs writes elsewhere."""
        folder = gated.loaded.parent
        monkeypatch.chdir(folder.parent)
        text = (folder / "gated.yaml").read_text().replace(f"{folder}/", "mine/")
        text = text if runs_code else text.replace("unsafe_code: true", "")
        (folder / "gated.yaml").write_text(text)
        writes = "def graded(doc, results):\n    Path('left').touch()"
        (folder / "gate.py").write_text(GATE.replace("def graded(doc, results):", writes))
        include_path = "mine" if name == "gated" else None
        spec = TaskSpec([name], items=0, include_path=include_path, allow_code_execution=True)
        found = generated.grades(spec, {"gated": ["2", "5"]})
        assert [grade["none"]["pass_at_1"] for grade in found["gated"]] == [1.0, 0.0]
        assert (folder.parent / "left").exists() is not runs_code

    @pytest.mark.parametrize("name", ["gated", "a_gated_group", "a_gated_tag", "gated.yaml"])
    def test_without_consent_nothing_of_it_is_loaded_and_the_sentence_is_ours(
        self, gated, monkeypatch, name
    ):
        ours = r"^task gated runs code .* allow it by task\.allow_code_execution=true, or choose"
        for given in (None, "1"):
            if given:
                monkeypatch.setenv("HF_ALLOW_CODE_EVAL", given)
            with pytest.raises(UserError, match=ours):
                check_tasks(gated(name))
            assert not gated.loaded.exists()

    def test_right_wrong_and_endless_programs(self):
        solutions = right(CODE)["humaneval_words"]
        said = [solutions[0], "    return None\n", "    while True: pass\n", solutions[3]]
        found = generated.grades(CODE, {"humaneval_words": said})["humaneval_words"]
        assert [grade["none"]["pass_at_1"] for grade in found] == [1.0, 0.0, 0.0, 1.0]

    @pytest.mark.parametrize(
        "code",
        [
            "    exit()\n",
            "    raise SystemExit\n",
            "    import os; os._exit(0)\n",
            "    return 0\nexit()\n",
        ],
    )
    def test_a_program_that_leaves_before_its_check_is_wrong(self, code):
        doc = {"prompt": "def f():\n", "test": "def check(f): assert f() == 1", "entry_point": "f"}
        assert words.passes(doc, [code]) == {"pass_at_1": 0.0}
        assert words.passes(doc, ["    return 1\n"]) == {"pass_at_1": 1.0}

    def test_it_has_no_network_not_even_loopback(self):
        with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as listens:
            code = TRIES_THE_NETWORK % listens.server_address[1]
            spec = replace(CODE, items=1)
            found = generated.grades(spec, {"humaneval_words": [code]})["humaneval_words"]
            assert found == [{"none": {"pass_at_1": 0.0}}]
            doc = {"prompt": "def f():\n", "test": "def check(f): f()", "entry_point": "f"}
            assert words.passes(doc, [code]) == {"pass_at_1": 1.0}  # as it is outside

    def test_what_it_starts_in_a_session_of_its_own_ends_with_it(self):
        mark = f"left-by-{uuid.uuid4().hex}"
        code = (
            "    import subprocess, sys\n"
            f"    sleeper = [sys.executable, '-c', 'import time; time.sleep(600)', '{mark}']\n"
            "    subprocess.Popen(sleeper, start_new_session=True)\n"
        )
        generated.grades(replace(CODE, items=1), {"humaneval_words": [code]})
        assert none_marked(mark)

    def test_what_takes_too_much_memory_fails(self):
        code = "    held = bytearray(64 << 30)\n    held[::4096] = b'x' * len(held[::4096])\n"
        found = generated.grades(replace(CODE, items=1), {"humaneval_words": [code]})
        assert found["humaneval_words"] == [{"none": {"pass_at_1": 0.0}}]

    def test_a_machine_that_lets_nothing_be_shut_off_is_one_sentence(self, monkeypatch):
        monkeypatch.setattr(shut_off, "in_time", lambda *_, **__: shut_off.CANNOT)
        with pytest.raises(UserError, match="this machine lets none be"):
            generated.grades(replace(CODE, items=1), {"humaneval_words": [""]})
