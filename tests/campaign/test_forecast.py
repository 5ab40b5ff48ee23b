"""How long a sweep will take: as runs like its own took here, else at least what the protocol asks."""

import json
from dataclasses import replace

import pytest
from helpers import examples

from greenbench.campaign.compose import plan
from greenbench.campaign.forecast import ALIKE, LEAST, SAME, Forecaster, whole
from greenbench.campaign.identity import identity, label
from greenbench.machine.detect import Machine

CPU = Machine("cpu", "Some CPU", 1 << 30)
QUICK = ["model=smollm2-135m", "protocol=quick", "task=smoke"]


def asked(*words):
    """The spec that they make."""
    (job,) = plan([*QUICK, *words], multirun=False)
    return job.spec


def measured(total_s, *words, machine=CPU):
    """A record of its run, which took so long."""
    spec = asked(*words)
    record = examples.completed().model_copy(
        update={
            "spec": identity(spec, machine),
            "name": label(spec),
            "stages_s": {"total": total_s},
        }
    )
    return type(record).model_validate_json(record.model_dump_json())


def test_a_run_that_was_measured_here_takes_as_long_again():
    known = Forecaster(
        [measured(100.0), measured(140.0, "seed=1"), measured(999.0, "technique=gptq")]
    )
    found = known.of(asked("seed=7"), CPU)
    assert (found.seconds, found.basis) == (120.0, SAME)


def test_another_technique_takes_as_long_as_those_of_the_same_questions():
    known = Forecaster([measured(100.0), measured(200.0, "technique=gptq")])
    found = known.of(asked("technique=int8_bnb"), CPU)
    assert (found.seconds, found.basis) == (150.0, ALIKE)


@pytest.mark.parametrize(
    "words",
    [
        ["protocol=dev"], ["task.items=99"], ["workload.batch_size=8"], ["engine=llama_cpp"],
        ["model.dtype=float32"], ["load.arrivals=poisson", "load.rate=1"],
    ],
)  # fmt: skip
def test_what_is_asked_otherwise_tells_nothing(words):
    found = Forecaster([measured(100.0)]).of(asked(*words), CPU)
    assert found.basis == LEAST
    assert Forecaster([measured(100.0, *words)]).of(asked(*words), CPU).basis == SAME


def test_another_device_tells_nothing():
    other = Machine("cpu", "Another CPU", 1 << 30)
    assert Forecaster([measured(100.0, machine=other)]).of(asked(), CPU).basis == LEAST


def test_without_records_it_is_the_least_that_the_protocol_allows():
    """Quick: 1 s of idle, 2 s of warm-up and 5 windows of 2 s for each of the two models."""
    found = Forecaster([]).of(asked(), CPU)
    assert (found.seconds, found.power_w, found.basis) == (25.0, None, LEAST)
    assert str(found).startswith("at least 25 s, its blocks alone")


def test_each_load_of_a_run_has_its_own_windows():
    found = Forecaster([]).of(asked("workload=online", "load.rate=[1,2,4]"), CPU)
    assert found.seconds == 65.0


def test_failed_runs_tell_nothing():
    failed = examples.failed().model_copy(update={"spec": identity(asked(), CPU)})
    assert Forecaster([failed]).of(asked(), CPU).basis == LEAST


def test_joules_are_those_of_the_windows_of_both_models():
    """The example's joules over its seconds, whatever the idle windows say."""
    record = measured(100.0)
    mine = [w for w in record.windows if w.who in ("baseline", "candidate") and w.energy]
    joules = sum(w.energy[0].end_j - w.energy[0].start_j for w in mine)
    seconds = sum(w.end_s - w.start_s for w in mine)
    found = Forecaster([record]).of(asked(), CPU)
    assert found.power_w == pytest.approx(joules / seconds)
    assert "Wh" in str(found)
    assert "≈" not in str(found)


def test_a_sweep_is_told_in_one_line_and_a_part_is_not_read_as_the_whole():
    known = Forecaster([measured(100.0)])
    same, other = known.of(asked(), CPU), known.of(asked("task.items=99"), CPU)
    both = whole([same, other], done=2, refused=1)
    assert both.startswith("2 runs to measure, 2 done already, 1 refused here: at least 2 min (")
    assert f"1 {SAME}; 1 {LEAST}" in both
    assert "Wh" not in both
    assert whole([], done=3, refused=0) == "0 runs to measure, 3 done already"
    assert "about 2 min and" in whole([same], done=0, refused=0)


def test_a_file_of_an_earlier_time_is_read_too():
    """Its spec lacks what has come since."""
    record = json.loads(measured(100.0).model_dump_json())
    del record["spec"]["inputs"]
    old = examples.completed().model_validate(record)
    assert Forecaster([old]).of(asked(), CPU).basis == SAME


def test_a_first_sweep_of_a_gpu_has_at_most_the_joules_of_its_power_limit(fake_nvml):
    """25 s at 288 W are 2 Wh; without NVML, nothing is said."""
    uuid = "GPU-19191919-0000-1111-2222-333333333333"
    fake_nvml(f"device {uuid}\npower 100\ntick 0.1\nlimit 288\n")
    gpu = Machine("cuda", "Some GPU", 1 << 30, uuids=(uuid,))
    found = Forecaster([]).of(asked(), gpu)
    assert found.power_w == 288.0
    assert "at least 25 s and in it at most 2.00 Wh" in str(found)
    assert Forecaster([]).of(asked(), replace(gpu, uuids=("GPU-none",))).power_w is None
