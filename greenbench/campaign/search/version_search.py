"""With which version of a package a step came: the same run, version by version in fresh environments."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from math import log
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from greenbench.analysis.choices.history import Changed, Found, Watched, changes, number
from greenbench.analysis.groups.rows import is_invalid
from greenbench.campaign.closing import drawn
from greenbench.campaign.command import APART, in_grammar, without
from greenbench.campaign.search.fresh_environments import Environments, pins, versions
from greenbench.errors import UserError
from greenbench.machine.processes import end_with_parent
from greenbench.models.keys import run_key
from greenbench.records.calls import NO_CALL, rebuilt
from greenbench.records.store import load
from greenbench.schema.record import Record
from greenbench.stats.first_bad import LOOKS, FirstBad, Unusable, first_bad, most_judged
from greenbench.wording import duration
from greenbench.wording import number as figures

BESIDE: Final = "beside"
"""Beneath a version's results: runs of the first version, each next to one of its own."""
DISTURBED: Final = 4
"""Sessions of one version that may be disturbed."""


class Asked(NamedTuple):
    """What is searched for, and where its runs go."""

    package: str
    step: Found
    versions: Sequence[str]
    """From the one before the step to the one behind it."""
    folder: Path
    """That run's own: records of another have the same sessions and versions."""

    @property
    def runs_each(self) -> int:
        """Runs of a session: a ratio is paired in its run, and a level with a run of the first version beside
        it, as what drifts between sessions is no version's doing."""
        return 1 if self.step.what == "ratio" else 2


class Bench(Protocol):
    """What runs the run."""

    def run(self, version: str, results: Path, session: int) -> Record:
        """Its record with that version, in `results`. Raises Unusable where there is none."""
        ...

    def keep(self, *versions: str) -> None:
        """No other is needed any more."""
        ...


class Searched(NamedTuple):
    """What a search has shown, and the runs that it took."""

    asked: Asked
    found: FirstBad
    records: list[Record]
    """All of them, in the order in which they were asked for."""
    changed: list[Changed]
    """What is recorded as different between the last good version and the first bad one."""


def step_with(watched: Watched, package: str) -> Found:
    """Of the steps with which the package changed the newest, by the number that shows it best."""
    found = [step for step in watched.found if _ends(step, package)]
    if not found:
        names = sorted({change.name for step in watched.found for change in step.changed})
        with_steps = f": with steps changed {', '.join(names)}" if names else ""
        raise UserError(f"{package} changed its version with no step that was found{with_steps}.")
    return max(found, key=lambda step: (step.night.started_at[:10], _clearness(step)))


def _ends(step: Found, package: str) -> tuple[str, str] | None:
    """Its versions before the step and behind it."""
    mine = sorted(
        (each.nights_off, each.before, each.after)
        for each in step.changed
        if each.name == package and each.before and each.after
    )
    if not mine or mine[0][1] == mine[-1][2]:
        return None
    return mine[0][1], mine[-1][2]


def _clearness(step: Found) -> float:
    """Its size in half widths of its interval."""
    if step.size.bounds is None:
        return 0.0
    low, high = step.size.bounds
    return abs(log(step.size.value)) / max(log(high / low) / 2, 1e-12)


def asked(watched: Watched, package: str, folder: Path) -> Asked:
    """The newest step of the package, and pip's versions from before to behind it.

    Its runs go beneath `folder`. Raises UserError.
    """
    step = step_with(watched, package)
    ends = _ends(step, package)
    assert ends
    if not any(metadata.distributions(name=package)):
        raise UserError(f"{package} is no package of this environment: say one that pip installs.")
    return Asked(package, step, versions(package, *ends), folder / run_key(step.night.spec))


def expected(ask: Asked) -> str:
    """Before it starts: how many runs, and what one took."""
    places = 2 + most_judged(len(ask.versions))
    least, most = (places * look * ask.runs_each for look in (LOOKS[0], LOOKS[-1]))
    one_s, (one_j, is_estimate) = ask.step.night.stages_s.get("total", 0.0), drawn([ask.step.night])
    joules = f" and {figures(one_j)} J" if one_j and not is_estimate else ""
    return (
        f"{len(ask.versions)} versions of {ask.package}, of which about {places} are run, {least} to {most} "
        f"runs in all, and more where versions do not install; that night's took {duration(one_s)}{joules}"
    )


def spent(records: Sequence[Record]) -> str:
    """What the search itself took."""
    total_j, is_estimate = drawn(records)
    seconds = sum(record.stages_s.get("total", 0.0) for record in records)
    joules = (
        f", {'≈' if is_estimate else ''}{figures(total_j)} J in measured windows" if total_j else ""
    )
    return f"{len(records)} runs took {duration(seconds)}{joules}"


def search(ask: Asked, bench: Bench) -> Searched:
    """Search for the version; interrupted, all is kept to go on from, and else no environment.

    Raises UserError where one of the two ends cannot be measured.
    """
    try:
        found = _searched(ask, bench)
    except UserError:
        bench.keep()
        raise
    bench.keep()
    return found


def _searched(ask: Asked, bench: Bench) -> Searched:
    runs = _Runs(ask, bench)
    try:
        found = first_bad(len(ask.versions), runs.draw, 1 if ask.step.size.value > 1 else -1)
    except Unusable as error:
        end = ask.versions[error.at or 0]
        raise UserError(
            f"{ask.package} {end}, one of the two ends, cannot be measured: {error}."
        ) from error
    ends = [ask.versions[at] for at in found.suspects or (0, len(ask.versions) - 1)]
    return Searched(ask, found, runs.records, changes(*(runs.own[version] for version in ends)))


class _Runs:
    """One session of a version more at each call."""

    def __init__(self, ask: Asked, bench: Bench) -> None:
        self._ask, self._bench = ask, bench
        self._sessions: dict[int, int] = {}
        self.records: list[Record] = []
        self.own: dict[str, Record] = {}

    def draw(self, at: int) -> float:
        """The number's logarithm; of a level against the first version's, run beside it."""
        row = self._ask.versions
        self._bench.keep(row[0], row[-1], row[at])
        while (session := self._sessions.get(at, 0) + 1) <= LOOKS[-1] + DISTURBED:
            self._sessions[at] = session
            value = self._session(row[at], session)
            if value is not None:
                return value
        raise Unusable(f"more than {DISTURBED} of its sessions were disturbed")

    def _session(self, version: str, session: int) -> float | None:
        """Null where it was disturbed. The first version goes first in every other session."""
        home = self._ask.folder / f"{self._ask.package}-{version}"
        if self._ask.runs_each == 1:
            return self._number(version, home, session)
        pair = [(version, home), (self._ask.versions[0], home / BESIDE)]
        order = pair if session % 2 else pair[::-1]
        numbers = {folder: self._number(each, folder, session) for each, folder in order}
        own, beside = numbers[home], numbers[home / BESIDE]
        return None if own is None or beside is None else own - beside

    def _number(self, version: str, folder: Path, session: int) -> float | None:
        record = self._bench.run(version, folder, session)
        self.records.append(record)
        if record.failure is not None:
            raise Unusable(f"its run has no result: {record.failure.message}")
        if is_invalid(record):
            return None
        if folder.name != BESIDE:
            self.own[version] = record
        step = self._ask.step
        found = number(record, step.what, step.metric)
        if found.value is None or found.value <= 0 or found.is_estimate:
            why = "it is estimated" if found.is_estimate else found.reason
            raise Unusable(f"its run has no {step.metric.ratio.replace('_', ' ')}: {why}")
        return log(found.value)


class Fresh:
    """Runs in fresh environments, each an ordinary ``greenbench bench``; none that has a record."""

    def __init__(self, ask: Asked, say: Callable[[str], None]) -> None:
        command = rebuilt(ask.step.night.command, ask.step.night.spec)
        if command == NO_CALL:
            raise UserError("The night's record has no command that would run it again.")
        self._words = without(shlex.split(command)[2:], *APART, "session")
        self._package, self._say = ask.package, say
        self._environments = Environments(
            ask.folder / "environments", ask.package, pins(ask.package), say
        )
        self.installing_s = 0.0

    def run(self, version: str, results: Path, session: int) -> Record:
        """See `Bench.run`."""
        kept = _record(results, session)
        if kept is not None and kept.failure is None:
            self._check(kept, version)
            return kept
        python = self._python(version)
        self._say(f"{self._package} {version}, session {session}")
        words = [
            *self._words,
            f"session={session}",
            f"results={in_grammar(str(results.resolve()))}",
        ]
        status = _status([str(python), "-P", "-m", "greenbench", "bench", *words])
        record = _record(results, session)
        if record is None:
            raise Unusable(f"greenbench bench leaves no record, and exit status {status}")
        self._check(record, version)
        return record

    def keep(self, *versions: str) -> None:
        """See `Bench.keep`."""
        self._environments.remove(*versions)

    def _python(self, version: str) -> Path:
        started = time.monotonic()
        try:
            return self._environments.python(version)
        finally:
            self.installing_s += time.monotonic() - started

    def _check(self, record: Record, version: str) -> None:
        """That it ran what it was to run, and no other build of it."""
        inputs = record.spec.inputs
        used = inputs.packages.get(self._package, version) if inputs else version
        if used != version:
            raise Unusable(f"its run used {self._package} {used}")


def _record(results: Path, session: int) -> Record | None:
    """The one of that session there, if any."""
    found = load([results / "records"]).records if (results / "records").is_dir() else []
    return next((record for record in found if record.spec.session == session), None)


def _status(command: Sequence[str]) -> int:
    """Its exit status, once it has ended: interrupted, it ends by itself, as it must give back a device; it
    is told to where this process ends otherwise."""
    with subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        preexec_fn=end_with_parent,  # noqa: PLW1509  # no thread of here is at work
    ) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise
