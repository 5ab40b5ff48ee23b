"""Blocks, windows, requests and the numbers they give, against closed forms."""

import time
from collections import Counter

import pytest
import torch

from greenbench.errors import UserError
from greenbench.measure import blocks, memory, summary
from greenbench.measure.windows import Recorder, percentiles
from greenbench.measure.workloads import Iteration, Requests, generate
from greenbench.meters import OpenMeters
from greenbench.meters.counter import Reading
from greenbench.records import Percentiles, Span, Window
from greenbench.specs import ProtocolSpec, Tier, WorkloadSpec

CPU = torch.device("cpu")


class Watts:
    """A meter that counts exactly `power_w` joules a second, and faults when told to."""

    name, boundary, provenance, tick_s, note = "watts", "wall", "measured:wall", 0.001, None

    def __init__(self, power_w):
        self.power_w, self.faults = power_w, ()

    def read(self):
        now_s = time.monotonic()
        return Reading(now_s, self.power_w * now_s, faults=self.faults)

    def close(self):
        pass


def iteration(tokens=4, seconds=0.01):
    return Iteration(tokens, 8, seconds, seconds / 2, [seconds / 6] * 3)


def test_each_block_measures_every_cell_once_in_a_seeded_random_order():
    order = blocks.schedule(200, seed=1)
    assert order == blocks.schedule(200, seed=1) != blocks.schedule(200, seed=2)
    cells = [(who, phase) for who in blocks.WHO for phase in blocks.PHASES]
    assert all(sorted(block) == sorted(cells) for block in order)
    firsts = Counter(block[0] for block in order)
    assert set(firsts) == set(cells)
    assert min(firsts.values()) > 25  # 50 expected of each


def test_a_window_is_the_difference_of_two_readings():
    recorder = Recorder(OpenMeters(meters=[Watts(300.0)]), CPU)
    window = recorder.repeat(
        "generate",
        "baseline",
        lambda i: iteration(),
        window_s=0.05,
        min_iterations=3,
        block=0,
        position=0,
    )
    (span,) = window.energy
    assert span.end_j - span.start_j == pytest.approx(300 * (span.end_s - span.start_s))
    assert span.end_s - span.start_s >= 0.05
    assert window.tokens == 4 * window.iterations
    assert window.validity == "valid"


def test_a_window_lasts_until_both_the_time_and_the_count_are_met():
    recorder = Recorder(OpenMeters(), CPU)
    options = {"block": 0, "position": 0}
    few = recorder.repeat(
        "prefill", "candidate", lambda i: iteration(), window_s=0, min_iterations=7, **options
    )
    assert few.iterations == 7
    assert few.energy == []
    assert "no meter answered" in few.energy_reason


def test_a_faulty_meter_invalidates_the_window_and_its_block():
    meter = Watts(1.0)
    recorder = Recorder(OpenMeters(meters=[meter]), CPU)

    def work(index):
        meter.faults = ("counter_reset",)
        return iteration()

    window = recorder.repeat(
        "prefill", "baseline", work, window_s=0, min_iterations=1, block=0, position=0
    )
    assert (window.validity, window.codes) == ("invalid", ["counter_reset"])
    recorder.repeat("prefill", "candidate", work, window_s=0, min_iterations=1, block=0, position=1)
    kept = recorder.repeat(
        "prefill",
        "candidate",
        lambda i: iteration(),
        window_s=0,
        min_iterations=1,
        block=1,
        position=0,
    )
    assert summary.valid_blocks(recorder.windows) == [kept]


def window(who, phase, block, joules, tokens=32, iterations=2, seconds=1.0):
    latency = Percentiles(p50_s=seconds / 10, p90_s=seconds / 5, p99_s=seconds / 4, n=5)
    return Window(
        phase=phase, who=who, block=block, position=0, start_s=0, end_s=seconds * iterations,
        iterations=iterations, tokens=tokens if phase == "generate" else iterations, prompt_tokens=64,
        energy=[Span(meter="nvml", boundary="gpu", provenance="measured:counter:nvml", tick_s=0.1,
                     start_s=0, start_j=5, end_s=1, end_j=5 + joules)],
        iteration_s=[seconds] * iterations, ttft=latency, tpot=latency,
    )  # fmt: skip


def campaign(factor):
    """Three blocks that drift; the candidate always takes `factor` times the joules and seconds."""
    return [
        window(who, phase, block, joules * drift * scale, seconds=drift * scale)
        for block, drift in enumerate((1.0, 1.3, 1.9))
        for who, scale in (("baseline", 1.0), ("candidate", factor))
        for phase, joules in (("prefill", 4.0), ("generate", 64.0))
    ]


def test_drift_cancels_and_decode_is_generate_minus_prefill():
    windows = campaign(0.7)
    levels = summary.metrics(windows, "baseline", "")
    mean_drift = (1 * 1.3 * 1.9) ** (1 / 3)
    assert levels["energy_per_token_j"].value == pytest.approx(64 / 32 * mean_drift)
    assert levels["prefill_energy_j"].value == pytest.approx(4 / 2 * mean_drift)
    # per iteration 32 J less 2 J, for 16 tokens less the first
    assert levels["decode_energy_per_token_j"].value == pytest.approx((32 - 2) / 15 * mean_drift)
    assert levels["energy_per_token_j"].low < levels["energy_per_token_j"].value
    for name, value in summary.ratios(windows, "").items():
        assert value.value == pytest.approx(1 / 0.7 if name == "tokens_per_s" else 0.7), name
        assert value.high - value.low == pytest.approx(0, abs=1e-9), name
        assert value.n == 3


def test_without_a_meter_every_joule_is_null_with_the_reason():
    windows = [w.model_copy(update={"energy": []}) for w in campaign(0.7)]
    levels, ratios = (
        summary.metrics(windows, "baseline", "no sun"),
        summary.ratios(windows, "no sun"),
    )
    for found in (
        levels["energy_per_token_j"],
        levels["decode_energy_per_token_j"],
        ratios["energy_per_token"],
    ):
        assert (found.value, found.provenance, found.reason) == (None, "unavailable", "no sun")
    assert levels["tokens_per_s"].value > 0


def test_a_difference_below_zero_gives_no_ratio_but_a_reason():
    windows = [
        w.model_copy(update={"energy": [w.energy[0].model_copy(update={"end_j": 5.001})]})
        if w.phase == "generate" else w
        for w in campaign(0.7)
    ]  # fmt: skip
    found = summary.ratios(windows, "")["decode_energy_per_token"]
    assert found.value is None
    assert "too short" in found.reason


def test_percentiles_are_numpys():
    found = percentiles([0.1, 0.2, 0.3, 0.4, 0.5])
    assert (found.p50_s, found.p90_s, found.n) == (0.3, pytest.approx(0.46), 5)
    assert percentiles([]) is None


def test_generation_makes_exactly_the_tokens_and_times_each(tiny):
    found = generate(tiny, torch.randint(2, 256, (3, 5)), 6)
    assert (found.tokens, found.prompt_tokens) == (18, 15)
    assert len(found.gaps_s) == 5
    assert 0 < found.ttft_s <= found.seconds
    assert found.ttft_s + sum(found.gaps_s) <= found.seconds


class Words:
    """A tokenizer of one id per word, with a begin-of-text token."""

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": [7] * add_special_tokens + [10 + len(word) for word in text.split()]}


TEXTS = [f"{'a' * n} " * 40 for n in range(1, 30)]


def test_requests_are_seeded_exact_in_length_and_begin_as_the_model_expects():
    spec = WorkloadSpec("w", batch_size=3, prompt_tokens=9, output_tokens=2)
    one, same, other = (Requests(Words(), TEXTS, spec, seed) for seed in (0, 0, 1))
    assert one.batch(4).shape == (3, 9)
    assert torch.equal(one.batch(4), same.batch(4))
    assert not torch.equal(one.batch(0), other.batch(0))
    assert not torch.equal(one.batch(0), one.batch(1))
    assert (one.batch(2)[:, 0] == 7).all()


def test_too_long_a_prompt_is_one_sentence():
    with pytest.raises(UserError, match="prompt_tokens=100000"):
        Requests(Words(), TEXTS, WorkloadSpec("w", prompt_tokens=100_000), 0)


def test_warm_up_lasts_as_long_as_asked_for_each_model(tiny, monkeypatch):
    seen = Counter()

    def count(model, prompt, new_tokens):
        seen[model] += 1
        return iteration()

    monkeypatch.setattr(blocks, "generate", count)
    requests = Requests(Words(), TEXTS, WorkloadSpec("w", prompt_tokens=4), 0)
    start = time.monotonic()
    blocks.warm_up({"baseline": "b", "candidate": "c"}, requests, WorkloadSpec("w"), 0.02)
    assert time.monotonic() - start >= 0.04
    assert min(seen["b"], seen["c"]) >= 1


def test_a_new_high_water_mark_forgets_what_was_freed():
    big = torch.ones(1 << 27)  # 512 MiB
    assert big.sum() > 0
    high = memory.host_peak_bytes()
    del big
    memory.reset_peaks(CPU)
    assert high - memory.host_peak_bytes() > 1 << 28


def test_a_protocol_may_not_promise_more_than_it_does():
    with pytest.raises(UserError, match="promises"):
        ProtocolSpec(Tier.dev, window_s=5, min_iterations=1, blocks=5, warmup_s=1, time_limit_s=10)
