"""What a log gets: plain lines, one a stage, and the time left once a run has ended."""

import re

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
