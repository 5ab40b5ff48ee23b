"""What is predicted of a technique on devices without a record of it, and when nothing is."""

import pytest
from helpers import campaign

from greenbench.analysis.groups.by_technique import by_technique
from greenbench.analysis.groups.predicted import transfer
from greenbench.analysis.groups.rows import groups
from greenbench.report.markdown.technique_page import technique_page
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S

ROOF = {"bytes_per_s": 3e12, "flops_per_s": 9e14}


def on(record, device):
    """The same on another device, whose roofline is known."""
    spec = record.spec
    other = spec.model_copy(update={"device": spec.device.model_copy(update={"name": device})})
    around = record.environment | {"roofline": ROOF}
    return record.model_copy(update={"spec": other, "environment": around})


def measured(ratios, elsewhere=("New GPU",), **changes):
    runs = [
        on(campaign.run("saver", ratio, **changes), f"GPU {n}") for n, ratio in enumerate(ratios)
    ]
    return groups([*runs, *(on(campaign.run("other", 0.9), name) for name in elsewhere)])


def of(found):
    (saver,) = by_technique(found)
    return transfer(saver, found)


def test_a_device_with_records_of_others_alone_gets_a_prediction():
    found = measured([0.70, 0.72, 0.69, 0.71, 0.70, 0.73])
    told = of(found)
    (place,) = told.places
    assert "New GPU" in place.where
    assert place.ratios[ENERGY_PER_TOKEN].value == pytest.approx(0.708, abs=0.01)
    assert place.ratios[ENERGY_PER_TOKEN].high < 0.85
    assert told.coverage[ENERGY_PER_TOKEN].of == 6
    page = technique_page(by_technique(found)[0], found)
    assert "## Predicted where it was not measured" in page
    assert "`predicted`" in page
    assert "each device left out in turn" in page


def test_nothing_is_predicted_where_left_out_devices_are_not():
    found = measured([0.70, 0.70, 0.70, 0.70, 2.5])
    told = of(found)
    assert told.coverage[ENERGY_PER_TOKEN].share < 0.9
    assert ENERGY_PER_TOKEN in told.withheld
    page = technique_page(by_technique(found)[0], found)
    assert "J/token: **nothing is predicted**" in page
    assert "J/token ratio, predicted" not in page


def test_few_devices_predict_nothing():
    told = of(measured([0.7, 0.71, 0.72]))
    assert told.places == []
    assert told.coverage == {}
    assert "here are 3" in told.withheld[TOKENS_PER_S]


def test_estimated_joules_are_carried_nowhere():
    told = of(measured([0.7] * 6, meters={"estimate": ("cpu_package", "estimated:model", 1.0)}))
    assert "here are 0" in told.withheld[ENERGY_PER_TOKEN]
    assert TOKENS_PER_S not in told.withheld


def test_where_every_device_has_a_record_there_is_nothing_to_say():
    found = measured([0.7, 0.8], elsewhere=())
    assert of(found) is None
    assert "Predicted" not in technique_page(by_technique(found)[0], found)


def test_a_device_whose_roofline_is_not_known_is_none_to_predict():
    runs = [on(campaign.run("saver", 0.7), name) for name in ("A", "B")]
    bare = on(campaign.run("other", 0.9), "C")
    bare = bare.model_copy(update={"environment": {}})
    assert of(groups([*runs, bare])) is None
