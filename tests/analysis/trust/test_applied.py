"""What a record says of its techniques is held against its spec, its windows and its items."""

import json

import pytest
from helpers import campaign, examples, factory, sound

from greenbench import api
from greenbench.analysis.conclusions import code
from greenbench.analysis.trust import checked
from greenbench.analysis.trust.applied import UNWINDOWED
from greenbench.cli.main import main
from greenbench.models.keys import key_of, run_key
from greenbench.records.store import canonical, sealed
from greenbench.records.upgrades import NOTE
from greenbench.schema.enums import Dtype
from greenbench.schema.technique import LOSSLESS
from greenbench.techniques import discover

CODES = [None, "0123456789abcdef", code()]
"""Of early records, of another version, and the reader's own."""


def prepared(name="gptq", knobs=None, windows=1, source="measured:counter:nvml", **changes):
    """A sound run whose preparation stands in windows of its own."""
    record = campaign.run(name, 0.7, **changes)
    meter = {"measured:wall": "wall"}.get(source, "nvml")
    made = [factory.window("candidate", "prepare", 500.0 + 9 * each) for each in range(windows)]
    counted = {"meter": meter, "provenance": source, "boundary": "gpu"}
    made = [
        window.model_copy(update={"energy": [window.energy[0].model_copy(update=counted)]})
        for window in made
    ]
    spec = record.spec
    if knobs is not None:
        spec = factory.spec(technique=[{"name": name, **knobs}], protocol={"tier": "dev"})
    update = {"windows": [*made, *record.windows], "spec": spec, "key": run_key(spec)}
    return sound.sound(record.model_copy(update=update))


def document(record, version=None):
    return json.loads(canonical(record)) | {"conclusions": version}


def put(results, told, name="lie.json"):
    (results / "records" / name).write_text(json.dumps(sealed(told)))


def seen(results, name):
    """The record of that name as it is read; null where it is refused."""
    return next((each for each in api.load(results) if each.name.startswith(name)), None)


def reason(results):
    (rejected,) = api.load(results).rejected
    return rejected.reason


def test_the_names_that_may_be_lossless_are_those_whose_class_says_so():
    needed = {"dtype": {"to": Dtype.float16}}
    said = {name: cls(**needed.get(name, {})).traits() for name, cls in discover().items()}
    assert {name for name, traits in said.items() if traits.lossless} == LOSSLESS


@pytest.mark.parametrize("version", CODES)
def test_no_lossy_technique_is_lossless_by_its_word(results, version):
    """As it was seen: a run that lost 60 points was the first line of the first table."""
    lie = document(prepared("gptq", lost=60, gained=0), version)
    lie["techniques"][0]["lossless"] = True
    put(results, lie)
    assert main(["report", str(results)]) == 0
    page = (results / "leaderboard.md").read_text().partition("\n## ")[0]
    assert "as the tokens are the same" not in page
    if version == code():
        assert "its techniques.0.lossless is True" in reason(results)
    else:
        assert not seen(results, "gptq").techniques[0].lossless
        assert seen(results, "gptq").environment[NOTE] == [checked.ANEW]


@pytest.mark.parametrize("version", CODES)
@pytest.mark.parametrize(
    ("name", "lost", "holds"),
    [
        ("prompt_lookup", 0, True),
        ("prompt_lookup", 3, True),
        ("prompt_lookup", 60, False),
        ("somebodys", 2, True),
        ("somebodys", 60, False),
    ],
)
def test_answers_that_are_worse_belie_it(results, version, name, lost, holds):
    """Near ties fall either way in 16 bits, not nearly all one way; of a plug-in nothing else is known."""
    told = document(prepared(name, lost=lost, gained=0, bits=1.0), version)
    told["techniques"][0]["lossless"] = True
    put(results, told)
    found = seen(results, name)
    if version == code() and not holds:
        assert found is None
    else:
        assert found.techniques[0].lossless is holds


@pytest.mark.parametrize("version", CODES)
def test_texts_that_are_said_worse_belie_it_too(results, version):
    record = prepared("prompt_lookup", quality=[examples.bits_per_byte(1.3)])
    told = document(record, version)
    told["techniques"][0]["lossless"] = True
    put(results, told)
    found = seen(results, "prompt_lookup")
    assert found is None if version == code() else not found.techniques[0].lossless


@pytest.mark.parametrize("version", CODES)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none", "its name is none, and its spec has gptq"),
        ("prompt_lookup", "its name is prompt_lookup"),
        ("gptq + prompt_lookup", "its name is gptq + prompt_lookup"),
        ("gptq(8) + prompt_lookup(3)", "its name is gptq(8) + prompt_lookup(3)"),
        ("gptqx", "its name is gptqx"),
        ("gptq(2)", "its name is gptq(2)"),
        ("gptq(8, group_size=1)", "its name is gptq(8, group_size=1)"),
        ("", "its name is , and"),
    ],
)
def test_a_name_is_that_of_the_specs_techniques(results, version, name, said):
    knobs = {"bits": 8, "group_size": 64}
    put(results, document(prepared(knobs=knobs), version) | {"name": name})
    assert said in reason(results)


@pytest.mark.parametrize(
    ("names", "said", "label"),
    [
        ([], [], "none"),
        (["gptq"], [{"bits": 3, "group_size": 64}], "gptq(3)"),
        (["gptq"], [{"bits": 3, "group_size": 0}], "gptq(3, group_size=0)"),
        (["prune_depth", "gptq"], [{"fraction": 0.2}, {}], "prune_depth(0.2) + gptq"),
        (["engine"], [{"to": "vllm", "knobs": {"eager": True}}], "engine → vllm(eager=True)"),
        (["thinking"], [{"budget": None}], "thinking(off)"),
        (["speculative"], [{"draft": "org/tiny@5151", "drafts": 5}], "speculative(tiny)"),
        (["early_exit"], [{"exits": [0.5, 0.8], "steps": 60}], "early_exit([0.5, 0.8])"),
    ],
)
def test_names_as_runs_make_them_hold(results, names, said, label):
    stack = [{"name": name, **knobs} for name, knobs in zip(names, said, strict=True)]
    record = prepared(names[0] if names else "none", windows=len(names))
    told = document(record)
    told["spec"]["technique"] = stack
    told["techniques"] = [told["techniques"][0] | {"name": name} for name in names]
    put(results, told | {"name": label, "key": key_of(told["spec"])})
    assert api.load(results).rejected == []
    assert seen(results, label) is not None


@pytest.mark.parametrize("version", CODES)
@pytest.mark.parametrize("names", [[], ["prompt_lookup"], ["gptq", "gptq"]])
def test_the_techniques_that_were_applied_are_the_specs(results, version, names):
    told = document(prepared(), version)
    told["techniques"] = [told["techniques"][0] | {"name": name} for name in names]
    put(results, told)
    assert "techniques that were applied" in reason(results)


@pytest.mark.parametrize("version", CODES)
@pytest.mark.parametrize("lie", ["prepare_s", "prepare_energy"])
def test_what_preparation_took_is_what_its_window_says(results, version, lie):
    record = prepared()
    assert record.techniques[0].prepare_s == 4.0
    assert record.techniques[0].prepare_energy.value == pytest.approx(128)
    told = document(record, version)
    part = told["techniques"][0]
    part[lie] = 1e-6 if lie == "prepare_s" else part[lie] | {"value": 1e-6}
    put(results, told)
    if version == code():
        assert f"its techniques.0.{lie}" in reason(results)
    else:
        assert seen(results, "gptq").techniques == record.techniques


@pytest.mark.parametrize("version", CODES)
def test_without_its_window_nobody_knows_its_joules(results, version):
    """A window that was taken out, or one for several techniques, as early stacks have it."""
    told = document(prepared(), version)
    told["windows"] = [each for each in told["windows"] if each["phase"] != "prepare"]
    put(results, told)
    if version == code():
        assert "its techniques.0.prepare_energy" in reason(results)
    else:
        energy = seen(results, "gptq").techniques[0].prepare_energy
        assert (energy.value, energy.reason) == (None, UNWINDOWED)


def test_joules_at_the_wall_are_known_later_than_the_estimate_of_a_preparation(results):
    """A log is joined when the run is over: its own code has kept the estimate, and the reader has both."""
    record = prepared(source="measured:wall", meters={"wall": ("wall", "measured:wall", 1.0)})
    told = document(record, code())
    energy = told["techniques"][0]["prepare_energy"]
    told["techniques"][0]["prepare_energy"] = energy | {
        "value": 50.0, "provenance": "estimated:model", "low": 20.0, "high": 90.0,
    }  # fmt: skip
    put(results, told)
    for _ in range(2):
        assert seen(results, "gptq") == record
