"""Whole runs under load: real servers and the model in process, at rates, by users, in a sweep."""

from collections import Counter, defaultdict

import pytest
from helpers.fakes.openai_server import FakeOpenAI
from helpers.served import goes_on
from helpers.wall import growing_log

import greenbench
from greenbench.campaign.compose import plan
from greenbench.errors import UserError
from greenbench.machine.detect import Machine
from greenbench.run.preflight import refuse_here
from greenbench.schema.window import WHO

POWER_W, WINDOW_S, PROMPT, TOKENS = 40, 0.6, 48, 4


@pytest.fixture(scope="module")
def wall_log(tmp_path_factory):
    with growing_log(tmp_path_factory.mktemp("wall") / "wall.csv", POWER_W) as path:
        yield path


@pytest.fixture(scope="module")
def loaded(shared_bench, shared_tiny_directory):
    """Call with overrides: the record of a small run of users who come when they like."""

    def run(*overrides):
        before = {record["key"] for record in shared_bench.records()}
        status, output = shared_bench.run(
            "model=local", f"model.path={shared_tiny_directory}", "task=smoke", "task.names=[sst2]",
            "task.items=2", "workload=online", f"workload.prompt_tokens={PROMPT}",
            f"workload.output_tokens={TOKENS}", "protocol=smoke", f"protocol.window_s={WINDOW_S}",
            "protocol.warmup_s=0", "protocol.warmup_limit_s=0", "protocol.idle_s=0.3", "device=cpu",
            *overrides, quick=False,
        )  # fmt: skip
        assert status == 0, output
        (found,) = (r for r in shared_bench.records() if r["key"] not in before)
        assert found["status"] == "completed"
        return found

    return run


def serves(record):
    return [window for window in record["windows"] if window["phase"] == "serve"]


def seconds(window):
    return window["end_s"] - window["start_s"]


def at_points(record):
    return {point["load"]: point for point in record["load"]["points"]}


def cells(record):
    """By block and load, its two windows."""
    found = defaultdict(dict)
    for window in serves(record):
        found[window["place"]["unit"], window["place"]["load"]][window["who"]] = window
    return found


def check_all_is_said(record):
    """Every number is one of a known source, or has a reason."""
    for point in record["load"]["points"]:
        for side in WHO:
            metrics = point[side]["metrics"]
            assert {"ttft_p50_s", "tpot_p90_s", "e2e_p99_s", "energy_per_request_j"} <= set(metrics)
            for name, number in metrics.items():
                assert (number["value"] is None) == (number["provenance"] == "unavailable"), name
                assert number["value"] is not None or number["reason"], name
        for name, ratio in point["ratios"].items():
            assert ratio["value"] is not None or ratio["reason"], name
    for side in WHO:
        most = record["load"]["capacity"][side]["load"]
        assert most["value"] is not None or most["reason"]
    for (block, load), pair in cells(record).items():
        assert set(pair) == set(WHO), (block, load)
        assert all(window["traffic"]["failed"] == 0 for window in pair.values())


@pytest.fixture(scope="module")
def at_rates(loaded, wall_log):
    """llama.cpp's server, plain against 4-bit weights."""
    return loaded(
        "engine=llama_cpp", "engine.threads=1", "technique=q4_0", "load.rate=[8,20]",
        "slo.ttft_ms=5000", "slo.tpot_ms=2000", f"meter.wall_log={wall_log}",
    )  # fmt: skip


def test_a_run_at_rates_on_a_real_server(at_rates):
    curve = at_rates["load"]
    assert (curve["unit"], curve["headline"]) == ("request/s", 20)
    assert list(at_points(at_rates)) == [8, 20]
    check_all_is_said(at_rates)
    series = {(w["place"]["load"], w["place"]["series"]) for w in serves(at_rates)}
    assert series == {(8, "load"), (20, "block")}
    order = at_rates["block_order"]
    assert [sorted(block) for block in order] == 2 * [
        [f"{who}:serve@{rate}" for who in WHO for rate in ("20", "8")]
    ]
    assert at_rates["stopping"]["blocks"] == 2


def test_joules_per_request_of_a_box_that_always_draws_the_same(at_rates):
    """All of its joules by the requests; and none above idle."""
    for (_, load), pair in cells(at_rates).items():
        for who, window in pair.items():
            (span,) = window["energy"]
            assert span["end_j"] - span["start_j"] == pytest.approx(
                POWER_W * seconds(window), rel=1e-3
            )
            made = window["traffic"]["requests"]
            assert window["tokens"] == pytest.approx(TOKENS * made, abs=1e-3), (who, load)
            assert window["prompt_tokens"] == pytest.approx(PROMPT * made, abs=1)
    for load, point in at_points(at_rates).items():
        for who in WHO:
            mine = [pair[who] for (_, at), pair in cells(at_rates).items() if at == load]
            all_j = POWER_W * sum(map(seconds, mine))
            each_j = all_j / sum(window["traffic"]["requests"] for window in mine)
            metrics = point[who]["metrics"]
            assert metrics["energy_per_request_j"]["value"] == pytest.approx(each_j, rel=1e-3)
            assert metrics["energy_per_request_j"]["provenance"] == "measured:wall"
            assert abs(metrics["marginal_energy_per_request_j"]["value"]) < 0.01 * each_j
    assert at_rates["idle"]["both"]["value"] == pytest.approx(POWER_W, rel=1e-3)


def test_latencies_are_told_or_why_not(at_rates):
    """A busy machine may leave some unanswered."""
    for load, point in at_points(at_rates).items():
        for who in WHO:
            metrics, due, ended = point[who]["metrics"], *asked(at_rates, load, who)
            assert due < 100
            if point[who]["saturated"]:  # or seems so: of two blocks a burst can be more in both
                assert metrics["e2e_p50_s"]["reason"].startswith("unbounded")
                continue
            if ended < due:
                assert metrics["good"]["value"] < 1
                continue
            assert metrics["e2e_p50_s"]["value"] >= metrics["ttft_p50_s"]["value"] > 0
            assert metrics["e2e_p99_s"]["reason"] == (
                f"{due} requests are too few: the 99th percentile needs 100"
            )


def asked(record, load, who):
    """Requests due, and those of them that were answered."""
    mine = [pair[who]["traffic"] for (_, at), pair in cells(record).items() if at == load]
    return sum(each["due"] for each in mine), sum(each["e2e"]["n"] for each in mine)


def test_the_most_that_a_model_serves_is_a_load_that_was_measured(at_rates):
    points = at_points(at_rates)
    for who in WHO:
        most = at_rates["load"]["capacity"][who]
        if most["load"]["value"] is None:  # on a busy machine
            assert points[8][who]["saturated"] or points[8][who]["metrics"]["good"]["value"] < 0.9
            continue
        at = points[most["load"]["value"]][who]
        assert not at["saturated"]
        assert at["metrics"]["good"]["value"] >= 0.9
        assert most["energy_per_request"] == at["metrics"]["energy_per_request_j"]
    assert at_rates["load"]["crossing"]["load"]["value"] is None
    assert at_rates["load"]["crossing"]["load"]["reason"]


def test_the_report_has_a_section_and_a_figure_of_the_load(at_rates, shared_bench):
    text = (shared_bench.results / "leaderboard.md").read_text()
    assert "**Under load**" in text
    assert "poisson arrivals at 8, 20 requests/s" in text
    figure = shared_bench.results / "loads" / f"{at_rates['key']}.svg"
    assert figure.read_text().startswith(("<?xml", "<svg"))
    assert f"loads/{figure.name}" in text
    status, output = shared_bench.call(
        "advise", str(shared_bench.results), "--rate", "8", "--ttft-ms", "5000", "--devices"
    )
    assert status == 0, output


@pytest.fixture(scope="module")
def by_users(loaded):
    """The model in process: one request after another."""
    return loaded(
        "engine.reference=eager", "technique=none", "load.arrivals=concurrent",
        "load.concurrency=[1,2]",
    )  # fmt: skip


def test_users_in_process_queue_for_a_batch_of_one(by_users):
    curve = by_users["load"]
    assert (curve["unit"], list(at_points(by_users))) == ("users", [1, 2])
    check_all_is_said(by_users)
    for who in WHO:
        alone, two = (at_points(by_users)[users][who] for users in (1, 2))
        assert not alone["saturated"]
        assert not two["saturated"]
        # Each of two waits for the other.
        assert alone["metrics"]["queue"]["value"] == 0 < two["metrics"]["queue"]["value"] <= 1
        assert 0 < two["metrics"]["batch"]["value"] <= 1
        for users, level in ((1, alone), (2, two)):
            assert level["metrics"]["in_flight"]["value"] == pytest.approx(users, abs=0.5)
            assert level["metrics"]["good"]["reason"].startswith("no limits were given")
    for pair in cells(by_users).values():
        for window in pair.values():
            told = window["traffic"]["gauges"]
            assert max(told["running"]) <= 1
            assert max(told["waiting"]) <= 1


@pytest.fixture(scope="module")
def swept(loaded):
    return loaded(
        "engine.reference=eager", "technique=none", "load.arrivals=trace", "load.rate=sweep",
        "protocol.window_s=0.4", "protocol.blocks=1", "protocol.max_blocks=1",
    )  # fmt: skip


def test_a_sweep_of_a_traces_arrivals_goes_from_idle_to_saturation(swept):
    rates = list(at_points(swept))
    assert len(rates) == 7
    assert rates == sorted(rates)
    assert 16 * 0.9 < rates[-1] / rates[0] < 64  # the model beside itself: as noisy as the machine
    assert swept["load"]["headline"] == rates[3]
    check_all_is_said(swept)
    last = at_points(swept)[rates[-1]]
    for who in WHO:
        assert not at_points(swept)[rates[0]][who]["saturated"]
        if last[who]["saturated"]:
            told = last[who]["metrics"]["e2e_p50_s"]
            assert told["value"] is None
            assert told["reason"].startswith("unbounded")


def test_prompts_that_one_server_may_have_kept_are_given_to_neither_model(
    loaded, shared_tiny_directory
):
    """It serves both: whatever it is asked twice, it is asked to warm up for each of them."""
    said = goes_on(shared_tiny_directory)
    with FakeOpenAI(echo=False, text=said, first_s=0.02) as server:
        record = loaded(
            "engine=openai", f"engine.url={server.url}", "technique=none", "load.rate=20"
        )
    asked = [
        tuple(body["prompt"])
        for body in server.bodies
        if body.get("stream") and "stop" not in body  # which known texts are asked with
    ]
    times = Counter(asked)
    warming = 2 * 16  # of each model as many as are in flight at most
    assert {times[prompt] for prompt in asked[:warming]} == {2}
    assert {times[prompt] for prompt in asked[warming:]} == {1}
    sent = sum(window["traffic"]["due"] for window in serves(record))
    assert len(asked) - warming >= sent > 20
    sizes = {len(prompt) for prompt in asked}
    assert sizes == {PROMPT}


RATE = ["load.rate=1"]
WRONG = {
    "load.rate=0": r"load\.rate=0 is out of range: give a number above 0",
    "load.rate=[4,2]": r"load\.rate=4,2 is out of range: .*an ascending list .*or sweep",
    "load.rate=null": r"load\.rate is missing: load\.arrivals=poisson needs it",
    "load.arrivals=gamma": r"load\.cv is missing: load\.arrivals=gamma needs it; add load\.cv=",
    "load.cv=2": r"load\.cv is only for load\.arrivals=gamma",
    "load.arrivals=concurrent": r"load\.rate=1 says nothing of .*: say load\.rate=null, or",
    "load.concurrency=2": r"load\.concurrency=2 says nothing of .*: say load\.concurrency=null, or",
    "load.lengths=trace": r"load\.lengths=trace is only for load\.arrivals=trace",
    "load.trace=mine.csv": r"load\.trace is only for load\.arrivals=trace",
    "load.at_once=0": r"load\.at_once=0 is out of range: allowed is 1 to 4096",
    "slo.ttft_ms=0": r"slo\.ttft_ms=0.0 is out of range: allowed is above 0, or null",
    "slo.share=1": r"slo\.share=1.0 is out of range",
    "workload.batch_size=4": r"workload\.batch_size=4 says nothing of load\.arrivals=poisson, .*=1, and",
}


@pytest.mark.parametrize(("override", "said"), WRONG.items())
def test_a_wrong_load_is_one_sentence_before_anything_starts(override, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=said) as error:
        greenbench.bench(["workload=online", "technique=none", *RATE, override])
    text = str(error.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("limit", ["slo.ttft_ms=100", "slo.tpot_ms=100", "slo.share=0.5"])
def test_limits_of_requests_that_come_in_batches_are_refused(limit):
    with pytest.raises(
        UserError, match=r"slo say nothing of load\.arrivals=closed, .*: leave them"
    ):
        plan(["workload=chat", "technique=none", limit], multirun=False)


TRACES = {
    "is not there": (None, "The trace mine.csv cannot be read"),
    "has no form": ("a,b\n1,2\n", "The trace mine.csv has a header of no known form"),
    "goes back": (
        "time_s,prompt_tokens,output_tokens\n1,8,8\n0,8,8\n",
        "Line 3 of the trace mine.csv is earlier",
    ),
}


@pytest.mark.parametrize("name", TRACES)
def test_a_wrong_trace_is_one_sentence_before_anything_starts(name, tmp_path, monkeypatch):
    text, said = TRACES[name]
    monkeypatch.chdir(tmp_path)
    if text:
        (tmp_path / "mine.csv").write_text(text)
    asked = ["workload=online", "technique=none", "load.arrivals=trace", "load.trace=mine.csv"]
    with pytest.raises(UserError, match=said):
        greenbench.bench(asked)
    assert not list(tmp_path.rglob("*.json"))


def test_a_compiled_reference_and_requests_of_many_lengths_are_refused_in_one_sentence():
    (job,) = plan(
        ["model=smollm2-135m", "workload=online", *RATE, "load.lengths=lognormal", "technique=none",
         "engine.reference=compiled", "device=cpu"], multirun=False
    )  # fmt: skip
    with pytest.raises(UserError, match=r"load\.lengths=lognormal .* say engine\.reference=eager"):
        refuse_here(job.spec, Machine("cpu", "some CPU", 1 << 34))
