"""The order of blocks, and when there are enough of them."""

import math
from collections import Counter
from contextlib import nullcontext
from itertools import count, groupby, repeat

import pytest
from helpers.engines import Echoing, Words
from helpers.windows import iteration, protocol, window

from greenbench.engines.engine import Build
from greenbench.measure import pair, schedule
from greenbench.measure.recorder import Recorder
from greenbench.measure.requests import Prompts, Requests
from greenbench.meters import OpenMeters
from greenbench.models.texts import for_prompts
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.window import WHO, Trace
from greenbench.stats.intervals import paired_ratio, stein_blocks


def test_each_block_measures_every_cell_once_in_a_seeded_random_order():
    order = schedule.schedule(200, seed=1)
    assert order == schedule.schedule(200, seed=1) != schedule.schedule(200, seed=2)
    cells = [(who, kind) for who in schedule.WHO for kind in schedule.CLOSED]
    assert all(sorted(block) == sorted(cells) for block in order)
    firsts = Counter(block[0] for block in order)
    assert set(firsts) == set(cells)
    assert min(firsts.values()) > 25  # 50 expected of each


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


def test_the_first_blocks_decide_how_many_are_needed():
    logs = [math.log(1 + 0.01 * (-1) ** block) for block in range(3)]
    asked = protocol(max_blocks=50, target_half_width=0.01)
    needed = stein_blocks(logs, asked.target_half_width)
    assert schedule.needed_blocks(noisy(3, 0.01), asked) == needed > 3
    assert schedule.needed_blocks(noisy(3, 0.3), asked) > 50
    assert schedule.needed_blocks(noisy(2, 0.0), asked) == 3
    assert schedule.needed_blocks(noisy(1, 0.01), asked) is None


def test_the_interval_after_two_stages_is_the_wider_of_both():
    by_all = schedule.stopping(noisy(8, 0.01), protocol()).half_width
    by_first = schedule.stopping(noisy(8, 0.01), protocol(), first=3, needed=8)
    assert by_first.half_width > by_all
    assert by_first.needed == 8


class Timed(Echoing):
    """Requests that took as long as they are told."""

    def __init__(self, seconds):
        super().__init__(None)
        self._seconds = seconds

    def complete(self, batch):
        return [iteration(seconds=next(self._seconds))]


@pytest.mark.parametrize("in_turn", [False, True])
def test_measuring_stops_at_the_target_and_at_the_limit(in_turn):
    """In turn, never within a turn of 4 blocks, however narrow the interval is by then."""
    texts = [f"{'a' * n} " * 40 for n in range(1, 30)]
    requests = Requests(Words(), texts, WorkloadSpec("w", prompt_tokens=4), 0)

    def measured(seconds_of):
        served = Timed(seconds_of(call) for call in count())
        plain = Build(None, "safetensors", None, None)
        make = {"baseline": lambda: plain, "candidate": lambda: plain}
        with pair.Together(lambda who, build: nullcontext(served), make) as both:
            order = schedule.rounds(protocol(), 0, in_turn=in_turn)
            recorder = Recorder(OpenMeters())
            take = schedule.one_after_another(recorder, requests, protocol())
            return schedule.measure(recorder, both, take, protocol(), order, lambda *_: None)

    steady = measured(lambda call: 0.01)
    assert (steady.blocks, steady.reached, steady.metric) == (
        4 if in_turn else 3,
        True,
        "tokens_per_s",
    )
    wild = measured(lambda call: 0.01 * (1 + call % 7))
    most = 8 if in_turn else 9
    assert (wild.blocks, wild.reached, wild.limit) == (most, False, most)
    assert wild.needed > most


class Numbers(Words):
    """A token for each number of a text."""

    def encode(self, text):
        return [10 + int(number) for number in text.split()]


class Asked(Timed):
    """Keeps what it was asked."""

    def __init__(self):
        super().__init__(repeat(0.01))
        self.prompts = []

    def complete(self, batch):
        self.prompts += [request.tokens for request in batch]
        return super().complete(batch)


@pytest.mark.parametrize("keeps", [False, True])
def test_an_engine_that_may_know_prompts_again_meets_none_twice(keeps):
    texts = [" ".join(map(str, range(100 * n, 100 * n + 100))) for n in range(40)]
    spec = WorkloadSpec("w", prompt_tokens=5)
    fresh = Prompts(Numbers(), texts, spec, 0) if keeps else None
    served = {who: Asked() for who in WHO}
    take = schedule.one_after_another(
        Recorder(OpenMeters()), Requests(Numbers(), texts, spec, 0), protocol(), fresh
    )
    for block in schedule.rounds(protocol(), 0, in_turn=False):
        for cell in block:
            take(cell, served[cell.who])
    before, after = (each.prompts for each in served.values())
    assert {len(prompt) for prompt in before + after} == {5}
    if keeps:
        assert len({*before, *after}) == len(before) + len(after)
    else:
        assert set(before) == set(after)


def sent(work, texts, tokenizer=None, fresh=False, blocks=1, iterations=1):
    """How many prompts `blocks` send, in windows of so many batches, and how many of them come again."""
    tokenizer = tokenizer or Numbers()
    own = Prompts(tokenizer, texts, work, 0) if fresh else None
    recorder = Recorder(OpenMeters())
    requests = Requests(tokenizer, texts, work, 0)
    limits = protocol(min_iterations=iterations)
    take = schedule.one_after_another(recorder, requests, limits, own)
    for block in schedule.rounds(limits, 0, in_turn=False)[:blocks]:
        for cell in block:
            take(cell, Asked())
    return recorder.sent.counts


def test_prompts_that_come_again_in_windows_of_a_kind_are_counted():
    """Windows of 20 batches in blocks that begin 16 batches apart: of each kind, and of each model, the last
    4 are the next block's first. That both models and both kinds read the same is meant."""
    texts = [" ".join(map(str, range(100 * n, 100 * n + 100))) for n in range(40)]
    work = WorkloadSpec("w", batch_size=2, prompt_tokens=5)
    found = sent(work, texts, blocks=3, iterations=20)
    assert (found.sent, found.repeated) == (4 * 3 * 20 * 2, 4 * 2 * 4 * 2)
    once = sent(work, texts, blocks=3, iterations=16)
    assert (once.sent, once.repeated) == (4 * 3 * 16 * 2, 0)


def test_text_that_comes_round_again_is_counted_where_every_window_has_its_own():
    """100 numbers are 25 prompts of 4 from each of the 3 places after which they begin: all else repeats."""
    work, texts = WorkloadSpec("w", prompt_tokens=5), [" ".join(map(str, range(100)))]
    found = sent(work, texts, fresh=True, blocks=3, iterations=30)
    assert (found.sent, found.repeated) == (4 * 3 * 30, 4 * 3 * 30 - 3 * 25)


def test_long_prompts_at_a_large_batch_soon_repeat_and_say_so():
    """Of 32 prompts of 16,384 words at once, all text there is fills a little more than one batch."""

    class Counting(Words):
        def encode(self, text):
            return [hash(word) for word in text.split()]

        def frame(self, *, chat):
            return [], []

    work, texts = WorkloadSpec("long", batch_size=32, prompt_tokens=16384), for_prompts(32 * 16384)
    there = sum(len(text.split()) for text in texts) // 16384
    assert 32 <= there < 64
    found = sent(work, texts, Counting(), iterations=3)
    assert (found.sent, found.repeated) == (4 * 96, 4 * (96 - there))


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


def test_a_block_whose_models_met_another_clock_is_made_up_for():
    """Three are planned and agree; in the third the candidate ran at a lower clock."""
    requests = Requests(Words(), ["a b c d " * 40] * 29, WorkloadSpec("w", prompt_tokens=4), 0)
    served = Timed(0.01 for _ in count())
    plain = Build(None, "safetensors", None, None)
    make = {"baseline": lambda: plain, "candidate": lambda: plain}
    recorder = Recorder(OpenMeters())
    plan = protocol()
    metered = schedule.one_after_another(recorder, requests, plan)

    def take(cell, served):
        metered(cell, served)
        slow = (cell.block, cell.who) == (2, "candidate")
        none = [None]
        recorder.tell([], trace=Trace(
            step_s=1.0, power_w=none, temperature_c=none, sm_mhz=[1400 if slow else 1980],
            mem_mhz=none, throttle=none, utilization=none,
        ))  # fmt: skip

    with pair.Together(lambda who, build: nullcontext(served), make) as both:
        order = schedule.rounds(plan, 0, in_turn=False)
        found = schedule.measure(recorder, both, take, plan, order, lambda *_: None)
    assert (found.blocks, found.reached) == (3, True)
    assert {w.block for w in recorder.windows} == {0, 1, 2, 3}
