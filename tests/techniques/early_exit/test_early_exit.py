"""Early exit, against a slow reference that loops over tokens, closed forms and simulation."""

import copy
import math
import random

import pytest
import torch
from helpers.techniques import live
from helpers.tiny import small
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DynamicCache

from greenbench.engines.transformers.load import config as config_of
from greenbench.errors import UserError
from greenbench.models.parts import decoder_blocks
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques import Preparation
from greenbench.techniques.early_exit import features
from greenbench.techniques.early_exit import heads as exit_heads
from greenbench.techniques.early_exit.confidence import CONFIDENCES, FROM_LOGITS, saturation
from greenbench.techniques.early_exit.depth_tally import Tally, costs
from greenbench.techniques.early_exit.early_exit import EarlyExit
from greenbench.techniques.early_exit.forward import Exiting, Rule
from greenbench.techniques.early_exit.heads import ExitHead
from greenbench.techniques.early_exit.threshold import candidates, choose, p_value, predicted_loss
from greenbench.techniques.pruning.depth import keep_blocks

PROMPT, NEW = 6, 10
OPTIONS = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}


def prompts(rows=3, length=PROMPT, seed=1):
    return torch.randint(3, 256, (rows, length), generator=torch.Generator().manual_seed(seed))


def random_head(width, seed):
    torch.manual_seed(seed)
    head = ExitHead(width, "affine", 0)
    for weight in head.parameters():
        weight.data.normal_(std=0.3)
    head.bias.data *= 0.02  # hidden states of a random model are small
    head.gate.data[-1] = 0
    return head.requires_grad_(False)


def exiting(model, confidence="classifier", threshold=0.5, exits=(1, 3), heads=None):
    """`model`, made to exit by random heads after some of its blocks."""
    heads = heads or {exit: random_head(model.config.hidden_size, exit) for exit in exits}
    tally = Tally({}, costs(model), len(decoder_blocks(model)))
    run = Exiting(model, heads, Rule(confidence, threshold), tally)
    run.watched = model
    return run


def sharpened(model):
    """A random model's distributions are flat; these are not, so confidence differs by token."""
    model.lm_head.weight.data *= 12
    return model.requires_grad_(False)


def halfway(model, confidence):
    """A threshold that about half of the decisions reach, in a gap so that rounding decides nothing."""
    probe, seen = exiting(copy.deepcopy(model), confidence, 1.0), []
    plain = probe.confidence

    def watched(*states):
        seen.append(plain(*states)[0].flatten())
        return plain(*states)

    probe.confidence = watched
    probe.watched(prompts(8, 32), use_cache=False)
    values = torch.cat(seen).sort().values
    middle = values[len(values) * 2 // 5 : len(values) * 3 // 5]
    widest = int(middle.diff().argmax())
    return float(middle[widest : widest + 2].mean())


class Reference:
    """One token at a time, one sequence at a time, in a Llama's own arithmetic: slow and plain."""

    def __init__(self, model, heads, rule, first):
        """Tokens before position `first` take all blocks."""
        self.model, self.heads, self.rule, self.first = model, heads, rule, first
        self.keys = [[] for _ in model.model.layers]
        self.values = [[] for _ in model.model.layers]
        self.depths = []

    def turn(self, vectors, position):
        """Rotary embedding of (heads, width) at `position`."""
        half = vectors.shape[-1] // 2
        theta = self.model.config.rope_parameters["rope_theta"]
        angles = position * theta ** (-torch.arange(half) / half)
        cos, sin = angles.cos(), angles.sin()
        left, right = vectors[:, :half], vectors[:, half:]
        return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)

    def sure(self, exit, before, state):
        head, norm = self.heads[exit], self.model.model.norm
        if self.rule.confidence == "saturation":
            return float(torch.dot(before, state) / before.norm() / state.norm())
        if self.rule.confidence == "classifier":
            normed = norm(head(state))
            return float(torch.sigmoid(normed @ head.gate[:-1] + head.gate[-1]))
        chances = self.model.lm_head(norm(head(state))).softmax(-1).sort(descending=True).values
        if self.rule.confidence == "top1":
            return float(chances[0])
        if self.rule.confidence == "margin":
            return float(chances[0] - chances[1])
        return 1 + float((chances * chances.log()).sum()) / math.log(len(chances))

    def attend(self, block, layer, normed, position):
        attention = block.self_attn
        query = self.turn(attention.q_proj(normed).view(4, 16), position)
        keys = torch.stack(self.keys[layer]).repeat_interleave(2, dim=1)
        values = torch.stack(self.values[layer]).repeat_interleave(2, dim=1)
        weights = (torch.einsum("hd,thd->ht", query, keys) / 4).softmax(dim=-1)
        return attention.o_proj(torch.einsum("ht,thd->hd", weights, values).flatten())

    def step(self, token):
        """Logits after one more token."""
        position, left = len(self.depths), None
        state = before = self.model.model.embed_tokens.weight[token]
        for layer, block in enumerate(self.model.model.layers):
            if left is None and layer in self.heads and position >= self.first:
                left = layer if self.sure(layer, before, state) >= self.rule.threshold else None
            normed = block.input_layernorm(state)
            attention = block.self_attn
            self.keys[layer].append(self.turn(attention.k_proj(normed).view(2, 16), position))
            self.values[layer].append(attention.v_proj(normed).view(2, 16))
            if left is None:
                before = state
                state = state + self.attend(block, layer, normed, position)
                state = state + block.mlp(block.post_attention_layernorm(state))
        self.depths.append(len(self.keys) if left is None else left)
        state = state if left is None else self.heads[left](state)
        return self.model.lm_head(self.model.model.norm(state))


def step_by_step(model, ids, prompt=PROMPT):
    """Logits (rows, tokens after the prompt, vocabulary) of decoding given tokens, and the cache."""
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        model(ids[:, :prompt], past_key_values=cache)
        steps = [
            model(ids[:, t : t + 1], past_key_values=cache).logits
            for t in range(prompt, ids.shape[1])
        ]
    return torch.cat(steps, dim=1), cache


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_decoding_is_what_a_loop_over_tokens_gives_with_its_keys_and_values(tiny, confidence):
    model = sharpened(tiny)
    threshold = halfway(model, confidence)
    plain, ids = copy.deepcopy(model), prompts(3, PROMPT + NEW)
    run = exiting(model, confidence, threshold)
    logits, cache = step_by_step(model, ids)
    model(prompts(3, 2), past_key_values=cache)  # several tokens run whole: all blocks catch up
    depths = []
    for row, sequence in enumerate(ids.tolist()):
        slow = Reference(plain, run.heads, run.rule, first=PROMPT)
        wanted = torch.stack([slow.step(token) for token in sequence])
        assert torch.allclose(logits[row], wanted[PROMPT:], atol=2e-4)
        depths += slow.depths[PROMPT:]
        for layer in range(4):
            keys = torch.stack(slow.keys[layer]).transpose(0, 1)
            values = torch.stack(slow.values[layer]).transpose(0, 1)
            assert torch.allclose(cache.layers[layer].keys[row, :, :-2], keys, atol=1e-4)
            assert torch.allclose(cache.layers[layer].values[row, :, :-2], values, atol=1e-4)
    assert len(set(depths)) > 1  # some left and some did not


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_scoring_gives_each_position_what_decoding_would(tiny, confidence):
    model = sharpened(tiny)
    plain, ids = copy.deepcopy(model), prompts(2, 20)
    run = exiting(model, confidence, halfway(plain, confidence))
    logits = model(ids).logits
    for row, sequence in enumerate(ids.tolist()):
        slow = Reference(plain, run.heads, run.rule, first=0)
        wanted = torch.stack([slow.step(token) for token in sequence])
        assert torch.allclose(logits[row], wanted, atol=2e-4)
        assert run.depths[row].tolist() == slow.depths
    assert torch.allclose(model(ids, logits_to_keep=3).logits, logits[:, -3:], atol=1e-5)


def test_rows_of_a_batch_exit_alone(tiny):
    """Three sequences that exit at different depths in the same steps give what each gives alone."""
    model = sharpened(tiny)
    run = exiting(model, threshold=halfway(model, "classifier"))
    depths = []
    plain = run.tally.left
    run.tally.left = lambda depth, tokens: (depths.append((depth, tokens)), plain(depth, tokens))
    together = model.generate(prompts(), **OPTIONS)
    assert any(0 < tokens < 3 for _, tokens in depths)
    for row in range(3):
        alone = model.generate(prompts()[row : row + 1], **OPTIONS)
        assert torch.equal(together[row], alone[0])


def test_padding_does_not_matter(tiny):
    model = sharpened(tiny)
    exiting(model, threshold=halfway(model, "classifier"))
    short = prompts(1, 4)
    padded = torch.cat([torch.zeros(1, 3, dtype=torch.long), short], dim=1)
    batch = torch.cat([padded, prompts(1, 7, seed=5)])
    mask = torch.ones_like(batch)
    mask[0, :3] = 0
    out = model.generate(batch, attention_mask=mask, **OPTIONS)
    assert torch.equal(out[0, 3:], model.generate(short, **OPTIONS)[0])


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_at_threshold_1_it_is_the_full_model(tiny, confidence):
    model = sharpened(tiny)
    with torch.no_grad():
        whole, scores = model.generate(prompts(), **OPTIONS), model(prompts()).logits
    run = exiting(model, confidence, 1.0)
    assert torch.equal(model.generate(prompts(), **OPTIONS), whole)
    assert torch.equal(model(prompts()).logits, scores)
    assert run.tally.observed["tokens_by_depth"] == {
        "4": 3 * (NEW - 1)
    }  # the first is the prompt's


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_at_threshold_0_it_is_the_model_cut_at_the_first_exit(tiny, confidence):
    """With the logit lens for a head, it is the model of the first two blocks."""
    cut = copy.deepcopy(sharpened(tiny))
    keep_blocks(cut, [0, 1])
    run = exiting(tiny, confidence, 0.0, heads={2: ExitHead(64, "lens", 0)})
    ids = prompts(3, PROMPT + NEW)
    logits, cache = step_by_step(tiny, ids)
    wanted, _ = step_by_step(cut, ids)
    assert torch.allclose(logits, wanted, atol=1e-4)
    assert torch.allclose(tiny(ids).logits, cut(ids).logits, atol=1e-4)
    assert cache.layers[2].get_seq_length() == PROMPT  # nothing needed the rest: nothing was filled
    seen = run.tally.observed
    assert seen["mean_depth"] == 2
    assert (seen["flops_ratio"], seen["key_value_fills"]) == (0.5, 0)


@pytest.mark.parametrize("kind", ["gemma3", "neox", "qwen3"])
def test_other_decoders_exit_alike(kind):
    """Beyond a sliding window too: a batch is its rows, and scoring is decoding from the first token."""
    model = small(kind)
    whole = model.generate(prompts(), **OPTIONS)
    run = exiting(model, "classifier", 1.0, exits=(2, 3))
    assert torch.equal(model.generate(prompts(), **OPTIONS), whole)
    for head in run.heads.values():
        head.gate.data *= 3
    run.rule = Rule("classifier", 0.5)
    together = model.generate(prompts(), **OPTIONS)
    assert len(run.tally.observed["tokens_by_depth"]) > 1
    for row in range(3):
        assert torch.equal(
            together[row : row + 1], model.generate(prompts()[row : row + 1], **OPTIONS)
        )
    ids = prompts(2, 1 + NEW)
    scored = model(ids, use_cache=False).logits[:, 1:]
    decoded, _ = step_by_step(model, ids, prompt=1)
    same = run.depths[:, 0] == 4  # its first token, decoded, is a prompt and takes all blocks
    assert torch.allclose(scored[same], decoded[same], atol=1e-4)


def test_the_tally_counts_what_ran(tiny):
    model = sharpened(tiny)
    calls = {"block": 0, "head": 0}
    ran = [block.forward for block in model.model.layers]

    def counted(index):
        def forward(hidden, **kwargs):
            out = ran[index](hidden, **kwargs)  # a fill ends in an exception: not counted
            calls["block"] += len(hidden) * hidden.shape[1]
            return out

        return forward

    for index, block in enumerate(model.model.layers):
        block.forward = counted(index)
    plain = model.lm_head.forward
    model.lm_head.forward = lambda x: calls.update(head=calls["head"] + x.shape[0]) or plain(x)
    run = exiting(model, "top1", halfway(model, "top1"))
    calls.update(block=0, head=0)
    model.generate(prompts(), **OPTIONS)
    seen, tokens = run.tally.observed, 3 * (NEW - 1)
    assert seen["tokens"] == sum(seen["tokens_by_depth"].values()) == tokens
    assert seen["blocks_run"] == calls["block"] - 3 * PROMPT * 4
    assert seen["blocks_run"] == sum(int(d) * n for d, n in seen["tokens_by_depth"].items())
    assert seen["extra_heads"] == calls["head"] - 3 - tokens
    block = 64 * (64 + 32 + 32 + 64) + 3 * 64 * 128
    fill = 64 * (64 + 32 + 32)
    done = (
        seen["blocks_run"] * block + seen["key_value_fills"] * fill + seen["extra_heads"] * 64 * 256
    )
    assert seen["flops_ratio"] == pytest.approx(done / (tokens * 4 * block))
    assert seen["flops_skipped"] == 2 * (tokens * 4 * block - done)


LOGITS = torch.log(torch.tensor([[0.5, 0.25, 0.125, 0.125], [0.25, 0.25, 0.25, 0.25]]))


@pytest.mark.parametrize(
    ("confidence", "wanted"),
    [("top1", [0.5, 0.25]), ("margin", [0.25, 0]), ("entropy", [1 / 8, 0])],
)
def test_confidence_from_logits_is_its_closed_form(confidence, wanted):
    """The first row has 1.75 of at most 2 bits."""
    measure = FROM_LOGITS[confidence]
    for shift in (0, 7):
        assert measure(LOGITS + shift).tolist() == pytest.approx(wanted, abs=1e-6)
    assert measure(torch.tensor([1e4, 0.0])) == 1


def test_saturation_is_a_cosine():
    before = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    after = torch.tensor([[1.0, 1.0], [3.0, 0.0], [0.0, -1.0]])
    assert saturation(before, after).tolist() == pytest.approx([0.5**0.5, 1, 0])


def test_an_untrained_head_is_the_logit_lens_and_training_lowers_its_divergence(tiny):
    model = sharpened(tiny)
    batches = [prompts(1, 40, seed) for seed in range(24)]
    found = features.features(model, [2], batches)
    with torch.no_grad():
        whole = model(batches[0], output_hidden_states=True)
    assert torch.allclose(found.states[2][:40], whole.hidden_states[2][0], atol=1e-5)
    assert torch.allclose(model.lm_head(found.final[:40]), whole.logits[0], atol=1e-5)
    ends = features.ends(model)
    for kind in exit_heads.HEADS:
        heads = {2: ExitHead(64, kind, 8)}
        lens = model.lm_head(model.model.norm(found.states[2]))
        assert torch.equal(ends.logits(heads[2].like, found.states[2]), lens)
        before = exit_heads.divergences(heads, ends, found)[2]
        naive = (lens.log_softmax(-1).exp() * 0).sum()  # no gradient reaches the frozen model
        assert not naive.requires_grad
        wanted, got = (
            model.lm_head(found.final).double().log_softmax(-1),
            lens.double().log_softmax(-1),
        )
        assert before.item() == pytest.approx(
            float((wanted.exp() * (wanted - got)).sum(-1).mean()), rel=1e-4
        )
        exit_heads.train(heads, ends, found, 30, 0, lambda *_: None)
        after = exit_heads.divergences(heads, ends, found)[2]
        assert (after < 0.9 * before) if kind != "lens" else (after == before)
        assert sum(w.numel() for w in heads[2].parameters()) == exit_heads.size(64, kind, 8)


def test_the_gate_learns_where_the_head_is_right(tiny):
    """On states whose first dimension tells whether the head's token is the final layer's."""
    torch.manual_seed(0)
    states = torch.randn(800, 4)
    right = states[:, 0] > 0
    final = torch.where(right[:, None], states, -states)
    ends = features.Ends(None, None, lambda x: x, lambda x: torch.cat([x[:, 1:2], -x[:, 1:2]], -1))
    head = ExitHead(4, "lens", 0)
    found = features.Features({1: states}, final, final)
    exit_heads.train({1: head}, ends, found, 0, 0, lambda *_: None)
    told = head.odds(states) > 0
    assert (told == right).float().mean() > 0.9


def simulated(mean, count, dice):
    """Losses of independent passages of 64 tokens, which depend on one another."""
    return [dice.betavariate(8 * mean, 8 * (1 - mean)) for _ in range(count)]


def test_the_true_risk_exceeds_the_target_in_at_most_delta_of_calibrations():
    """Thresholds whose true risk is known, tested as they are in a calibration, many times."""
    dice, risk, delta, trials = random.Random(0), 0.1, 0.1, 1000
    truth = {0.9: 0.03, 0.8: 0.06, 0.7: 0.099, 0.6: 0.1001, 0.5: 0.13}
    broken, bold = 0, 0
    for _ in range(trials):
        tested = choose(list(truth), lambda t: simulated(truth[t], 60, dice), risk, delta)
        passed = [each.threshold for each in tested if each.p_value <= delta]
        broken += bool(passed) and truth[passed[-1]] > risk
        bold += 0.9 in passed
    allowed = delta * trials + 3 * math.sqrt(trials * delta * (1 - delta))
    assert broken <= allowed
    assert bold > 0.9 * trials  # it is no guarantee by never exiting


@given(
    losses=st.lists(st.floats(0, 1), min_size=1, max_size=60),
    risk=st.floats(0.01, 0.9),
    delta=st.floats(0.01, 0.5),
)
@settings(max_examples=200, deadline=None)
def test_a_p_value_is_one_and_gives_no_credit_to_losses_above_the_risk(losses, risk, delta):
    found = p_value(losses, risk, delta)
    assert 0 < found <= 1
    if min(losses) >= risk:
        assert found == 1


def test_candidates_come_from_cautious_to_bold_within_the_risk():
    sure = {1: torch.arange(100) / 100}
    right = {1: torch.arange(100) >= 40}  # wrong where least sure
    found = candidates(sure, right, risk=0.2)
    assert found == sorted(found, reverse=True)
    losses = [predicted_loss(sure, right, threshold) for threshold in found]
    assert losses[0] == 0  # all of the risk is left to what exits do to later tokens
    assert 0.18 <= max(losses) <= 0.2  # thresholds down to 0.2 are wrong on those from 20 to 39
    assert candidates(sure, {1: right[1] & False}, risk=0.005) == []


def test_a_token_is_judged_by_the_first_exit_that_it_takes():
    sure = {1: torch.tensor([0.9, 0.1, 0.1]), 2: torch.tensor([0.9, 0.9, 0.1])}
    right = {1: torch.tensor([False, True, True]), 2: torch.tensor([True, False, True])}
    assert predicted_loss(sure, right, 0.5) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"exits": [30]}, r"exits=30 is after 30 blocks, but the model has 30"),
        ({"exits": [0.999]}, r"is after 30 blocks"),
        ({"exits": []}, r"exits=\[\] is out of range"),
        ({"exits": [1.5]}, r"exits=1\.5 is out of range"),
        ({"threshold": 1.5}, r"threshold=1\.5 is out of range: allowed is 0 to 1"),
        ({"confidence": "hunch"}, r"confidence=hunch is unknown: allowed are classifier, entropy"),
        ({"head": "mlp"}, r"head=mlp is unknown: allowed are affine, lens, low_rank"),
        ({"agreement": 1.0}, r"agreement=1\.0 is out of range"),
        ({"delta": 0.0}, r"delta=0\.0 is out of range"),
    ],
)
def test_a_bad_knob_is_one_sentence(knobs, sentence, smollm2):

    with pytest.raises(UserError, match=sentence):
        EarlyExit(**knobs).check_model(config_of(*smollm2), WorkloadSpec("w"))


def test_an_exit_before_a_kind_of_attention_is_refused():
    with pytest.raises(UserError, match="start at 2 or later"):
        EarlyExit(exits=[1, 3]).check_model(small("gemma3").config, WorkloadSpec("w"))


@pytest.mark.slow
def test_a_calibrated_threshold_keeps_its_word_on_the_real_model(smollm2):
    """A short preparation: heads that are worth something, and agreement that was asked for."""
    from helpers.served import load

    from greenbench.models import texts
    from greenbench.models.weights import storage_bytes

    model, tokenizer = load(*smollm2, torch.device("cpu"))
    size = sum(storage_bytes(model).values())
    work = Preparation(torch.device("cpu"), tokenizer, lambda: texts.passages("calibrate"))
    technique = EarlyExit(exits=[27], agreement=0.7, passages=40, tokens=24, steps=2)
    promise = technique.promise(model)
    model = live(technique, model, work)
    shown = work.details["held_out"]
    assert shown["agreement"] >= 0.7
    assert sum(storage_bytes(model).values()) / size == pytest.approx(promise.bytes_ratio, rel=1e-4)
    out = model.generate(prompts(2), **OPTIONS)
    assert out.shape == (2, PROMPT + NEW)
    assert work.observed["tokens"] == 2 * (NEW - 1)
