"""What comes as data: each table has its source, and says what its text says."""

import pytest
from helpers.published import COMMON, SOURCE, table

from greenbench.analysis.reproduction.alike import device_class
from greenbench.analysis.reproduction.tables import names, read
from greenbench.analysis.reproduction.tables import table as published
from greenbench.campaign.catalog import options
from greenbench.errors import UserError


@pytest.mark.parametrize("name", names())
def test_every_table_says_where_it_is_from(name):
    found = published(name)
    assert all(str(part).strip() for part in found.source.model_dump().values())
    assert found.source.year >= 2024
    techniques = {row.technique for row in found.rows} - {None}
    assert techniques <= set(options("technique"))
    assert len({row.model_dump_json() for row in found.rows}) == len(found.rows)


def test_31_per_cent_above_idle_are_46_with_it():
    phi = {
        row.basis: row.value for row in published("bnb-above-idle").rows
        if row.technique == "int8_bnb" and "Phi-3" in row.model
    }  # fmt: skip
    assert phi == {"net": pytest.approx(1.312, abs=1e-3), "gross": pytest.approx(1.46, abs=1e-3)}


def test_thoughts_cost_what_is_claimed_of_qwen_3():
    of_qwen = [
        row.value for row in published("thinking").rows if row.model.startswith("Qwen/Qwen3")
    ]
    assert "Qwen 3" in published("thinking").claims
    assert (round(1 / max(of_qwen)), round(1 / min(of_qwen))) == (14, 29)
    rest = [row for row in published("thinking").rows if not row.model.startswith("Qwen/Qwen3")]
    assert {row.apart for row in rest} == {"the checkpoint is not named"}


def test_fp8_wins_from_a_batch_of_32_on():
    ratios = {row.batch: row.value for row in published("fp8-by-batch").rows}
    assert [batch for batch, ratio in ratios.items() if ratio > 1] == [8, 16]


def test_a_spread_over_repeats_becomes_an_interval():
    first = published("bnb-by-size").rows[0]
    assert first.n == 3
    low, high = first.interval.bounds
    assert low == pytest.approx(6.811 * 0.9554, abs=0.01)  # e^(-4.303 * 0.0184 / 3**0.5)
    assert high == pytest.approx(6.811 / 0.9554, abs=0.01)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100", True),
        ("NVIDIA A100-SXM4-80GB", "A100", True),
        ("NVIDIA H100 PCIe", "NVIDIA H100", False),
        ("NVIDIA H200", "NVIDIA H100", False),
        ("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090 D", False),
        ("8 x NVIDIA H100", "8 x NVIDIA H100 80GB HBM3", True),
        ("8 x NVIDIA H100", "NVIDIA H100", False),
        ("Tesla T4", "NVIDIA T4", True),
    ],
)
def test_classes_of_devices(one, other, same):
    assert (device_class(one) == device_class(other)) is same


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"after": 0.7, "against": "Org/other"}, "a technique, or another model"),
        ({"after": 0.7, "unit": "J/token"}, "a level has a unit"),
        (
            {"after": 0.7, "technique": None, "unit": "mJ/token"},
            "energy_per_token has the unit J/token",
        ),
        (
            {"after": 9.0, "technique": None, "unit": "J/token", "metric": "tokens_per_s"},
            "tokens_per_s has the unit token/s",
        ),
        (
            {"after": 9.0, "technique": None, "unit": "J/answer", "metric": "energy_per_answer"},
            "energy_per_answer is compared with a technique and without",
        ),
        (
            {"after": 0.7, "technique": None, "against": "Org/big", "metric": "energy_per_answer"},
            "energy_per_answer is compared with a technique and without",
        ),
        ({"after": 0.7, "sd": 0.1}, "needs n"),
        ({"after": -1.0}, "after"),
        ({"after": 0.7, "blocks": 3}, "blocks"),
        ({"after": 0.7, "metric": "watts"}, "metric"),
    ],
)
def test_a_row_that_is_none_is_one_sentence(row, said, tmp_path):
    with pytest.raises(UserError, match=r"planted\.yaml is no table") as caught:
        table(tmp_path, row)
    assert said in str(caught.value)


def test_what_is_no_table_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"table=bnb-by-sise is unknown.*did you mean bnb-by-size"):
        published("bnb-by-sise")
    with pytest.raises(UserError, match=r"no\.yaml cannot be read"):
        published(str(tmp_path / "no.yaml"))
    for text in (
        "a: [",
        "[]",
        "claims: c",
        f"claims: c\nsource: {SOURCE}\ncommon: {COMMON}\nrows: 3",
    ):
        (tmp_path / "odd.yaml").write_text(text)
        with pytest.raises(UserError, match=r"odd\.yaml is no table"):
            read(tmp_path / "odd.yaml")
