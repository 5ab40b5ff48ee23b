"""GPTQ is what its paper says, packed weights are the quantized ones, and kernels compute with them."""

import copy
from dataclasses import replace

import pytest
import torch
import transformers
from helpers.served import load
from helpers.techniques import live
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from greenbench.campaign.compose import plan
from greenbench.campaign.identity import identity, label, run_key
from greenbench.errors import UserError
from greenbench.machine.detect import Machine
from greenbench.models import texts
from greenbench.models.packing import described
from greenbench.models.parts import decoder_blocks
from greenbench.models.weights import storage_bytes
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques import Preparation, check_order
from greenbench.techniques.pruning.depth import keep_blocks
from greenbench.techniques.pruning.single_weights import PruneMagnitude, PruneSparseGpt, PruneWanda
from greenbench.techniques.quantization.gptq import Gptq, gptq, grid, nearest, rounded
from greenbench.techniques.quantization.packed_linear import (
    FAST_CPU,
    LINEARS,
    Codes,
    Int4PackLinear,
    Int8PackLinear,
    PackedLinear,
    kernel_for,
    on_grid,
    pack,
    unpack,
)
from greenbench.techniques.shared.column_solver import block_width, inverse_factor
from greenbench.techniques.shared.layerwise import Gram, token_batches, visits
from greenbench.techniques.shared.linear_views import linear_layers

fast_cpu = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in FAST_CPU,
    reason="PyTorch's packed products need AVX2 on the CPU",
)


class Letters:
    """A tokenizer of 254 symbols for the tiny model."""

    def __call__(self, text, max_length, **options):
        return {
            "input_ids": torch.tensor([[2 + ord(letter) % 254 for letter in text[:max_length]]])
        }


def preparation():
    words = ["the quick brown fox " * 6, "jumps over the lazy dog " * 4]
    return Preparation(torch.device("cpu"), Letters(), lambda: words)


def correlated(rows, columns, seed=0):
    """A weight matrix (rows, columns) and the Gram matrix of inputs whose features go together."""
    torch.manual_seed(seed)
    inputs = torch.randn(300, columns) @ torch.randn(columns, columns) / columns**0.5
    return torch.randn(rows, columns), inputs.T @ inputs


def output_error(weight, codes, gram):
    """||W X - Q X||^2."""
    gap = weight.double() - codes.weight().double()
    return float((gap @ gram.double() * gap).sum())


def dense_gptq(weight, gram, bits, group, percdamp, order):
    """OBQ in a fixed order, by its definition, in float64: the inverse Hessian of what is left, each time.

    Grids are set when a group's first column is reached, or beforehand where columns are reordered.
    """
    weight, hessian = weight.double()[:, order], gram.double()[order][:, order]
    hessian = hessian + percdamp * hessian.diagonal().mean() * torch.eye(len(order))
    tables = [
        grid(weight[:, [order.index(place) for place in range(first, first + group)]], bits, torch.float32)
        for first in range(0, len(order), group)
    ]  # fmt: skip
    found = torch.empty(weight.shape, dtype=torch.uint8)
    for column, place in enumerate(order):
        if order == sorted(order) and column % group == 0:
            now = weight[:, column : column + group]
            tables[place // group] = grid(now, bits, torch.float32)
        scale, zero = tables[place // group]
        found[:, place] = nearest(weight[:, column].float(), scale, zero, bits)
        error = weight[:, column] - on_grid(found[:, place], scale, zero.float()).double()
        inverse = torch.linalg.inv(hessian[column:, column:])
        weight[:, column:] -= torch.outer(error / inverse[0, 0], inverse[0])
    return found


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize(("bits", "group"), [(4, 32), (3, 16), (4, 160), (8, 160), (4, 80)])
def test_it_equals_the_dense_reference(bits, group, act_order):
    """160 columns: errors are passed on within a block of columns and from one to the next."""
    weight, gram = correlated(12, 160)
    order = list(range(160))
    if act_order:
        order.sort(key=lambda place: -float(gram[place, place]))
    found = gptq(weight, gram, bits, group, 0.01, act_order=act_order)
    expected = dense_gptq(weight, gram, bits, group, 0.01, order)
    same = (found.codes == expected).float().mean()
    assert same > 0.995  # float32 against float64: a tie may fall the other way
    if bits == 4:
        assert torch.equal(found.codes[:, order[:40]], expected[:, order[:40]])


def column_by_column(weight, gram, bits, group, act_order):
    """GPTQ in float32 as its formulas stand, each value written as it comes: what it must equal."""
    columns, dtype = weight.shape[1], weight.dtype
    order = gram.diagonal().argsort(descending=True) if act_order else torch.arange(columns)
    factor = inverse_factor(gram[order][:, order], 0.01)
    current, width = weight[:, order].float().T.contiguous(), block_width(group)
    tables = [
        list(each)
        for each in zip(
            *(table.T for table in grid(weight.reshape(len(weight), -1, group), bits, dtype)),
            strict=True,
        )
    ]
    codes = torch.empty(columns, len(weight), dtype=torch.uint8)
    for start in range(0, columns, width):
        stop, errors = min(start + width, columns), []
        for column in range(start, stop):
            place = int(order[column])
            if not act_order and column % group == 0:
                tables[place // group] = list(grid(current[column : column + group].T, bits, dtype))
            scale, zero = tables[place // group]
            codes[place] = nearest(current[column], scale, zero, bits)
            values = on_grid(codes[place], scale.float(), zero.float()).to(dtype).float()
            errors.append((current[column] - values) / factor[column, column])
            current[column + 1 : stop].addr_(
                factor[column, column + 1 : stop], errors[-1], alpha=-1
            )
        current[stop:].addmm_(factor[start:stop, stop:].T, torch.stack(errors), alpha=-1)
    scale, zero = (torch.stack(table, 1) for table in zip(*tables, strict=True))
    return Codes(codes.T.contiguous(), scale, zero, bits)


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("bits", "group", "columns"),
    [(4, 32, 160), (3, 16, 160), (8, 160, 160), (4, 64, 576), (4, 576, 576)],
)
def test_no_bit_depends_on_how_few_operations_a_column_takes(
    bits, group, columns, dtype, act_order
):
    weight, gram = correlated(12, columns)
    weight = weight.to(dtype)
    found = gptq(weight, gram, bits, group, 0.01, act_order=act_order)
    expected = column_by_column(weight, gram, bits, group, act_order)
    assert torch.equal(found.codes, expected.codes)
    assert torch.equal(found.scale, expected.scale)
    assert torch.equal(found.zero, expected.zero)


class Computing(TorchDispatchMode):
    """Counts the operations that compute, each of them a kernel on a GPU."""

    LOOKS = ("slice", "select", "unbind", "t", "transpose", "view", "detach", "alias", "diagonal")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func._schema.name.removeprefix("aten::") not in self.LOOKS
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_column_more_is_seven_operations_more(dtype):
    """On a GPU launching them is what GPTQ's time goes into."""

    def operations(columns):
        weight, gram = correlated(4, columns)
        weight = weight.to(dtype)
        with Computing() as computing:
            gptq(weight, gram, 4, columns, 0.01, act_order=True)
        return computing.count

    assert operations(80) - operations(40) == 7 * 40
    assert operations(256) - operations(128) <= 7 * 128 + 2  # and what a block more takes


def test_without_correlations_it_is_rounding():
    weight = torch.randn(8, 64)
    found = gptq(weight, torch.eye(64), 4, 16, 0.01)
    assert torch.equal(found.codes, rounded(weight, 4, 16).codes)


def test_a_layer_that_saw_nothing_is_rounded():
    weight = torch.randn(8, 64)
    found = gptq(weight, torch.zeros(64, 64), 4, 16, 0.01)
    assert torch.equal(found.codes, rounded(weight, 4, 16).codes)


def test_a_weight_on_the_grid_stays_and_so_does_a_group_of_zeros():
    weight = torch.tensor([[-7.0, 8, 0, 3], [0, 0, 0, 0]])
    assert torch.equal(rounded(weight, 4, 4).weight(), weight)
    assert rounded(weight, 4, 4).scale.tolist() == [[1.0], [1.0]]


def test_eight_bits_are_symmetric():
    found = rounded(torch.tensor([[-127.0, 64, 0, 1]]), 8, 4)
    assert found.codes.tolist() == [[1, 192, 128, 129]]
    assert (float(found.scale), int(found.zero)) == (1, 128)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_no_zero_of_a_grid_is_rounded_where_a_kernel_holds_it_as_a_weight(dtype):
    """Whoever reads code, scale and zero from a checkpoint has the weights that the kernel has."""
    torch.manual_seed(0)
    skewed = torch.rand(4096, 32) - torch.linspace(0, 1, 4096)[:, None]  # zeros from 0 to 15
    scale, zero = grid(skewed, 4, dtype)
    shift = (8 - zero.double()) * scale.double()
    assert set(zero.tolist()) == set(range(16))
    assert torch.equal(shift.to(dtype).double(), shift)
    spans = skewed.amax(-1).clamp(min=0) - skewed.amin(-1).clamp(max=0)
    excess = 15 * scale.double() / spans - 1
    assert excess.max() < 0.07
    assert excess.median() < 0.01


@pytest.fixture(scope="module")
def real_layers(smollm2):
    """Every linear layer of three real blocks, with the Gram matrix of what it is really given."""
    spec, path = smollm2
    model, tokenizer = load(spec, path, torch.device("cpu"))
    keep_blocks(model, [0, 1, 2])
    passages = texts.passages("calibrate")
    work = Preparation(torch.device("cpu"), tokenizer, lambda: passages)
    found = {}
    for visit in visits(model, token_batches(work, 8, 256), Gram, changing=False):
        for name, layer in visit.linears.items():
            found[f"{visit.index}.{name}"] = (layer.weight.detach(), visit.seen[name].matrix)
    return found


@pytest.mark.parametrize(("bits", "group", "blocks"), [(4, 64, "012"), (3, 64, "0"), (4, 0, "1")])
def test_on_the_real_model_every_layer_is_nearer_than_rounded(real_layers, bits, group, blocks):
    """Both on the same grid (set beforehand), and on GPTQ's own."""
    gains = []
    for name, (weight, gram) in real_layers.items():
        if name[0] not in blocks:
            continue
        width = group or weight.shape[1]
        nearest_error = output_error(weight, rounded(weight, bits, width), gram)
        for act_order in (True, False):
            codes = gptq(weight, gram, bits, width, 0.01, act_order=act_order)
            gains.append((name, act_order, output_error(weight, codes, gram) / nearest_error))
    assert [gain for gain in gains if gain[2] >= 1] == []
    assert len(gains) == 2 * 7 * len(blocks)
    assert sum(gain for _, _, gain in gains) / len(gains) < 0.8


@pytest.mark.parametrize("act_order", [True, False])
def test_layers_put_together_get_the_codes_that_each_gets_alone(real_layers, act_order):
    """Rows do not meet in GPTQ; only sums in another order may round a tie the other way."""
    for names in (["q_proj", "k_proj", "v_proj"], ["gate_proj", "up_proj"]):
        found = [real_layers[full] for full in real_layers if full.rpartition(".")[2] in names]
        weights, gram = [weight for weight, _ in found[: len(names)]], found[0][1]
        assert all(torch.equal(gram, other) for _, other in found[: len(names)])
        alone = [gptq(each, gram, 4, 64, 0.01, act_order=act_order) for each in weights]
        stack = gptq(torch.cat(weights), gram, 4, 64, 0.01, act_order=act_order)
        parts = stack.split([len(each) for each in weights])
        assert len(parts) == len(names)
        for one, part in zip(alone, parts, strict=True):
            assert (part.codes == one.codes).float().mean() > 0.999
            assert part.codes.shape == one.codes.shape
            if act_order:
                assert torch.equal(part.scale, one.scale)
                assert torch.equal(part.zero, one.zero)


def test_parts_of_a_stack_share_no_memory():
    """Else a file that holds one would hold all, and a layer weigh what its neighbours do."""
    whole = rounded(torch.randn(12, 32), 4, 32)
    first, second = whole.split([4, 8])
    assert torch.equal(torch.cat([first.codes, second.codes]), whole.codes)
    assert torch.equal(torch.cat([first.weight(), second.weight()]), whole.weight())
    for part, rows in ((first, 4), (second, 8)):
        assert [table.untyped_storage().nbytes() for table in part[:3]] == [
            32 * rows,
            4 * rows,
            rows,
        ]


@pytest.mark.parametrize("technique", [Gptq(), Gptq(bits=3, group_size=32, act_order=False)])
def test_a_model_gets_the_codes_of_layer_after_layer(technique, tiny):
    """Bit for bit: 64 and 128 columns are one block each, so that nothing is summed in another order."""
    found = live(technique, copy.deepcopy(tiny), preparation())
    batches = token_batches(preparation(), 32, 256)
    for visit in visits(tiny, batches, Gram):
        for name, layer in visit.linears.items():
            gram, group = visit.seen[name].matrix, technique.group_size
            order = technique.act_order
            codes = gptq(layer.weight, gram, technique.bits, group, 0.01, act_order=order)
            packed = PackedLinear(codes, layer.bias)
            visit.block.set_submodule(name, packed)
            own = decoder_blocks(found)[visit.index].get_submodule(name)
            assert torch.equal(own.weight_now(), packed.weight_now())


@given(
    bits=st.sampled_from([3, 4, 8]),
    rows=st.integers(1, 5),
    words=st.integers(1, 9),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_packing_loses_nothing_and_wastes_no_bit(bits, rows, words, seed):
    columns, dice = 8 * words, torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 2**bits, (rows, columns), generator=dice, dtype=torch.uint8)
    packed = pack(codes, bits)
    assert packed.dtype == torch.uint8
    assert packed.shape == (rows, columns * bits // 8)
    assert torch.equal(unpack(packed, bits), codes)


def layer_and_codes(bits, group, dtype=torch.bfloat16, rows=48, columns=128):
    torch.manual_seed(0)
    layer = nn.Linear(columns, rows, dtype=dtype)
    return layer, rounded(layer.weight, bits, group)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("bits", "group"), [(3, 32), (4, 16), (8, 128)])
def test_packed_and_unpacked_weights_agree_bit_for_bit(bits, group, dtype):
    layer, codes = layer_and_codes(bits, group, dtype)
    packed = PackedLinear(codes, layer.bias)
    assert torch.equal(packed.weight_now(), codes.weight())
    assert packed.weight_now().dtype == dtype
    inputs = torch.randn(2, 3, 128, dtype=dtype)
    expected = nn.functional.linear(inputs, codes.weight(), layer.bias)
    assert torch.equal(packed(inputs), expected)


@fast_cpu
@pytest.mark.parametrize(
    ("kind", "bits", "group"),
    [(Int4PackLinear, 4, 32), (Int4PackLinear, 4, 64), (Int8PackLinear, 8, 128)],
)
def test_the_kernels_see_the_quantized_weights_bit_for_bit(kind, bits, group):
    layer, codes = layer_and_codes(bits, group)
    fast = kind(codes, layer.bias)
    assert torch.equal(fast.weight_now(), codes.weight())
    inputs = torch.randn(2, 5, 128, dtype=torch.bfloat16)
    exact = nn.functional.linear(inputs.double(), codes.weight().double(), layer.bias.double())
    assert fast(inputs).shape == (2, 5, 48)
    assert torch.allclose(fast(inputs).double(), exact, atol=0.02)


@fast_cpu
def test_a_kernel_is_chosen_only_where_there_is_one():
    def choice(bits, group, dtype=torch.bfloat16, shape=(48, 128)):
        return kernel_for(torch.empty(shape, dtype=dtype), bits, group)

    assert choice(4, 64) == "int4pack"
    assert choice(8, 128) == "int8pack"
    others = [choice(3, 64), choice(4, 16), choice(8, 64), choice(4, 64, torch.float32)]
    others += [choice(4, 64, torch.float16), choice(4, 64, shape=(40, 128))]
    assert set(others) == {"dequantize"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("columns", [96, 128, 192])
def test_the_cuda_kernel_sees_the_quantized_weights(columns):
    layer, codes = layer_and_codes(4, 32, columns=columns)
    codes = codes._replace(
        codes=codes.codes.cuda(), scale=codes.scale.cuda(), zero=codes.zero.cuda()
    )
    if kernel_for(layer.weight.cuda(), 4, 32) != "int4pack":
        pytest.skip("needs compute capability 8.0")
    fast = Int4PackLinear(codes, layer.bias.cuda())
    assert torch.allclose(fast.weight_now(), codes.weight(), rtol=0.01, atol=1e-4)


OPTIONS = [Gptq(), Gptq(bits=3, group_size=32), Gptq(bits=8, group_size=0), Gptq(act_order=False)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("technique", OPTIONS, ids=Gptq.label)
def test_a_quantized_model_is_near_and_weighs_what_was_promised(technique, dtype, tiny):
    plain = tiny.to(dtype)
    model, work = copy.deepcopy(plain), preparation()
    promise = technique.promise(plain)
    model = live(technique, model, work)
    ids = torch.randint(2, 256, (2, 16))
    with torch.inference_mode():
        here, there = model(ids).logits.float(), plain(ids).logits.float()
    near = {3: 0.75, 4: 0.9, 8: 0.99}[technique.bits]  # CPUs round unlike: 0.78 to 0.81 at 3 bits
    assert nn.functional.cosine_similarity(here, there, dim=-1).min() > near
    assert not torch.equal(here, there)
    held, before = (sum(storage_bytes(m).values()) for m in (model, plain))
    buffers = sum(b.nbytes for b in plain.buffers())  # the promise is about weights
    assert held - buffers == pytest.approx(promise.bytes_ratio * (before - buffers), abs=1)
    assert sum(work.details["operators"].values()) == 28
    assert promise.kernel == ", ".join(sorted(work.details["kernels"]))
    assert promise.flops_ratio == 1
    with torch.inference_mode():
        assert torch.equal(copy.deepcopy(model)(ids).logits.float(), here)
    packed = [m for m in decoder_blocks(model).modules() if isinstance(m, PackedLinear)]
    assert len(packed) == 28
    assert not linear_layers(decoder_blocks(model))
    assert type(model.lm_head) is nn.Linear


@fast_cpu
def test_records_name_the_kernel_and_its_operator(tiny):
    half, work = tiny.bfloat16(), preparation()
    live(Gptq(), copy.deepcopy(half), work)
    assert work.details["operators"] == {"_weight_int4pack_mm_for_cpu": 28}
    assert Gptq().promise(half).kernel == "int4pack"
    assert Gptq(bits=3).promise(half).kernel == "dequantize"
    assert Gptq(bits=8, group_size=0).promise(half).kernel == "int8pack"
    assert set(LINEARS) == {"int4pack", "int8pack", "dequantize"}


@pytest.mark.parametrize("architecture", ["Qwen2", "Gemma2", "GPTNeoX"])
def test_other_architectures_with_their_biases(architecture):
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 256}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 16}
    config = getattr(transformers, f"{architecture}Config")(**sizes, **heads)
    model = getattr(transformers, f"{architecture}ForCausalLM")(config).bfloat16().eval()
    ids = torch.randint(2, 256, (2, 16))
    with torch.inference_mode():
        before = model(ids).logits.float()
        after = live(Gptq(), model, preparation())(ids).logits.float()
    assert nn.functional.cosine_similarity(before, after, dim=-1).min() > 0.85


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"bits": 5}, r"^technique\.gptq\.bits=5 is unknown: allowed are 3, 4, 8\.$"),
        ({"group_size": -2}, r"group_size=-2 is out of range: allowed is 0 or more\.$"),
        ({"percdamp": 0.0}, r"percdamp=0\.0 is out of range: allowed is above 0, at most 1\.$"),
        ({"passages": 0}, r"passages=0 is out of range"),
        ({"tokens": 1}, r"tokens=1 is out of range: allowed is 2 or more\.$"),
    ],
)
def test_bad_knobs_are_one_sentence(knobs, sentence):
    with pytest.raises(UserError, match=sentence):
        Gptq(**knobs)


@pytest.mark.parametrize(("device", "text"), [("cpu", (32, 256)), ("cuda", (128, 2048))])
def test_the_text_is_by_the_device_and_a_record_says_which(device, text):
    """As if asked for outright: the same key, knobs in the record, and another where it is other text."""
    machine = Machine(device, "Some device", 1 << 34)

    def of(*overrides):
        (job,) = plan(["model=smollm2-135m", "technique=gptq", *overrides], multirun=False)
        return identity(job.spec, machine), label(job.spec)

    spoken = [
        f"technique.gptq.{knob}={n}" for knob, n in zip(("passages", "tokens"), text, strict=True)
    ]
    left, name = of()
    assert (left.technique[0].knobs["passages"], left.technique[0].knobs["tokens"]) == text
    assert run_key(left) == run_key(of(*spoken)[0])
    assert name == "gptq"
    other = of("technique.gptq.tokens=100")[0]
    assert other.technique[0].knobs["passages"] == text[0]
    assert run_key(other) != run_key(left)


def test_the_record_says_how_much_text_there_was(tiny):
    """Two texts of 120 and 96 letters, which are as many tokens; the model reads 64 of each here."""
    for limit, asked, tokens in ((2048, 256, 216), (2048, 50, 100), (64, None, 128)):
        work = preparation()
        tiny.config.max_position_embeddings = limit
        live(Gptq(tokens=asked), copy.deepcopy(tiny), work)
        assert work.details["calibration"] == {"passages": 2, "tokens": tokens}


def test_groups_that_do_not_divide_are_one_sentence(tiny):
    for refuse in (
        lambda technique: technique.check_model(tiny.config, WorkloadSpec("w")),
        lambda technique: technique.promise(tiny),
    ):
        with pytest.raises(
            UserError, match=r"group_size=48 does not divide the 64 .* such as 64, or 0"
        ):
            refuse(Gptq(group_size=48))
    Gptq(group_size=32).check_model(tiny.config, WorkloadSpec("w"))


def test_three_bits_need_whole_bytes(tiny):
    tiny.config.intermediate_size = 124
    with pytest.raises(UserError, match=r"bits=3 packs 8 weights at a time.* the 124 inputs"):
        Gptq(bits=3, group_size=0).check_model(tiny.config, WorkloadSpec("w"))


@pytest.mark.parametrize("prune", [PruneMagnitude, PruneWanda, PruneSparseGpt])
def test_quantize_then_prune_is_refused(prune):
    with pytest.raises(
        UserError, match=rf"{prune.name} cannot come after gptq.*put {prune.name} first"
    ):
        check_order([Gptq(), prune()])
    check_order([prune(), Gptq()])


def test_pruned_weights_can_be_quantized(tiny):
    work = preparation()
    model = live(Gptq(group_size=32), live(PruneSparseGpt(), tiny, work), work)
    ids = torch.randint(2, 256, (1, 8))
    assert model.generate(ids, max_new_tokens=3, do_sample=False, pad_token_id=0).shape[1] > 8


def test_the_options_are_its_bit_widths():
    chosen = {
        option: plan([f"technique={option}"], multirun=False)[0].spec.technique["gptq"]
        for option in ("gptq", "gptq_int3", "gptq_int8")
    }
    assert chosen == {
        "gptq": Gptq(),
        "gptq_int3": Gptq(bits=3),
        "gptq_int8": Gptq(bits=8, group_size=0),
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("bits", "group", "rows"), [(4, 32, 48), (4, 16, 37), (3, 32, 40), (3, 32, 45), (8, 128, 48)]
)
def test_a_checkpoint_holds_the_same_weights_by_compressed_tensors_own_code(
    bits, group, rows, dtype
):
    """Both ways: what it reads of ours, and what it would have written of the same codes."""
    from compressed_tensors.compressors import PackedQuantizationCompressor
    from compressed_tensors.compressors.pack_quantized import pack_to_int32
    from compressed_tensors.quantization import QuantizationScheme

    layer, codes = layer_and_codes(bits, group, dtype, rows=rows)
    technique = Gptq(bits=bits, group_size=0 if group == 128 else group)
    said = described(technique.packing(), ["lm_head"])["config_groups"]["group_0"]
    tensors = PackedLinear(codes, layer.bias).state_dict()
    assert torch.equal(tensors.pop("bias"), layer.bias)
    found = PackedQuantizationCompressor.decompress(tensors, QuantizationScheme(**said))
    assert torch.equal(found["weight"], codes.weight())
    middle = 1 << (bits - 1)
    signed = (codes.codes.int() - middle).to(torch.int8)
    assert torch.equal(tensors["weight_packed"], pack_to_int32(signed, bits))
    if bits == 8:
        assert "weight_zero_point" not in tensors
    else:
        zero = (codes.zero.int() - middle).to(torch.int8)
        assert torch.equal(tensors["weight_zero_point"], pack_to_int32(zero, bits, packed_dim=0))
    assert tensors["weight_shape"].tolist() == [rows, 128]


def test_the_codes_are_the_same_for_whoever_gets_them(tiny):
    plain, kept = tiny.bfloat16(), {}
    for leaves in ("module", "packed"):
        torch.manual_seed(0)
        work = replace(preparation(), leaves=leaves)
        kept[leaves] = live(Gptq(), copy.deepcopy(plain), work)
    mine, files = (decoder_blocks(kept[leaves]) for leaves in ("module", "packed"))
    pairs = [
        (layer.weight_now(), files.get_submodule(name).weight_now())
        for name, layer in mine.named_modules()
        if isinstance(layer, PackedLinear)
    ]
    assert len(pairs) == 28
    assert all(torch.equal(one, other) for one, other in pairs)
    assert "quantization_config" not in kept["module"].config.to_dict()
    assert kept["packed"].config.quantization_config["ignore"] == ["lm_head"]
