"""What was said against what was true: how it is counted, and that wrong claims are found."""

import pytest

from greenbench.simulate.claims.said import Case, Told, dice_of, lines, markdown, told


def case(how, chance, true, labs=400):
    """Statements with a chance of `chance` that are true with `true`."""
    return Case("a claim", "a lab", how, lambda dice: [Told(chance, dice.random() < true)], labs)


def line(*args):
    (found,) = lines(given := case(*args), told(given, range(given.labs)))
    return found


@pytest.mark.parametrize(
    ("how", "chance", "true", "holds"),
    [
        ("so often", 0.95, 0.95, "yes"),
        ("so often", 0.95, 0.99, "yes"),
        ("so often", 0.95, 0.85, "**no**"),
        ("at most", 0.05, 0.01, "yes"),
        ("at most", 0.05, 0.15, "**no**"),
        ("at least", 0.9, 0.7, "**no**"),
        ("as said", 0.85, 0.85, "yes"),
        ("as said", 0.85, 0.7, "**too high**"),
        ("as said", 0.85, 0.97, "**too low**"),
        ("shown", 1.0, 0.3, ""),
    ],
)
def test_what_is_not_so_is_found(how, chance, true, holds):
    assert line(how, chance, true).holds == holds


def test_the_same_seed_gives_the_same_lab():
    given = case("so often", 0.95, 0.5)
    assert told(given, range(20)) == told(given, range(20))
    assert dice_of(given, 1).random() != dice_of(given, 2).random()


def test_chances_are_counted_with_those_near_them():
    given = case("as said", 0.0, 0.0)
    found = lines(given, [Told(0.05, False), Told(0.07, False), Told(0.85, True), Told(1.0, True)])
    assert [row.true.n for row in found] == [2, 1, 1]
    assert found[0].said == pytest.approx(0.06)
    assert "said 80 to 90 %" in markdown(found)


def test_a_claim_is_named_once_in_its_table():
    given = case("so often", 0.95, 1.0)
    row = lines(given, told(given, range(50)))[0]
    shown = markdown([row, row]).splitlines()
    assert shown[2].startswith("| a claim | a lab | 95 % | 100.0 (92.9 to 100.0) | 50 | yes |")
    assert shown[3].startswith("|  | a lab |")
