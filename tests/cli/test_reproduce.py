"""``reproduce``: the tables, and what records say of them."""

import pytest
import yaml
from helpers import sound
from helpers.published import COMMON, GROSS, NET, SOURCE

from greenbench.cli.main import main
from greenbench.records.store import Store


@pytest.fixture
def here(tmp_path):
    """A results directory with one run, and a table of four numbers."""
    Store(tmp_path / "results").write(sound.run())
    rows = [
        {"after": GROSS},
        {"after": NET, "basis": "net", "doubt": "measured on a Monday"},
        {"after": 1.3},
        {"after": GROSS, "batch": 8},
    ]
    content = {"claims": "it saves", "source": SOURCE, "common": COMMON, "rows": rows}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def test_the_tables_are_named_with_their_sources(capsys):
    assert main(["reproduce"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    assert any(line.startswith("fp8-by-batch: ") and "arxiv.org" in line for line in lines)


def test_records_are_judged_with_both_numbers_and_the_reason(here, capsys):
    assert main(["reproduce", str(here / "mine.yaml"), str(here / "results")]) == 0
    head, source, *rows, counts = capsys.readouterr().out.splitlines()
    assert head == "mine: it saves"
    assert source.startswith("source: a, t, 2026")
    start = "energy per token, Org/smollm2-135m, saver, batch 1, Imaginary GPU, transformers"
    assert rows[0].startswith(f"{start}, gross: published 0.700× (allowed 0.675–0.725, ")
    assert rows[0].endswith(": reproduced")
    assert rows[1].startswith(f"{start}, net: published 0.625× (allowed ")
    assert rows[1].endswith(": reproduced [of the published number: measured on a Monday]")
    assert rows[2].endswith(": contradicted")
    assert rows[3].endswith(": not comparable: batch (8 there, 1 here)")
    assert counts == "2 reproduced, 1 contradicted, 0 undecided, 1 not comparable."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bnb-by-sise"], "did you mean bnb-by-size"),
        (["bnb-by-size", "nowhere"], "nowhere does not exist"),
        (["bnb-by-size", "results", "model=smollm2-135m"], "model=smollm2-135m is for runs"),
        (["bnb-by-size", "results", "--list"], "--list is for runs"),
        (["bnb-by-size", "technique=gptq", "device=cpu"], "The table says which technique"),
    ],
)
def test_wrong_words_are_one_sentence(words, said, here, capsys, monkeypatch):
    monkeypatch.chdir(here)
    assert main(["reproduce", *words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_what_cannot_be_tested_here_is_said_with_its_reason(capsys):
    assert main(["reproduce", "speculative-by-batch"]) == 0
    told = capsys.readouterr().out
    start = "not comparable here, 18 of 38 numbers: "
    assert f"{start}device class (NVIDIA H100 there, " in told
    assert f"{start}engine (sglang there, which GreenBench does not run)" in told
    assert "Nothing of it can be tested here." in told
