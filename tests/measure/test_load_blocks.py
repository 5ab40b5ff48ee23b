"""Windows in the middle of a load, of a real server over HTTP: what it does wrong and what outlives them."""

import time
from collections import Counter
from dataclasses import dataclass, replace
from itertools import count, islice, product
from pathlib import Path

import pytest
from helpers.fakes.openai_server import FakeOpenAI
from helpers.windows import Watts, protocol

from greenbench.analysis.load_curve import load_codes, load_curve
from greenbench.engines.engine import Footprint
from greenbench.engines.serving.client import Client
from greenbench.engines.serving.endpoint import Endpoint
from greenbench.engines.serving.served import Body, FromServer
from greenbench.engines.transformers.load import load_tokenizer
from greenbench.engines.transformers.served import HubTokenizer
from greenbench.measure import request_traces
from greenbench.measure.arrivals import Demand
from greenbench.measure.load_blocks import Loads, under_load
from greenbench.measure.recorder import Recorder
from greenbench.measure.requests import Prompts, Requests
from greenbench.measure.schedule import Cell
from greenbench.meters import OpenMeters
from greenbench.models import texts
from greenbench.schema.enums import Arrivals, Lengths, Stop
from greenbench.schema.load_spec import LoadSpec, SloSpec
from greenbench.schema.metrics import E2E, ENERGY_PER_REQUEST
from greenbench.schema.spec import WorkloadSpec

RATE, POWER_W, WINDOW_S, TOKENS = 20.0, 300.0, 1.0, 8
WORK = WorkloadSpec("online", prompt_tokens=40, output_tokens=TOKENS, chat_template=True)
CONSTANT = LoadSpec(Arrivals.constant, rate=RATE)


@pytest.fixture(scope="module")
def tokenizer(smollm2):
    return HubTokenizer(load_tokenizer(*smollm2))


@pytest.fixture(scope="module")
def prompts(tokenizer):
    """The text of a run."""
    return Prompts(tokenizer, texts.passages("prompt"), WORK, seed=3)


@pytest.fixture
def served(tokenizer):
    """Call with a script: a server that does as it says, and the model behind it."""
    opened = []

    def open_(**script):
        server = FakeOpenAI(**script).__enter__()
        client = Client(Endpoint("fake", server.url))
        opened.append((server, client))
        body = Body(tokenizer, None, 2048, Footprint(None, None, None, "not told"))
        return server, FromServer(client, None, body)

    yield open_
    for server, client in opened:
        client.close()
        server.__exit__()


def loads(prompts, load=CONSTANT, work=WORK, kind=Demand, strangers=frozenset(), slo=None):
    path = Path(load.trace) if load.trace else None
    read = request_traces.load(path) if load.arrivals is Arrivals.trace else None
    demand = kind(load, work, prompts, 3, read, max_tokens=2048)
    return Loads(demand, slo or SloSpec(), load.points, strangers)


def recorder():
    return Recorder(OpenMeters([Watts(POWER_W)]), watched=())


def taken(served, asked, window_s=WINDOW_S):
    """The window of one cell."""
    taker = recorder()
    cell = Cell(0, 0, "baseline", "serve", asked.points[0])
    under_load(taker, asked, protocol(window_s=window_s))(cell, served)
    (window,) = taker.windows
    return window


def joules(window):
    (span,) = window.energy
    return span.end_j - span.start_j


def near(window, rate=RATE):
    """As many as were due while it lasted, to one."""
    return pytest.approx(rate * (window.end_s - window.start_s), abs=1.001)


def test_chunks_of_several_tokens_are_counted_by_what_the_server_says(served, prompts):
    _, model = served(per_chunk=3, counts="usage")
    window = taken(model, loads(prompts))
    traffic = window.traffic
    assert traffic.due == near(window)
    assert traffic.failed == traffic.unfinished == 0
    assert window.tokens == pytest.approx(TOKENS * traffic.requests, abs=1e-3)
    assert window.tokens == pytest.approx(
        TOKENS * traffic.due, abs=2 * TOKENS
    )  # and not 3 chunks each
    assert traffic.ttft.n == traffic.tpot.n == traffic.e2e.n == traffic.due
    assert set(window.codes) <= {"late_sends"}  # answers that take no time make any send late
    assert joules(window) == pytest.approx(POWER_W * (window.end_s - window.start_s), rel=0.01)


def test_an_answer_of_no_token_counts_as_one_where_it_ends(served, prompts):
    _, model = served(tokens=0)
    limits = SloSpec(ttft_ms=60_000)
    natural = replace(WORK, stop=Stop.natural)
    window = taken(model, loads(prompts, work=natural, slo=limits))
    traffic = window.traffic
    assert traffic.due == near(window)
    assert traffic.requests == traffic.ended == pytest.approx(traffic.due, abs=2)
    assert (window.tokens, traffic.failed, traffic.unfinished) == (0, 0, 0)
    assert (traffic.ttft.n, traffic.tpot.n, window.ttft, window.tpot) == (0, 0, None, None)
    assert traffic.e2e.n == traffic.due
    assert traffic.good == 0  # none has a first token that came in time


def test_requests_that_are_not_as_long_as_their_trace_has_them_are_counted(
    served, prompts, tmp_path
):
    """Every other one is longer than four times the middle one."""
    rows = [f"{number},{5000 if number % 2 else 60},{TOKENS}" for number in range(20)]
    path = tmp_path / "trace.csv"
    path.write_text("\n".join(["time_s,prompt_tokens,output_tokens", *rows]))
    lengths = LoadSpec(Arrivals.trace, rate=RATE, trace=str(path), lengths=Lengths.trace)
    _, model = served()
    traffic = taken(model, loads(prompts, lengths)).traffic
    assert traffic.failed == 0
    assert traffic.cut == pytest.approx(traffic.due / 2, abs=0.5)
    assert taken(model, loads(prompts)).traffic.cut == 0


@pytest.mark.parametrize("strange", [False, True])
def test_prompts_that_come_again_under_load_are_counted(served, tokenizer, strange):
    """Of two passages, which do not last; to the same model, or to any where a server answers for both."""
    few = Prompts(tokenizer, texts.passages("prompt")[:2], WORK, seed=3)
    asked = loads(few, strangers=frozenset({"candidate"} if strange else ()))
    taker, prompts = recorder(), []
    for who in ("baseline", "candidate"):
        server, model = served()
        take = under_load(taker, asked, protocol(window_s=WINDOW_S))
        take(Cell(0, 0, who, "serve", asked.points[0]), model)
        prompts.append([tuple(body["prompt"]) for body in server.bodies])
    counts, everything = taker.sent.counts, [*prompts[0], *prompts[1]]
    assert counts.sent == len(everything)
    different = len({*everything}) if strange else sum(len({*each}) for each in prompts)
    assert counts.repeated == len(everything) - different > 0


@pytest.mark.parametrize("counts", ["usage", "ids", "timings"])
def test_an_answer_that_is_cut_is_a_failure_and_its_tokens_and_joules_stay(served, prompts, counts):
    """Every third is cut after four of its eight tokens."""
    _, model = served(fault="cut", every=3, counts=counts)
    window = taken(model, loads(prompts))
    traffic = window.traffic
    cut = traffic.failed
    assert traffic.due == near(window)
    assert cut == pytest.approx(traffic.due / 3, abs=1)
    assert traffic.e2e.n == traffic.due - cut  # no latency is made up for it
    assert traffic.requests == pytest.approx(traffic.due - cut, abs=2)
    assert window.tokens == pytest.approx(TOKENS * traffic.requests + 4 * cut, abs=TOKENS)
    assert window.tokens > TOKENS * traffic.requests + 4 * (cut - 2)
    assert joules(window) == pytest.approx(POWER_W * (window.end_s - window.start_s), rel=0.01)


def test_the_wall_clock_may_jump_as_it_likes(served, prompts, monkeypatch):
    jumps = count(2e9, -3600)
    _, model = served(token_s=0.002)
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    window = taken(model, loads(prompts))
    assert next(jumps) < 2e9 - 3600
    assert WINDOW_S <= window.end_s - window.start_s < 2 * WINDOW_S
    assert window.traffic.due == near(window)
    assert window.traffic.e2e.n == window.traffic.due
    assert 0 < window.traffic.e2e.seconds[0] <= window.traffic.e2e.seconds[-1] < WINDOW_S
    assert joules(window) == pytest.approx(POWER_W * (window.end_s - window.start_s), rel=0.01)


def test_requests_that_straddle_an_edge_count_by_their_tokens_within(served, prompts):
    """Each answer takes a third of a window: some are under way at its edges, and are waited for."""
    _, model = served(token_s=0.047)
    window = taken(model, loads(prompts))
    traffic = window.traffic
    assert traffic.due == near(window)
    assert (traffic.failed, traffic.unfinished) == (0, 0)
    assert traffic.e2e.n == traffic.due
    assert traffic.in_flight[0] > 2
    assert traffic.in_flight[-1] > 2
    assert window.tokens == pytest.approx(TOKENS * traffic.requests, abs=1e-3)
    assert traffic.e2e.seconds[0] >= 0.047 * (TOKENS - 1)


def test_requests_that_outlive_the_window_and_its_drain_are_given_up_and_told(served, prompts):
    """Each answer takes three windows, so that none ends: what they had made by then is counted, by its share
    of what was asked for."""
    server, model = served(token_s=3 * WINDOW_S / TOKENS, counts="ids")
    window = taken(model, loads(prompts))
    traffic = window.traffic
    assert traffic.due == near(window)
    assert traffic.unfinished == traffic.due
    assert (traffic.ended, traffic.failed, traffic.e2e.n) == (0, 0, 0)
    assert traffic.requests == pytest.approx(window.tokens / TOKENS, abs=1e-3)
    assert window.tokens >= traffic.due  # a first token came of each at once
    for _ in range(traffic.due):
        assert server.left.acquire(timeout=20)  # hung up on
    both = [window, window.model_copy(update={"who": "candidate"})]
    (point,) = shown(both).points
    codes = [*window.codes, *load_codes(both, shown(both))]
    assert codes == ["short_against_queue"]  # nor were its requests sent late
    assert not point.baseline.saturated
    assert E2E.level(point.baseline.metrics).reason.startswith("unbounded")
    energy = ENERGY_PER_REQUEST.level(point.baseline.metrics)
    assert energy.value == pytest.approx(joules(window) / traffic.requests, rel=1e-3)


def shown(windows):
    return load_curve(windows, {}, SloSpec(), "request/s", windows[0].place.load, "no meter")


@dataclass(frozen=True)
class Dawdling(Demand):
    """Takes longer to make a request than there is time."""

    def arrivals(self, rate, cell, *, other=False):
        for due in super().arrivals(rate, cell, other=other):
            time.sleep(2 / rate)
            yield due


@pytest.mark.parametrize("kind", [Demand, Dawdling])
def test_a_generator_that_lags_behind_its_times_is_told(served, prompts, kind):
    _, model = served(first_s=0.2)
    late = kind is Dawdling
    window = taken(model, loads(prompts, kind=kind))
    assert ("late_sends" in window.codes) == late
    both = [window, window.model_copy(update={"who": "candidate"})]
    assert ("late_sends" in load_codes(both, shown(both))) == late


@pytest.mark.parametrize("tokens", [40, 64])
def test_what_a_server_may_have_kept_is_asked_again_in_no_cell(tokenizer, tokens):
    """Neither the warm-up's prompts, nor those of another cell, nor the other model's: but for the few that
    are in the text itself twice, as its articles have passages in common."""
    work = replace(WORK, prompt_tokens=tokens, batch_size=16)
    passages = texts.passages("prompt")
    warming = Requests(tokenizer, passages, work, seed=3)
    asked = Counter(each.tokens for index in range(64) for each in warming.batch(index))
    demand = loads(Prompts(tokenizer, passages, work, seed=3), work=work).demand
    for cell, other in product(range(-1, 30), (False, True)):
        requests = demand.requests(cell, other=other)
        asked.update(each.tokens for each in islice(requests, 80))
    assert asked.total() - len(asked) < 0.005 * 2 * 31 * 80


LENGTHS = {
    "fixed": CONSTANT,
    "lognormal": LoadSpec(Arrivals.gamma, rate=RATE, cv=2.0, lengths=Lengths.lognormal),
    "texts": LoadSpec(Arrivals.poisson, rate=RATE, lengths=Lengths.texts),
    "trace": LoadSpec(Arrivals.trace, rate=RATE, lengths=Lengths.trace),
    "users": LoadSpec(Arrivals.concurrent, concurrency=3),
}


@pytest.mark.parametrize("strange", [False, True])
@pytest.mark.parametrize("name", LENGTHS)
def test_both_models_meet_the_same_arrivals_and_the_same_or_other_prompts(
    served, prompts, name, strange
):
    """Other ones where one server answers for both: of the same lengths, at the same times."""
    load = LENGTHS[name]
    asked = loads(prompts, load, strangers=frozenset({"candidate"} if strange else ()))
    bodies, times = {}, {}
    for who in ("baseline", "candidate"):
        server, model = served(first_s=0.02)
        with asked.flow(model, who, asked.points[0], 2) as flow:
            flow.wait(0.6)
            outcomes, _ = flow.stop(5)
        bodies[who] = [(body["prompt"], body["max_tokens"]) for body in server.bodies]
        times[who] = [each.due_s - flow.start_s for each in outcomes]
    common = min(map(len, bodies.values()))
    assert common >= 3, bodies
    if name != "users":
        assert times["baseline"][:common] == pytest.approx(times["candidate"][:common])
    asking = [asked.demand.requests(2, other=other) for other in (False, strange)]
    planned = [[(list(each.tokens), each.new_tokens) for each in islice(r, 200)] for r in asking]
    for found, plan in zip(bodies.values(), planned, strict=True):
        assert all(each in plan[: len(found)] for each in found)  # some overtake others on the way
    lengths = [[(len(tokens), answer) for tokens, answer in plan] for plan in planned]
    assert lengths[0] == lengths[1]
    same = [each for each in planned[0] if each in planned[1]]
    if strange:  # but for some of a word or two beside the template's
        assert all(len(tokens) < WORK.prompt_tokens for tokens, _ in same)
    else:
        assert len(same) == 200


def test_prompts_begin_alike_where_that_is_asked_and_are_never_the_same(tokenizer):
    """Half of each, of whatever length, in both models and all blocks; of strangers, with another text."""
    work = replace(WORK, prompt_tokens=300)
    prompts = Prompts(tokenizer, texts.passages("prompt"), work, seed=3)
    load = replace(CONSTANT, lengths=Lengths.lognormal, shared=0.5)
    demand = loads(prompts, load, work).demand
    before, frame = len(prompts.frame.before), prompts.frame.tokens
    asked = [each.tokens for cell in (0, 1) for each in islice(demand.requests(cell), 20)]
    heads = [each[before : before + round(0.5 * (len(each) - frame))] for each in asked]
    whole = max(heads, key=len)
    assert all(whole[: len(head)] == head for head in heads)
    assert len({len(head) for head in heads}) > 5
    assert len(set(asked)) == len(asked)
    (other,) = islice(demand.requests(0, other=True), 1)
    assert other.tokens[before : before + 10] != whole[:10]
    plain = loads(prompts, replace(load, shared=0.0), work).demand
    starts = {each.tokens[before : before + 10] for each in islice(plain.requests(0), 20)}
    assert len(starts) == 20
