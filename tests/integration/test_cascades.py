"""Whole runs of a small model before the embedded one: in process, and as two servers."""

import pytest

ASKED = (
    "task.names=[squad]", "task.items=4", "task.chat_template=false", "workload=short",
    "workload.output_tokens=4", "protocol.window_s=0.3",
)  # fmt: skip
STACK = ("technique=[prune_depth,cascade]", "technique.prune_depth.fraction=0.25")


def told(record):
    """The cascade, and both models' answers."""
    assert record["status"] == "completed", record["failure"]
    technique = record["techniques"][-1]
    items = record["solved"][0]["items"]
    return technique, [item["baseline"] for item in items], [item["candidate"] for item in items]


def test_what_the_small_model_doubts_is_answered_as_by_the_plain_one(bench):
    status, output = bench.run(
        "--multirun", *ASKED, *STACK, "technique.cascade.threshold=0,1",
    )  # fmt: skip
    assert status == 0, output
    bold, cautious = sorted(
        bench.records(), key=lambda record: record["techniques"][-1]["details"]["threshold"]
    )
    technique, _, small = told(bold)
    assert not any(reply["handed_over"] for reply in small)
    assert technique["observed"]["handed_over"] == 0
    technique, plain, large = told(cautious)
    assert all(reply["handed_over"] for reply in large)
    assert [reply["text"] for reply in large] == [reply["text"] for reply in plain]
    assert technique["observed"]["handed_over"] == technique["observed"]["asked"] > 0
    assert technique["family"] == "early_exit"
    held = [cautious[who]["metrics"]["model_bytes"]["value"] for who in ("baseline", "candidate")]
    assert 1.5 * held[0] < held[1] < 2 * held[0]  # both are resident
    assert "two models answer" in cautious["candidate"]["checkpoint_reason"]
    assert "handed over" in (bench.results / "leaderboard.md").read_text()


@pytest.mark.slow
def test_the_threshold_is_found_on_items_that_are_not_asked(bench):
    status, output = bench.run(
        *ASKED, *STACK, "technique.cascade.risk=0.4",
        "technique.cascade.delta=0.4", "technique.cascade.items=5",
    )  # fmt: skip
    assert status == 0, output
    (record,) = bench.records()
    technique, *_ = told(record)
    details = technique["details"]
    assert 2 <= details["held_back_items"] <= 5
    assert details["worse_of_them"] <= details["kept_of_them"] <= details["held_back_items"]
    assert technique["prepare_energy"]["value"] > 0
    assert technique["prepare_energy"]["provenance"] == "estimated:model"


@pytest.mark.slow
def test_two_servers_of_llama_cpp_answer_as_one(bench, smollm2):
    pytest.importorskip("xllamacpp", reason="no wheel of llama.cpp for this system")
    status, output = bench.run(
        *ASKED, "technique=cascade", f"technique.cascade.path={smollm2[1]}", "engine=llama_cpp",
        "engine.threads=1", "technique.cascade.threshold=1",
    )  # fmt: skip
    assert status == 0, output
    (record,) = bench.records()
    _, plain, large = told(record)
    assert all(reply["handed_over"] for reply in large)
    assert [reply["text"] for reply in large] == [reply["text"] for reply in plain]
    assert str(smollm2[1]) not in str(record)
    assert max(record["engine"]["probe"].values()) < 0.1
    logs = list((bench.results / "logs").glob("*.llama_cpp-*.log"))
    assert len(logs) == 3  # the baseline's, and the two of the candidate
