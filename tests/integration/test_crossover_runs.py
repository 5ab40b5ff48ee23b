"""``greenbench crossover`` through real runs: ordinary records, from which a second search goes on."""

import pytest


@pytest.mark.slow
def test_a_search_leaves_records_and_goes_on_from_them(bench):
    words = ("crossover", "workload.prompt_tokens=4:16", "technique=fp32", "--within", "3")
    quick = [word for word in bench.quick if not word.startswith("workload.prompt_tokens")]
    status, output = bench.call(*words, *quick)
    assert status == 0, output
    assert "workload.prompt_tokens=16, run 2 of at most" in output
    assert len(bench.records()) >= 3
    assert "workload.prompt_tokens=8: " in output
    status, again = bench.call(*words, *quick)
    assert status == 0
    assert again.splitlines()[-1] == output.splitlines()[-1]
    assert len(bench.records()) == len({record["key"] for record in bench.records()})


def test_mistakes_are_one_sentence(bench):
    status, output = bench.call("crossover", "workload.batch_size=8", "technique=fp32")
    assert (status, output.count("\n")) == (2, 1)
    status, output = bench.call(
        "crossover", "workload.batch_sise=1:8", "technique=fp32", *bench.quick
    )
    assert status == 2
    assert "did you mean batch_size?" in output
