"""A small model before a large one: how sure it must be, and what is refused."""

import math
import random
from types import SimpleNamespace

import pytest
from helpers.architectures import DECODERS
from scipy.stats import binom

from greenbench.campaign.compose import plan
from greenbench.engines.engine import Build
from greenbench.engines.writing import Written
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.run import same_tokens
from greenbench.run.cascade import Tried, _held_back, boldest, handed_over
from greenbench.run.make import refuse
from greenbench.run.posing import spoken
from greenbench.run.preflight import refuse_here
from greenbench.run.workbench import Place
from greenbench.techniques.handover import Trust

CPU = Machine("cpu", "some CPU", 1 << 34)
ANSWERS = ["device=cpu", "task=answers", "task.items=20"]
STACK = "technique=[prune_depth,cascade]"


def test_of_thresholds_the_boldest_that_surely_keeps_to_the_risk_is_taken():
    """100 items whose confidence is their place; those below 0.3 are worse."""
    tried = [Tried(place / 100, worse=place < 30) for place in range(100)]
    found = boldest(tried, risk=0.1, delta=0.05)
    most = max(worse for worse in range(30) if binom.cdf(worse, 100, 0.1) <= 0.05)
    assert most == 4
    assert found == (0.26, 74, most)


def test_without_a_loss_all_is_kept_and_with_too_few_items_nothing():
    better = [Tried(0.5, worse=False)] * 59
    assert boldest(better, risk=0.05, delta=0.05) == (0.0, 59, 0)
    assert boldest(better[:58], risk=0.05, delta=0.05) == (math.inf, 0, 0)


def test_more_than_the_risk_is_lost_as_seldom_as_is_said():
    """2000 calibrations on 200 items; an answer of confidence c is worse with probability (1 - c) / 2."""
    dice = random.Random(5)
    broken = 0
    for _ in range(2000):
        sure = [dice.random() for _ in range(200)]
        tried = [Tried(each, worse=dice.random() < (1 - each) / 2) for each in sure]
        found = boldest(tried, risk=0.1, delta=0.05)
        truth = (1 - min(found.threshold, 1.0)) ** 2 / 4  # the integral of (1 - c) / 2 above it
        broken += truth > 0.1
    assert broken / 2000 <= 0.05


def test_a_small_model_that_cannot_be_compiled_runs_eager_before_a_compiled_one(
    tiny_directory, tmp_path
):
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_directory)
    dbrx = AutoConfig.for_model("dbrx", vocab_size=len(tokenizer), **DECODERS["dbrx"])
    AutoModelForCausalLM.from_config(dbrx).save_pretrained(tmp_path / "small")
    tokenizer.save_pretrained(tmp_path / "small")
    small = [f"technique.cascade.path={tmp_path / 'small'}", "technique.cascade.threshold=0.5"]
    said = ["model=local", f"model.path={tiny_directory}", "technique=cascade", *small, *ANSWERS]
    (job,) = plan([*said, "engine.reference=compiled"], multirun=False)
    base = Build(job.spec.model, "safetensors", tiny_directory, tiny_directory)
    (technique,) = job.spec.technique.values()
    place = Place(CPU, job.spec.engine, base, "its content")
    work = SimpleNamespace(details={}, observed={})
    build = handed_over(technique, base, place, job.spec, work, None)
    assert build.uncompiled == "transformers does not compile DbrxForCausalLM as one graph"
    assert build.behind.build.uncompiled is None


def test_items_about_what_the_run_asks_are_not_held_back():
    more = SimpleNamespace(indices=(1, 2, 3, 4, 5), documents=("a", "a", "b", "c", "b"))
    asked = SimpleNamespace(indices=(1, 4), documents=("a", "c"))
    assert _held_back(more, asked) == [2]  # items about one passage are one observation


def test_thoughts_are_not_graded():
    written = Written("<think>5</think>\n\n4", None, cut=False, thought_tokens=3)
    assert spoken(written, "<think></think>") == "4"
    assert spoken(written, None) == written.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*ANSWERS, "technique=cascade"], r"no small model: say technique\.cascade\.path"),
        ([*ANSWERS, "technique=[cascade,gptq]"], "gptq cannot come after cascade.*put cascade last"),
        ([*ANSWERS, STACK, "technique.cascade.path=nowhere"], r"path=nowhere has no config\.json"),
        (["device=cpu", STACK, "task=core"], "cascade is of models that answer in words.*task=answers"),
        (["device=cpu", STACK, "task.names=[sciq,squad]"], "a task here asks how likely"),
        ([*ANSWERS, STACK, "workload=online", "load.rate=1"], "one request after another"),
        ([*ANSWERS, STACK, "engine=openai", "engine.url=http://h"], "needs two servers"),
        ([*ANSWERS, STACK, "task.items=0"], r"task\.items=0 asks all"),
        ([*ANSWERS, STACK, "technique.cascade.risk=0"], r"^technique\.cascade\.risk=0"),
        ([*ANSWERS, STACK, "technique.cascade.threshold=2"], r"^technique\.cascade\.threshold=2"),
        ([*ANSWERS, STACK, "technique.cascade.delta=1"], r"^technique\.cascade\.delta=1"),
        ([*ANSWERS, STACK, "technique.cascade.items=0"], r"^technique\.cascade\.items=0"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence_before_anything_is_loaded(words, said):
    with pytest.raises(UserError, match=said) as refused:
        refuse_here(plan(words, multirun=False)[0].spec, CPU)
    assert "\n" not in str(refused.value)


def test_a_path_beside_a_stack_that_makes_a_small_model_is_refused(smollm2):
    words = [*ANSWERS, STACK, f"technique.cascade.path={smollm2[1]}"]
    with pytest.raises(UserError, match="prune_depth would change none"):
        refuse_here(plan(words, multirun=False)[0].spec, CPU)


def test_too_few_held_back_items_are_refused_before_they_are_asked():
    trust = Trust(None, risk=0.05, delta=0.05, items=100)
    trust.require(59)
    with pytest.raises(UserError, match="needs 59 held-back items or more, and there are 58"):
        trust.require(58)


def test_too_few_are_refused_before_any_model_is_loaded():
    words = [*ANSWERS, STACK, "task.names=[squad,lambada_words]", "technique.cascade.items=29"]
    with pytest.raises(UserError, match="needs 59 held-back items or more, and there are 58"):
        refuse_here(plan(words, multirun=False)[0].spec, CPU)
    refuse_here(plan([*words[:-1], "technique.cascade.items=30"], multirun=False)[0].spec, CPU)


def test_with_a_threshold_all_items_may_be_asked():
    words = [*ANSWERS, STACK, "task.items=0"]
    with pytest.raises(UserError, match=r"say fewer, or technique\.cascade\.threshold"):
        refuse_here(plan(words, multirun=False)[0].spec, CPU)
    refuse_here(plan([*words, "technique.cascade.threshold=0.5"], multirun=False)[0].spec, CPU)


def test_two_models_leave_no_files_of_one(tmp_path):
    with pytest.raises(Unsupported, match="is two models, and files are of one"):
        refuse(plan([*ANSWERS, STACK], multirun=False)[0].spec, tmp_path / "new")


def test_another_vocabulary_is_refused(smollm2, monkeypatch):
    vocabularies = iter([{"a": 0, "b": 1}, {"a": 0, "c": 1}])
    monkeypatch.setattr(
        same_tokens,
        "load_tokenizer",
        lambda spec, path: SimpleNamespace(get_vocab=lambda: next(vocabularies)),
    )
    build = SimpleNamespace(model=SimpleNamespace(name="tiny"), directory=None)
    with pytest.raises(UserError, match="differ in 2 entries of their vocabularies"):
        same_tokens.require_one_vocabulary("technique.cascade.path", build, build)
