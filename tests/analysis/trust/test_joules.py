"""Joules are of the meter that counted them, and no estimate becomes a measurement by a word."""

import json

import pytest
from helpers import campaign, sound

from greenbench import api
from greenbench.analysis.conclusions import code
from greenbench.analysis.trust.joules import GIVES
from greenbench.cli.main import main
from greenbench.meters import load as meter
from greenbench.meters import named
from greenbench.records.store import canonical, sealed

ESTIMATE = {"estimate": ("cpu_package", "estimated:model", 1.0)}
CODES = [None, "0123456789abcdef", code()]


def told(record, version, change=lambda text: text):
    return json.loads(change(canonical(record).decode())) | {"conclusions": version}


def put(results, document):
    (results / "records" / "lie.json").write_text(json.dumps(sealed(document)))


def estimated(bounds=True):
    """A sound run on an estimate, with its bounds."""
    record = campaign.run("saver", 0.7, meters=ESTIMATE)
    windows = [
        window.model_copy(update={"energy": [span.model_copy(update={
            "low_j": 0.5 * (span.end_j - span.start_j), "high_j": 2 * (span.end_j - span.start_j),
        }) for span in window.energy]})
        for window in record.windows
    ]  # fmt: skip
    return sound.sound(record.model_copy(update={"windows": windows}))


@pytest.mark.parametrize("version", CODES)
def test_an_estimate_is_never_called_a_measurement(results, version):
    """As it was seen: an inconclusive estimate became a measured saving."""
    lie = told(
        estimated(), version, lambda t: t.replace("estimated:model", "measured:counter:rapl")
    )
    put(results, lie)
    assert main(["verify", str(results)]) == 1
    (rejected,) = api.load(results).rejected
    assert rejected.reason == (
        "It is altered: its meter estimate has joules of measured:counter:rapl, which that meter never gives."
    )


@pytest.mark.parametrize("version", CODES)
def test_a_measurement_has_no_bounds_of_an_estimate(results, version):
    document = told(sound.run("saver", 0.7), version)
    document["windows"][3]["energy"][0] |= {"low_j": 1.0, "high_j": 9000.0}
    put(results, document)
    (rejected,) = api.load(results).rejected
    assert "its meter nvml measured, and has the bounds of an estimate" in rejected.reason


@pytest.mark.parametrize("version", CODES)
@pytest.mark.parametrize("used", [["estimate"], ["nvml", "rapl"], []])
def test_the_meters_that_were_used_are_those_of_the_windows(results, version, used):
    document = told(sound.run("saver", 0.7), version)
    document["meter"]["used"] = used
    put(results, document)
    (rejected,) = api.load(results).rejected
    assert "and its windows have joules by nvml" in rejected.reason


@pytest.mark.parametrize("version", CODES)
def test_a_meter_of_a_plug_ins_may_give_either(results, version):
    meters = {"usb": ("wall", "measured:plugin", 1.0)}
    put(results, told(sound.run("saver", 0.7, meters=meters), version))
    assert api.load(results).rejected == []


@pytest.mark.parametrize("version", CODES)
def test_an_estimate_with_its_bounds_holds(results, version):
    put(results, told(estimated(), version))
    assert api.load(results).rejected == []


def test_what_each_meter_gives_is_what_its_class_says():
    """A meter that several counters answer for says it of each; zeus' depends on the device."""
    for name in named():
        assert name.partition("_")[0] in {known.partition("_")[0] for known in GIVES}
        provenance = getattr(meter(name), "provenance", None)
        if isinstance(provenance, str):
            assert GIVES[name] == {provenance}
