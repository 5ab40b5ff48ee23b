"""The model class answers as lm-eval's own does, request by request."""

import logging
import threading
from types import SimpleNamespace

import pytest
import torch
from helpers.served import load
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lm_eval.models.huggingface import HFLM
from transformers import GPT2Config, GPT2LMHeadModel

from greenbench.engines.transformers.scoring import LoadedModel, ahead
from greenbench.quality.lm_eval_quiet import quiet
from greenbench.quality.tasks import load_tasks, pick_items
from greenbench.schema.spec import TaskSpec

TASKS = ["arc_easy", "piqa", "sst2"]


def asked(*args):
    return SimpleNamespace(args=args)


def both(model, tokenizer, **options):
    """Stock and ours around one model."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    with quiet():
        return (
            HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4, **options),
            LoadedModel(model, tokenizer, **options),
        )


def questions(names, items, fewshot=0):
    """Requests of each item, by task."""
    spec = TaskSpec(names=names, items=items, fewshot=fewshot)
    found = {}
    for name, task in load_tasks(spec).items():
        with quiet():
            task.build_all_requests(samples=pick_items(name, len(task.eval_docs), spec))
        found[name] = task.instances
    return found


def compare(stock, ours, requests):
    """Every request: log-likelihood to 1e-4, the greedy flag, and every item's choice."""
    theirs = stock.loglikelihood(requests, disable_tqdm=True)
    mine = ours.loglikelihood(requests)
    assert [nats for nats, _ in mine] == pytest.approx([nats for nats, _ in theirs], rel=1e-4)
    assert [greedy for _, greedy in mine] == [greedy for _, greedy in theirs]
    chosen = {}
    for answers in (theirs, mine):
        best = {}
        for request, (nats, _) in zip(requests, answers, strict=True):
            best.setdefault(request.doc_id, []).append((nats, nats / len(request.args[1])))
        picks = [
            tuple(max(range(len(options)), key=lambda i, o=options, k=k: o[i][k]) for k in (0, 1))
            for options in best.values()
        ]
        chosen[id(answers)] = picks
    first, second = chosen.values()
    assert first == second
    return len(first)


@pytest.mark.parametrize("name", TASKS)
def test_40_items_have_the_answers_of_stock(small_model, tokenizer, name):
    stock, ours = both(small_model, tokenizer)
    assert ours.forward.trees
    assert compare(stock, ours, questions([name], 40)[name]) == 40


@pytest.mark.parametrize("name", ["hellaswag", "mmlu"])
def test_few_shot_items_have_the_answers_of_stock(small_model, tokenizer, name):
    stock, ours = both(small_model, tokenizer)
    assert compare(stock, ours, questions([name], 4, fewshot=3)[name]) == 4


def test_the_real_model_answers_as_with_stock(smollm2):
    spec, path = smollm2
    model, tokenizer = load(spec, path, torch.device("cpu"))
    stock, ours = both(model.float(), tokenizer)
    requests = questions(["arc_easy", "sst2"], 6)
    assert compare(stock, ours, requests["arc_easy"]) == 6
    assert compare(stock, ours, requests["sst2"]) == 6


@pytest.mark.parametrize("softmax_dtype", [None, pytest.param("float32", marks=pytest.mark.slow)])
def test_in_16_bits_answers_are_rounded_as_by_stock(smollm2, softmax_dtype):
    spec, path = smollm2
    stock, ours = both(*load(spec, path, torch.device("cpu")), softmax_dtype=softmax_dtype)
    stock.batch_size_per_gpu = 1  # padding moves the last bits of 16
    requests = questions(["arc_easy"], 12)["arc_easy"]
    theirs = stock.loglikelihood(requests, disable_tqdm=True)
    mine = ours.loglikelihood(requests)
    rounded = [torch.tensor(nats).bfloat16().item() == nats for nats, _ in mine]
    assert all(rounded) is (softmax_dtype is None)
    same = [a == pytest.approx(b, rel=1e-6) for a, b in zip(mine, theirs, strict=True)]
    assert sum(same) / len(same) > 0.9


@pytest.mark.parametrize("positions", [5, 24, 70])
def test_a_model_with_few_learned_positions_is_not_tried_with_more(tokenizer, positions):
    torch.manual_seed(0)
    shape = GPT2Config(
        vocab_size=len(tokenizer), n_positions=positions, n_embd=32, n_layer=2, n_head=2
    )
    stock, ours = both(GPT2LMHeadModel(shape).eval(), tokenizer)
    pairs = [("Is ice cold?", " yes"), ("Is ice cold?", " no"), (" and on" * 80, " it went")]
    requests = [asked(*pair) for pair in pairs]
    theirs = stock.loglikelihood(requests, disable_tqdm=True)
    found = ours.loglikelihood(requests)
    assert [nats for nats, _ in found] == pytest.approx([nats for nats, _ in theirs], rel=1e-4)


@pytest.fixture(scope="module")
def short(make_model, tokenizer):
    """Stock and ours around a model of 20 positions."""
    model = make_model()
    model.config.max_position_embeddings = 20
    return both(model, tokenizer)


token = st.integers(0, 500)
pair = st.tuples(st.lists(token, min_size=1, max_size=25), st.lists(token, min_size=1, max_size=20))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(pair, min_size=1, max_size=6), st.lists(token, max_size=15))
def test_token_sequences_that_share_beginnings_or_are_too_long(short, pairs, start):
    stock, ours = short
    cut = [(([*start, *before])[:25], after) for before, after in pairs]
    cut += [(before, after[:1]) for before, after in cut]
    theirs = stock._loglikelihood_tokens([(None, *one) for one in cut], disable_tqdm=True)
    requests = [asked(number) for number in range(len(cut))]
    mine = ours._answers("", requests, lambda args: [ours._query(*cut[args[0]])])
    assert [nats for nats, _ in mine] == pytest.approx([nats for nats, _ in theirs], rel=1e-4)
    assert [greedy for _, greedy in mine] == [greedy for _, greedy in theirs]


TEXTS = [
    ("", " alone"),
    ("", "<|endoftext|>after the token that stands for nothing"),
    ("The cat ", "sat"),
    ("The cat", " sat"),
    ("The cat", " sat on the mat, and then the dog came in and the cat was gone at once"),
    ("A word " * 30, " again"),
    ("The cat", " sat"),
]


def test_texts_become_the_tokens_of_stock(short):
    stock, ours = short
    requests = [asked(*text) for text in TEXTS]
    theirs = stock.loglikelihood(requests, disable_tqdm=True)
    mine = ours.loglikelihood(requests)
    assert [nats for nats, _ in mine] == pytest.approx([nats for nats, _ in theirs], rel=1e-4)
    assert ours.loglikelihood([]) == []


def test_whole_texts_have_the_likelihoods_of_stock(short):
    stock, ours = short
    requests = [asked("The cat sat on the mat. " * n) for n in (1, 2, 9)]
    theirs = stock.loglikelihood_rolling(requests, disable_tqdm=True)
    assert ours.loglikelihood_rolling(requests) == pytest.approx(theirs, rel=1e-4)
    assert ours.loglikelihood_rolling([asked("")]) == [0.0]


def test_a_continuation_longer_than_the_model_is_refused(short):
    with pytest.raises(ValueError, match="takes 1 to 20"):
        short[1].loglikelihood([asked("a", " b" * 30)])
    with pytest.raises(ValueError, match="0 tokens"):
        short[1].loglikelihood([asked("a", "")])


def test_the_next_item_is_made_in_a_thread_while_one_is_used():
    started = [threading.Event() for _ in range(3)]

    def items():
        for number, event in enumerate(started):
            event.set()
            yield number

    seen = []
    for number in ahead(items()):
        if number < 2:
            assert started[number + 1].wait(timeout=30)
        seen.append(number)
    assert seen == [0, 1, 2]


def test_an_error_in_the_thread_is_raised():
    def items():
        yield 1
        raise RuntimeError("no such token")

    with pytest.raises(RuntimeError, match="no such token"):
        list(ahead(items()))
