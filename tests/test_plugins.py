"""What is there by name: read from sources, imported only when it is used."""

import sys

import pytest

from greenbench import plugins
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

    def install(entry, **files):
        for path, text in files.items():
            file = tmp_path / f"{path.replace('__', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        info = tmp_path / "strange-1.0.dist-info"
        info.mkdir()
        (info / "entry_points.txt").write_text(f"[greenbench.techniques]\nstrange = {entry}\n")
        monkeypatch.syspath_prepend(tmp_path)
        plugins.named.cache_clear()

    yield install
    plugins.named.cache_clear()


def strange():
    return {n: k for n, k in plugins.named("greenbench.techniques").items() if k.plugin}


def text(name, divisor=1):
    return CLASS.format(name=name, cls=name.title(), divisor=divisor)


def test_names_are_read_without_an_import(install):
    install(
        "strange.one.deep", **{"strange__one__deep": text("far", 0), "strange__other": text("not")}
    )
    (found,) = strange().values()
    assert (found.name, found.cls, found.module) == ("far", "Far", "strange.one.deep")
    assert found.summary == "says far, on two lines"
    assert not [module for module in sys.modules if module.startswith("strange")]


def test_a_package_that_is_named_brings_all_its_modules(install):
    install("strange2", **{"strange2__a": text("first", 0), "strange2__b__c": text("second")})
    assert set(strange()) == {"first", "second"}
    assert strange()["second"].load().__name__ == "Second"
    assert "strange2.a" not in sys.modules


@pytest.mark.parametrize(
    ("entry", "files"),
    [
        ("absent", {}),
        ("strange3.absent", {"strange3__a": ""}),
        ("strange4", {"strange4": "class Odd(:\n    summary = 1"}),
    ],
)
def test_a_plug_in_that_is_not_there_is_one_sentence(install, entry, files):
    install(entry, **files)
    with pytest.raises(
        UserError, match=r"^The technique plug-in strange cannot be imported .*: reinstall"
    ):
        strange()


def test_a_plug_in_that_cannot_be_imported_is_one_sentence_when_it_is_used(install):
    install("strange5", strange5="import surely_not_there\n" + text("odd"))
    with pytest.raises(
        UserError, match=r"^The technique plug-in strange cannot be imported .*surely_not"
    ):
        strange()["odd"].load()
