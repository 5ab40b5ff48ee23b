"""Log-probabilities are the model's own, however its tokens are laid out, on many architectures."""

from itertools import chain

import pytest
import torch
from helpers.served import load
from helpers.tiny import tiny_llama
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPTNeoXConfig,
    LlamaForCausalLM,
    MambaConfig,
    MistralConfig,
    Qwen2Config,
)

from greenbench.engines.query import Query
from greenbench.engines.transformers import prefix_attention, prefix_forward
from greenbench.engines.transformers.prefix_forward import Forward
from greenbench.engines.transformers.prefix_tree import PREFIX, plan
from greenbench.models import texts

SMALL = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "initializer_range": 0.2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = {**SMALL, "num_key_value_heads": 2, "head_dim": 8}
LAYERS = ["sliding_attention", "full_attention", "sliding_attention"]
CONFIGS = {
    "gemma3": Gemma3TextConfig(**GROUPED, sliding_window=8, layer_types=LAYERS),
    "mistral": MistralConfig(**GROUPED, sliding_window=8),
    "qwen2": Qwen2Config(**{k: v for k, v in GROUPED.items() if k != "head_dim"}),
    "gpt_neox": GPTNeoXConfig(**SMALL),
}


def lively(model, seed=0):
    """Weights large enough for every token to matter."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                weights.normal_(0, 0.2)
    return model.eval()


def expected(model, queries):
    """From one plain forward pass for each query."""
    logs, greedy = [], []
    for tokens, targets in queries:
        with torch.no_grad():
            logits = model(torch.tensor([tokens])).logits[0, -len(targets) :].float()
        wanted = torch.tensor(targets)
        logs.append(logits.log_softmax(-1).gather(1, wanted[:, None])[:, 0])
        greedy.append(logits.argmax(-1) == wanted)
    return torch.cat(logs), torch.cat(greedy)


def scored(runner, batches, count):
    """In the order of queries and their targets."""
    logs, greedy = ([[] for _ in range(count)] for _ in range(2))
    for batch in batches:
        scores = runner(batch)
        for owner, nats, hit in zip(batch.owners.tolist(), *scores, strict=True):
            logs[owner].append(nats)
            greedy[owner].append(hit)
    return torch.stack([*chain(*logs)]), torch.stack([*chain(*greedy)])


@pytest.fixture(scope="module")
def llama():
    model = lively(tiny_llama())
    return model, Forward(model)


@st.composite
def queries(draw):
    token = st.integers(0, 96)
    start = draw(st.sampled_from([[], list(range(PREFIX + 5))]))
    stems = draw(st.lists(st.lists(token, max_size=9), min_size=1, max_size=3))
    asked = []
    for _ in range(draw(st.integers(1, 8))):
        before = [*start, *draw(st.sampled_from(stems)), draw(token)]
        after = draw(st.lists(token, min_size=1, max_size=4))
        asked.append(Query((*before, *after[:-1]), tuple(after)))
    return asked


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(queries(), st.sampled_from([1, 30, 1024]), st.sampled_from([1, 10**6]))
def test_shared_tokens_give_each_query_its_own_scores(llama, asked, budget, least):
    model, runner = llama
    assert runner.trees
    found = scored(runner, plan(asked, budget, least=least), len(asked))
    logs, greedy = expected(model, asked)
    torch.testing.assert_close(found[0], logs, rtol=1e-4, atol=1e-4)
    assert torch.equal(found[1], greedy)


def test_of_tokens_that_are_as_likely_only_the_first_is_greedy():
    """So lm-eval sees it; in 16 bits such ties are common."""
    model = lively(tiny_llama())
    half = len(model.lm_head.weight) // 2
    with torch.no_grad():
        model.lm_head.weight[half : 2 * half] = model.lm_head.weight[:half]
        first = [int(model(torch.tensor([[3, n]])).logits[0, -1].argmax()) for n in range(9)]
    asked = [Query((3, n), (token + twin,)) for n, token in enumerate(first) for twin in (0, half)]
    _, greedy = scored(Forward(model), plan(asked, 64), len(asked))
    assert greedy.tolist() == [True, False] * 9


def family(start=PREFIX + 6):
    """Three questions under one beginning, two endings each, and one on its own."""
    beginning = tuple((7 * n) % 97 for n in range(start))
    asked = []
    for question in ((3, 1, 4, 1), (5, 9, 2, 6), (5, 9, 3)):
        for ending in ((8, 9, 7), (8, 5, 6, 2)):
            asked.append(Query((*beginning, *question, *ending[:-1]), ending))
    return [*asked, Query((11, 12, 13, 14), (15, 16))]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("attention", ["sdpa", "sdpa, padded as on a GPU", "eager"])
def test_architectures_with_their_own_masks_get_their_own_scores(name, attention, monkeypatch):
    if attention.endswith("GPU"):
        monkeypatch.setattr(prefix_attention, "BY_GRAIN", set())
    attention, *_ = attention.split(",")
    model = AutoModelForCausalLM.from_config(CONFIGS[name], attn_implementation=attention)
    model = lively(model)
    runner = Forward(model)
    assert runner.trees
    batches = plan(family(), 512, least=1)
    assert {len(batch.prefix) for batch in batches} == {0, PREFIX}
    logs, greedy = expected(model, family())
    found = scored(runner, batches, 7)
    torch.testing.assert_close(found[0], logs, rtol=1e-4, atol=1e-4)
    assert torch.equal(found[1], greedy)


def plain_scores(model, trees=False):
    runner = Forward(model)
    assert runner.trees is trees
    batches = plan(family(), runner.budget, trees=runner.trees, least=1)
    return scored(runner, batches, 7)[0]


def test_a_recurrent_model_is_fed_plain_rows():
    config = MambaConfig(vocab_size=97, hidden_size=32, num_hidden_layers=2, state_size=4)
    model = lively(AutoModelForCausalLM.from_config(config))
    torch.testing.assert_close(
        plain_scores(model), expected(model, family())[0], rtol=1e-4, atol=1e-4
    )


class NoMask(LlamaForCausalLM):
    """Takes a mask and does not heed it."""

    def forward(self, input_ids, attention_mask=None, position_ids=None, **options):
        return super().forward(input_ids, position_ids=position_ids, **options)


class TwoHeads(LlamaForCausalLM):
    """Asks its head twice, as early exit does."""

    def forward(self, input_ids, **options):
        self.lm_head(torch.zeros(1, 1, self.config.hidden_size))
        return super().forward(input_ids, **options)


@pytest.mark.parametrize(("kind", "trees"), [(NoMask, False), (TwoHeads, True)])
def test_a_model_that_would_answer_wrongly_is_found_out(kind, trees):
    reference = lively(tiny_llama())
    model = kind(reference.config).eval()
    model.load_state_dict(reference.state_dict())
    torch.testing.assert_close(
        plain_scores(model, trees), expected(reference, family())[0], rtol=1e-4, atol=1e-4
    )


def test_a_batch_that_does_not_fit_is_halved(llama, monkeypatch):
    runner = llama[1]
    batches = plan(family(), 512)
    expect = scored(runner, batches, 7)[0]
    sizes, real = [], Forward.logits

    def limited(self, batch):
        sizes.append(len(batch.tokens))
        if len(batch.tokens) > 1:
            raise torch.OutOfMemoryError("no room")
        return real(self, batch)

    monkeypatch.setattr(Forward, "logits", limited)
    many = plan(family(), 512, trees=False)
    monkeypatch.setattr(runner, "trees", False)
    torch.testing.assert_close(scored(runner, many, 7)[0], expect, rtol=1e-4, atol=1e-4)
    assert max(sizes) > 1
    monkeypatch.setattr(
        Forward, "logits", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("no room"))
    )
    with pytest.raises(torch.OutOfMemoryError):
        runner(many[0])


def test_scoring_leaves_no_hook_and_no_gradient(llama):
    model, runner = llama
    scored(runner, plan(family(), 512, least=1), 7)
    assert not model.lm_head._forward_pre_hooks
    assert all(weights.grad is None for weights in model.parameters())


def test_the_batch_follows_the_free_memory(llama, monkeypatch):
    model, runner = llama
    assert runner.budget == prefix_forward.PAYS["cpu"] * torch.get_num_threads()
    assert runner.least == prefix_forward.PAYS["cpu"]
    held = 8 * 256 + 64 * 64
    monkeypatch.setattr(prefix_forward, "_free_bytes", lambda _: 2 * 100 * held)
    assert Forward(model).budget == 64
    monkeypatch.setattr(prefix_forward, "_free_bytes", lambda _: 0)
    assert Forward(model).budget == 1


def test_a_model_whose_forward_depends_on_the_cache_is_scored_as_it_generates():
    """Its cache in 2 bits must be seen by scoring: neither refused nor shared between endings."""
    from greenbench.techniques import Preparation
    from greenbench.techniques.quantization.kv_cache import KvQuanto

    queries = [Query(tuple(range(5, 5 + n)), (7, 9)) for n in (20, 24)]
    batches = plan(queries, 512, trees=False)
    model = lively(tiny_llama())
    before = torch.cat([Forward(model)(batch).log_likelihoods for batch in batches])
    work = Preparation(torch.device("cpu"), None, list)
    technique = KvQuanto(nbits=2, q_group_size=16)
    edited = technique.edit(model, work)
    scorer = Forward(edited.model, whole=edited.scored_whole)
    assert not scorer.trees
    after = torch.cat([scorer(batch).log_likelihoods for batch in batches])
    assert (after - before).abs().max() > 1e-3


@pytest.mark.slow
def test_in_16_bits_a_tree_gives_nearly_all_the_bits_of_single_rows(smollm2):
    """Masked attention over whole rows, which adds up in other groups, gives a fifth of them."""
    spec, path = smollm2
    model, tokenizer = load(spec, path, torch.device("cpu"))
    asked = []
    for text in texts.passages("evaluate")[:12]:
        tokens = tokenizer(text)["input_ids"]
        for size in (3, 12, 25):
            ending = tokens[40 + size : 40 + 2 * size]
            asked.append(Query((*tokens[:40], *ending[:-1]), tuple(ending)))
    runner = Forward(model, torch.float32)
    found, _ = scored(runner, plan(asked, runner.budget), len(asked))
    logs, _ = expected(model, asked)
    assert (found - logs).abs().lt(1e-4).float().mean() > 0.9
