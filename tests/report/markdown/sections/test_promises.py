"""What techniques promised and kept, and when their preparation pays back."""

import pytest
from helpers import examples, factory
from scipy import stats

from greenbench.analysis.energy.per_request import SHARED
from greenbench.analysis.energy.promises import break_even, prepare_energy
from greenbench.analysis.energy.symptoms import SYMPTOMS
from greenbench.analysis.groups.rows import Row, groups
from greenbench.report.markdown.sections.promises import promised, rules

IDLE = {"both": factory.idle_power(12.0)}
SECONDS = (0.5 + 31 * 0.05) / 32
"""The baseline's in the factory's first block, for a token of a request, at 40 W."""


def row(**changes):
    return Row(examples.completed(**({"idle": IDLE} | changes)), "int8")


def blocks_saved(energy, idle_w):
    """Joules of a token in the factory's two blocks, of a device that idles at so much: dE - P dt."""
    return [
        SECONDS * (40 * before * (1 - energy) - idle_w * (before - after))
        for before, after in zip(*factory.PACE.values(), strict=True)
    ]


def with_promise(record, **promise):
    (part,) = record.techniques
    part = part.model_copy(update={"promise": part.promise.model_copy(update=promise)})
    return record.model_copy(update={"techniques": [part]})


def test_break_even_is_joules_once_over_joules_saved_a_token_with_idle_power_counted():
    assert prepare_energy(row()).value == pytest.approx(128.0)  # 32 W for 4 s
    found = break_even(row(energy=0.75))
    first, second = blocks_saved(0.75, 12)
    assert found.value == pytest.approx(128 / ((first + second) / 2))
    if_shared, (first, second) = break_even(row(energy=0.75), SHARED), blocks_saved(0.75, 0)
    assert if_shared.value == pytest.approx(128 / ((first + second) / 2))
    half = stats.t.ppf(0.975, 1) * abs(first - second) / 2
    assert if_shared.low == pytest.approx(128 / ((first + second) / 2 + half))
    assert if_shared.high == pytest.approx(128 / ((first + second) / 2 - half))


def test_an_interval_that_reaches_nothing_has_no_upper_bound():
    found = break_even(row(energy=0.96))
    assert found.value is not None
    assert (found.low, found.high) == (None, None)
    assert "no upper bound" in found.reason


def test_what_saves_nothing_never_pays_back_and_what_is_unknown_says_so():
    assert break_even(row(energy=1.2)).reason == "no break-even: it saves no energy"
    assert break_even(row(energy=None)).reason == "no valid block has joules of both"
    assert "idle power was not measured" in break_even(row(idle={})).reason
    assert break_even(row(idle={}), SHARED).value > 0


def test_a_promise_stands_beside_what_was_kept_of_it():
    """Half the bytes promised and held; a quarter of the time promised, a tenth measured."""
    record = examples.completed()
    record = record.model_copy(
        update={"ratios": record.ratios | {"tpot": examples.quantity(0.9, 0.01, "ratio")}}
    )
    record = with_promise(
        record, bytes_ratio=0.5, flops_ratio=0.75, kernel="dequantize", sparsity=0.5, drafts=3
    )
    text = "\n".join(promised(groups([record]))).partition("<details>")[2]
    line = next(line for line in text.splitlines() if line.startswith("| `int8`"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:4] == ["0.50×", "0.500×; 100 % kept", "0.75×"]
    assert cells[4] == "0.900× (0.890–0.910); 40 % kept"
    assert cells[5] == "0.70× (0.68–0.72); 60 % kept"  # of the half that was promised
    assert cells[6] == "`dequantize`"
    assert cells[7].endswith("50 % zeros, 3 drafts a pass")


def test_the_summary_says_what_became_of_a_promise():
    record = with_promise(examples.completed(energy=1.1), bytes_ratio=0.5, kernel="dequantize")
    summary, _, full = "\n".join(promised(groups([record]))).partition("<details>")
    line = next(line for line in summary.splitlines() if line.startswith("| `int8`"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:3] == ["0.50×", "1.10× (1.08–1.12)"]
    assert cells[3].startswith("dequantization: ")
    assert "none kept" in full


def test_what_a_technique_showed_is_told_and_no_promise_is_no_promise():
    record = examples.completed()
    (part,) = record.techniques
    seen = part.model_copy(update={"observed": {"drafted": 40, "accepted": 31}})
    record = with_promise(record.model_copy(update={"techniques": [seen]}), bytes_ratio=None)
    text = "\n".join(promised(groups([record])))
    assert "showed: drafted 40; accepted 31" in text
    assert "| none " in text


def test_every_rule_of_a_cause_is_told():
    text = "\n".join(rules())
    assert "`dense`" in text
    plain = text.replace("`", "")
    assert all(f"- {cause.name}: {cause.rule}." in plain for cause in SYMPTOMS)


def test_what_was_active_stands_beside_the_joules():
    """Half of the saving promised was counted; of experts, 1.5 of a batch's were read."""
    record = with_promise(examples.completed(), bytes_ratio=1.0, active_bytes_ratio=0.6)
    (part,) = record.techniques
    seen = {
        "active_bytes_a_token": 2.5e8, "active_bytes_ratio": 0.8, "experts_a_token": 1.0,
        "experts_touched_a_pass": 1.5, "experts_touched_a_token": 0.75,
    }  # fmt: skip
    record = record.model_copy(update={"techniques": [part.model_copy(update={"observed": seen})]})
    text = "\n".join(promised(groups([record]))).partition("<details>")[0]
    line = [line for line in text.splitlines() if line.startswith("| `int8`")][-1]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:8] == ["0.60×", "0.80×", "50 %", "250", "1.00", "1.50", "0.750"]
    assert cells[8] == "0.70× (0.68–0.72)"


def test_without_a_count_there_is_no_table_of_it():
    assert "active bytes promised" not in "\n".join(promised(groups([examples.completed()])))
