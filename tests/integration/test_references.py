"""A technique that cannot be compiled against both references, from the command line to the leaderboard."""

import re


def test_what_runs_eager_is_measured_against_a_compiled_baseline_and_its_own_kind(bench):
    status, output = bench.run(
        "--multirun", "technique=prompt_lookup", "engine.reference=compiled,auto"
    )
    assert status == 0, output
    records = {each["spec"]["engine"]["reference"]: each for each in bench.records()}
    assert set(records) == {"compiled", "eager"}  # what auto is on a CPU
    loop = "prompt_lookup decodes by a loop of its own"
    assert records["compiled"]["engine"]["eager"] == {"candidate": loop}
    assert records["eager"]["engine"]["eager"]["candidate"] == loop
    assert "on a CPU" in records["eager"]["engine"]["eager"]["baseline"]
    assert "engine.reference=eager" in records["eager"]["command"]
    for record in records.values():
        assert record["ratios"]["model_bytes"]["value"] == 1
        for score in record["quality"]:  # likelihoods are never those of a compiled step
            assert score["change"]["value"] == 0
    page = (bench.results / "leaderboard.md").read_text()
    first, second = (part for part in page.split("\n## ") if re.match(r"\d+\. ", part))
    assert re.search(r"with transformers [\d.]+ \(compiled\), ", first)
    assert "J/token ratio, both eager" in first
    assert f"ran eager, as {loop}" in first
    assert "both eager" not in second
    assert f"   - reference: compiled (eager: {loop})" in page


def test_the_compiled_reference_against_itself_and_what_it_is_made_of(bench):
    status, output = bench.run(
        "--multirun", "technique=none,static_cache", "engine.reference=compiled"
    )
    assert status == 0, output  # what cannot be run is a row that says so
    assert "technique=static_cache is part of engine.reference=compiled" in output
    assert "Traceback" not in output
    records = {each["name"]: each for each in bench.records()}
    assert records["none"]["status"] == "completed"
    assert records["none"]["engine"]["eager"] == {}
    assert records["static_cache"]["status"] == "unsupported"
