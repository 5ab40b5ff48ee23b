"""The commands that read: what is no record, no directory and no number is one sentence."""

import pytest
from helpers import campaign

from greenbench.cli.main import main
from greenbench.records.store import Store


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A results directory, one whose record is broken, one that is empty, a file; we are beside them."""
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / "good")
    for record in (campaign.run("none", 1.001, gained=0, lost=0), campaign.run("saver", 0.7)):
        store.write(record)
    (tmp_path / "broken" / "records").mkdir(parents=True)
    (tmp_path / "broken" / "records" / "one.json").write_text("{")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "package.json").write_text('{"name": "x"}')
    (tmp_path / "file.json").write_text("[]")
    return tmp_path


def files(folder):
    return sorted(path for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("report broken", "No file of the 1 in broken is a record (one.json: It is not JSON"),
        ("report empty", "There is no record in empty: give the results directory"),
        ("report good empty -o out", "There is no record in empty"),
        ("report other", "package.json: It is not a record of GreenBench"),
        ("report nowhere", "nowhere is not a directory"),
        ("report", "results is not a directory"),
        ("report good good", "say where the report goes with -o DIR"),
        ("report good -o file.json", "it is, or lies in, a file and no directory): choose another"),
        ("report good -o file.json/in", "it is, or lies in, a file"),
        ("report good --margin 1e9", "points above 0 and below 100"),
        ("report good --margin nan", "margin=nan is no margin"),
        ("report good --impact pue=nan", "impact.pue=nan is out of range: allowed is 1 to 100"),
        (
            "report good --grid-by-hour none.csv",
            "none.csv does not exist: give a CSV file of carbon",
        ),
        ("report good --grid-by-hour file.json", "file.json has no column of times that is known"),
        ("export good --impact pue=inf", "impact.pue=inf is out of range: allowed is 1 to 100"),
        ("advise good --impact pue=1e308", "impact.pue=1e+308 is out of range"),
        ("advise good --impact price_per_kwh=nan", "impact.price_per_kwh=nan is out of range"),
        ("advise good --max-token-ms nan", "The limit token_ms=nan is out of range"),
        ("advise file.json", "file.json is not a directory"),
        ("advise broken", "No file of the 1 in broken"),
        ("compare good file.json", "file.json is no record: It is not a record"),
        ("compare good good good", "here are 3: write greenbench compare A B"),
        ("compare good", "here are 1"),
        ("export file.json", "file.json is no record"),
        ("export empty", "There is no record in empty"),
        ("export good --run=", "--run is empty"),
        ("export good --run=zz", "No record's key starts with zz"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(there, call, said, capsys):
    before = files(there)
    assert main(call.split(" ")) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert files(there) == before


@pytest.mark.parametrize(
    "call",
    [
        "advise --impact pue=2 good",
        "export --impact pue=2 country=FRA good",
        "report --impact pue=2 good -o out",
        "compare --fail-on energy>+90% good good",
    ],
)
def test_what_follows_an_option_with_several_words_may_be_the_directory(there, call, capsys):
    assert main(call.split()) == 0
    assert "greenbench:" not in capsys.readouterr().err
