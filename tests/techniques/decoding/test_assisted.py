"""Drafting decoders: the same tokens as greedy decoding, every draft counted, bad drafts refused."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from helpers.served import Loaded, generate, load
from helpers.techniques import HERE, live
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.generation.candidate_generator import CandidateGenerator

from greenbench.campaign import identity as identity_
from greenbench.campaign.command import command
from greenbench.campaign.compose import plan
from greenbench.engines.transformers.served import HubTokenizer
from greenbench.errors import UserError
from greenbench.machine.detect import Machine
from greenbench.measure.requests import Requests
from greenbench.models import files, texts, weights
from greenbench.run.preflight import refuse
from greenbench.schema.enums import Dtype, Source, Stop
from greenbench.schema.spec import ModelSpec, WorkloadSpec
from greenbench.techniques import Preparation, check_order
from greenbench.techniques.decoding.assisted import PromptLookup, Speculative, counting

CPU = Machine("cpu", "some CPU", 1 << 34)
WORKLOAD = WorkloadSpec("w", prompt_tokens=40, output_tokens=24)


def one_with_vocabulary(tokenizer, layers):
    """A random model whose greedy text repeats itself now and then."""
    torch.manual_seed(layers)
    config = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=layers, num_attention_heads=2,
        vocab_size=len(tokenizer), tie_word_embeddings=False, initializer_range=0.1,
        bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def preparation(tokenizer=None):
    return Preparation(torch.device("cpu"), tokenizer, lambda: [])


@pytest.fixture(scope="module")
def real(smollm2):
    """The real model in float32, where rounding breaks no tie, and its tokenizer."""
    spec, path = smollm2
    return load(replace(spec, dtype=Dtype.float32), path, torch.device("cpu"))


@pytest.fixture(scope="module")
def drafter(smollm2, tmp_path_factory):
    """A directory with a tiny random model of the real one's vocabulary."""
    tokenizer = AutoTokenizer.from_pretrained(smollm2[1])
    path = tmp_path_factory.mktemp("drafts") / "tiny-drafter"
    one_with_vocabulary(tokenizer, layers=1).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def small(real):
    """A tiny random model with the real one's vocabulary and tokenizer."""
    return Loaded(one_with_vocabulary(real.tokenizer, layers=3), real.tokenizer)


@pytest.fixture(autouse=True)
def _clean(real):
    """Takes a technique off the real model again."""
    yield
    vars(real.model).pop("generate", None)
    real.model.generation_config.prompt_lookup_num_tokens = None


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


def prompts_of(tokenizer, count):
    requests = Requests(HubTokenizer(tokenizer), texts.passages("prompt"), WORKLOAD, seed=0)
    batches = (requests.batch(index) for index in range(count))
    return [torch.tensor([request.tokens for request in batch]) for batch in batches]


def same_as_greedy(loaded, technique, count, new_tokens, stop=Stop.fixed):
    """What was observed, once the technique has given greedy decoding's tokens on every prompt."""
    prompts, work = prompts_of(loaded.tokenizer, count), preparation(loaded.tokenizer)
    expected, _ = outputs(loaded.model, prompts, new_tokens, stop)
    model = live(technique, loaded.model, work)
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


@pytest.mark.slow
def test_prompt_lookup_gives_the_real_models_greedy_tokens(real):
    seen = same_as_greedy(real, PromptLookup(), 2, 20)
    assert seen["drafted"] > 0


def test_a_model_that_drafts_for_itself_is_always_right(real, smollm2):
    seen = same_as_greedy(real, Speculative(draft=str(smollm2[1]), drafts=4), 1, 11)
    # Two passes of 4 drafts and a token of their own, and the 11th token alone.
    assert (seen["rounds"], seen["plain_passes"]) == (2, 1)
    assert seen["drafted"] == seen["accepted"] == 8


@pytest.mark.slow
def test_a_drafter_that_knows_nothing_is_caught_every_time(real, drafter):
    seen = same_as_greedy(real, Speculative(draft=str(drafter), drafts=3), 1, 8)
    assert seen["rejected"] > 0.9 * seen["drafted"] > 0


def test_prompt_lookup_is_sometimes_right_and_sometimes_wrong_where_text_repeats(small):
    seen = same_as_greedy(small, PromptLookup(drafts=4, max_ngram=3), 6, 60)
    assert seen["accepted"] > 10
    assert seen["rejected"] > 10


@pytest.mark.parametrize("name", ["prompt_lookup", "speculative"])
def test_where_the_model_ends_its_answer_drafts_do_not_go_past_it(small, drafter, name):
    technique = PromptLookup() if name == "prompt_lookup" else Speculative(draft=str(drafter))
    [tokens], _ = outputs(small.model, prompts_of(small.tokenizer, 1), 24)
    end = next(n for n, token in enumerate(tokens) if n > 5 and token not in tokens[:n])
    small.model.generation_config.eos_token_id = tokens[end]  # an ordinary token ends it now
    seen = same_as_greedy(small, technique, 1, 24, Stop.natural)
    assert seen["rounds"] + seen["plain_passes"] + seen["accepted"] == end + 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["prompt_lookup", "tiny", "itself"])
def test_fifty_prompts_are_token_identical(real, drafter, smollm2, name):
    drafts = {"tiny": drafter, "itself": smollm2[1]}
    technique = PromptLookup() if name == "prompt_lookup" else Speculative(draft=str(drafts[name]))
    seen = same_as_greedy(real, technique, 50, 16)  # which compares every token
    assert seen["accepted"] + seen["rejected"] == seen["drafted"] > 0


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
    script = tiny._get_candidate_generator = lambda *_, **__: Script(rounds)
    loop = counting(tiny.generate, tiny, observed)
    streamer = Tokens()
    out = loop(ids, prompt_lookup_num_tokens=3, streamer=streamer, **options)
    assert out[0, 8:].tolist() == right
    assert [len(chunk) for chunk in streamer.chunks[1:-1]] == [3, 1, 1, 3]
    assert tiny._get_candidate_generator is script  # listened to while the loop runs, and no longer
    assert observed == {
        "rounds": 3, "plain_passes": 1, "drafted": 8, "accepted": 4, "rejected": 4,
    }  # fmt: skip


def test_the_drafts_bytes_count_and_its_weights_are_no_part_of_the_model(tiny, drafter, tmp_path):
    own = replace(Speculative(draft=str(drafter)), drafts=2)
    before, parameters, state = (
        weights.storage_bytes(tiny),
        tiny.num_parameters(),
        tiny.state_dict(),
    )
    promised = own.promise(tiny).bytes_ratio
    work = preparation()
    model, loop, *_ = own.edit(tiny, work)
    after = sum(weights.storage_bytes(model, loop).values())
    assert weights.storage_bytes(model) == before
    assert after / sum(before.values()) == pytest.approx(promised, abs=0.001)
    assert after - sum(before.values()) == work.details["draft_bytes"]
    assert model.num_parameters() == parameters
    assert model.state_dict().keys() == state.keys()
    model.save_pretrained(tmp_path / "saved")
    again = LlamaForCausalLM.from_pretrained(tmp_path / "saved")
    assert torch.equal(again.lm_head.weight, tiny.lm_head.weight)


def test_the_promise_says_where_rounding_may_turn_a_tie(tiny, drafter):
    for technique in (PromptLookup(), Speculative(draft=str(drafter))):
        assert "near ties" not in technique.promise(tiny.float()).note
        assert "in 16 bits near ties" in technique.promise(tiny.bfloat16()).note


def test_the_draft_has_the_models_dtype(tiny, drafter):
    loop = Speculative(draft=str(drafter)).edit(tiny.to(torch.bfloat16), preparation()).loop
    (assisted, *_) = loop.args
    assert assisted.keywords["assistant_model"].dtype is torch.bfloat16


@pytest.mark.parametrize("right", [True, False])
def test_the_knob_is_what_is_drafted_in_every_round(small, drafter, tmp_path, right):
    """Neither success, nor failure, nor doubt changes how many: transformers would by itself."""
    small.model.save_pretrained(tmp_path / "itself")
    technique = Speculative(draft=str(tmp_path / "itself" if right else drafter), drafts=3)
    work = preparation()
    model = live(technique, small.model, work)
    seen = work.observed
    for prompt in prompts_of(small.tokenizer, 2):
        tokens, rounds = seen["drafted"], seen["rounds"]
        generate(model, prompt, 24)
        tokens, rounds = seen["drafted"] - tokens, seen["rounds"] - rounds
        assert 0 <= 3 * rounds - tokens <= 3  # the last rounds have room for 2 and 1
        assert rounds == 6 if right else rounds > 15


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
        technique.check(CPU, HERE)
    (job,) = plan(
        ["technique=speculative", f"technique.speculative.draft='{draft}'"], multirun=False
    )
    with pytest.raises(UserError, match=r"technique\.speculative\.draft"):
        refuse(job.spec)


def test_a_hub_draft_that_cannot_be_had_is_one_sentence(tiny):
    Speculative(draft="some-org/no-such-model").check(CPU, HERE)
    with pytest.raises(UserError, match="some-org/no-such-model"):
        Speculative(draft="some-org/no-such-model").check_model(tiny.config, WORKLOAD)


def local(path):
    return ModelSpec("local", Source.local, path=str(path))


def test_a_drafts_path_stays_out_of_the_record(drafter):
    overrides = ["technique=speculative", f"technique.speculative.draft={drafter}"]
    (job,) = plan(overrides, multirun=False)
    identity = identity_.identity(job.spec, CPU)
    told = json.dumps([identity.model_dump(), identity_.label(job.spec), command(job, job.spec)])
    assert str(drafter.parent) not in told
    fingerprint = files.fingerprint(local(drafter))
    assert identity.technique[0].knobs["draft"] == f"tiny-drafter@{fingerprint}"
    assert identity_.label(job.spec) == "speculative(tiny-drafter)"
    assert Speculative().label() == "speculative(Qwen3-0.6B)"


def test_what_a_record_keeps_of_a_draft_names_it_exactly_and_not_its_place(tiny, drafter):
    work = preparation()
    live(Speculative(draft=str(drafter)), tiny, work)
    assert work.details["draft"]["fingerprint"] == files.fingerprint(local(drafter))
    assert work.details["draft"]["name"] == "tiny-drafter"
    assert str(drafter.parent) not in json.dumps(work.details)
