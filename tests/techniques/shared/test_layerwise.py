"""The calibration loop gives every block what the model itself gives it, whatever the architecture."""

import copy
from contextlib import ExitStack

import pytest
import torch
import transformers

from greenbench.errors import Unsupported, UserError
from greenbench.models.parts import decoder_blocks
from greenbench.techniques.pruning.depth import PruneDepth
from greenbench.techniques.shared.layerwise import (
    Gram,
    MeanAbsolute,
    SquaredNorm,
    token_batches,
    visits,
)
from greenbench.techniques.shared.linear_views import block_linears, linear_blueprint, linear_layers
from greenbench.techniques.technique import Preparation

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "vocab_size": 128,
         "num_attention_heads": 4}  # fmt: skip
GROUPED = {"num_key_value_heads": 2, "head_dim": 8}
SLIDING = {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"] * 2}
MODELS = {
    "Llama": SIZES | GROUPED,
    "Qwen2": SIZES | {"num_key_value_heads": 2},
    "Qwen3": SIZES | GROUPED | SLIDING | {"use_sliding_window": True, "max_window_layers": 0},
    "Gemma2": SIZES | GROUPED | SLIDING,
    "Gemma3": SIZES | GROUPED | SLIDING,
    "GPTNeoX": SIZES | {"use_parallel_residual": True},
}
BATCHES = [torch.arange(2, 2 + 7 * length, 7)[None] for length in (12, 9, 2)]


def random_model(architecture, attention="sdpa"):
    torch.manual_seed(1)
    name = architecture + ("Text" if architecture == "Gemma3" else "")
    config = getattr(transformers, f"{name}Config")(**MODELS[architecture])
    config._attn_implementation = attention
    model = getattr(transformers, f"{architecture}ForCausalLM")(config)
    return model.eval()


class Outputs:
    """Every block's hidden states, in the order in which the block gave them."""

    def __init__(self, model):
        self.found = [[] for _ in decoder_blocks(model)]
        self._model = model

    def __enter__(self):
        self._stack = ExitStack()
        for block, found in zip(decoder_blocks(self._model), self.found, strict=True):
            hook = block.register_forward_hook(
                lambda _, args, output, found=found: found.append(
                    output[0] if isinstance(output, tuple) else output
                )
            )
            self._stack.callback(hook.remove)
        return self.found

    def __exit__(self, *error):
        self._stack.close()


@torch.no_grad()
def whole(model):
    """Every block's hidden states in the model's own forward pass."""
    with Outputs(model) as found:
        for batch in BATCHES:
            model(batch, use_cache=False)
    return found


@torch.no_grad()
def inputs(model, index, name):
    """What one linear layer is given in the model's own forward pass: (tokens, in_features)."""
    given = []
    layer = linear_layers(decoder_blocks(model)[index])[name]
    hook = layer.register_forward_pre_hook(lambda _, args: given.append(args[0].flatten(0, -2)))
    for batch in BATCHES:
        model(batch, use_cache=False)
    hook.remove()
    return torch.cat(given)


ATTENTION = [(name, kind) for name in MODELS for kind in ("sdpa", "eager")]
ATTENTION.remove(("Gemma2", "sdpa"))  # its soft-capped scores have no such kernel


@pytest.mark.parametrize(("architecture", "attention"), ATTENTION)
def test_the_loop_reproduces_the_models_own_hidden_states(architecture, attention):
    model = random_model(architecture, attention)
    expected = whole(model)
    with Outputs(model) as found:
        visited = [visit.index for visit in visits(model, BATCHES, SquaredNorm)]
    assert visited == [0, 1, 2, 3]
    for own, looped in zip(expected, found, strict=True):
        last = looped[-len(BATCHES) :]
        assert all(torch.equal(a, b) for a, b in zip(own, last, strict=True))


def test_the_sliding_window_matters_here():
    """Else the test above could not tell one block's mask from another's."""
    model = random_model("Gemma3")
    before = whole(model)
    for block in decoder_blocks(model):
        block.self_attn.is_sliding = False
    model.config.layer_types = ["full_attention"] * 4
    assert not torch.allclose(before[-1][0], whole(model)[-1][0])


def test_blocks_that_return_tuples_are_followed(tiny):
    """As older model code has it: the model takes the first of what each block returns."""

    class Tupled(torch.nn.Module):
        def __init__(self, block):
            super().__init__()
            self.block = block

        def forward(self, hidden_states, *args, **kwargs):
            return (self.block(hidden_states, *args, **kwargs), None)

    class Model(torch.nn.Module):
        config = tiny.config

        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList(map(Tupled, tiny.model.layers))

        def forward(self, ids, use_cache):
            hidden, rotary = tiny.model.embed_tokens(ids), tiny.model.rotary_emb
            places = torch.arange(ids.shape[1])[None]
            for layer in self.layers:
                hidden = layer(hidden, position_embeddings=rotary(hidden, places))[0]
            return hidden

    model = Model()
    expected = whole(model)
    with Outputs(model) as found:
        list(visits(model, BATCHES, SquaredNorm))
    for own, looped in zip(expected, found, strict=True):
        assert all(map(torch.equal, own, looped[-len(BATCHES) :]))


@pytest.mark.parametrize("changing", [True, False])
@pytest.mark.parametrize("architecture", ["Llama", "Gemma3", "GPTNeoX"])
def test_the_statistics_are_those_of_the_inputs(architecture, changing):
    model = random_model(architecture)
    for kind in (Gram, SquaredNorm, MeanAbsolute):
        for visit in visits(model, BATCHES, kind, changing=changing):
            for name, statistic in visit.seen.items():
                x = inputs(model, visit.index, name)
                expected = {
                    Gram: x.T @ x,
                    SquaredNorm: (x * x).sum(0),
                    MeanAbsolute: x.abs().mean(0),
                }
                found = {Gram: "matrix", SquaredNorm: "total", MeanAbsolute: "value"}[kind]
                assert torch.allclose(
                    getattr(statistic, found), expected[kind], rtol=1e-4, atol=1e-5
                )


def test_a_changed_block_is_what_the_next_one_sees():
    model = random_model("Qwen3")
    plain = copy.deepcopy(model)
    seen = {}
    for visit in visits(model, BATCHES, Gram):
        seen[visit.index] = visit.seen["self_attn.q_proj"].matrix
        for linear in visit.linears.values():
            linear.weight.data *= 0.5
    for index in (1, 2, 3):  # all of `model` is changed by now, and no block sees a later one
        x = inputs(model, index, "self_attn.q_proj")
        assert torch.allclose(seen[index], x.T @ x, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(x, inputs(plain, index, "self_attn.q_proj"))


def test_the_loop_leaves_no_trace_even_when_left_early(tiny):
    def hooks():
        return [len(m._forward_pre_hooks) + len(m._forward_hooks) for m in tiny.modules()]

    before = hooks()
    for _ in visits(tiny, BATCHES, Gram):
        break
    assert hooks() == before
    assert not [m for m in tiny.modules() if "forward" in vars(m)]


def test_only_the_linear_layers_of_the_blocks_are_visited(tiny):
    found = [m for visit in visits(tiny, BATCHES, SquaredNorm) for m in visit.linears.values()]
    assert len(found) == 4 * 7
    assert tiny.lm_head not in found


def test_layers_with_one_input_share_its_statistic(tiny):
    for visit in visits(tiny, BATCHES, Gram):
        seen = {name.rpartition(".")[2]: found for name, found in visit.seen.items()}
        assert seen["q_proj"] is seen["k_proj"] is seen["v_proj"]
        assert seen["gate_proj"] is seen["up_proj"]
        assert len({id(found) for found in seen.values()}) == 4


TOGETHER = {
    "Llama": ["q_proj k_proj v_proj", "o_proj", "gate_proj up_proj", "down_proj"],
    "GPTNeoX": ["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"],
}


@pytest.mark.parametrize("architecture", TOGETHER)
def test_layers_with_one_input_are_told(architecture):
    for visit in visits(random_model(architecture), BATCHES, Gram):
        found = [" ".join(name.rpartition(".")[2] for name in names) for names in visit.alike()]
        assert sorted(found) == sorted(TOGETHER[architecture])
        names = [name for together in visit.alike() for name in together]
        assert sorted(names) == sorted(visit.linears)


def test_layers_of_two_dtypes_are_not_put_together(tiny):
    (visit, *_) = visits(tiny, BATCHES, Gram, changing=False)
    visit.linears["self_attn.k_proj"].double()
    assert ["self_attn.q_proj", "self_attn.v_proj"] in visit.alike()
    assert ["self_attn.k_proj"] in visit.alike()


def test_blocks_without_linear_layers_are_refused(tiny):
    tiny.model.layers = torch.nn.ModuleList(torch.nn.Identity() for _ in range(4))
    with pytest.raises(Unsupported, match=r"no linear layer in its blocks"):
        block_linears(tiny)


@pytest.mark.parametrize("architecture", MODELS)
def test_input_widths_are_those_of_the_real_layers(architecture):
    model = random_model(architecture, "eager")
    found = {layer.in_features for layer in block_linears(model)}
    assert found == {layer.in_features for layer in block_linears(linear_blueprint(model.config))}


def test_progress_counts_blocks(tiny):
    told = []
    for _ in visits(tiny, BATCHES, SquaredNorm, progress=lambda *step: told.append(step)):
        pass
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_token_batches_are_cut_texts(smollm2):
    tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2[1])
    texts = ["the cat sat on the mat and slept", "a dog", "never read"]
    work = Preparation(torch.device("cpu"), tokenizer, lambda: texts)
    batches = token_batches(work, passages=2, tokens=4)
    assert [batch.shape for batch in batches] == [(1, 4), (1, 2)]
    assert tokenizer.decode(batches[0][0]) == "the cat sat on"


def test_texts_are_joined_where_more_tokens_are_asked_for_than_one_has(smollm2):
    """Each passage is as long as asked and begins with a text; the last has what is left."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(smollm2[1])
    texts = [f"Text {number}: " + "word " * 200 for number in range(10)]
    work = Preparation(torch.device("cpu"), tokenizer, lambda: texts)
    batches = token_batches(work, passages=128, tokens=600)
    assert [batch.shape for batch in batches[:-1]] == [(1, 600)] * 3
    assert 200 < batches[-1].shape[1] < 600
    read = [tokenizer.decode(batch[0]) for batch in batches]
    assert [text[:7] for text in read] == ["Text 0:", "Text 3:", "Text 6:", "Text 9:"]
    assert "\n\nText 1: word" in read[0]
    assert "\n\nText 2: word" in read[0]
    (alone,) = token_batches(work, passages=1, tokens=512)
    assert tokenizer.decode(alone[0]).strip() == texts[0].strip()


@pytest.mark.parametrize(("knob", "value"), [("passages", 0), ("tokens", 1)])
def test_too_little_text_is_one_sentence(knob, value):
    with pytest.raises(UserError, match=rf"technique\.prune_depth\.{knob}={value} is out of range"):
        PruneDepth(**{knob: value})
