"""One quantity, one text: what the page embeds is what the leaderboard says."""

import re
from pathlib import Path

import pytest
from helpers import campaign, examples

from greenbench import report
from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import assumptions
from greenbench.report.markdown.format import Notes, only, show
from greenbench.report.page.data import page_data
from greenbench.report.page.page import OURS
from greenbench.report.page.run import families
from greenbench.schema.metrics import ENERGY_PER_TOKEN, MODEL_BYTES, TOKENS_PER_S, TPOT
from greenbench.wording import TIMES

RECORDS = [
    *campaign.group(),
    examples.completed("int8", speed=0.4, source=examples.ESTIMATE, device=examples.CPU),
    examples.completed("lost", energy=None, reason="the counter stood still"),
]
ROWS = [row for group in groups(RECORDS) for row in group.rows]
DATA = page_data(groups(RECORDS), RECORDS, [], assumptions())
ASSETS = Path(report.__file__).parent / "page" / "assets"
TEXT = 7
"""Its place in an embedded number; a text without the interval may follow."""


def bare(text):
    """Without the note that a table adds for what is missing."""
    return re.sub(r"( ?\(\w\)|^n/a.*)$", "", text)


@pytest.mark.parametrize("number", range(len(ROWS)), ids=[row.label for row in ROWS])
def test_a_run_reads_alike_in_leaderboard_and_page(number):
    row, run = ROWS[number], DATA["runs"][number]
    derived = dict(zip(DATA["derived"], run["derived"], strict=True))
    bits = row.bits_per_byte
    said = {
        show(row.quality, Notes(), decimals=1): derived["quality"][TEXT],
        show(row.change, Notes(), change=True, decimals=1): derived["quality_change"][TEXT],
        show(row.energy, Notes()): run["candidate"].get(ENERGY_PER_TOKEN.name, [""] * 8)[TEXT],
        show(row.metric(TPOT).scaled(1e3, "ms"), Notes()): run["candidate"][TPOT.name][TEXT],
        show(row.ratio(ENERGY_PER_TOKEN), Notes(), suffix=TIMES): run["ratios"]["energy_per_token"][TEXT],
        show(row.ratio(TOKENS_PER_S), Notes(), suffix=TIMES): run["ratios"]["tokens_per_s"][TEXT],
        only(bits.candidate, Notes()): derived["bits_per_byte"][TEXT + 1],
        show(bits.change, Notes(), change=True): derived["bits_per_byte_change"][TEXT],
        only(row.metric(MODEL_BYTES).scaled(1e-6, "MB"), Notes()): run["candidate"]["model_bytes"][TEXT],
    }  # fmt: skip
    for leaderboard, page in said.items():
        assert bare(leaderboard) == page


def test_shares_and_chances_read_alike(tmp_path):
    report.write(tmp_path, RECORDS, [])
    text = (tmp_path / "leaderboard.md").read_text()
    shares = {run["share"] for run in DATA["runs"] if run["share"]}
    assert shares
    assert all(f" {share} " in text for share in shares)
    chances = {
        tests[0] for run in DATA["runs"] for tests in run["more"].get("verdicts", {}).values()
    }
    assert chances - {None}
    assert all(f"| {chance} " in text for chance in chances - {None})


def test_scripts_format_only_what_they_compute_themselves():
    scripts = {name: (ASSETS / name).read_text() for name in OURS}
    made = re.compile(r"toFixed|toPrecision|toLocaleString|Math\.round\(100")
    found = {name: made.findall(script) for name, script in scripts.items()}
    assert {name: calls for name, calls in found.items() if calls} == {
        "figure.js": ["toPrecision"]  # ticks of an axis
    }


def test_a_family_is_what_the_record_says_and_no_prefix_of_a_name():
    run = examples.completed("intercept")
    (part,) = run.techniques
    record = run.model_copy(
        update={"techniques": [part.model_copy(update={"family": "early_exit"})]}
    )
    assert families(record) == ["early exit"]
    assert families(examples.failed("prune_depth")) == ["pruning"]
    assert families(examples.failed("intercept")) == ["other"]
    assert families(examples.completed("none")) == ["none (A/A)"]
