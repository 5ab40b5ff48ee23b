"""What is there by name: read from sources, imported and looked over only when it is used."""

import sys

import pytest

from greenbench import plugins
from greenbench.campaign import catalog
from greenbench.campaign.bench import Asked, bench
from greenbench.errors import UserError

CLASS = """
from typing import ClassVar

raise_if_imported = 1 / {divisor}

class {cls}:
    name: ClassVar[str] = "{name}"
    summary = "says {name}, " "on two lines"

class Unnamed:
    summary = "no option"
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Call with an entry point and files: they are a plug-in that is installed."""
    count = iter(range(9))

    def install(entry, *, group="techniques", name="strange", **files):
        for path, text in files.items():
            file = tmp_path / f"{path.replace('__', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        info = tmp_path / f"strange{next(count)}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {info.stem}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[greenbench.{group}]\n{name} = {entry}\n")
        monkeypatch.syspath_prepend(tmp_path)
        plugins.named.cache_clear()
        plugins.conf_folders.cache_clear()

    yield install
    plugins.named.cache_clear()
    plugins.conf_folders.cache_clear()


def strange(room="techniques"):
    return {n: k for n, k in plugins.named(f"greenbench.{room}").items() if k.plugin}


def text(name, divisor=1):
    return CLASS.format(name=name, cls=name.title(), divisor=divisor)


def test_names_are_read_without_an_import(install):
    install(
        "strange.one.deep", **{"strange__one__deep": text("far", 0), "strange__other": text("not")}
    )
    (found,) = strange().values()
    assert (found.name, found.cls, found.module) == ("far", "Far", "strange.one.deep")
    assert found.summary == "says far, on two lines"
    assert not [module for module in sys.modules if module.partition(".")[0] == "strange"]
    assert catalog.faults() == []


def test_what_comes_with_greenbench_has_no_fault():
    for room in plugins.ROOMS:
        assert not plugins.named(room).faults
        assert not plugins.named(room).rivals


GOOD = """
from dataclasses import dataclass
from typing import ClassVar
from greenbench.schema.technique import Promise
from greenbench.techniques import Edited, EngineOption, ModelEdit, Traits

@dataclass(frozen=True)
class Zed(ModelEdit):
    name: ClassVar[str] = "zed"
    summary: ClassVar[str] = "does it"

    k: int = 1

    def promise(self, model):
        return Promise(note="nothing")

    def edit(self, model, work):
        return Edited(model)
"""
ENGINE = """
from dataclasses import dataclass
from greenbench.engines.engine import Engine

@dataclass(frozen=True)
class Zed(Engine):
    name = "zed"
    summary = "runs it"
    forms = frozenset({"module"})

    def room_bytes(self, build):
        return 0

    def serve(self, build, machine):
        raise NotImplementedError
"""


def test_a_package_that_is_named_brings_all_its_modules_and_each_room_its_own(install):
    first = GOOD.replace("zed", "first").replace("Zed", "First")
    files = {"strange2__a": first, "strange2__b__c": GOOD, "strange2__d": ENGINE}
    install("strange2", **files)
    install("strange2", group="engines")
    install("strange2.b.c", name="again")  # the same class twice is no quarrel
    assert set(strange()) == {"first", "zed"}
    assert set(strange("engines")) == {"zed"}
    assert strange()["zed"].load().__name__ == "Zed"
    assert strange("engines")["zed"].load().name == "zed"
    assert "strange2.a" not in sys.modules
    assert catalog.faults() == []


@pytest.mark.parametrize(
    ("entry", "files", "said"),
    [
        ("absent", {}, "cannot be found .*absent.*: reinstall"),
        ("strange3.absent", {"strange3__a": ""}, "cannot be found .*: reinstall"),
        ("no module!", {}, "cannot be found .*no module!.*: reinstall"),
        ("strange4", {"strange4": "class Odd(:\n    summary = 1"}, "is no Python .*line 1"),
        ("strange5", {"strange5": "def helps(): ..."}, "brings no technique.*strange5.py"),
        ("strange6", {"strange6": ENGINE}, "brings no technique"),
    ],
)
def test_a_plug_in_that_brings_nothing_says_why_and_hinders_nobody(install, entry, files, said):
    install(entry, **files)
    (fault,) = catalog.faults()
    assert fault.startswith("The technique plug-in strange ")
    assert "int8_bnb" in plugins.named("greenbench.techniques")
    assert catalog.options("technique")["strange"] == f"broken: {fault}"
    with pytest.raises(UserError, match=said):
        strange()["strange"].load()


MISTAKES = {  # what is written, instead of what: what is said of it
    "no name": ('name: ClassVar[str] = "zed"', "", "has no name in its body: write name ="),
    "no summary": ('summary: ClassVar[str] = "does it"', "", "has no summary in its body"),
    "computed": ('"zed"', '"".join("zed")', "a name that is no plain string"),
    "a number": ('"does it"', "3", "a summary that is no plain string"),
    "empty": ('"does it"', '" "', "an empty summary"),
    "space": ('"zed"', '"z ed"', "the name 'z ed', which no override can hold: write lower"),
    "comma": ('"zed"', '"z,d"', "the name 'z,d'"),
    "slash": ('"zed"', '"z/d"', "the name 'z/d'"),
    "upper case": ('"zed"', '"Zed"', "the name 'Zed'"),
    "a value": ('"zed"', '"null"', "the name 'null'"),
    "a group": ('"zed"', '"schema"', "the name 'schema'"),
}
MISTAKES_WHEN_USED = {
    "runtime error": ("from dataclasses", "raise RuntimeError('no')\nfrom dataclasses",
                      "cannot be imported .RuntimeError: no, .*line 2"),
    "exit": ("from dataclasses", "raise SystemExit(3)\nfrom dataclasses", "SystemExit: 3"),
    "name error": ("class Zed(", "class Zed(nowhere, ", "NameError: name 'nowhere'"),
    "no library": ("from dataclasses", "import surely_not_there\nfrom dataclasses", "surely_not"),
    "annotation": ("k: int", "k: 'Foo'", "annotation that is not known .*'Foo'"),
    "type": ("k: int = 1", "k: set[int] | None = None", "the knob k of type set.*: let it be"),
    "default": ("k: int = 1", "k: int = 'much'", "its own defaults"),
    "not a dataclass": ("@dataclass(frozen=True)", "", "is no dataclass: write @dataclass"),
    "name as a knob": ("name: ClassVar[str]", "name: str", "name or summary as a knob"),
    "no method": ("def edit(", "def change(", "has no edit: write it"),
    "method taken otherwise": ("promise(self, model)", "promise(self)",
                               r"called as promise\(self, model\): write it so"),
    "no kind": ("Zed(ModelEdit)", "Zed", "is no ModelEdit or EngineOption or"),
    "form": ("    k: int", "    form: ClassVar[str] = 'pdf'\n    k: int", "has the form 'pdf'"),
    "post init": ("    k: int = 1", "    k: int = 1\n\n    def __post_init__(self):\n"
                  "        raise ValueError('k is bad')", "its own defaults .*k is bad"),
}  # fmt: skip


@pytest.mark.parametrize("what", MISTAKES)
def test_a_class_that_cannot_be_asked_for_says_what_to_write(install, what):
    old, new, said = MISTAKES[what]
    install("strange7", strange7=GOOD.replace(old, new))
    (fault,) = catalog.faults()
    assert said in fault
    assert "strange7.py" in fault
    assert "\n" not in fault


@pytest.mark.parametrize("what", MISTAKES_WHEN_USED)
def test_a_class_that_cannot_be_used_is_one_sentence(install, what):
    old, new, said = MISTAKES_WHEN_USED[what]
    sys.modules.pop("strange8", None)
    assert old in GOOD
    install("strange8", strange8=GOOD.replace(old, new))
    with pytest.raises(UserError, match=said) as error:
        bench(Asked(["technique=zed"]))
    assert str(error.value).startswith("The technique plug-in strange")
    assert "strange8" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("forms =", "figures =", "takes no forms: write forms"),
        ("frozenset({", "frozenset({'pdf',", "takes no forms"),
        ("def serve", "def serves", "has no serve: write it"),
    ],
)
def test_an_engine_is_looked_over_too(install, old, new, said):
    sys.modules.pop("strange9", None)
    install("strange9", group="engines", strange9=ENGINE.replace(old, new))
    with pytest.raises(UserError, match=said):
        bench(Asked(["engine=zed"]))


def test_a_class_that_only_others_build_on_is_no_option(install):
    shared = GOOD.replace('name: ClassVar[str] = "zed"', "").replace("class Zed", "class Shared")
    shared = shared.replace('summary: ClassVar[str] = "does it"', "")
    own = "from strange10.shared import Shared\nclass Zed(Shared):\n    name = 'zed'\n    summary = 'it'"
    install("strange10", strange10__shared=shared, strange10__own=own)
    assert set(strange()) == {"zed"}
    assert catalog.faults() == []


def test_a_knob_without_a_default_must_be_given(install):
    sys.modules.pop("strange11", None)
    install("strange11", strange11=GOOD.replace("k: int = 1", "k: int"))
    with pytest.raises(UserError, match=r"technique\.zed\.k"):
        bench(Asked(["technique=zed"]))


def test_what_a_plug_in_raises_of_a_value_is_one_sentence(install):
    sys.modules.pop("strange12", None)
    picky = (
        "    k: int = 1\n\n    def __post_init__(self):\n        if self.k > 1:\n"
        "            raise ValueError('too\\nmuch')"
    )
    install("strange12", strange12=GOOD.replace("    k: int = 1", picky))
    with pytest.raises(
        UserError, match=r"plug-in strange fails .ValueError: too much.*line 1.*: c"
    ):
        bench(Asked(["technique=zed", "technique.zed.k=2"]))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    k: int = 1", "    def traits(self):\n        return {}", "traits .* dict.*Traits"),
        ("    k: int = 1", "    def traits(self):\n        pass", "traits .* NoneType.*Traits"),
        ("(ModelEdit)", "(EngineOption)", "promise .* str.*Promise"),
    ],
)
def test_what_a_technique_answers_is_looked_at_before_a_model_is_loaded(install, old, new, said):
    sys.modules.pop("strange13", None)
    source = GOOD.replace(old, new)
    if "EngineOption)" in new:
        source = source.replace("self, model)", "self)").replace(
            'Promise(note="nothing")', '"none"'
        )
        source = source.replace("edit(self, model, work)", "options(self, engine)")
    install("strange13", strange13=source)
    with pytest.raises(UserError, match=said):
        bench(Asked(["technique=zed"]))


def test_what_two_claim_neither_gets_and_what_is_ours_stays_ours(install, capsys):
    two = GOOD + GOOD.replace("class Zed", "class Other")
    install("strange14", strange14=two + GOOD.replace('"zed"', '"int8_bnb"').replace("Zed", "Mine"))
    install("strange15", group="engines", strange15=ENGINE.replace('"zed"', '"transformers"'))
    with pytest.raises(UserError, match=r"Zed in .*strange14.py .* and Other in .*: rename one"):
        bench(Asked(["technique=zed"]))
    with pytest.raises(UserError, match=r"int8_bnb is 2 classes, .*bitsandbytes.py .*strange14.py"):
        bench(Asked(["technique=int8_bnb", "model=local", "model.path=nowhere"]))
    with pytest.raises(UserError, match="transformers is 2 classes"):
        bench(Asked(["engine=transformers"]))
    assert plugins.named("greenbench.techniques")["int8_bnb"].plugin is None
    capsys.readouterr()
    with pytest.raises(UserError, match="nowhere"):
        bench(Asked(["technique=int4_bnb", "model=local", "model.path=nowhere"]))
    assert capsys.readouterr().err.count("greenbench: not used: The ") == 3


@pytest.mark.parametrize("name", ["none", "gptq_int3"])
def test_a_class_and_a_file_of_values_of_one_name_are_told_apart(install, name):
    install("strange16", strange16=GOOD.replace('"zed"', f'"{name}"'))
    (fault,) = catalog.faults()
    assert f"{name}.yaml" in fault
    assert "strange16.py" in fault
    with pytest.raises(UserError, match=f"technique {name} is the file"):
        bench(Asked([f"technique=[{name}]"]))
