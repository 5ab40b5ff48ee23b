"""Fresh environments of a tiny package of several versions, by the real pip from a folder of wheels."""

import subprocess

import pytest
from helpers.wheels import wheel

from greenbench.campaign.search import fresh_environments
from greenbench.campaign.search.fresh_environments import Environments, pins, versions
from greenbench.errors import UserError
from greenbench.stats.first_bad import Unusable


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Where pip finds wheels, and nowhere else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for version in ("1.0", "1.1", "1.2rc1", "1.9", "1.10"):
        wheel(folder, "gbtiny", version, {"gbtiny.py": f"HERE = {version!r}\n"})
    wheel(folder, "gbtiny", "2.0", {"gbtiny.py": "HERE = '2.0'\n"}, needs=["gbbeside>=2"])
    wheel(folder, "gbtiny", "3.0", {"gbtiny.py": ""}, needs=["gbnowhere"])
    wheel(folder, "gbbeside", "1.0", {"gbbeside.py": ""})
    wheel(folder, "gbbeside", "2.0", {"gbbeside.py": ""})
    wheel(folder, "gbuser", "1.0", {"gbuser.py": ""}, needs=["gbtiny<3"])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def test_versions_go_from_before_to_behind_by_release_and_without_prereleases(shop):
    assert versions("gbtiny", "1.0", "1.10") == ["1.0", "1.1", "1.9", "1.10"]
    with pytest.raises(UserError, match=r"pip has no gbtiny 0\.9, only 1\.0 to 3\.0"):
        versions("gbtiny", "0.9", "1.0")
    with pytest.raises(UserError, match="pip lists no versions of gbabsent"):
        versions("gbabsent", "1", "2")


def test_of_the_builds_of_a_release_those_of_both_ends_are_versions(shop):
    """Another build computes with other kernels: it is none of the ends, and stands for none between them."""
    for version in ("1.9+cpu", "1.10+cpu", "1.10+gpu"):
        wheel(shop, "gbtiny", version, {"gbtiny.py": ""})
    assert versions("gbtiny", "1.0", "1.10") == ["1.0", "1.1", "1.9", "1.10"]
    assert versions("gbtiny", "1.10+cpu", "1.9+cpu") == ["1.10+cpu", "1.9+cpu"]
    assert versions("gbtiny", "1.9", "1.10+gpu") == ["1.9", "1.10", "1.10+gpu"]
    assert versions("gbtiny", "1.10", "1.10+gpu") == ["1.10", "1.10+gpu"]
    with pytest.raises(UserError, match=r"pip has no gbtiny 1\.1\+cpu, only 1\.0 to 3\.0"):
        versions("gbtiny", "1.1+cpu", "1.9+cpu")
    for ends in (("1.1+cpu", "1.1+gpu"), ("1.1+cpu", "1.1"), ("1.1", "1.1+cpu")):
        with pytest.raises(
            UserError, match=r"step is between builds of one release, which pip does not list: "
        ):
            versions("gbtiny", *ends)


def test_what_others_made_there_stays(shop, tmp_path):
    """A folder of someone's, a file, another package's environments, also of one whose name begins alike, and
    what only has the name of one."""
    folder = tmp_path / "all"
    notes = folder / "notes"
    notes.mkdir(parents=True)
    (notes / "mine.txt").write_text("mine")
    (folder / "gbtiny-3.0").mkdir()
    (folder / "gbtiny-list").write_text("a file")
    made = {name: Environments(folder, name, [], print) for name in ("gbtiny", "gbtiny-more")}
    for name, each in made.items():
        with pytest.raises(Unusable, match="it does not install"):
            each.python("9.9")
        assert (folder / f"{name}-9.9").is_dir()
    made["gbtiny"].remove()
    assert not (folder / "gbtiny-9.9").exists()
    assert (folder / "gbtiny-more-9.9" / "bin" / "python").exists()
    assert (notes / "mine.txt").read_text() == "mine"
    assert (folder / "gbtiny-3.0").is_dir()
    assert (folder / "gbtiny-list").is_file()
    with pytest.raises(UserError, match="was made by no search for gbtiny: move it away"):
        made["gbtiny"].python("3.0")
    assert (folder / "gbtiny-3.0").is_dir()


def test_an_environment_is_as_asked_but_for_one_package_and_what_must_change_with_it(
    shop, tmp_path
):
    """Where the making of one was broken off it is made anew, and one that is whole is made once."""
    said = []
    made = Environments(tmp_path / "all", "gbtiny", ["gbbeside==1.0", "gbuser==1.0"], said.append)
    wheel(shop, "gbtiny", "2.0+cpu", {"gbtiny.py": "HERE = 'another build'\n"})
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(fresh_environments, "_installed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            made.python("2.0")
    said.clear()
    python = made.python("2.0")
    code = "import gbtiny, gbbeside, gbuser; print(gbtiny.HERE)"
    assert subprocess.check_output([python, "-c", code], text=True) == "2.0\n"
    assert made.python("2.0") == python
    assert said == [
        "installing gbtiny 2.0 in an environment of its own",
        "gbtiny 2.0 needs other versions: gbbeside 1.0 → 2.0",
    ]
    made.remove("2.0")
    assert python.exists()
    made.remove()
    assert not (tmp_path / "all").exists()


@pytest.mark.slow
def test_what_does_not_install_or_does_not_go_with_the_rest_says_why(shop, tmp_path):
    made = Environments(tmp_path / "all", "gbtiny", [], lambda text: None)
    with pytest.raises(Unusable, match=r"it does not install: .*gbnowhere"):
        made.python("3.0")
    wheel(shop, "gbtiny", "4.0", {"gbtiny.py": ""})
    made = Environments(tmp_path / "all", "gbtiny", ["gbuser==1.0"], lambda text: None)
    with pytest.raises(Unusable, match=r"does not go with what is installed here: gbuser 1\.0"):
        made.python("4.0")


def test_all_other_packages_of_here_are_asked_for_as_they_are():
    found = pins("numpy")
    assert not [line for line in found if line.startswith(("numpy==", "pip=="))]
    assert [line for line in found if line.startswith("scipy==")]
    assert all("==" in line or line.startswith("-e ") or " @ " in line for line in found)
