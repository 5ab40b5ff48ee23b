"""Fresh Python environments, each as this one but for the version of one package."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from greenbench.errors import UserError
from greenbench.stats.first_bad import Unusable

PIP: Final = (sys.executable, "-m", "pip", "--disable-pip-version-check")
"""That of this environment works for all others."""
WHERE: Final = "say where it is with PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS"
LISTED: Final = re.compile(r"^Available versions: (.+)$", re.MULTILINE)
READY: Final = "ready"
"""In an environment that is whole."""
MADE_FOR: Final = "made-for"
"""In an environment from its beginning on, with the package that it is for: what lacks it is others'."""


def versions(package: str, before: str, after: str) -> list[str]:
    """From `before` to `after` what pip has for this Python, in the order of their release numbers.

    Without prereleases, and of several builds of a release, as 2.13.0+cpu is one, those that the ends are of;
    from the places that pip is configured for. Raises UserError where one end is not there.
    """
    asked = _called([*PIP, "index", "versions", package])
    listed = LISTED.search(asked.stdout)
    if listed is None:
        raise UserError(
            f"pip lists no versions of {package} ({_last(asked)}): see pip index versions."
        )
    known = listed[1].split(", ")[::-1]
    if _release(before) == _release(after) and not {before, after} <= set(known):
        raise UserError(
            f"the step is between builds of one release, which pip does not list: {package} {before} and "
            f"{after}: {WHERE}."
        )
    ends = [_place(known, version, package) for version in (before, after)]
    builds = {_build(before), _build(after)}
    row = [each for each in known[min(ends) : max(ends) + 1] if _build(each) in builds]
    return row if ends[0] <= ends[1] else row[::-1]


def _place(known: Sequence[str], version: str, package: str) -> int:
    """Another build of the same release is another version: it computes with other kernels."""
    if version in known:
        return known.index(version)
    raise UserError(f"pip has no {package} {version}, only {known[0]} to {known[-1]}: {WHERE}.")


def _release(version: str) -> str:
    return version.partition("+")[0]


def _build(version: str) -> str:
    """As cpu in 2.13.0+cpu."""
    return version.partition("+")[2]


class Environments:
    """Environments in a folder, made when first asked for; one whose making was broken off is made anew.

    `pins`: what each has beside the package, as lines of pip's requirements.
    """

    def __init__(
        self, folder: Path, package: str, pins: Sequence[str], say: Callable[[str], None]
    ) -> None:
        self._folder, self._package, self._pins, self._say = folder.resolve(), package, pins, say

    def python(self, version: str) -> Path:
        """The interpreter of the one with that version.

        Raises Unusable where it cannot be installed, and UserError where others have something in its place.
        """
        home = self._home(version)
        python = home / "bin" / "python"
        if not (home / READY).exists():
            self._say(f"installing {self._package} {version} in an environment of its own")
            self._cleared(home)
            moved = self._made(home, python, version)
            if moved:
                self._say(f"{self._package} {version} needs other versions: {', '.join(moved)}")
            (home / READY).touch()
        return python

    def remove(self, *kept: str) -> None:
        """All of this package but those with the versions `kept`; the folder once it is empty."""
        left = {self._home(version) for version in kept}
        for home in self._folder.glob(f"{self._package}-*"):
            if home not in left and self._is_own(home):
                shutil.rmtree(home, ignore_errors=True)
        with suppress(OSError):  # it holds others' too, or is not there
            self._folder.rmdir()

    def _is_own(self, home: Path) -> bool:
        mark = home / MADE_FOR
        return (
            not home.is_symlink() and mark.is_file() and mark.read_bytes() == self._package.encode()
        )

    def _cleared(self, home: Path) -> None:
        """An empty folder, marked as this package's."""
        if self._is_own(home):
            shutil.rmtree(home, ignore_errors=True)
        elif home.exists():
            raise UserError(
                f"{home} was made by no search for {self._package}: move it away, or say another folder with "
                "--into."
            )
        home.mkdir(parents=True, exist_ok=True)
        (home / MADE_FOR).write_text(self._package)

    def _home(self, version: str) -> Path:
        return self._folder / f"{self._package}-{version}"

    def _made(self, home: Path, python: Path, version: str) -> list[str]:
        """All packages as they are here, then the one, which moves no other that fits it; those it moved."""
        _done(
            [sys.executable, "-m", "venv", "--without-pip", str(home)], "no environment can be made"
        )
        listed = home / "as-here.txt"
        listed.write_text("\n".join(self._pins))
        install = [*PIP, "--python", str(python), "install", "--quiet", "--no-input"]
        if self._pins:
            _done([*install, "--no-deps", "-r", str(listed)], "the packages of here do not install")
        here = _installed(home)
        # === as == would take another build of it too
        _done([*install, f"{self._package}==={version}"], "it does not install")
        there = _installed(home)
        if (found := _clashes(python)) and (clashes := found - self._clashes):
            raise Unusable(f"it does not go with what is installed here: {sorted(clashes)[0]}")
        return [
            f"{name} {here.get(name, 'none')} → {there.get(name, 'none')}"
            for name in sorted(here.keys() | there.keys())
            if here.get(name) != there.get(name) and name != _canonical(self._package)
        ]

    @cached_property
    def _clashes(self) -> set[str]:
        return _clashes(Path(sys.executable))


def pins(package: str) -> list[str]:
    """All other packages of this environment, as lines of requirements that install just those."""
    return sorted(set(_pins(package)))


def _pins(package: str) -> Iterator[str]:
    for each in metadata.distributions():
        name = each.metadata["Name"]
        if name is None or _canonical(name) in {"pip", _canonical(package)}:
            continue
        source = json.loads(each.read_text("direct_url.json") or "{}")
        if not source:
            yield f"{name}=={each.version}"
        elif source.get("dir_info", {}).get("editable"):
            yield f"-e {source['url']}"
        else:
            yield f"{name} @ {_url(source)}"


def _url(source: dict[str, Any]) -> str:
    """Where pip had it from; of a repository, with its commit."""
    vcs, url = source.get("vcs_info"), str(source["url"])
    return f"{vcs['vcs']}+{url}@{vcs['commit_id']}" if vcs else url


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed(home: Path) -> dict[str, str]:
    lies_in = sysconfig.get_path("purelib", "venv", {"base": str(home)})
    found = metadata.distributions(path=[lies_in])
    return {_canonical(each.metadata["Name"]): each.version for each in found}


def _clashes(python: Path) -> set[str]:
    """What pip finds wrong between the packages there."""
    checked = _called([*PIP, "--python", str(python), "check"])
    return set(checked.stdout.splitlines()) if checked.returncode else set()


def _done(command: Sequence[str], why: str) -> None:
    called = _called(command)
    if called.returncode:
        raise Unusable(f"{why}: {_last(called)}")


def _called(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _last(called: subprocess.CompletedProcess[str]) -> str:
    """What it said last that tells of an error."""
    lines = [line.strip() for line in called.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.upper().startswith("ERROR")]
    return (errors or lines or ["it says nothing"])[-1].removeprefix("ERROR: ")
