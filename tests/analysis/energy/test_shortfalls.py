"""Causes: named where their rule holds, and nowhere else."""

from __future__ import annotations

import pytest
from helpers import campaign, examples, factory

from greenbench.analysis.energy.promises import promised_ratio, seconds_per_token
from greenbench.analysis.energy.shortfalls import UNKNOWN, outcome
from greenbench.analysis.energy.symptoms import SYMPTOMS
from greenbench.analysis.groups.rows import Row
from greenbench.schema.quantity import Quantity
from greenbench.schema.window import Trace


def row(energy=1.0, *, held=1.0, speed=None, observed=None, idle_w=10.0, busy=90, **promise):
    """A measured run at `energy` times the baseline's joules and 1/`speed` times its seconds."""
    record = campaign.run("x", energy)
    pace = examples.quantity(speed or 1 / energy, 0.01, "ratio")
    (part,) = record.techniques
    made = {"bytes_ratio": None, "flops_ratio": None, "kernel": None} | promise
    part = part.model_copy(
        update={"promise": part.promise.model_copy(update=made), "observed": observed or {}}
    )
    idle = campaign.NVML["nvml"][1]
    power = factory.idle_power(idle_w).model_copy(update={"provenance": idle})
    changes = {
        "techniques": [part],
        "idle": {"both": power},
        "windows": [_busy(window, busy) for window in record.windows],
        "ratios": record.ratios
        | {"tokens_per_s": pace, "model_bytes": examples.quantity(held, None, "ratio")},
    }
    return Row(record.model_copy(update=changes), "x")


def _busy(window, percent):
    nothing = [None]
    trace = Trace(
        step_s=10, power_w=[300.0], temperature_c=nothing, sm_mhz=nothing, mem_mhz=nothing,
        throttle=nothing, utilization=[percent],
    )  # fmt: skip
    return window.model_copy(update={"trace": trace})


@pytest.mark.parametrize(
    ("cause", "found"),
    [
        ("dense kernel", row(1.0, sparsity=0.5, flops_ratio=1.0, kernel="dense")),
        ("dequantization", row(1.2, held=0.6, bytes_ratio=0.6, kernel="dequantize")),
        ("slow kernel", row(1.2, held=0.6, bytes_ratio=0.6, kernel="int8")),
        (
            "drafting",
            row(1.2, drafts=4, observed={"drafted": 100, "accepted": 15}),
        ),
        ("no exits", row(1.05, observed={"mean_depth": 30.0, "flops_ratio": 1.0})),
        ("overhead of choosing", row(1.0, observed={"active_bytes_ratio": 0.6}, flops_ratio=0.6)),
        ("overhead of exits", row(1.0, observed={"mean_depth": 20.0, "flops_ratio": 0.7})),
        ("idle-dominated", row(0.95, idle_w=200.0, bytes_ratio=0.5)),
        ("GPU waits", row(0.95, busy=20, bytes_ratio=0.5)),
        ("memory-bound", row(0.9, held=0.9, flops_ratio=0.5)),
    ],
)
def test_a_cause_is_named_where_its_rule_holds(cause, found):
    assert outcome(found).causes[0][0] == cause
    assert cause in {each.name for each in SYMPTOMS}


def test_nothing_is_guessed():
    """Half the bytes, a real kernel, no idle share, a busy GPU: the record does not say why."""
    assert outcome(row(0.95, held=0.5, bytes_ratio=0.5, kernel="tinygemm")) == (UNKNOWN, [], None)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (row(0.5, bytes_ratio=0.5), "kept"),
        (row(0.6, bytes_ratio=0.5), "kept"),
        (row(1.0), ""),
        (row(0.8, drafts=2, observed={"drafted": 9, "accepted": 9}), "saves"),
    ],
)
def test_what_is_kept_needs_no_cause(found, said):
    assert outcome(found).word == said


def test_too_wide_an_interval_is_no_evidence():
    wide = campaign.run("x", 0.9, spread=0.3)
    (part,) = wide.techniques
    part = part.model_copy(update={"promise": part.promise.model_copy(update={"bytes_ratio": 0.8})})
    found = Row(wide.model_copy(update={"techniques": [part]}), "x")
    assert outcome(found).word == "too uncertain: the interval holds the promise, and 1"


def test_prefill_is_named_where_the_missing_time_lies_before_the_first_token():
    """Of 1 s a request 0.5 s is prefill; it stays, while the rest is halved as promised."""
    found = row(0.75, held=0.5, bytes_ratio=0.5, kernel="tinygemm")
    record = found.record
    first = {"ttft_p50_s": examples.quantity(0.5, 0.01, "s")}
    subjects = {
        side: getattr(record, side).model_copy(
            update={"metrics": getattr(record, side).metrics | first}
        )
        for side in ("baseline", "candidate")
    }
    windows = [
        w.model_copy(update={"iteration_s": [0.75 if w.who == "candidate" else 1.0] * 10})
        for w in record.windows
    ]
    changed = Row(record.model_copy(update={**subjects, "windows": windows}), "x")
    assert next(name for name, _ in outcome(changed).causes) == "prefill"
    assert outcome(changed).causes[0][1].text.startswith("100 % of the missing time")


def test_an_estimate_is_judged_by_time():
    record = examples.completed(source=examples.ESTIMATE, energy=0.5, speed=0.8)
    assert outcome(Row(record, "x")).word != "kept"


def test_time_per_token_turns_speed_and_its_interval():
    found = seconds_per_token(examples.completed(speed=2.0, half=0.5))
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 1 / 2.5, 1 / 1.5))
    assert isinstance(found, Quantity)


def test_the_most_that_a_stack_promised_counts():
    assert promised_ratio(row(bytes_ratio=0.6, flops_ratio=0.9).record) == 0.6
    assert promised_ratio(row(bytes_ratio=1.0, sparsity=0.75).record) == 0.25
    assert promised_ratio(row().record) is None
