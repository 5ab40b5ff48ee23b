"""Pruned weights are the right ones, exactly as many as asked for, and corrected as a dense solve does."""

import copy

import pytest
import torch
from helpers.served import load
from helpers.techniques import live
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from greenbench.campaign.compose import plan
from greenbench.errors import UserError
from greenbench.models import texts
from greenbench.models.parts import decoder_blocks
from greenbench.models.weights import storage_bytes
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques import Preparation, check_order
from greenbench.techniques.pruning.depth import keep_blocks
from greenbench.techniques.pruning.single_weights import (
    Pattern,
    PruneMagnitude,
    PruneSparseGpt,
    PruneWanda,
    has_sparse_kernel,
    lowest,
    lowest_in_rows,
    sparsegpt,
)
from greenbench.techniques.shared.column_solver import block_width, inverse_factor
from greenbench.techniques.shared.linear_views import block_linears

ALL = [PruneMagnitude, PruneWanda, PruneSparseGpt]
PASSAGES = ["the quick brown fox " * 6, "jumps over the lazy dog " * 4]


class Letters:
    """A tokenizer of 254 symbols for the tiny model."""

    def __call__(self, text, max_length, **options):
        return {
            "input_ids": torch.tensor([[2 + ord(letter) % 254 for letter in text[:max_length]]])
        }


def preparation():
    return Preparation(torch.device("cpu"), Letters(), lambda: PASSAGES)


def correlated(rows, columns, tokens=400, seed=0):
    """A weight matrix (rows, columns) and the Gram matrix of inputs whose features go together."""
    torch.manual_seed(seed)
    inputs = torch.randn(tokens, columns) @ torch.randn(columns, columns) / columns**0.5
    return torch.randn(rows, columns), inputs.T @ inputs, inputs


def dense_surgeon(weight, gram, percdamp, mask_of, span):
    """SparseGPT by its definition, in float64: after each column, the inverse Hessian of what is left.

    `mask_of` takes the current weights of a span of columns and each one's [H^-1]_jj.
    """
    weight, hessian = weight.double().clone(), gram.double()
    hessian = hessian + percdamp * hessian.diagonal().mean() * torch.eye(len(hessian))
    columns = weight.shape[1]
    for start in range(0, columns, span):
        stop = min(start + span, columns)
        cost = [torch.linalg.inv(hessian[j:, j:])[0, 0] for j in range(start, stop)]
        mask = mask_of(weight[:, start:stop], torch.stack(cost))
        for column in range(start, stop):
            inverse = torch.linalg.inv(hessian[column:, column:])
            error = torch.where(mask[:, column - start], weight[:, column], 0.0)
            weight[:, column:] -= torch.outer(error / inverse[0, 0], inverse[0])
    return weight


def two_of_four(weights, cost):
    return lowest_in_rows(weights**2 / cost, 0.5, Pattern(2, 4))


def half_of_all(weights, cost):
    scores = (weights**2 / cost).T.flatten()
    return lowest(scores, scores.numel() // 2).view(weights.shape[1], -1).T


@pytest.mark.parametrize(
    ("pattern", "mask_of", "span"),
    [(Pattern(2, 4), two_of_four, 4), (None, half_of_all, 128)],
    ids=["2:4", "unstructured"],
)
def test_sparsegpt_is_the_dense_solve(pattern, mask_of, span):
    """On 160 columns, so that errors are passed on within a block and from one to the next."""
    weight, gram, _ = correlated(16, 160)
    found = sparsegpt(weight, inverse_factor(gram, 0.01), 0.5, pattern)
    expected = dense_surgeon(weight, gram, 0.01, mask_of, span)
    assert torch.equal(found == 0, expected.abs() < 1e-12)
    assert torch.allclose(found.double(), expected, atol=1e-3)


def test_sparsegpt_of_one_weight_is_the_best_possible():
    """With one weight removed, the closed form of least squares over the others."""
    weight, gram, inputs = correlated(1, 6)
    factor = inverse_factor(gram, 1e-9)
    found = sparsegpt(weight, factor, 1 / 6)
    gone = int((found == 0).nonzero()[0, 1])
    later = list(range(gone + 1, 6))  # the columns before it were settled already
    residual = inputs[:, gone] * weight[0, gone]
    best = torch.linalg.lstsq(inputs[:, later].double(), residual.double()[:, None]).solution[:, 0]
    assert torch.allclose(found[0, later].double(), weight[0, later] + best, atol=1e-4)
    assert torch.equal(found[0, :gone], weight[0, :gone])


def test_the_factor_is_that_of_the_inverse():
    _, gram, _ = correlated(2, 24)
    factor = inverse_factor(gram, 0.01).double()
    damped = gram.double() + 0.01 * gram.double().diagonal().mean() * torch.eye(24)
    assert torch.allclose(factor.T @ factor @ damped, torch.eye(24).double(), atol=1e-4)
    assert torch.equal(factor, factor.triu())


def test_a_layer_that_saw_nothing_is_pruned_by_magnitude():
    weight = torch.randn(8, 16)
    found = sparsegpt(weight, inverse_factor(torch.zeros(16, 16), 0.01), 0.5)
    mask = lowest(weight.abs().flatten(), 64).view(8, 16)
    assert torch.equal(found, weight.masked_fill(mask, 0))


def test_blocks_hold_whole_spans():
    assert [block_width(span) for span in (4, 8, 96, 128, 256, 576, 3)] == [
        128,
        128,
        96,
        128,
        128,
        64,
        126,
    ]


def test_magnitude_is_a_threshold_on_each_layer(tiny):
    plain = copy.deepcopy(tiny)
    live(PruneMagnitude(sparsity=0.3), tiny, preparation())
    for before, after in zip(block_linears(plain), block_linears(tiny), strict=True):
        size = before.weight.abs()
        count = round(0.3 * size.numel())
        limit = size.flatten().sort().values[count]
        assert torch.equal(after.weight, torch.where(size < limit, 0.0, before.weight))


def squared_norms(layer, model):
    """Of each input feature of `layer` over all passages, in the model's own forward pass."""
    given = []
    hook = layer.register_forward_pre_hook(lambda _, args: given.append(args[0].flatten(0, -2)))
    with torch.no_grad():
        for text in PASSAGES:
            model(Letters()(text, 256)["input_ids"], use_cache=False)
    hook.remove()
    return torch.cat(given).square().sum(0)


@pytest.mark.parametrize("name", ["self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj"])
def test_wanda_is_a_threshold_on_each_row(tiny, name):
    """|W| x ||X||, compared within a row; a block's layers see what it gives unpruned (algorithm 1)."""
    before = tiny.model.layers[0].get_submodule(name)
    scores = before.weight.detach().abs() * squared_norms(before, tiny).sqrt()
    limit = scores.sort(dim=1).values[:, before.in_features // 4, None]
    expected = torch.where(scores < limit, 0.0, before.weight)
    live(PruneWanda(sparsity=0.25), tiny, preparation())
    assert torch.equal(before.weight, expected)


def test_wanda_sees_what_pruned_blocks_give(tiny):
    """Block 3's queries: their scores come from the model whose first three blocks are pruned."""
    plain = copy.deepcopy(tiny)
    live(PruneWanda(), tiny, preparation())
    mixed = copy.deepcopy(tiny)
    mixed.model.layers[3] = copy.deepcopy(plain.model.layers[3])
    query = mixed.model.layers[3].self_attn.q_proj
    norms = squared_norms(query, mixed)
    mask = lowest(query.weight.abs() * norms.sqrt(), 32)
    pruned = tiny.model.layers[3].self_attn.q_proj.weight
    assert torch.equal(pruned, query.weight.masked_fill(mask, 0))


@given(
    rows=st.integers(1, 9),
    groups=st.integers(1, 9),
    shape=st.integers(2, 16).flatmap(lambda m: st.tuples(st.integers(1, m - 1), st.just(m))),
    levels=st.integers(1, 5),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_every_group_keeps_exactly_n_of_m_even_on_ties(rows, groups, shape, levels, seed):
    kept, of = shape
    dice = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, levels, (rows, groups * of), generator=dice).float()
    mask = lowest_in_rows(scores, 1 - kept / of, Pattern(kept, of))
    grouped = mask.view(rows, groups, of)
    assert (grouped.sum(-1) == of - kept).all()
    values = scores.view(rows, groups, of)
    worst_kept = values.masked_fill(grouped, torch.inf).amin(-1)
    assert (values.masked_fill(~grouped, -torch.inf).amax(-1) <= worst_kept).all()


@pytest.mark.parametrize("technique", ALL)
@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.77])
def test_sparsity_is_exact(technique, sparsity, tiny):
    work = preparation()
    model = live(technique(sparsity=sparsity), tiny, work)
    for layer in block_linears(model):
        rows, columns = layer.weight.shape
        whole = round(sparsity * rows * columns)
        wanted = rows * round(sparsity * columns) if technique is PruneWanda else whole
        assert int((layer.weight == 0).sum()) == wanted
    assert work.details["sparsity"] == pytest.approx(sparsity, abs=0.01)
    assert work.details["linear_layers"] == 28


@pytest.mark.parametrize("technique", ALL)
@pytest.mark.parametrize(("pattern", "sparsity"), [("2:4", 0.5), ("4:8", 0.5), ("1:4", 0.75)])
def test_the_pattern_is_exact_and_the_rest_untouched(technique, pattern, sparsity, tiny):
    plain, work = copy.deepcopy(tiny), preparation()
    model = live(technique(sparsity=sparsity, pattern=pattern), tiny, work)
    kept, of = map(int, pattern.split(":"))
    for layer in block_linears(model):
        assert ((layer.weight.view(-1, of) != 0).sum(1) == kept).all()
    assert work.details["sparsity"] == sparsity
    inside = {id(weight) for weight in decoder_blocks(model).parameters()}
    for (_, was), (name, now) in zip(
        plain.named_parameters(), tiny.named_parameters(), strict=True
    ):
        if id(now) not in inside or "norm" in name:
            assert torch.equal(was, now)


@pytest.mark.parametrize("technique", ALL)
def test_on_the_cpu_it_promises_nothing_but_zeros(technique, tiny):
    promise = technique(pattern="2:4").promise(tiny)
    assert (promise.bytes_ratio, promise.flops_ratio, promise.kernel) == (1, 1, "dense")
    assert promise.sparsity == 0.5


def test_with_a_sparse_kernel_it_promises_half_the_products(tiny, monkeypatch):
    monkeypatch.setattr(
        "greenbench.techniques.pruning.single_weights.has_sparse_kernel", lambda w: True
    )
    promise = PruneWanda(pattern="2:4").promise(tiny)
    inside = sum(layer.weight.numel() for layer in block_linears(tiny))
    share = inside / sum(weight.numel() for weight in tiny.parameters())
    assert promise.bytes_ratio == pytest.approx(1 - share * 7 / 16)
    assert (promise.flops_ratio, promise.kernel) == (0.5, "sparse_semi_structured")
    assert PruneWanda(pattern="4:8").promise(tiny).kernel == "dense"


def test_a_dense_device_has_no_sparse_kernel():
    assert not has_sparse_kernel(torch.zeros(64, 64, dtype=torch.bfloat16))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_sparse_kernel_computes_the_pruned_layer():
    torch.manual_seed(0)
    layer = nn.Linear(128, 96, bias=False, dtype=torch.bfloat16, device="cuda")
    mask = lowest_in_rows(layer.weight.detach().abs().float(), 0.5, Pattern(2, 4))
    layer.weight.data.masked_fill_(mask, 0)
    if not has_sparse_kernel(layer.weight):
        pytest.skip("needs compute capability 8.0 and cuSPARSELt")
    from greenbench.techniques.pruning.single_weights import COMPRESSED, _compress

    inputs = torch.randn(3, 5, 128, dtype=torch.bfloat16, device="cuda")
    before, size = layer(inputs), layer.weight.nbytes
    _compress(layer)
    with torch.inference_mode():
        assert torch.allclose(layer(inputs), before, atol=0.02)
    assert sum(storage_bytes(layer).values()) == pytest.approx(COMPRESSED * size, rel=0.05)


@pytest.mark.parametrize("technique", ALL)
@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"sparsity": 1.2}, r"\.sparsity=1\.2 is out of range: allowed is above 0, below 1\.$"),
        ({"pattern": "2 of 4"}, r"\.pattern=2 of 4 is unknown: allowed are unstructured and N:M"),
        ({"pattern": "4:2"}, r"\.pattern=4:2 is unknown"),
        ({"pattern": "124"}, r'such as "2:4" and "4:8" \(in YAML, with the quotes\)\.$'),
        ({"pattern": "2:4", "sparsity": 0.6}, r"allowed is 0\.5, which .*=2:4 fixes"),
    ],
)  # fmt: skip
def test_bad_knobs_are_one_sentence(technique, knobs, sentence):
    with pytest.raises(UserError, match=sentence):
        technique(**knobs)


def test_damping_out_of_range_is_one_sentence():
    with pytest.raises(UserError, match=r"prune_sparsegpt\.percdamp=0 is out of range"):
        PruneSparseGpt(percdamp=0)


def test_a_pattern_that_does_not_fit_the_model_is_one_sentence(tiny):
    technique = PruneWanda(pattern="12:24")
    for refuse in (
        lambda: technique.check_model(tiny.config, WorkloadSpec("w")),
        lambda: technique.promise(tiny),
    ):
        with pytest.raises(UserError, match=r"pattern=12:24 does not divide the 64 inputs"):
            refuse()


def test_the_pattern_comes_from_the_command_line():
    override = ["technique=prune_wanda", "technique.prune_wanda.pattern=2:4"]
    (technique,) = plan(override, multirun=False)[0].spec.technique.values()
    assert technique == PruneWanda(pattern="2:4")


def test_weights_are_pruned_before_they_are_packed():
    int4 = plan(["technique=int4_bnb"], multirun=False)[0].spec.technique["int4_bnb"]
    with pytest.raises(UserError, match="prune_wanda cannot come after int4_bnb"):
        check_order([int4, PruneWanda()])
    with pytest.raises(UserError, match="int4_bnb cannot come after prune_wanda"):
        check_order([PruneWanda(pattern="2:4"), int4])
    check_order([PruneWanda(), int4])


def test_on_the_real_model_each_is_better_than_the_last(smollm2):
    """Two blocks of it: the error that pruning a layer's weights causes in what the blocks give."""
    spec, path = smollm2
    model, tokenizer = load(spec, path, torch.device("cpu"))
    keep_blocks(model, [3, 4])
    passages = texts.passages("calibrate")
    ids = tokenizer(texts.passages("evaluate")[0], return_tensors="pt")["input_ids"]
    work = Preparation(torch.device("cpu"), tokenizer, lambda: passages)
    with torch.inference_mode():
        right = model(ids).logits.float()
    errors = {}
    for technique in (PruneMagnitude(), PruneWanda(passages=12), PruneSparseGpt(passages=12)):
        pruned = live(technique, copy.deepcopy(model), work)
        with torch.inference_mode():
            errors[technique.name] = float((pruned(ids).logits.float() - right).square().mean())
    assert errors["prune_sparsegpt"] < errors["prune_wanda"] < errors["prune_magnitude"]
