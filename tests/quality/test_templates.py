"""Somebody else's templates word questions; those of GreenBench and lm-eval read as they always did."""

from dataclasses import replace
from pathlib import Path

import lm_eval.tasks
import pytest
import yaml
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from lm_eval import utils

import greenbench.quality.tasks
from greenbench.errors import UserError
from greenbench.quality.tasks import check_tasks
from greenbench.quality.tasks.templates import reaching, shut_in
from greenbench.quality.tasks.yaml_files import values
from greenbench.schema.spec import TaskSpec

OURS, THEIRS = (Path(module.__path__[0]) for module in (greenbench.quality.tasks, lm_eval.tasks))
OPEN = utils.Environment(
    loader=utils.BaseLoader, undefined=utils.StrictUndefined, keep_trailing_newline=True
)
OPEN.filters["regex_replace"] = utils.regex_replace
SAMPLES = ("a b. c", 1, ["x y", "z"], {"text": ["p", "q"], "label": ["A", "B"]})
"""What a field of a question may be."""
FILE = """
task: mine
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/data.jsonl}}
output_type: multiple_choice
test_split: test
doc_to_text: "TEMPLATE"
doc_to_choice: ["no", "yes"]
doc_to_target: "{{a}}"
metric_list: [{metric: acc}]
"""
RUN = "popen('touch FOLDER/ran')"


class Plain(yaml.CSafeLoader):
    """Without functions."""


Plain.add_constructor("!function", lambda loader, node: None)


def templates(folder):
    """Every text in the YAML files below it that holds some Jinja."""
    found = set()
    for path in folder.rglob("*yaml"):
        content = yaml.load(path.read_bytes(), Plain)
        found |= {v for v in values(content) if isinstance(v, str) and ("{{" in v or "{%" in v)}
    return sorted(found)


def told(environment, text, fields):
    """What it becomes, or which kind of mistake it is."""
    try:
        return environment.from_string(text).render(**fields)
    except Exception as error:
        return type(error).__name__


@pytest.mark.parametrize("folder", [OURS, THEIRS], ids=["ours", "lm_eval's"])
def test_what_we_and_lm_eval_ship_reads_as_without_the_sandbox(folder):
    shut_in()
    assert isinstance(utils.env, ImmutableSandboxedEnvironment)
    texts = templates(folder)
    assert len(texts) > 10
    for text in texts:
        assert reaching(text) is None
        names = sorted(meta.find_undeclared_variables(OPEN.parse(text)))
        for shift in range(len(SAMPLES)):
            fields = {name: SAMPLES[(shift + i) % len(SAMPLES)] for i, name in enumerate(names)}
            assert told(utils.env, text, fields) == told(OPEN, text, fields)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Writes a task of somebody's with a template of theirs; its data is `there` or not."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def write(template, there=True):
        text = FILE.replace("TEMPLATE", template).replace("FOLDER", str(tmp_path))
        (tmp_path / "mine.yaml").write_text(text)
        if there:
            (tmp_path / "data.jsonl").write_text('{"q": "is it", "a": 0}\n{"q": "was", "a": 1}\n')
        return TaskSpec([str(tmp_path / "mine.yaml")])

    yield write
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "template",
    [
        "{{ cycler.__init__.__globals__.os." + RUN + ".read() }}",
        "{{ q['__class__'].mro() }}",
        "{{ (q|attr('__class__')).mro() }}",
        "{% set x = q.__class__.__mro__[1].__subclasses__() %}",
    ],
)
def test_a_template_that_reaches_for_python_is_refused_before_anything_is_read(mine, template):
    spec = mine(template, there=False)
    with pytest.raises(UserError, match=r"reaches for Python in a template \(__\w+__ in mine\.y"):
        check_tasks(spec)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ((cycler|attr('__in' ~ 'it__'))|attr('__glo' ~ 'bals__')).os." + RUN + ".read() }}",
        "{{ q['__cla' ~ 'ss__'] }}",
        "{{ ('{0.' ~ '__class__}').format(q) }}",
    ],
)
@pytest.mark.parametrize("allowed", [False, True])
def test_one_that_hides_it_runs_nothing(mine, template, allowed):
    spec = replace(mine(template), allow_task_code=allowed)
    with pytest.raises(UserError, match=r"lm-eval can load|cannot put its questions") as error:
        check_tasks(spec)
    assert "\n" not in str(error.value)


def test_one_that_only_words_is_as_it_was(mine):
    check_tasks(mine("{{ q | regex_replace('is', 'was') }} {{ q.strip().split(' ')[0] }}?"))
