"""Techniques over all settings: which are in several, and what tells their settings apart."""

from helpers import campaign

from greenbench.analysis.groups.by_technique import by_technique
from greenbench.analysis.groups.rows import groups
from greenbench.schema.metrics import ENERGY_PER_TOKEN


def on(record, device):
    """The same on another device."""
    spec = record.spec
    other = spec.model_copy(update={"device": spec.device.model_copy(update={"name": device})})
    return record.model_copy(update={"spec": other})


def test_only_what_was_measured_in_several_settings_is_there():
    one, two = campaign.run("saver", 0.7), on(campaign.run("saver", 0.8), "Another GPU")
    (found,) = by_technique(groups([one, two, campaign.run("other", 0.9)]))
    assert (found.label, found.stem, len(found.places)) == ("saver", "saver", 2)
    assert [place.where for place in found.places] == ["on Another GPU (cuda)", place_of(one)]
    assert "closed" not in found.shared
    assert one.spec.model.name in found.shared


def place_of(record):
    return f"on {record.spec.device.name} ({record.spec.device.kind})"


def test_verdicts_are_counted_by_setting():
    records = [campaign.run("saver", 0.7), on(campaign.run("saver", 1.4), "Another GPU")]
    (found,) = by_technique(groups(records))
    assert found.verdicts(ENERGY_PER_TOKEN) == {"saves": 1, "costs": 1}


def test_names_of_files_are_no_paths_and_none_is_another():
    labels = ["a(1)", "a[1]", "A(1)", "../→", "→"]
    records = [
        each
        for label in labels
        for each in (campaign.run(label, 0.7), on(campaign.run(label, 0.7), "B"))
    ]
    stems = [found.stem for found in by_technique(groups(records))]
    assert len({stem.lower() for stem in stems}) == len(labels)
    assert all(stem.replace("-", "").replace("_", "").isalnum() for stem in stems)
