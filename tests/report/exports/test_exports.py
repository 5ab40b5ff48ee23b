"""Exports: every number with its unit, interval and provenance, and no string that acts."""

import csv
import io

import pyarrow.parquet as pq
import pytest
import yaml
from helpers import campaign, examples, loads
from hypothesis import given
from hypothesis import strategies as st

from greenbench.analysis.impact import assumptions
from greenbench.cli.main import main
from greenbench.records.store import canonical
from greenbench.report.exports import long_table
from greenbench.report.exports.model_card import model_card


def table(records):
    text = long_table.as_csv(long_table.lines(records)).decode()
    return list(csv.DictReader(io.StringIO(text)))


def only(lines, **wanted):
    (found,) = (
        line for line in lines if all(line[name] == value for name, value in wanted.items())
    )
    return found


def test_a_number_carries_all_that_the_record_knows_of_it():
    records = campaign.group()
    ratio = records[1].ratios["energy_per_token"]
    line = only(table(records), technique="saver", metric="energy_per_token")
    assert float(line["value"]) == ratio.value
    assert (float(line["low"]), float(line["high"])) == (ratio.low, ratio.high)
    assert (line["of"], line["unit"], line["n"]) == ("ratio", "ratio", "8")
    assert line["provenance"] == "measured:counter:nvml"
    assert line["verdict"] == "saves"
    assert float(line["p_holm"]) > records[1].verdicts["energy_per_token"].p_difference
    assert only(table(records), technique="saver", task="sciq", of="change")["n"] == "100"


def test_what_is_missing_is_empty_and_says_why():
    lines = table([examples.completed(energy=None, reason="no counter moved"), examples.failed()])
    line = only(lines, metric="energy_per_token_j", of="candidate")
    assert (line["value"], line["low"]) == ("", "")
    assert line["reason"] == "no counter moved"
    failed = only(lines, metric="result")
    assert (failed["status"], failed["value"]) == ("failed", "")
    assert failed["reason"].startswith("killed")


def test_an_invalid_run_keeps_its_numbers_without_verdicts():
    line = only(table(campaign.group()), technique="broken", metric="energy_per_token")
    assert (line["validity"], line["verdict"]) == ("invalid", "")
    assert float(line["value"]) == pytest.approx(0.1, rel=0.01)


def test_numbers_at_a_load_are_named_with_it():
    record = loads.completed(limits=True)
    lines = table([record])
    point = record.load.points[0]
    line = only(lines, metric="energy_per_request@0.5", of="ratio")
    assert float(line["value"]) == point.ratios["energy_per_request"].value
    assert only(lines, metric="e2e_p99_s@8", of="candidate")["reason"].startswith("unbounded")
    levels = [x["metric"] for x in lines if x["of"] == "baseline" and x["metric"].endswith("@0.5")]
    assert levels == [f"{name}@0.5" for name in sorted(point.baseline.metrics)]
    assert only(lines, metric="capacity", of="candidate")["value"] == "4.0"
    assert (
        only(lines, metric="energy_per_request_at_capacity_j", of="candidate")["unit"]
        == "J/request"
    )
    assert only(lines, metric="crossing", of="run")["unit"] == "request/s"
    assert "poisson arrivals at 0.5, 1, 2, 4, 8 requests/s" in line["workload"]
    assert not [x for x in table(campaign.group()) if "@" in x["metric"]]


def test_a_model_card_says_what_a_load_changes():
    card = model_card(loads.completed(), assumptions())
    assert (
        "- Under load, J/request over the baseline's, idle power counted, is 0.768× (0.749–0.786) at "
        "0.5, 1.84× (1.80–1.88) at 8 requests/s. The winner changes at 2.9 (2.6–3.2) requests/s: "
        "below it `int4` takes less energy per request, above it the baseline." in card
    )
    assert "Under load" not in model_card(campaign.run("a", 0.7), assumptions())


def test_the_order_of_the_records_changes_nothing():
    records = [*campaign.group(), examples.failed()]
    for form in (long_table.as_csv, long_table.as_parquet):
        assert form(long_table.lines(records)) == form(long_table.lines(records[::-1]))


def test_parquet_has_the_same_lines_with_types(tmp_path):
    (tmp_path / "x.parquet").write_bytes(long_table.as_parquet(long_table.lines(campaign.group())))
    found = pq.read_table(tmp_path / "x.parquet").to_pylist()
    lines = table(campaign.group())
    assert len(found) == len(lines)
    for typed, line in zip(found, lines, strict=True):
        assert typed["value"] == (float(line["value"]) if line["value"] else None)
        assert typed["metric"] == line["metric"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1+1", " =1", "＝1", "\r\n=1"])
def test_no_text_is_a_formula(text):
    assert long_table.harmless(text).startswith("'")


@given(st.text())
def test_text_stays_in_its_cell(text):
    run = long_table.Run(*[text] * len(long_table.Run._fields))
    number = long_table.Number("x", "run", text, 1.5, text, None, None, 1, text, text, None, None)
    rows = csv.reader(io.StringIO(long_table.as_csv([(run, number)]).decode()))
    assert next(rows) == list(long_table.COLUMNS)
    (cells,) = rows
    assert len(cells) == len(long_table.COLUMNS)
    assert cells[0] == long_table.harmless(text)
    assert not any(cell.lstrip().startswith(long_table.FORMULA) for cell in cells)


def front_matter(card):
    _, front, rest = card.split("---\n", 2)
    return yaml.safe_load(front)["co2_eq_emissions"], rest


def test_a_model_card_has_the_hubs_metadata():
    """128 J of preparation x PUE 2 x the country's electricity."""
    given = assumptions(["country=FRA", "pue=2"])
    record = campaign.run("saver", 0.7)
    once = record.techniques[0].prepare_energy.value
    metadata, section = front_matter(model_card(record, given))
    assert list(metadata) == [
        "emissions", "source", "training_type", "geographical_location", "hardware_used",
    ]  # fmt: skip
    grams = once / 3.6e6 * 2 * given.grid.g_per_kwh
    assert metadata["emissions"] == pytest.approx(grams, rel=1e-3)
    assert metadata["geographical_location"] == "France"
    assert metadata["hardware_used"] == "Imaginary GPU (cuda)"
    assert "0.700× (0.698–0.702)" in section
    assert record.command in section


def test_an_estimate_says_so_and_what_is_unavailable_has_no_number():
    record = campaign.run("x", 0.7)
    part = record.techniques[0]

    def prepared(energy):
        changed = part.model_copy(update={"prepare_energy": energy})
        return model_card(record.model_copy(update={"techniques": [changed]}), assumptions())

    estimate = part.prepare_energy.model_copy(update={"provenance": "estimated:model"})
    metadata, _ = front_matter(prepared(estimate))
    assert "estimated, not measured" in metadata["source"]
    missing = prepared(examples.missing("J", "no meter answered"))
    assert "co2_eq_emissions" not in missing
    assert "No emissions are stated for the preparation: no meter answered." in missing
    assert "Nothing was prepared" in model_card(campaign.run("none", 1.0), assumptions())


def test_hostile_names_stay_text_in_a_card():
    device = {"kind": "cuda", "name": "GPU\n---\nlicense: <script>x</script> | `"}
    metadata, section = front_matter(
        model_card(campaign.run("x|y", 0.7, device=device), assumptions())
    )
    assert "\n" not in metadata["hardware_used"]
    assert "<script>" not in section


@pytest.fixture
def results(tmp_path):
    (tmp_path / "records").mkdir()
    for record in map(campaign.prepared, (campaign.run("a", 0.7), campaign.run("b", 0.8))):
        (tmp_path / "records" / f"{record.key}.json").write_bytes(canonical(record))
    return tmp_path


def test_the_command_writes_and_prints(results, capsys):
    assert main(["export", str(results)]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 20
    out = results / "new" / "runs.parquet"
    assert main(["export", str(results), "--format", "parquet", "-o", str(out)]) == 0
    assert pq.read_table(out).num_rows > 20
    key = campaign.run("a", 0.7).key
    capsys.readouterr()
    assert main(["export", str(results), "--format", "model-card", "--run", key[:6]]) == 0
    assert "co2_eq_emissions" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["--format", "parquet"],
        ["--format", "model-card"],
        ["--run", "nothing"],
        ["--impact", "pue=0"],
        ["-o", "/proc/nothing/x.csv"],
    ],
)
def test_bad_words_are_one_sentence(results, words, capsys):
    assert main(["export", str(results), *words]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_files_that_are_no_records_are_not_passed_over_in_silence(results, capsys):
    (results / "records" / "broken.json").write_text("{")
    assert main(["export", str(results)]) == 0
    assert "broken.json is not used: It is not JSON" in capsys.readouterr().err
