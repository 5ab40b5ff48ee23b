"""A record on which an analysis fails is left out and named; the others are analysed."""

import pytest
from helpers import campaign, examples

from greenbench import api
from greenbench.analysis.groups import rows
from greenbench.analysis.groups.rows import technique
from greenbench.analysis.trust.guard import guarded
from greenbench.cli.main import main
from greenbench.errors import UserError
from greenbench.records.store import Store

RECORDS = [examples.completed(name) for name in "abcdef"]


def test_what_fails_by_itself_is_left_out():
    def analyse(kept, failed):
        return [1 / (record.name not in "be") and record.name for record in kept], failed

    names, failed = guarded(RECORDS, analyse)
    assert names == [*"acdf"]
    assert [name for name, _ in failed] == [f"{RECORDS[i].key}.json" for i in (1, 4)]
    assert {why for _, why in failed} == {
        "It cannot be analysed (ZeroDivisionError: division by zero)."
    }


def test_what_fails_beside_others_only_is_left_out():
    def analyse(kept, failed):
        names = {record.name for record in kept}
        if {"b", "e"} <= names or {"a", "f"} <= names:
            raise OverflowError("too large together")
        return names, failed

    names, failed = guarded(RECORDS, analyse)
    assert names == {*"abcd"}
    assert len(failed) == 2


def test_a_users_mistake_is_an_answer_and_a_failure_of_nothing_is_raised():
    def mistaken(kept, failed):
        raise UserError("no")

    def broken(kept, failed):
        raise KeyError("always")

    with pytest.raises(UserError):
        guarded(RECORDS, mistaken)
    with pytest.raises(KeyError):
        guarded(RECORDS, broken)


def odd(name="odd"):
    """A run on a device of no speed, which no schema forbids."""
    record = campaign.run(name, 0.6)
    roof = {"bytes_per_s": 0, "flops_per_s": 0}
    return record.model_copy(update={"environment": {"roofline": roof}})


def test_the_report_goes_on_without_it(tmp_path):
    store = Store(tmp_path)
    for record in (odd(), campaign.run("saver", 0.7), odd("strange")):
        store.write(record)
    assert main(["report", str(tmp_path)]) == 0
    text = (tmp_path / "leaderboard.md").read_text()
    assert "`saver`" in text
    for record in (odd(), odd("strange")):
        assert f"`{record.key}.json`: It cannot be analysed (ZeroDivisionError" in text
    assert "`odd`" not in text


def test_windows_that_no_number_can_be_drawn_from_are_named_by_every_command(tmp_path, capsys):
    record = campaign.run("odd", 0.6)
    lost = next(w for w in record.windows if w.phase == "prefill" and w.who == "candidate")
    windows = [window for window in record.windows if window is not lost]
    for name in "ab":
        store = Store(tmp_path / name)
        store.write(record.model_copy(update={"windows": windows}))
        store.write(campaign.run("saver", 0.7))
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    for words in (["compare", a, b], ["advise", a], ["export", a]):
        assert main(words) == 0
        told = capsys.readouterr()
        assert "saver" in told.out
        assert f"{record.key}.json is not used: It cannot be analysed (ValueError" in told.err


def bare(name):
    """A run without ratios, which no file may be, but a record of one's own."""
    return campaign.run(name, 0.6).model_copy(update={"ratios": {}})


def test_lists_of_the_python_api_go_on_without_it_and_name_it():
    saver, odd = campaign.run("saver", 0.7), bare("odd")
    pairs = api.compare([odd, saver], [odd, saver])
    assert [pair.name for pair in pairs] == ["saver"]
    assert {name for name, _ in pairs.rejected} == {f"{odd.key}.json"}
    assert api.compare([saver], [saver]).rejected == []


def test_advice_and_groups_go_on_without_what_they_fail_on(monkeypatch):
    def fails(record):
        return 1 / (record.name != "odd") and technique(record)

    monkeypatch.setattr(rows, "technique", fails)
    known = [campaign.run("odd", 0.6), campaign.run("saver", 0.7)]
    for found in (api.groups(known), api.advise(known)):
        assert len(found) == 1
        ((name, why),) = found.rejected
        assert (name, "ZeroDivisionError" in why) == (f"{known[0].key}.json", True)
