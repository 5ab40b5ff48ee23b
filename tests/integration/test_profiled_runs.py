"""A profile that takes the process with it leaves the record of the run that it was to explain."""

import pytest


@pytest.mark.slow
def test_a_run_that_is_killed_in_its_profile_is_complete_and_says_so(bench):
    told = ["technique=outside", "technique.outside.fail=profile", "protocol.profile=always"]
    code, output = bench.run(*told, "task.names=[sst2]", "task.items=1")
    assert code == 0, output
    (record,) = bench.records()
    assert (record["status"], record["failure"]) == ("completed", None)
    assert record["profile"]["reason"] == (
        "the run ended while both models were profiled: It was killed by SIGKILL"
    )
    assert record["ratios"]
    assert {window["who"] for window in record["windows"]} >= {"baseline", "candidate"}
    assert record["stages_s"]["measure"] > 0
