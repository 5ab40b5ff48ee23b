"""Self-speculative decoding gives what greedy decoding gives, token by token, and counts its drafts."""

import copy

import pytest
import torch
from helpers.served import generate, load
from helpers.techniques import live
from helpers.tiny import small
from transformers.generation.streamers import BaseStreamer

from greenbench.engines.transformers.load import config as config_of
from greenbench.errors import UserError
from greenbench.models import texts
from greenbench.models.parts import decoder_blocks
from greenbench.schema.enums import Stop
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques import Preparation
from greenbench.techniques.early_exit.draft_forward import Halves
from greenbench.techniques.early_exit.heads import ExitHead
from greenbench.techniques.early_exit.self_speculative import SelfSpeculative

NEW = 14
OPTIONS = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}


class Letters:
    """A tokenizer for the tiny model."""

    def __call__(self, text, return_tensors="pt", truncation=True, max_length=64):
        return {"input_ids": torch.tensor([[2 + ord(letter) for letter in text][:max_length]])}


def prepared(model, **knobs):
    """The model made to speculate, and what it shows while it runs."""
    work = Preparation(torch.device("cpu"), Letters(), lambda: ["abcdefgh" * 4, "hgfedcba" * 4])
    technique = SelfSpeculative(**{"steps": 2, **knobs})
    return live(technique, model, work), work


def prompt(seed, length=9):
    return torch.randint(3, 256, (1, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("drafts", [1, 2, 5, 40])
@pytest.mark.parametrize("head", ["lens", "low_rank", "affine"])
def test_it_is_greedy_decoding(tiny, drafts, head):
    plain = copy.deepcopy(tiny)
    model, work = prepared(tiny, drafts=drafts, head=head, exit=3)
    for seed in range(6):
        assert torch.equal(
            model.generate(prompt(seed), **OPTIONS), plain.generate(prompt(seed), **OPTIONS)
        )
    seen = work.observed
    assert 0 < seen["accepted"] < seen["drafted"]
    # Each round gives its accepted drafts and one token more; the first token is the prompt's.
    assert seen["accepted"] + seen["rounds"] == 6 * (NEW - 1)
    assert seen["acceptance_rate"] == seen["accepted"] / seen["drafted"]


def test_a_text_ends_where_greedy_decoding_ends_it(tiny):
    """Also in the middle of a round."""
    plain = copy.deepcopy(tiny)
    model, _ = prepared(tiny, drafts=4, exit=3)
    options = {"max_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}
    lengths = set()
    for seed in range(6):
        last = plain.generate(prompt(seed), **OPTIONS)[0]
        for end in last[10:14].tolist():
            wanted = plain.generate(prompt(seed), eos_token_id=end, **options)
            assert torch.equal(model.generate(prompt(seed), eos_token_id=end, **options), wanted)
            lengths.add(wanted.shape[1])
    assert len(lengths) > 2


def test_padding_on_the_left_does_not_matter(tiny):
    plain = copy.deepcopy(tiny)
    model, _ = prepared(tiny, exit=2)
    ids = torch.cat([torch.zeros(1, 4, dtype=torch.long), prompt(0)], dim=1)
    mask = (ids > 0).long()
    assert torch.equal(
        model.generate(ids, attention_mask=mask, **OPTIONS),
        plain.generate(ids, attention_mask=mask, **OPTIONS),
    )


def test_no_block_runs_twice_for_a_token(tiny):
    """Early blocks see each drafted token once, later ones only in verification, on the same states."""
    seen = [0] * 4
    for index, block in enumerate(decoder_blocks(tiny)):
        plain = block.forward

        def forward(hidden, index=index, plain=plain, **kwargs):
            seen[index] += hidden.shape[1]
            return plain(hidden, **kwargs)

        block.forward = forward
    model, work = prepared(tiny, drafts=3, exit=2)
    seen[:] = [0] * 4
    model.generate(prompt(0), **OPTIONS)
    drafted, rounds = work.observed["drafted"], work.observed["rounds"]
    assert seen == [9 + drafted + rounds] * 4


def test_drafts_are_the_early_blocks_own(tiny):
    """With the logit lens, a draft is what the model of the first two blocks says."""
    from transformers import DynamicCache

    from greenbench.techniques.pruning.depth import keep_blocks

    cut = copy.deepcopy(tiny)
    keep_blocks(cut, [0, 1])
    halves = Halves(tiny, ExitHead(64, "lens", 0), 2)
    cache = DynamicCache(config=tiny.config)
    with torch.no_grad():
        whole = tiny(prompt(0)).logits[:, -1]
        assert torch.allclose(
            halves.whole(prompt(0)[:, :-1], cache), tiny(prompt(0)[:, :-1]).logits[:, -1], atol=1e-5
        )
        draft = halves.draft(prompt(0)[:, -1:], cache)
        assert torch.allclose(draft, cut(prompt(0)).logits[:, -1], atol=1e-5)
        assert torch.allclose(halves.verify(prompt(0)[:, -1:], cache), whole, atol=1e-5)


@pytest.mark.parametrize("kind", ["gemma3", "neox", "qwen3"])
def test_other_decoders_speculate_alike(kind):
    model = small(kind)
    wanted = [model.generate(prompt(seed), **OPTIONS) for seed in range(3)]
    model, work = prepared(model, drafts=3, exit=2)
    for seed in range(3):
        assert torch.equal(model.generate(prompt(seed), **OPTIONS), wanted[seed])
    assert work.observed["drafted"] > 0


def test_a_request_is_timed_token_by_token(tiny):
    """The workload's own call, with its streamer, for a fixed and a natural end."""
    model, _ = prepared(tiny, drafts=3, exit=3)
    for stop in Stop:
        done = generate(model, prompt(0), NEW, stop)
        assert done.tokens == len(done.gaps_s) + 1


class Watcher(BaseStreamer):
    def __init__(self):
        self.seen, self.ended = [], False

    def put(self, value):
        self.seen += value.flatten().tolist()

    def end(self):
        self.ended = True


def test_the_streamer_hears_every_token_once(tiny):
    model, _ = prepared(tiny, drafts=3, exit=3)
    watcher = Watcher()
    out = model.generate(prompt(0), streamer=watcher, **OPTIONS)
    assert watcher.seen == out[0].tolist()
    assert watcher.ended


def test_scores_are_untouched(tiny):
    plain = copy.deepcopy(tiny)
    model, _ = prepared(tiny)
    assert torch.equal(model(prompt(0)).logits, plain(prompt(0)).logits)


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"exit": 30}, r"self_speculative.exit=30 is after 30 blocks"),
        ({"exit": 2.5}, r"exit=2\.5 is out of range"),
        ({"drafts": 0}, r"drafts=0 is out of range"),
        ({"head": "mlp"}, r"head=mlp is unknown"),
    ],
)
def test_a_bad_knob_is_one_sentence(knobs, sentence, smollm2):
    with pytest.raises(UserError, match=sentence):
        SelfSpeculative(**knobs).check_model(config_of(*smollm2), WorkloadSpec("w"))


def test_a_batch_is_refused_in_one_sentence(smollm2, tiny):
    with pytest.raises(UserError, match=r"workload\.batch_size=8: set it to 1"):
        SelfSpeculative().check_model(config_of(*smollm2), WorkloadSpec("w", batch_size=8))
    model, _ = prepared(tiny)
    with pytest.raises(UserError, match="one sequence greedily"):
        model.generate(prompt(0).repeat(2, 1), **OPTIONS)


def real(smollm2, count, new, **knobs):
    """`count` prompts through the real model in float32, with and without the technique."""
    spec, path = smollm2
    model, tokenizer = load(spec, path, torch.device("cpu"))
    model = model.float()
    ids = [
        tokenizer(text, return_tensors="pt", truncation=True, max_length=16)["input_ids"]
        for text in texts.passages("prompt")[:count]
    ]
    options = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False}
    wanted = [model.generate(each, **options) for each in ids]
    work = Preparation(torch.device("cpu"), tokenizer, lambda: texts.passages("calibrate"))
    model = live(SelfSpeculative(**knobs), model, work)
    for each, want in zip(ids, wanted, strict=True):
        assert torch.equal(model.generate(each, **options), want)
    return work.observed


@pytest.mark.slow
def test_the_real_model_says_the_same(smollm2):
    seen = real(smollm2, 3, 8, steps=0, passages=12, tokens=24)
    assert seen["accepted"] + seen["rounds"] == 3 * 7


@pytest.mark.slow
def test_the_real_model_says_the_same_on_50_prompts(smollm2):
    seen = real(smollm2, 50, 12, drafts=3, steps=0)
    assert seen["accepted"] + seen["rounds"] == 50 * 11
    assert 0 < seen["accepted"] < seen["drafted"]
