"""What a run is measured with: its stages, meters, engines, and the place where a candidate is made."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from greenbench.analysis.disturbances import TICKS
from greenbench.engines import cascade
from greenbench.engines.engine import Build, Engine, Served
from greenbench.engines.start import Start
from greenbench.errors import UserError
from greenbench.machine import cpu_load
from greenbench.machine.detect import Machine
from greenbench.machine.processes import OwnProcesses
from greenbench.measure.pair import apart_reason
from greenbench.measure.recorder import Recorder
from greenbench.measure.schedule import Keeper, Progress
from greenbench.meters import OpenMeters, no_meters, open_meters, require_answer
from greenbench.meters.wall_log import wait_for_rows
from greenbench.run.checkpoint import Content, content
from greenbench.run.loads import at_most
from greenbench.run.preflight import elsewhere, engines, wall_log
from greenbench.run.probe import probe
from greenbench.schema.enums import Profiling
from greenbench.schema.record import Findings
from greenbench.schema.spec import ProtocolSpec, RunSpec
from greenbench.schema.window import WHO, Who
from greenbench.techniques.handover import Handover
from greenbench.techniques.stack import spoken


class Place(NamedTuple):
    """Where a candidate is made, and from what."""

    machine: Machine
    engine: Engine
    """The candidate's."""
    base: Build
    """The plain model."""
    fingerprint: str
    """Hash of the plain model's content."""
    again: bool = False
    """Whether it will be made more than once."""
    files: bool = False
    """Whether files are asked for, of an engine too that takes the live module."""

    @property
    def live(self) -> bool:
        """Whether what was edited is handed over as it lives in this process."""
        return "module" in self.engine.forms and not self.files


class Stages:
    """Wall seconds by stage; announces each stage as it begins. A stage within one halts that one."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = {}
        self.kept: Findings | None = None
        """What stands for the run should it come to no other end."""
        self._open: list[str] = []
        self._since_s = 0.0

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.progress(name, 0, 1)
        self._book()
        self._open.append(name)
        yield
        self._book()
        self._open.pop()

    def keep(self, findings: Findings) -> None:
        """In place of what was kept before, here and by whom the progress is told."""
        self.kept = findings.model_copy(update={"stages_s": dict(self.seconds)})
        if isinstance(self.progress, Keeper):
            self.progress.keep(self.kept)

    def _book(self) -> None:
        """The time since the last change was the innermost stage's."""
        now_s = time.monotonic()
        for name in self._open[-1:]:
            self.seconds[name] = self.seconds.get(name, 0.0) + now_s - self._since_s
        self._since_s = now_s


class Bench:
    """What a run is measured with and on."""

    def __init__(
        self,
        spec: RunSpec,
        machine: Machine,
        meters: OpenMeters,
        own: OwnProcesses,
        log: Path | None = None,
    ) -> None:
        """`log` is the run's own: an engine's programs write theirs beside it."""
        self._log, self._starts = log, 0
        self.probed: dict[Who, float | None] = {}
        """What the first probe of each model has found."""
        self.eager: dict[Who, str | None] = {}
        """Why each model ran eager where its engine can compile."""
        self.contents: dict[Who, Content] = {}
        """What each was served from."""
        self.spec, self.machine, self.meters, self.own = spec, machine, meters, own
        self.engines: Mapping[Who, Engine] = engines(spec)
        self.sleepers: set[Who] = set()
        """Those that sleep while the other is measured."""
        watched = cpu_load.ON_CPU if machine.device == "cpu" else cpu_load.BESIDE_GPU
        self.recorder = Recorder(meters, own, spec.seed, watched=watched)

    @contextmanager
    def serve(self, stages: Stages, who: Who, build: Build) -> Iterator[Served]:
        """The `serve` of its engine, its start told as a stage, its processes as the run's own."""
        with ExitStack() as running:
            build, engine = self._started(stages, who, build), self.engines[who]
            with stages("load"):
                served = running.enter_context(cascade.serve(engine, build, self.machine))
            self.own.add(served.pids() or ())
            first = served.small if isinstance(served, cascade.Cascade) else served
            with stages("probe"):
                self.probed.setdefault(who, probe(first, build, engine))
            self.eager[who] = engine.why_eager(build, self.machine)
            if who not in self.contents:
                stack = list(self.spec.technique.values()) if who == "candidate" else []
                self.contents[who] = content(build, engine, stack)
            del build  # whoever holds it holds the model
            yield served

    def _started(self, stages: Stages, who: Who, build: Build) -> Build:
        """It, and what stands behind it, with what their programs may know of the run."""
        behind = build.behind
        if behind is not None:
            large = replace(behind.build, start=self._start(stages, who))
            behind = behind._replace(build=large)
        return replace(build, behind=behind, start=self._start(stages, who))

    def _start(self, stages: Stages, who: Who) -> Start:
        self._starts += 1
        log, name = self._log, self.engines[who].name
        beside = log and log.with_name(f"{log.stem}.{name}-{self._starts}.log")
        at_once, tokens = at_most(self.spec, self.engines)
        asleep, queues = who in self.sleepers, not self.spec.load.is_closed
        traced = self.spec.protocol.profile is not Profiling.never
        return Start(at_once, tokens, beside, stages.progress, asleep, queues, traced)

    def apart(self, bases: Mapping[Who, Build]) -> str | None:
        """Why the two are to be measured in turn, and who sleeps meanwhile; null: together."""
        rooms = [self.engines[who].room_bytes(bases[who]) for who in WHO]
        if any(isinstance(each, Handover) for each in self.spec.technique.values()):
            rooms[1] *= 2  # two models, of which neither is larger than the plain one
        reason = apart_reason(self.spec.protocol.design, self.machine.free_bytes(), *rooms)
        if reason is None:
            return None
        self.sleepers = {who for who in WHO if self.engines[who].sleeps(self.machine)}
        asleep = " or ".join(who for who in WHO if who in self.sleepers)
        return f"{reason}; the {asleep} sleeps while it waits" if asleep else reason


def opened(spec: RunSpec, machine: Machine, own: OwnProcesses) -> OpenMeters:
    """The meters that count the run's joules; none for an engine that computes elsewhere."""
    if far := elsewhere(spec):
        return no_meters(spec.meter, far)
    meters = open_meters(spec.meter, machine.uuids, own, _unseen(spec), spec.neighbours)
    require_answer(spec.meter, meters)
    return meters


def require_meter(spec: RunSpec, machine: Machine) -> None:
    """Raise Unsupported where the only meter that is asked for does not answer: a run opens it for itself."""
    if len(spec.meter.order) == 1:
        with opened(spec, machine, OwnProcesses()):
            pass


def require_ticks(meters: OpenMeters, protocol: ProtocolSpec) -> None:
    """Raise UserError for windows too short for the counter that is to be read."""
    for meter in meters.meters[:1]:
        if protocol.window_s < TICKS * meter.tick_s:
            raise UserError(
                f"protocol.window_s={protocol.window_s:g} is shorter than {TICKS} ticks of the meter "
                f"{meter.name} ({meter.tick_s:g} s each), whose joules would be mostly rounding: "
                f"set protocol.window_s={TICKS * meter.tick_s:g} or more."
            )


def join_wall_log(spec: RunSpec, recorder: Recorder) -> None:
    """Read the wall meter's log, if there is one, only now, as it grows while the run goes on."""
    if spec.meter.wall_log:
        wait_for_rows(Path(spec.meter.wall_log), recorder.origin_epoch_s, time.time())
    if log := wall_log(spec.meter):
        recorder.join(log)


def _unseen(spec: RunSpec) -> str | None:
    """Why no joules can be estimated from the CPU time of both models; null: they can."""
    for engine in engines(spec).values():
        if reason := engine.unseen():
            mine = engine == spec.engine
            return reason if mine else spoken(list(spec.technique.values()), reason)
    return None
