"""Drafting decoders: the same tokens as greedy decoding, every draft counted, bad drafts refused."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.generation.candidate_generator import CandidateGenerator

from greenbench import bench, models, texts
from greenbench.config import plan
from greenbench.errors import UserError
from greenbench.machine import Machine
from greenbench.measure.workloads import Requests, generate
from greenbench.specs import Dtype, Stop, WorkloadSpec
from greenbench.techniques import Preparation, check_order
from greenbench.techniques.decoding import PromptLookup, Speculative, counting

CPU = Machine("cpu", "some CPU", 1 << 34)
WORKLOAD = WorkloadSpec("w", prompt_tokens=40, output_tokens=24)


def preparation(tokenizer=None):
    return Preparation(torch.device("cpu"), tokenizer, lambda: [])


@pytest.fixture(scope="module")
def real(smollm2):
    """The real model in float32, where rounding breaks no tie, and its tokenizer."""
    spec, path = smollm2
    return models.load(replace(spec, dtype=Dtype.float32), path, torch.device("cpu"))


@pytest.fixture(scope="module")
def drafter(smollm2, tmp_path_factory):
    """A directory with a tiny random model of the real one's vocabulary."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(smollm2[1])
    config = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        vocab_size=len(tokenizer), tie_word_embeddings=True,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("drafts") / "tiny-drafter"
    LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def apply(real):
    """Applies a technique to the real model and takes it off again."""

    def applied(technique):
        work = preparation(real.tokenizer)
        return technique.apply(real.model, work), work

    yield applied
    for name in ("generate", "drafter", "_get_candidate_generator"):
        vars(real.model).pop(name, None)


class Tokens:
    """A streamer that keeps what it is given."""

    def __init__(self):
        self.chunks = []

    def put(self, value):
        self.chunks.append(value.flatten().tolist())

    def end(self):
        self.chunks.append(None)


def outputs(model, prompts, new_tokens, stop=Stop.fixed):
    """Per prompt the new tokens, as `measure.workloads.generate` asks for them."""
    found = []
    original = model.generate

    def kept(*args, **kwargs):
        found.append(original(*args, **kwargs)[0, WORKLOAD.prompt_tokens :].tolist())
        return torch.tensor([[0] * WORKLOAD.prompt_tokens + found[-1]])

    model.generate = kept
    iterations = [generate(model, prompt, new_tokens, stop) for prompt in prompts]
    model.generate = original
    return found, iterations


def prompts_of(real, count):
    requests = Requests(real.tokenizer, texts.passages("prompt"), WORKLOAD, seed=0)
    return [requests.batch(index) for index in range(count)]


def same_as_greedy(real, apply, technique, count, new_tokens, stop=Stop.fixed):
    """What was observed, once the technique has given greedy decoding's tokens on every prompt."""
    prompts = prompts_of(real, count)
    expected, _ = outputs(real.model, prompts, new_tokens, stop)
    model, work = apply(technique)
    found, iterations = outputs(model, prompts, new_tokens, stop)
    assert found == expected
    for tokens, iteration in zip(found, iterations, strict=True):
        assert iteration.tokens == len(tokens)
        assert len(iteration.gaps_s) == len(tokens) - 1  # the streamer saw each token once
    seen = work.observed
    assert seen["accepted"] + seen["rejected"] == seen["drafted"]
    assert seen["rounds"] + seen["plain_passes"] + seen["accepted"] == sum(map(len, found))
    json.dumps([work.details, seen])
    return seen


def test_prompt_lookup_gives_greedy_tokens_and_counts_its_drafts(real, apply):
    seen = same_as_greedy(real, apply, PromptLookup(), 4, 24)
    assert seen["accepted"] > 0


def test_a_model_that_drafts_for_itself_is_always_right(real, apply, smollm2):
    seen = same_as_greedy(real, apply, Speculative(draft=str(smollm2[1]), drafts=4), 2, 21)
    # 1 token comes with the first drafts' pass: 4 + 1 per pass, and the 21st alone.
    assert (seen["rounds"], seen["plain_passes"]) == (2 * 4, 2)
    assert seen["drafted"] == seen["accepted"] == 2 * 16


def test_a_drafter_that_knows_nothing_is_caught_every_time(real, apply, drafter):
    seen = same_as_greedy(real, apply, Speculative(draft=str(drafter), drafts=3), 3, 16)
    assert seen["rejected"] > 0.9 * seen["drafted"] > 0


@pytest.mark.parametrize("name", ["prompt_lookup", "speculative"])
def test_where_the_model_ends_its_answer_drafts_do_not_go_past_it(real, apply, drafter, name):
    technique = PromptLookup() if name == "prompt_lookup" else Speculative(draft=str(drafter))
    ends = real.model.generation_config.eos_token_id
    prompts = prompts_of(real, 1)
    [tokens], _ = outputs(real.model, prompts, 24)
    real.model.generation_config.eos_token_id = tokens[9]  # an ordinary token ends it now
    try:
        seen = same_as_greedy(real, apply, technique, 1, 24, Stop.natural)
    finally:
        real.model.generation_config.eos_token_id = ends
    assert seen["rounds"] + seen["plain_passes"] + seen["accepted"] == tokens.index(tokens[9]) + 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["prompt_lookup", "tiny", "itself"])
def test_fifty_prompts_are_token_identical(real, apply, drafter, smollm2, name):
    drafts = {"tiny": drafter, "itself": smollm2[1]}
    technique = PromptLookup() if name == "prompt_lookup" else Speculative(draft=str(drafts[name]))
    same_as_greedy(real, apply, technique, 50, 32)


class Script(CandidateGenerator):
    """Drafts what it is told to, round by round."""

    def __init__(self, rounds):
        self.rounds = iter(rounds)

    def get_candidates(self, input_ids, **_):
        drafts = torch.tensor([next(self.rounds)], dtype=torch.long)
        return torch.cat([input_ids, drafts], dim=1), None


def test_accepted_and_rejected_are_what_they_were(tiny):
    """Drafts whose fate is known: 2 right and 1 wrong, none, all 3 wrong, 2 right."""
    ids = torch.randint(2, 256, (1, 8))
    options = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    right = tiny.generate(ids, **options)[0, 8:].tolist()
    wrong = [(token + 1) % 256 for token in right]
    rounds = [[*right[:2], wrong[2]], [], wrong[4:7], right[5:7]]
    observed = {}
    tiny._get_candidate_generator = lambda *_, **__: Script(rounds)
    model = counting(tiny, observed)
    streamer = Tokens()
    out = model.generate(ids, prompt_lookup_num_tokens=3, streamer=streamer, **options)
    assert out[0, 8:].tolist() == right
    assert [len(chunk) for chunk in streamer.chunks[1:-1]] == [3, 1, 1, 3]
    assert observed == {
        "rounds": 3, "plain_passes": 1, "drafted": 8, "accepted": 4, "rejected": 4,
    }  # fmt: skip


def test_the_drafts_bytes_count_and_its_weights_are_no_part_of_the_model(tiny, drafter, tmp_path):
    own = replace(Speculative(draft=str(drafter)), drafts=2)
    before, parameters, state = models.storage_bytes(tiny), tiny.num_parameters(), tiny.state_dict()
    promised = own.promise(tiny).bytes_ratio
    work = preparation()
    model = own.apply(tiny, work)
    after = sum(models.storage_bytes(model).values())
    assert after / sum(before.values()) == pytest.approx(promised, abs=0.001)
    assert after - sum(before.values()) == work.details["draft_bytes"]
    assert model.num_parameters() == parameters
    assert model.state_dict().keys() == state.keys()
    model.save_pretrained(tmp_path / "saved")
    again = LlamaForCausalLM.from_pretrained(tmp_path / "saved")
    assert torch.equal(again.lm_head.weight, tiny.lm_head.weight)


def test_the_draft_has_the_models_dtype(tiny, drafter):
    model = Speculative(draft=str(drafter)).apply(tiny.to(torch.bfloat16), preparation())
    assert model.drafter.dtype is torch.bfloat16


def test_the_knob_is_what_is_drafted_in_every_round(real, apply, drafter):
    """Neither success, nor failure, nor doubt changes how many: transformers would by itself."""
    model, work = apply(Speculative(draft=str(drafter), drafts=3))
    outputs(model, prompts_of(real, 2), 24)
    seen = work.observed
    last = 2 * 3  # the last rounds of each request may have room for fewer
    assert 3 * (seen["rounds"] - 2 * 2) <= seen["drafted"] <= 3 * seen["rounds"]
    assert seen["drafted"] >= 3 * seen["rounds"] - last
    assert model.drafter.generation_config.num_assistant_tokens == 3


def test_other_vocabularies_are_refused_before_any_weights_load(tiny, real, drafter, tmp_path):
    with pytest.raises(
        UserError, match=r"tiny-drafter cannot draft.*49152 tokens where it has 256"
    ):
        Speculative(draft=str(drafter)).check_model(tiny.config, WORKLOAD)
    other = tmp_path / "other"
    shutil.copytree(drafter, other)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    first, second = list(vocabulary)[1000:1002]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    (other / "model.safetensors").write_bytes(b"never read")
    with pytest.raises(UserError, match="another vocabulary"):
        Speculative(draft=str(other)).check_model(real.model.config, WORKLOAD)
    Speculative(draft=str(drafter)).check_model(real.model.config, WORKLOAD)


@pytest.mark.parametrize("technique", [PromptLookup(), Speculative()])
def test_batches_are_refused_naming_the_key(tiny, technique):
    with pytest.raises(UserError, match=r"^workload\.batch_size=8 cannot.*batch_size=1\.$"):
        technique.check_model(tiny.config, replace(WORKLOAD, batch_size=8))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("technique=speculative technique.speculative.drafts=0", "speculative.drafts=0 is out"),
        ("technique=prompt_lookup technique.prompt_lookup.drafts=0", "lookup.drafts=0 is out"),
        ("technique=prompt_lookup technique.prompt_lookup.max_ngram=0", "max_ngram=0 is out"),
        ("technique=[prompt_lookup,speculative]", "speculative cannot be stacked with prompt_lo"),
    ],
)
def test_bad_knobs_are_one_sentence(override, sentence):
    with pytest.raises(UserError, match=sentence):
        plan(override.split(), multirun=False)


def test_two_that_draft_do_not_stack():
    with pytest.raises(UserError, match="choose one"):
        check_order([PromptLookup(), Speculative()])
    check_order([PromptLookup()])


@pytest.mark.parametrize("draft", ["./nowhere", "/no/where", "~/no-such-draft"])
def test_a_draft_that_is_not_there_is_one_sentence_before_any_process_starts(draft):
    technique = Speculative(draft=draft)
    with pytest.raises(UserError, match="not a model directory"):
        technique.check(CPU)
    (job,) = plan(["technique=speculative", f"technique.speculative.draft={draft}"], multirun=False)
    with pytest.raises(UserError, match=r"technique\.speculative\.draft"):
        bench._refuse([job])


def test_a_hub_draft_that_cannot_be_had_is_one_sentence(tiny):
    Speculative(draft="some-org/no-such-model").check(CPU)
    with pytest.raises(UserError, match="some-org/no-such-model"):
        Speculative(draft="some-org/no-such-model").check_model(tiny.config, WORKLOAD)


def test_a_drafts_path_stays_out_of_the_record(drafter):
    overrides = ["technique=speculative", f"technique.speculative.draft={drafter}"]
    (job,) = plan(overrides, multirun=False)
    identity = bench.identity(job.spec, CPU)
    told = json.dumps([identity, bench.label(job.spec), bench.command(job.overrides)])
    assert str(drafter.parent) not in told
    fingerprint = models.fingerprint(drafter)
    assert identity["technique"][0]["draft"] == f"tiny-drafter@{fingerprint}"
    assert bench.label(job.spec) == "speculative(tiny-drafter)"
    assert Speculative().label() == "speculative(Qwen3-0.6B)"


def test_what_a_record_keeps_of_a_draft_names_it_exactly_and_not_its_place(tiny, drafter):
    work = preparation()
    Speculative(draft=str(drafter)).apply(tiny, work)
    assert work.details["draft"]["fingerprint"] == models.fingerprint(drafter)
    assert work.details["draft"]["name"] == "tiny-drafter"
    assert str(drafter.parent) not in json.dumps(work.details)
