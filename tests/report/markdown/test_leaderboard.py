"""The leaderboard as its readers find it: rebuilt, sorted out, complete and harmless."""

from __future__ import annotations

import random
import re
import subprocess
import sys

import pytest
from helpers import examples, factory, sound
from markdown_it import MarkdownIt

from greenbench import report
from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import assumptions
from greenbench.analysis.trust import checked
from greenbench.cli.main import main
from greenbench.errors import UserError
from greenbench.records.store import Rejected, Store
from greenbench.report.figures import sketches
from greenbench.report.markdown.leaderboard import leaderboard
from greenbench.schema.record import MeterChoice

HOSTILE = (
    "a|b\n<script>alert(1)</script> [x](javascript:alert(1)) `c` $\\f$ **b** http://evil.example"
)
RECORDS = [
    examples.completed("none", energy=1.002, half=0.004, speed=1.0, gained=0, lost=0, bits=1),
    examples.completed("int8", energy=0.63, half=0.03, speed=0.9),
    examples.completed("int4", energy=0.41, half=0.02, speed=1.1, lost=6),
    examples.completed("int8", speed=0.4, source=examples.ESTIMATE, device=examples.CPU),
    examples.completed("int8", tier="smoke"),
    examples.failed("awq"),
]


def write(records=RECORDS, rejected=()):
    """The leaderboard's text."""
    found = groups(records)
    return leaderboard(found, records, rejected, assumptions(), sketches(found, records))


def section(text, title):
    """The part of the leaderboard under the heading that starts with `title`."""
    return text.partition(f"\n## {title}")[2].partition("\n## ")[0]


def rows(text):
    """Cells of every table row in `text`."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


def tokens(text):
    """Markdown tokens, inline tokens among them."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        found += [token, *(token.children or [])]
    return found


def files(directory):
    return sorted(path for path in directory.rglob("*") if path.is_file())


def test_it_writes_what_it_says_and_nothing_else(tmp_path):
    paths = report.write(tmp_path, RECORDS, [])
    names = ["leaderboard.md", "index.html", "frontier.svg"]
    assert paths[:3] == [tmp_path / name for name in names]
    assert files(tmp_path) == sorted(paths)
    assert paths[3:]  # energy labels
    report.write(tmp_path, [], [])
    assert [path.name for path in files(tmp_path)] == sorted(names)


def test_the_same_records_in_any_order_give_the_same_bytes(tmp_path):
    first = [path.read_bytes() for path in report.write(tmp_path / "a", RECORDS, [])]
    for seed in range(3):
        shuffled = random.Random(seed).sample(RECORDS, len(RECORDS))
        again = report.write(tmp_path / f"b{seed}", shuffled, [])
        assert [path.read_bytes() for path in again] == first


@pytest.fixture
def two_directories(tmp_path):
    for name, some in (("a", RECORDS[::2]), ("b", [*RECORDS[1::2], RECORDS[0]])):
        for record in some:
            Store(tmp_path / name).write(sound.lasting(record))
    return tmp_path / "a", tmp_path / "b"


def test_several_directories_give_one_report_in_whatever_order(two_directories, tmp_path, capsys):
    a, b = map(str, two_directories)
    assert main(["report", a, b, "-o", str(tmp_path / "ab")]) == 0
    assert main(["report", b, a, "-o", str(tmp_path / "ba")]) == 0
    for path in (tmp_path / "ab").rglob("*.*"):
        again = tmp_path / "ba" / path.relative_to(tmp_path / "ab")
        assert path.read_bytes() == again.read_bytes()
    text = (tmp_path / "ab" / "leaderboard.md").read_text()
    assert "It is a copy of another record." in text
    copies = [Rejected(f"{RECORDS[0].key}.json", "It is a copy of another record.")]
    assert text == write(checked.load([*two_directories]).records, copies)
    assert not (two_directories[0] / "leaderboard.md").exists()
    assert main(["report", a, b]) == 2
    assert "-o DIR" in capsys.readouterr().err


def test_another_process_gives_the_same_bytes_without_the_heavy_packages(tmp_path):
    store = Store(tmp_path)
    for record in RECORDS:
        store.write(record)
    code = (
        "import sys; from pathlib import Path;"
        "from greenbench import report; from greenbench.records import store;"
        "loaded = store.load([Path(sys.argv[1])]);"
        "report.write(Path(sys.argv[2]), loaded.records, loaded.rejected);"
        "heavy = {'torch', 'transformers', 'hydra', 'lm_eval', 'datasets'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    for seed in ("1", "2"):
        out = tmp_path / seed
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), str(out)],
            check=True,
            env={"PYTHONHASHSEED": seed, "TZ": f"UTC-{seed}", "PATH": ""},
        )
        for path in report.write(tmp_path / "here", RECORDS, []):
            assert (out / path.relative_to(tmp_path / "here")).read_bytes() == path.read_bytes()


def test_the_answer_comes_first():
    head = write(RECORDS[:3]).splitlines()[2]
    assert head.startswith("**smollm2-135m (bfloat16), on Imaginary GPU (cuda), with ")
    found = rows(write(RECORDS[:3]).partition("\n## ")[0])
    assert [cells[:3] for cells in found[1:3]] == [
        ["up to 1 point lost", "try `int8`", "0.63× (0.60–0.66)"],
        ["up to 3 points lost, or any more", "try `int4`", "0.41× (0.39–0.43)"],
    ]


def test_of_several_settings_each_has_a_line_first():
    found = rows(write().partition("\n## ")[0])
    places = [cells[0] for cells in found if cells[0][:2] in ("1.", "2.", "3.")]
    assert len(places) == 3
    assert sum("estimate" in place for place in places) == 1


def test_each_group_has_its_rows_sorted_and_its_frontier_marked_in_words():
    header, *body = rows(section(write(), "1. ").partition("**All")[2].partition("<summary>")[0])
    assert header[0] == "technique"
    assert [cells[0] for cells in body] == [
        "*loses at most 1 point*", "`int8` †", "`none`", "*loses at most 3 points*", "`int4` †",
    ]  # fmt: skip
    for cells in body:
        if cells[0].startswith("`"):
            share = int(cells[-1].strip("★ %"))
            assert cells[-1].startswith("★") == (share >= 50)


def test_estimates_are_never_in_a_table_with_measurements():
    text = write()
    for index in "123":
        part = section(text, f"{index}. ")
        assert ("`measured:counter:nvml`" in part) != ("`estimated:model`" in part)
        estimated = "`estimated:model`" in part
        table = part.partition("**All")[2].partition("<summary>")[0]
        for cells in rows(table)[1:]:
            assert cells[0].startswith("*") or ("≈" in cells[2]) == estimated
    assert "≈" not in section(text, "1. ")


def test_an_estimate_tells_how_far_it_may_be_off():
    record = examples.completed(energy=0.5, baseline_j=2, source=examples.ESTIMATE)
    bounds = {
        f"energy_per_token_{end}_j": examples.quantity(value, 0.01, "J/token", examples.ESTIMATE)
        for end, value in (("low", 0.4), ("high", 3.0))
    }
    metrics = record.candidate.metrics | bounds
    candidate = record.candidate.model_copy(update={"metrics": metrics})
    text = write([record.model_copy(update={"candidate": candidate})])
    assert "true joules may be 0.400 to 3.00 times those shown" in text


def test_smoke_is_labelled_where_its_tables_are():
    part = section(write(), "3. ")
    assert "Tier smoke." in part
    assert "hint" in rows(part)[1][-1]


def test_missing_energy_is_na_with_its_reason():
    text = write([examples.completed(energy=None, reason="the counter stood still")])
    part = section(text, "1. ")
    headline = rows(part.partition("**All")[2])[1]
    details = rows(part.partition("<summary>Quality and energy")[2])[1]
    assert headline[2] == details[3] == "n/a (a)"
    assert part.count("- (a) the counter stood still") == 2


def test_one_block_has_no_interval_and_says_why():
    part = section(write([examples.completed(half=None)]), "1. ")
    assert rows(part.partition("**All")[2])[1][2] == "0.700× (a)"
    assert f"- (a) {examples.ONE}" in part


def test_the_model_note_stands_under_the_rows_it_concerns():
    part = section(write(), "1. ")
    assert "† smollm2-135m (bfloat16): weights come from a 4-bit file." in part


def test_the_noise_floor_is_told_or_its_absence():
    text = write()
    assert "less than 0.6 % is noise here" in section(text, "1. ")
    assert "`technique=none` adds one" in section(text, "2. ")


def test_a_drifting_baseline_is_told():
    one, two = (examples.completed(name, baseline_j=j) for name, j in (("a", 2.0), ("b", 2.2)))
    assert "moved by 10.0 % between runs" in write([one, two])
    assert "moved by" not in write([one])


def test_runs_without_a_result_are_listed_with_reason_and_output():
    refused = examples.failed(
        "int8",
        status="unsupported",
        failure=factory.failed().failure.model_copy(
            update={"reason": "unsupported", "phase": None, "message": "It needs CUDA."}
        ),
    )
    part = section(write([*RECORDS, refused]), "Runs without a result")
    assert "**failed, killed** in stage measure: It was killed by SIGSEGV." in part
    assert "**unsupported**: It needs CUDA." in part
    assert "Fatal Python error: Segmentation fault" in part


def test_files_that_are_no_records_are_listed():
    text = write(RECORDS, [Rejected("b.json", "It is not JSON."), Rejected("a.json", "?")])
    part = section(text, "Files that are not records")
    assert part.split("\n")[2:4] == ["- `a.json`: ?", "- `b.json`: It is not JSON."]
    assert "2 unreadable" in text


def test_how_it_was_measured_is_told():
    record = examples.completed(
        windows=[
            window.model_copy(update={"validity": "invalid", "codes": ["throttle"]})
            if window.block == 1
            else window
            for window in examples.windows(examples.NVML, "")
        ],
        meter=MeterChoice(used=["nvml"], refused={"rapl": "it is constant"}, notes={"nvml": "n1"}),
    )
    part = section(write([record]), "How it was measured")
    for fact in (
        "2 blocks in random order",
        "meter `nvml`, provenance `measured:counter:nvml`, boundary gpu, tick up to 0.001 s",
        "- `nvml`: n1",
        "- not by `rapl`: it is constant",
        "11, 0 flagged, 4 invalid (`throttle` 4 times)",
        "measured 2025-01-02",
    ):
        assert fact in part


def test_where_the_wall_time_went_adds_up():
    stages = {"start": 1, "load": 5, "prepare": 4, "score": 30, "warmup": 10, "measure": 48}
    record = examples.completed(stages_s=stages | {"finish": 1, "total": 100})
    part = section(write([record, examples.failed()]), "Where the wall time went")
    assert "3.0 of 100.0 s, 3.0 %" in part
    assert ["score", "30.0", "30.0 %"] in rows(part)


def test_preparation_sums_its_windows():
    part = section(write(RECORDS[:2]), "Preparation, and when it pays back")
    assert rows(part)[1] == ["`int8`", "8.00", "128", "n/a (a)"]  # 32 W for 4 s
    assert "(a) idle power was not measured" in part
    idle = [run.model_copy(update={"idle": {"both": factory.idle_power()}}) for run in RECORDS[:2]]
    part = section(write(idle), "Preparation, and when it pays back")
    assert rows(part)[1][:3] == ["`int8`", "8.00", "128"]
    assert "on a device that stays on" in part
    assert "`none`" not in part


def test_environment_tells_what_differs():
    records = [
        examples.completed("a", environment={"python": "3.11", "cpu": {"name": "X", "cores": 2}}),
        examples.completed("b", environment={"python": "3.12", "cpu": {"name": "X", "cores": 2}}),
    ]
    part = section(write(records), "Environment")
    assert "- python: 3.11 (1 runs); 3.12 (1 runs)" in part
    assert "- cpu: cores 2, name X\n" in part


def test_every_line_can_be_reproduced():
    part = section(write(), "How to reproduce each line")
    assert part.count("greenbench bench") == len(RECORDS)


def test_an_empty_directory_gets_a_leaderboard_that_helps():
    text = write([])
    assert "There is no completed run yet. `make bench`" in text
    assert "\n## " not in text


def test_only_failures_are_told_too():
    text = write([examples.failed()])
    assert "There is no completed run yet." in text
    assert "It was killed by SIGSEGV." in text


def test_a_record_that_leaves_out_all_it_may_is_shown():
    bare = examples.completed(environment={}, stages_s={}, techniques=[], quality=[], ratios={})
    empty = {"metrics": {}}
    subjects = {
        who: getattr(bare, who).model_copy(update=empty) for who in ("baseline", "candidate")
    }
    text = write([bare.model_copy(update=subjects)])
    assert "n/a (a)" in text
    assert "the record has no energy_per_token" in text


def poisoned():
    """Records whose every free string is hostile."""
    model = factory.record().model
    technique = factory.record().techniques[0]
    evil = {"name": HOSTILE, "command": HOSTILE, "started_at": HOSTILE}
    spec = examples.spec(
        HOSTILE,
        model=dict.fromkeys(("name", "id", "revision", "license", "note"), HOSTILE),
        task={"names": [HOSTILE]},
        workload={"name": HOSTILE},
        device={"kind": HOSTILE, "name": HOSTILE},
    )
    failure = factory.failed().failure.model_copy(
        update={"message": HOSTILE, "phase": HOSTILE, "log_tail": [HOSTILE, "```", "# x"]}
    )
    full = examples.completed(
        **evil,
        spec=spec,
        environment={HOSTILE: {HOSTILE: [HOSTILE]}},
        model=model.model_copy(
            update=dict.fromkeys(
                ("name", "id", "commit", "license", "note", "fingerprint"), HOSTILE
            )
        ),
        techniques=[
            technique.model_copy(update={"name": HOSTILE, "summary": HOSTILE, "paper": HOSTILE})
        ],
        meter=MeterChoice(used=[HOSTILE], refused={HOSTILE: HOSTILE}, notes={HOSTILE: HOSTILE}),
        quality=[examples.score(HOSTILE, 1, 2).model_copy(update={"metric": HOSTILE})],
    )
    lost = examples.completed(**evil, spec=spec, energy=None, reason=HOSTILE)
    failed = examples.failed(**evil, spec=spec, failure=failure)
    return [  # no file has such keys
        each.model_copy(update={"key": key})
        for each, key in ((full, HOSTILE), (lost, "b"), (failed, HOSTILE))
    ]


def test_hostile_strings_neither_break_a_table_nor_become_html_or_links():
    text = write(poisoned(), [Rejected(HOSTILE, HOSTILE)])
    found = tokens(text)
    html = {token.content.strip() for token in found if token.type in {"html_block", "html_inline"}}
    assert html <= {
        "<details><summary>How to read it</summary>",
        "<details><summary>The answer in words</summary>",
        "<details><summary>The baseline</summary>",
        "<details><summary>The frontier, and how sure it is</summary>",
        "<details><summary>Quality and energy</summary>",
        "<details><summary>Latency and memory</summary>",
        "<details><summary>Quality per task, with tests</summary>",
        "<details><summary>Last lines of their output</summary>",
        "<details><summary>Commands</summary>",
        "<details><summary>The rules</summary>",
        "<details><summary>Of each run</summary>",
        "<details><summary>Of each device</summary>",
        "<details><summary>By stage</summary>",
        "<details><summary>Joules by phase</summary>",
        "<details><summary>Promises in full, and how causes are named</summary>",
        "</details>",
    }
    links = [token.attrs["href"] for token in found if token.type == "link_open"]
    assert all(re.fullmatch(r"gallery/[\w-]+\.md", link, re.ASCII) for link in links)
    assert [t.attrs["src"] for t in found if t.type == "image"] == [
        "frontier.svg",
        "figures/forest.svg",
        "figures/phases.svg",
    ]
    harmless = {"fence", "code_inline"}
    outside = [token.content for token in found if token.type not in harmless | {"inline"}]
    assert any("<script>alert(1)</script>" in content for content in outside)


def test_hostile_strings_leave_every_table_whole():
    plain = tokens(write([examples.completed("a"), examples.completed("a", energy=None)]))
    evil = tokens(write(poisoned()[:2]))

    def shapes(found):
        kinds = [token.type for token in found if token.type in {"table_open", "th_open"}]
        return " ".join(kinds).split("table_open")

    assert shapes(evil) == shapes(plain)


def test_a_reader_never_sees_half_a_file(tmp_path, monkeypatch):
    report.write(tmp_path, RECORDS, [])
    before = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    monkeypatch.setattr(
        "pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(UserError, match="cannot be written"):
        report.write(tmp_path, [], [])
    assert (tmp_path / "leaderboard.md").read_text(encoding="utf-8") == before
    assert not [path for path in files(tmp_path) if path.suffix == ".tmp"]


def test_results_that_cannot_be_a_directory_are_one_sentence(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(UserError, match="The report cannot be written"):
        report.write(tmp_path / "results", [], [])


def test_what_ran_eager_shows_both_its_ratios_and_why():
    """1.31 of a compiled baseline, 0.62 of its own kind; the others ran as their baseline did."""
    loop = "draft decodes by a loop of its own"
    records = [
        examples.against("compiled", "int8", 0.7),
        examples.against("compiled", "draft", 1.31, loop),
        examples.against("compiled", "alone", 1.5, "alone has a cache of its own"),
        examples.against("eager", "draft", 0.62, loop),
    ]
    page = write(records)
    compiled, eager = (part for part in page.split("\n## ") if "quality change" in part)
    first = compiled[compiled.index("| technique ") :].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")] for line in first.splitlines()[2:]]
    cells = {row[1].split("`")[1]: row for row in rows}
    assert cells["draft"][3].startswith("▼ 1.31×")
    assert cells["draft"][4].startswith("0.62×")
    assert cells["int8"][4] == "–"
    assert cells["alone"][4].startswith("n/a")
    assert f"ran eager, as {loop}" in compiled
    assert "not measured with engine.reference=eager" in compiled
    assert "both eager" not in eager
