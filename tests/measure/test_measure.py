"""Blocks, windows, requests and the numbers they give, against closed forms."""

import gc
import time
import weakref
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby

import psutil
import pytest
import torch
from transformers import GenerationConfig

from greenbench.analysis import blocks as summary
from greenbench.analysis import disturbances
from greenbench.engines.engine import Iteration
from greenbench.engines.transformers import generate as generate_module
from greenbench.engines.transformers.generate import _Clock, generate
from greenbench.errors import UserError
from greenbench.machine import cpu_load, memory
from greenbench.measure import pair, schedule, warmup
from greenbench.measure.recorder import Recorder, percentiles
from greenbench.measure.requests import Requests
from greenbench.meters import OpenMeters
from greenbench.meters.meter import Reading
from greenbench.meters.wall_log import WallLog
from greenbench.run.preflight import require_ticks
from greenbench.schema.record import Percentiles, Place, Settling, Span, Trace, Window
from greenbench.schema.spec import Design, ProtocolSpec, Stop, Tier, WorkloadSpec
from greenbench.stats.intervals import paired_ratio

CPU = torch.device("cpu")


class Watts:
    """A meter that counts exactly `power_w` joules a second, and faults when told to."""

    name, boundary, provenance, tick_s, note = "watts", "wall", "measured:wall", 1e-9, None

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
    order = schedule.schedule(200, seed=1)
    assert order == schedule.schedule(200, seed=1) != schedule.schedule(200, seed=2)
    cells = [(who, phase) for who in schedule.WHO for phase in schedule.PHASES]
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
        place=Place(series="block", unit=0, position=0),
    )
    (span,) = window.energy
    assert span.end_j - span.start_j == pytest.approx(300 * (span.end_s - span.start_s))
    assert span.end_s - span.start_s >= 0.05
    assert window.tokens == 4 * window.iterations
    assert set(window.codes) <= {"other_load"}  # neighbours are not this test's business


def test_a_window_lasts_until_both_the_time_and_the_count_are_met():
    recorder = Recorder(OpenMeters(), CPU)
    few = recorder.repeat(
        "prefill", "candidate", lambda i: iteration(), window_s=0, min_iterations=7
    )
    assert few.iterations == 7
    assert few.energy == []
    assert "no meter answered" in few.energy_reason


def test_a_window_of_too_few_ticks_is_invalid():
    meter = Watts(1.0)
    meter.tick_s = 0.05
    recorder = Recorder(OpenMeters(meters=[meter]), CPU)
    recorder.idle("empty", 0.1)
    recorder.idle("empty", 0.7)
    assert ["short_window" in window.codes for window in recorder.windows] == [True, False]
    assert recorder.windows[0].validity == "invalid"


def test_a_faulty_meter_invalidates_the_window_and_its_block():
    meter = Watts(1.0)
    recorder = Recorder(OpenMeters(meters=[meter]), CPU)

    def work(index):
        meter.faults = ("counter_reset",)
        return iteration()

    window = recorder.repeat(
        "prefill",
        "baseline",
        work,
        window_s=0,
        min_iterations=1,
        place=Place(series="block", unit=0, position=0),
    )
    assert (window.validity, window.codes) == ("invalid", ["counter_reset"])
    recorder.repeat(
        "prefill",
        "candidate",
        work,
        window_s=0,
        min_iterations=1,
        place=Place(series="block", unit=0, position=1),
    )
    kept = recorder.repeat(
        "prefill",
        "candidate",
        lambda i: iteration(),
        window_s=0,
        min_iterations=1,
        place=Place(series="block", unit=1, position=0),
    )
    assert summary.valid_blocks(recorder.windows) == [kept]


def window(who, phase, block, joules, tokens=32, iterations=2, seconds=1.0):
    latency = Percentiles(p50_s=seconds / 10, p90_s=seconds / 5, p99_s=seconds / 4, n=5)
    return Window(
        phase=phase, who=who, place=Place(series="block", unit=block, position=0),
        start_s=0, end_s=seconds * iterations,
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


def test_a_new_high_water_mark_forgets_what_was_freed():
    big = torch.ones(1 << 27)  # 512 MiB
    assert big.sum() > 0
    high = memory.host_peak_bytes()
    del big
    memory.reset_peaks(CPU)
    assert high - memory.host_peak_bytes() > 1 << 28


def protocol(**changes):
    values = {
        "tier": Tier.smoke, "window_s": 0.0, "min_iterations": 1, "blocks": 3, "max_blocks": 9,
        "target_half_width": 0.05, "idle_s": 0, "warmup_s": 0, "warmup_limit_s": 0.3,
        "time_limit_s": 10, "design": Design.auto,
    }  # fmt: skip
    return ProtocolSpec(**(values | changes))


def test_a_protocol_may_not_promise_more_than_it_does():
    with pytest.raises(UserError, match="promises"):
        protocol(tier=Tier.dev, window_s=5, blocks=5)
    with pytest.raises(UserError, match="max_blocks=2"):
        protocol(blocks=3, max_blocks=2)


def noisy(blocks_done, spread):
    """Blocks whose ratio is 0.7, give or take `spread`."""
    return [
        window(who, phase, block, 64.0 * scale, seconds=scale)
        for block in range(blocks_done)
        for who, scale in (("baseline", 1.0), ("candidate", 0.7 * (1 + spread * (-1) ** block)))
        for phase in ("prefill", "generate")
    ]


def test_blocks_are_added_until_the_interval_is_narrow_enough():
    assert schedule.stopping(noisy(4, 0.001), protocol()).reached
    wide = schedule.stopping(noisy(4, 0.2), protocol())
    assert not wide.reached
    assert wide.metric == "energy_per_token"
    logs = [0.7 * 1.2, 0.7 * 0.8] * 2
    expected = paired_ratio([1.0] * 4, logs)
    assert wide.half_width == pytest.approx((expected.high - expected.low) / 2 / expected.value)
    assert not schedule.stopping(noisy(1, 0.0), protocol()).reached


@pytest.mark.parametrize("in_turn", [False, True])
def test_measuring_stops_at_the_target_and_at_the_limit(in_turn, tiny, monkeypatch):
    """In turn, never within a turn of 4 blocks, however narrow the interval is by then."""
    requests = Requests(Words(), TEXTS, WorkloadSpec("w", prompt_tokens=4), 0)
    models = pair.Together({"baseline": tiny, "candidate": tiny})

    def measured(seconds_of):
        recorder = Recorder(OpenMeters(), CPU)
        calls = iter(range(10_000))
        monkeypatch.setattr(
            schedule, "generate", lambda *_: iteration(seconds=seconds_of(next(calls)))
        )
        order = schedule.rounds(protocol(), 0, in_turn=in_turn)
        spec = WorkloadSpec("w", prompt_tokens=4)
        return schedule.measure(
            recorder, models, requests, spec, protocol(), order, lambda *_: None
        )

    steady = measured(lambda call: 0.01)
    assert (steady.blocks, steady.reached, steady.metric) == (
        4 if in_turn else 3,
        True,
        "tokens_per_s",
    )
    wild = measured(lambda call: 0.01 * (1 + call % 7))
    assert (wild.blocks, wild.reached, wild.limit) == (8 if in_turn else 9, False, 9)


class Ender:
    """Generates token ids as they are given, end-of-text (2) and padding (0) included."""

    device = CPU
    generation_config = GenerationConfig(eos_token_id=2, pad_token_id=0)

    def __init__(self, rows):
        self.rows = torch.tensor(rows)

    def generate(self, prompt, streamer, **_):
        streamer.put(prompt)
        for column in self.rows.T:
            streamer.put(column)
        return torch.cat([prompt, self.rows], dim=1)


def test_padding_after_the_end_is_no_token():
    prompt = torch.ones(3, 2, dtype=torch.long)
    model = Ender([[5, 2, 0, 0], [5, 6, 7, 2], [5, 6, 7, 8]])
    assert generate(model, prompt, 4, Stop.natural).tokens == 2 + 4 + 4
    assert generate(model, prompt, 4, Stop.fixed).tokens == 12


def test_a_chat_prompt_keeps_the_templates_frame_and_its_exact_length(smollm2):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2[1])
    spec = WorkloadSpec("w", prompt_tokens=64, chat_template=True)
    ids = Requests(tokenizer, ["Some text about steam engines. " * 40] * 30, spec, 0).batch(0)
    text = tokenizer.decode(ids[0])
    assert ids.shape == (1, 64)
    assert text.startswith("<|im_start|>system")
    assert text.endswith("<|im_start|>assistant\n")
    assert "steam" in text
    with pytest.raises(UserError, match="chat_template=false"):
        Requests(tokenizer, ["text"], WorkloadSpec("w", prompt_tokens=8, chat_template=True), 0)


def points(seconds):
    return [warmup.Point(float(index), value) for index, value in enumerate(seconds)]


def test_a_latency_that_falls_is_not_settled_and_one_that_only_scatters_is():
    falling = warmup.settling(points([1.0 - 0.01 * i for i in range(20)]), 20.0, None)
    assert not falling.settled
    # a slope of -0.01 a second around a mean of 0.855 over the later half
    assert falling.slopes["latency_fraction_per_30_s"] == pytest.approx(-0.3 / 0.855, rel=1e-3)
    scatter = warmup.settling(points([1.0 + 0.05 * (-1) ** i for i in range(40)]), 40.0, None)
    assert scatter.settled
    assert not warmup.settling(points([1.0]), 1.0, None).settled


def test_warm_up_ends_at_its_limit_and_says_that_it_did_not_settle(monkeypatch):
    monkeypatch.setattr(warmup, "settling", lambda p, s, _: Settling(
        seconds=s, iterations=len(p), settled=False, by="latency", slopes={}))  # fmt: skip
    monkeypatch.setattr(warmup, "generate", lambda *_: iteration())
    requests = Requests(Words(), TEXTS, WorkloadSpec("w", prompt_tokens=4), 0)
    models = pair.Together({"baseline": "b", "candidate": "c"})
    found = warmup.warm_up(models, requests, WorkloadSpec("w"), protocol(), None)
    assert all(state.seconds >= 0.3 and not state.settled for state in found.values())


def test_a_neighbour_on_the_cpu_is_seen_and_the_run_itself_is_not():
    start = cpu_load.Usage(0.0, 100.0, 50.0, 2000.0)
    cores = psutil.cpu_count()
    assert cpu_load.codes(start, cpu_load.Usage(10.0, 110.0, 60.0, 2000.0)) == []
    assert cpu_load.codes(start, cpu_load.Usage(10.0, 100.0 + 5.0 * cores, 50.0, 2000.0)) == [
        "other_load"
    ]
    slow = cpu_load.Usage(10.0, 100.0, 50.0, 1800.0)
    assert cpu_load.codes(start, slow) == ["cpu_frequency_change"]


def test_codes_of_a_run_come_from_its_windows_and_from_what_only_the_whole_shows():
    good = campaign(0.7)
    assert disturbances.run_codes(good, "smoke", settled=True, on_battery=False) == []
    assert disturbances.run_codes(good, "dev", settled=False, on_battery=True) == [
        "on_battery", "too_few_blocks", "unsettled",
    ]  # fmt: skip
    flagged = [w.model_copy(update={"validity": "flagged", "codes": ["residual"]}) for w in good]
    assert disturbances.run_codes(flagged, "smoke", settled=True, on_battery=False) == ["residual"]


def test_idle_power_is_joules_over_seconds():
    recorder = Recorder(OpenMeters(meters=[Watts(12.0)]), CPU)
    recorder.idle("empty", 0.05)
    recorder.idle("both", 0.0)
    found = summary.idle_power(recorder.windows, "")
    assert found["empty"].value == pytest.approx(12.0, rel=1e-3)
    assert found["empty"].n == 3
    assert set(found) == {"empty"}


def test_a_clock_that_changes_between_windows_is_coded_and_one_that_a_technique_sets_is_not():
    def clocked(window, mhz):
        none = [None] * 3
        trace = Trace(
            step_s=0.1, power_w=none, temperature_c=none, sm_mhz=[mhz, None, mhz], mem_mhz=none,
            throttle=none, utilization=none,
        )  # fmt: skip
        return window.model_copy(update={"trace": trace})

    locked = [clocked(w, 1000 if w.who == "candidate" else 1980) for w in campaign(0.7)]
    assert disturbances.with_clock_codes(locked) == locked
    slower = [clocked(locked[0], 1600), *locked[1:]]
    first, *others = disturbances.with_clock_codes(slower)
    assert (first.codes, first.validity) == (["clock_change"], "flagged")
    assert others == locked[1:]
    assert disturbances.with_clock_codes(campaign(0.7)) == campaign(0.7)


def wall_log(path, start, seconds, watts):
    rows = [f"{datetime.fromtimestamp(start + i, UTC).isoformat()},{watts}" for i in range(seconds)]
    path.write_text("\n".join(["timestamp,watts", *rows]) + "\n")
    return WallLog(path)


def test_a_wall_log_that_covers_the_run_takes_an_estimates_place(tmp_path):
    meter = Watts(1.0)
    meter.provenance = "estimated:model"
    recorder = Recorder(OpenMeters(meters=[meter]), CPU)
    recorder.idle("empty", 0.2)
    recorder.join(wall_log(tmp_path / "w.csv", recorder.origin_epoch_s - 5, 20, 40.0))
    (span,) = recorder.windows[0].energy
    seconds = recorder.windows[0].end_s - recorder.windows[0].start_s
    assert span.provenance == "measured:wall"
    # A double holds seconds since 1970 to 2.4e-7 s: of 0.2 s that is a millionth, twice.
    assert span.end_j - span.start_j == pytest.approx(40.0 * seconds, rel=1e-4)
    assert recorder.used == ["wall"]


def test_a_wall_log_that_misses_the_run_is_refused_with_its_reason(tmp_path):
    opened = OpenMeters(meters=[Watts(1.0)])
    recorder = Recorder(opened, CPU)
    recorder.idle("empty", 0.05)
    recorder.join(wall_log(tmp_path / "w.csv", recorder.origin_epoch_s - 500, 20, 40.0))
    assert [span.meter for span in recorder.windows[0].energy] == ["watts"]
    assert "wall" in opened.refused


def test_windows_shorter_than_ten_ticks_are_refused():
    meter = Watts(1.0)
    meter.tick_s = 0.1
    require_ticks(OpenMeters(meters=[meter]), protocol(window_s=1.0))
    with pytest.raises(UserError, match=r"window_s=0.5.*10 ticks"):
        require_ticks(OpenMeters(meters=[meter]), protocol(window_s=0.5))


def test_in_turn_the_baseline_is_first_middle_and_last_and_every_block_is_whole():
    cells = schedule.schedule_in_turn(6, seed=0)  # rounded up to 8
    turns = [who for who, _ in groupby(cell.who for cell in cells)]
    assert turns == ["baseline", "candidate", "baseline", "candidate", "baseline"]
    whole = Counter((cell.block, cell.who, cell.phase) for cell in cells)
    assert set(whole.values()) == {1}
    assert len(whole) == 8 * 4
    # A linear drift cancels: over all blocks, candidate windows lie as late as the baseline's.
    late = Counter()
    for place, cell in enumerate(cells):
        late[cell.who] += place
    assert late["baseline"] == late["candidate"]


def test_a_drift_of_the_baseline_is_coded():
    def series(factor):
        return [window("baseline", "generate", b, 64.0 * factor**b) for b in range(8)]

    assert disturbances.drift_codes(series(1.0)) == []
    assert disturbances.drift_codes(series(1.01)) == ["drift"]
    assert disturbances.drift_codes(series(1.03)) == ["drift_high"]


def test_models_that_do_not_fit_together_are_measured_in_turn():
    free = psutil.virtual_memory().available
    assert pair.apart_reason(Design.auto, CPU, free // 10) is None
    assert "does not fit" in pair.apart_reason(Design.auto, CPU, free)
    assert pair.apart_reason(Design.interleaved, CPU, free) is None
    assert "sequential" in pair.apart_reason(Design.sequential, CPU, 1)


def test_in_turn_only_one_model_is_alive():
    alive = weakref.WeakSet()

    def make():
        model = torch.nn.Linear(2, 2)
        alive.add(model)
        return model

    turns = pair.InTurn({"baseline": make, "candidate": make}, make())
    for who in ("baseline", "candidate", "candidate", "baseline"):
        assert turns[who] is turns[who]
        gc.collect()
        assert len(alive) == 1


def test_the_candidate_runs_in_its_surroundings_and_the_baseline_outside_of_them():
    seen = []

    @contextmanager
    def around(model):
        seen.append(f"before {model}")
        yield
        seen.append(f"after {model}")

    both = pair.Together({"baseline": "b", "candidate": "c"}, around)
    for who in ("baseline", "candidate"):
        with both.use(who) as model:
            seen.append(model)
    assert seen == ["b", "before c", "c", "after c"]


def test_tokens_that_arrive_together_share_their_time(monkeypatch):
    """Drafts that are accepted at once: three tokens 0.3 s after the last one waited 0.1 s each."""
    times = iter([0.0, 1.0, 1.3])
    monkeypatch.setattr(generate_module.time, "perf_counter", lambda: next(times))
    clock = _Clock()
    for value in (torch.ones(1, 5), torch.ones(1), torch.ones(1, 3)):
        clock.put(value)
    assert clock.times == pytest.approx([0.0, 1.0, 1.1, 1.2, 1.3])
