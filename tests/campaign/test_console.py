"""What a log gets: plain lines, one a stage, and the time left once a run has ended."""

import re

from greenbench.campaign.console import Console


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
