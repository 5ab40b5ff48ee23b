"""Whole records of a made-up lab: they pass through the real code, and say what is true."""

from functools import partial

import numpy as np
import pytest

from greenbench.analysis.blocks import metrics, valid_blocks
from greenbench.analysis.groups.rows import groups
from greenbench.analysis.trust.checked import look
from greenbench.records.store import Store
from greenbench.schema.metrics import ENERGY_PER_TOKEN
from greenbench.simulate import exam
from greenbench.simulate.claims import (
    frontier_chances,
    joint_coverage,
    sweep_words,
    under_load,
    whole_runs,
)
from greenbench.simulate.claims.said import dice_of, lines, told
from greenbench.simulate.drawn_power import IDLE_W, Device
from greenbench.simulate.exam import Exam, Flips
from greenbench.simulate.measured_run import PREPARE_S, Lab, Truth, run
from greenbench.simulate.moving_engine import BUSY_W, REQUEST_S, TOKENS
from greenbench.simulate.weather import Weather

CALM = Lab(Weather("independent", 0.0))


def measured(**given):
    return run("simulated", Truth(0.8, 0.9), CALM, np.random.default_rng(0), **given)


def test_a_calm_lab_gives_the_truth_but_for_ticks_and_idle_edges(tmp_path):
    asked = Exam(50)
    dice = np.random.default_rng(1)
    answers = exam.answered(asked, exam.of_baseline(asked, dice), Flips(0.1, 0.1), dice)
    record = measured(answers=answers)
    assert record.ratios["energy_per_token"].value == pytest.approx(0.72, rel=0.002)
    assert record.ratios["tokens_per_s"].value == pytest.approx(1.25, rel=1e-6)
    assert record.idle["both"].value == pytest.approx(IDLE_W, rel=1e-4)
    assert record.techniques[0].prepare_energy.value == pytest.approx(BUSY_W * PREPARE_S, rel=0.002)
    assert record.verdicts["energy_per_token"].verdict == "saves"
    assert record.validity == "valid"
    read = look(Store(tmp_path).write(record))  # held against its own windows, as every reader does
    assert read.ratios == record.ratios
    (group,) = groups([read])
    assert group.rows[0].quality.value == pytest.approx(100 * answers.candidate.mean())


def test_levels_of_models_in_turn_pay_for_what_each_loading_shifts():
    """Blocks of one stay agree, however far the stay is off: alone they hold the truth in a third of runs."""
    lab, true = (
        Lab(Weather(spread=0.002, reload=0.02), in_turn=True),
        0.8 * BUSY_W * REQUEST_S / TOKENS,
    )
    held = {True: 0, False: 0}
    for seed in range(20):
        record = run("simulated", Truth(0.8), lab, np.random.default_rng(seed))
        for in_turn in held:
            blocks = valid_blocks(record.windows)
            found = ENERGY_PER_TOKEN.level(metrics(blocks, "candidate", "", in_turn=in_turn))
            held[in_turn] += found.low <= true <= found.high
    assert held[True] >= 18
    assert held[False] <= 12


def test_a_slow_tick_blurs_windows_and_no_more():
    record = measured(bench=Device(tick_s=0.5))
    assert record.windows[-1].energy[0].tick_s == 0.5
    assert record.ratios["energy_per_token"].value == pytest.approx(0.72, rel=0.01)


def test_the_share_of_right_answers_is_the_true_one():
    asked, dice = Exam(20_000, 5, 0.8, right=0.7), np.random.default_rng(4)
    flips = Flips(0.2, 0.1)
    baseline = exam.of_baseline(asked, dice)
    found = exam.answered(asked, baseline, flips, dice)
    assert baseline.mean() == pytest.approx(0.7, abs=0.02)
    assert found.candidate.mean() == pytest.approx(flips.right(asked), abs=0.02)
    assert flips.right(asked) == pytest.approx(0.7 * 0.8 + 0.3 * 0.1)


ROOMS = [each.cases for each in (sweep_words, frontier_chances, joint_coverage, under_load)]


@pytest.mark.parametrize("cases", [*ROOMS, partial(whole_runs.cases, bench=Device)])
def test_every_claim_is_told_of_a_lab(cases):
    for case in cases(1000)[::4]:
        if case.once(dice_of(case, 0)):
            assert lines(case, told(case, [0]))
