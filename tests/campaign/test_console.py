"""What a log gets: plain lines, one a stage, and the time left once a run has ended."""

import io
import re

from rich.console import Console as Terminal

from greenbench.campaign import console
from greenbench.campaign.console import Console, Heard, heard


def test_a_log_gets_plain_lines_and_no_drawing(capsys):
    with Console(3) as console:
        console.begin(1, "model, [odd] label")
        for done in range(5):
            console.stage("measure", done, 5)
        console.end("done in 1 s")
        console.begin(2, "model, none")
        console.end("already done", ran=False)
        console.note("wrote results/leaderboard.md")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "[1/3] model, [odd] label"
    assert lines[1] == "[1/3]   measure"
    assert re.fullmatch(r"\[1/3\] done in 1 s, about 0 s left", lines[2])
    assert lines[3] == "[2/3] model, none"
    assert lines[4].startswith("[2/3] already done")
    assert lines[5] == "wrote results/leaderboard.md"
    assert not any("\x1b" in line or "\r" in line for line in lines)


def test_how_far_a_sweep_is_is_read_back_from_its_log(capsys):
    told, log = [], []

    def note():
        log.extend(capsys.readouterr().err.splitlines())
        told.append(heard(log))

    with Console(2) as console:
        console.note("2 runs to measure: at least 20 s")
        note()
        console.begin(1, "model, [1/2] odd")
        note()
        console.stage("measure", 0, 5)
        console.note("nvml answers")
        note()
        console.end("done in 1 s")
        note()
        console.begin(2, "model, none")
        note()
        console.end("failed: it was killed")
        console.note("wrote results/leaderboard.md")
        note()
    assert told == [
        Heard(),
        Heard(2, 0, "model, [1/2] odd"),
        Heard(2, 0, "model, [1/2] odd", "measure"),
        Heard(2, 1),
        Heard(2, 1, "model, none"),
        Heard(2, 2),
    ]


def plain(stream):
    """What was drawn, without colours and movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())


def test_a_terminal_gets_a_table_of_runs_what_the_present_one_shows_and_the_joules(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(
        console, "Terminal", lambda **_: Terminal(file=shown, force_terminal=True, width=160)
    )
    with Console(3) as live:
        live.begin(1, "model, gptq")
        live.stage("measure", 1, 5)
        live.end("done in 9 s, speed 1.50x baseline (1.40-1.60)", joules=30.0, estimated=True)
        live.begin(2, "model, [odd] label")
        live.stage("measure", 3, 5, "tokens/s 1.20× (1.10–1.31), 3 blocks")
        live._screen.refresh()
        during = plain(shown)
        live.end("failed: it broke", joules=12.0)
    assert "1/3" in during
    assert "speed 1.50x baseline" in during
    assert "2/3 model, [odd] label: measure" in during
    assert (
        "tokens/s 1.20× (1.10–1.31), 3 blocks; 1 of 3 runs done; ≈30.0 J in measured windows; about"
        in during
    )
    final = plain(shown)[len(during) :]
    assert "failed: it broke" in final
    assert "stage ends in" not in final.rpartition("failed: it broke")[2]
