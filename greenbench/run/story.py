"""The story of one run, in its own process: from a spec to everything that was found out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from greenbench.analysis.difficulty import Asked
from greenbench.engines.engine import Build, Engine, Served, Start
from greenbench.engines.transformers.load import config
from greenbench.errors import Lost
from greenbench.machine.detect import Machine, detect
from greenbench.machine.processes import OwnProcesses
from greenbench.measure import schedule
from greenbench.measure.pair import InTurn, Pair, Together, apart_reason
from greenbench.measure.recorder import Recorder
from greenbench.measure.requests import Requests
from greenbench.measure.warmup import warm, warm_up
from greenbench.meters import OpenMeters, no_meters, open_meters, require_answer
from greenbench.meters.wall_log import wait_for_rows
from greenbench.models import files, texts
from greenbench.quality.tasks import check_tasks
from greenbench.run.checkpoint import Content, content
from greenbench.run.conclude import Bodies, conclude
from greenbench.run.preflight import (
    refuse_files,
    refuse_here,
    refuse_model,
    require_ticks,
    wall_log,
)
from greenbench.run.prepare import Candidate, Place, Progress
from greenbench.run.probe import kept_expectation, probe
from greenbench.run.questions import ask, score
from greenbench.schema.record import Failure, Findings, Settling
from greenbench.schema.spec import RunSpec
from greenbench.schema.window import WHO, Who, Window


class Stages:
    """Wall seconds by stage; announces each stage as it begins. A stage within one halts that one."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = {}
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
        self._log = log
        self.probed: list[float | None] = []
        """What each probe has found, in the order in which models were served."""
        self.contents: list[Content] = []
        """What each was served from, in the same order."""
        self.spec, self.machine, self.meters, self.own = spec, machine, meters, own
        self.engine: Engine = spec.engine
        self.recorder = Recorder(meters, own, spec.seed, on_cpu=machine.device == "cpu")

    @contextmanager
    def serve(self, stages: Stages, build: Build) -> Iterator[Served]:
        """The engine's `serve`, its start told as a stage, its processes as the run's own."""
        with ExitStack() as running:
            build = replace(build, start=self._start(stages))
            with stages("load"):
                served = running.enter_context(self.engine.serve(build, self.machine))
            self.own.add(served.pids() or ())
            with stages("probe"):
                self.probed.append(probe(served, build, self.engine))
                stack = list(self.spec.technique.values())
                self.contents.append(content(build, self.engine, stack))
            del build  # whoever holds it holds the model
            yield served

    def _start(self, stages: Stages) -> Start:
        work, log, number = self.spec.workload, self._log, len(self.probed) + 1
        beside = log and log.with_name(f"{log.stem}.{self.engine.name}-{number}.log")
        tokens = work.prompt_tokens + work.output_tokens
        return Start(work.batch_size, tokens, beside, stages.progress)


def run(spec: RunSpec, log: Path | None = None, *, progress: Progress) -> Findings:
    """Measure `spec`'s candidate against its baseline; `log` is where its own output goes.

    Raises UserError, before any model is loaded, for what cannot run here. A device that vanishes
    leaves what was measured until then, and a failure.
    """
    stages, own = Stages(progress), OwnProcesses()
    machine = detect(spec.device)
    check_tasks(spec.task)
    refuse_here(spec, machine)
    with opened(spec, machine, own) as meters:
        require_ticks(meters, spec.protocol)
        bench = Bench(spec, machine, meters, own, log)
        try:
            findings = _tell(bench, stages)
        except Lost as lost:
            findings = Findings(
                windows=bench.recorder.windows,
                validity="invalid",
                codes=[lost.code],
                failure=Failure(reason="device_lost", message=str(lost), phase=None, log_tail=[]),
            )
    return findings.model_copy(update={"stages_s": stages.seconds})


def opened(spec: RunSpec, machine: Machine, own: OwnProcesses) -> OpenMeters:
    """The meters that count the run's joules; none for an engine that computes elsewhere."""
    if elsewhere := spec.engine.elsewhere():
        return no_meters(spec.meter, elsewhere)
    meters = open_meters(spec.meter, machine.uuids, own)
    require_answer(spec.meter, meters)
    return meters


def _tell(bench: Bench, stages: Stages) -> Findings:
    """The story itself: load, prepare, score, warm up, measure, conclude."""
    spec, recorder, progress = bench.spec, bench.recorder, stages.progress
    with stages("load"):
        fingerprint = files.fingerprint(spec.model)  # before it is loaded: what changes later shows
        base = suited(bench)
    with stages("idle"):
        recorder.idle("empty", spec.protocol.idle_s)
    with stages("load"):
        base = _expecting(bench, base, fingerprint)
    apart = apart_reason(
        spec.protocol.design, bench.machine.free_bytes(), bench.engine.room_bytes(base)
    )
    place = Place(bench.machine, bench.engine, base, fingerprint, again=apart is not None)
    candidate = Candidate(spec, list(spec.technique.values()), place, recorder, progress)
    order = schedule.rounds(spec.protocol, spec.seed, in_turn=apart is not None)
    resident_s = 0.0 if apart else spec.protocol.idle_s
    with _pair(bench, base, candidate, stages, apart) as pair:
        requests = _requests(pair, spec)  # refused, if it must be, before anything is prepared
        pair.fill()
        with stages("score"):
            scored = score(pair, place, spec, recorder, progress)
        with stages("idle"):
            recorder.idle("both", resident_s)
        with stages("warmup"):
            warmth = warm_up(pair, requests, spec.protocol, bench.meters.trace)
        with stages("measure"):
            stopping = schedule.measure(recorder, pair, requests, spec.protocol, order, progress)
        # As the blocks show it: answers have another mix of texts.
        applied, idle = candidate.applied(), candidate.idle()
        with stages("difficulty"):
            asked = ask(pair, candidate, spec, scored.quality, recorder, apart, progress)
        with stages("idle"):
            recorder.idle("both", resident_s)
    candidate.close()
    with stages("idle"):
        recorder.idle("unloaded", resident_s)
    with stages("finish"):
        _join_wall_log(spec, recorder)
        findings = _concluded(bench, pair, warmth, asked, apart, idle)
    return findings.model_copy(
        update={
            "model": files.facts(spec.model, base.directory),
            "techniques": applied,
            **scored._asdict(),
            "warmup": warmth,
            "design": "sequential" if apart else "interleaved",
            "design_reason": apart,
            "stopping": stopping,
            "block_order": _order(recorder.windows),
        }
    )


def _concluded(
    bench: Bench,
    pair: Pair,
    warmth: dict[Who, Settling],
    asked: Asked | None,
    apart: str | None,
    idle: bool,
) -> Findings:
    """What the windows say."""
    one_process = "module" in bench.engine.forms and not apart
    return conclude(
        bench.spec,
        bench.meters,
        bench.recorder,
        Bodies(
            pair.footprints,
            bench.machine.device,
            share=one_process,
            contents=dict(zip(WHO, bench.contents, strict=False)),
        ),
        warmth,
        asked,
        probed=bench.probed if "probe" in bench.engine.abilities else (),
        together=not apart,
        idle=idle,
    )


def _join_wall_log(spec: RunSpec, recorder: Recorder) -> None:
    """Read the wall meter's log, if there is one, only now, as it grows while the run goes on."""
    if spec.meter.wall_log:
        wait_for_rows(Path(spec.meter.wall_log), recorder.origin_epoch_s, time.time())
    if log := wall_log(spec.meter):
        recorder.join(log)


def suited(bench: Bench, *, files_asked: bool = False) -> Build:
    """The plain model, once it suits the engine and its configuration the stack.

    `files_asked`: whether an engine that takes live modules is to get files.
    """
    spec = bench.spec
    path = files.directory(spec.model)
    bench.engine.check_model(spec.model, path, bench.machine)
    stack = list(spec.technique.values())
    known = config(spec.model, path)
    refuse_model(stack, known, spec.workload, allow_partial=spec.allow_partial)
    if "module" not in bench.engine.forms or files_asked:
        refuse_files(stack, known, spec, bench.machine)
    remote = bench.engine.forms == {"url"}
    return Build(spec.model, "url" if remote else "safetensors", path, path)


def _expecting(bench: Bench, base: Build, fingerprint: str) -> Build:
    """`base`, with what its weights say of known texts in process, for the probe."""
    expected = kept_expectation(base, bench.engine, bench.machine, fingerprint)
    return replace(base, expected=expected)


def _pair(
    bench: Bench, base: Build, candidate: Candidate, stages: Stages, apart: str | None
) -> Pair:
    """Both models served, or one after the other, each warmed up after a change."""

    def prepared() -> Build:
        with stages("prepare"):
            return candidate.build()

    make: dict[Who, Callable[[], Build]] = {"baseline": lambda: base, "candidate": prepared}
    serve = partial(bench.serve, stages)
    if not apart:
        return Together(serve, make, bench.engine.rest_s)
    return InTurn(serve, make, partial(_warm_once, bench))


def _warm_once(bench: Bench, served: Served) -> None:
    """As short as the protocol allows: it comes back at every change of models."""
    spec = bench.spec
    brief = replace(spec.protocol, warmup_limit_s=spec.protocol.warmup_s)
    requests = Requests(served.tokenizer, texts.passages("prompt"), spec.workload, spec.seed)
    warm(served, requests, brief, bench.meters.trace)


def _requests(pair: Pair, spec: RunSpec) -> Requests:
    with pair.use("baseline") as served:
        return Requests(served.tokenizer, texts.passages("prompt"), spec.workload, spec.seed)


def _order(windows: Sequence[Window]) -> list[list[str]]:
    """Per block, its windows as ``who:phase`` in the order they were taken."""
    taken: dict[int, list[str]] = {}
    for window in windows:
        if window.block is not None:
            taken.setdefault(window.block, []).append(f"{window.who}:{window.phase}")
    return [taken[block] for block in sorted(taken)]
