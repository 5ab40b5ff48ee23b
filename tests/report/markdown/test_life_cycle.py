"""What was done once and what serving takes: totals and turning points by hand."""

import pytest
from helpers import factory, trained

from greenbench.analysis.energy.life_cycle import PLAIN, life_cycles, shown
from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import surroundings
from greenbench.analysis.training.table import by_budget
from greenbench.errors import UserError
from greenbench.report import write
from greenbench.report.figures.life_cycle import life_cycle_curves
from greenbench.schema.metrics import ENERGY_PER_TOKEN

PREPARED_J = 128
"""4 s at the candidate's 32 W."""


@pytest.fixture
def lives():
    served = factory.record()
    trainings = [trained.record(), trained.record("lion", slower=(1.1, 2.0, 1.2))]
    (found,) = life_cycles(groups([served, *trainings]), by_budget(trainings))
    return {life.label: life for life in found.lives}


def each(record, who):
    subject = record.candidate if who == "candidate" else record.baseline
    return ENERGY_PER_TOKEN.level(subject.metrics).value


def test_totals_and_turning_points_are_as_by_hand(lives):
    served = factory.record()
    before, after = (each(served, who) for who in ("baseline", "candidate"))
    plain, made = lives[PLAIN], lives["int8_bnb"]
    assert plain.total(1000).value == pytest.approx(1000 * before)
    assert made.total(1000).value == pytest.approx(PREPARED_J + 1000 * after)
    assert made.outweighs.value == pytest.approx(PREPARED_J / after)
    assert made.paid_back.value == pytest.approx(PREPARED_J / (before - after), rel=0.01)
    there = made.paid_back.value
    assert made.total(there).value == pytest.approx(plain.total(there).value, rel=0.01)
    assert plain.outweighs.value is None
    assert made.served(made.outweighs.value) == pytest.approx(0.5)


def test_a_training_joins_the_model_that_it_began_with(lives):
    """4000 tokens in 20 s at 40 W, and 400 J of tuning; Adafactor at 32 W, and 320 J."""
    served = factory.record()
    full, quick, slow = (lives[name] for name in ("full fine-tuning, AdamW", "adafactor", "lion"))
    assert full.once.value == pytest.approx(800 + 400)
    assert quick.once.value == pytest.approx(640 + 320)
    assert full.outweighs.value == pytest.approx(1200 / each(served, "baseline"))
    assert slow.once.value is None  # it never got there with a seed
    assert "2 of 3 trainings" in slow.total(1000).reason
    assert quick.paid_back.value is None


def test_a_model_with_an_adapter_serves_otherwise():
    trainings = [trained.record("lora")]
    (found,) = life_cycles(groups([factory.record()]), by_budget(trainings))
    lora = next(life for life in found.lives if life.label == "lora")
    assert lora.once.value == pytest.approx(640 + 320)
    assert lora.each.value is None
    assert "an adapter that is not merged" in lora.total(1000).reason
    assert "an adapter that is not merged" in lora.outweighs.reason


def test_each_budget_has_a_baseline_and_labels_of_its_own():
    first = trained.record()
    longer = first.spec.training.model_copy(update={"tokens": 8000})
    spec = first.spec.model_copy(update={"training": longer})
    other = first.model_copy(update={"spec": spec})
    (found,) = life_cycles(groups([factory.record()]), by_budget([first, other]))
    labels = [life.label for life in found.lives if life.kind == "trained"]
    assert len({*labels}) == 4
    for tokens in ("4,000", "8,000"):
        mine = [label for label in labels if tokens in label]
        assert [label.partition(" (")[0] for label in mine] == [
            "full fine-tuning, AdamW",
            "adafactor",
        ]


def test_joules_of_two_meters_or_models_are_not_added():
    served, training = factory.record(), trained.record()
    other = training.model_copy(
        update={"model": training.model.model_copy(update={"fingerprint": "6e" * 32})}
    )
    (found,) = life_cycles(groups([served]), by_budget([other]))
    assert [life.kind for life in found.lives] == ["plain", "prepared"]
    assert shown([found], None) == []
    assert shown([found], 1e9) == [found]


def test_the_report_adds_both_up_for_the_users_own_tokens(tmp_path):
    records = [factory.record(), trained.record()]
    paths = {p.name: p for p in write(tmp_path, records, [], surroundings([], None, 1e6))}
    text = paths["leaderboard.md"].read_text()
    section = text.split("## Before the first token, and after")[1]
    assert "kJ with 1,000,000 tokens" in section
    assert "--tokens-served" not in section
    assert paths["life_cycle.svg"].read_bytes().startswith(b"<?xml")
    assert "kJ with 1,000,000 tokens" in paths["index.html"].read_text()
    write(tmp_path, records, [])
    assert "--tokens-served N" in (tmp_path / "leaderboard.md").read_text()
    write(tmp_path, records[:1], [])
    assert "Before the first token" not in (tmp_path / "leaderboard.md").read_text()
    assert life_cycle_curves([], None) == []


@pytest.mark.parametrize("tokens", [0, -1, float("nan"), 1e19, "many"])
def test_no_number_of_tokens_is_one_sentence(tokens):
    with pytest.raises(UserError, match="is no number of tokens: give one above 0"):
        surroundings([], None, tokens)
