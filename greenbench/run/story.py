"""The story of one run, in its own process: from a spec to everything that was found out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from greenbench.analysis.difficulty import Asked
from greenbench.analysis.graded.replies import Graded
from greenbench.engines.engine import Build, Served
from greenbench.errors import Lost
from greenbench.machine.detect import detect
from greenbench.machine.processes import OwnProcesses
from greenbench.measure import schedule
from greenbench.measure.load_blocks import under_load
from greenbench.measure.pair import InTurn, Pair, Together
from greenbench.measure.recorder import Whose
from greenbench.measure.requests import Requests
from greenbench.measure.schedule import Kind, Progress, Take
from greenbench.measure.warmup import warm, warm_up
from greenbench.models import files, texts
from greenbench.quality.tasks import check_tasks
from greenbench.run import training
from greenbench.run.conclude import Bodies, conclude
from greenbench.run.explained import explained
from greenbench.run.loads import loads, prompts, warming
from greenbench.run.marking import Questions, mark, questions
from greenbench.run.preflight import refuse_here, suited
from greenbench.run.prepare import Candidate
from greenbench.run.probe import kept_expectation
from greenbench.run.questions import ask, score
from greenbench.run.workbench import Bench, Place, Stages, join_wall_log, opened, require_ticks
from greenbench.schema.profile import Profile
from greenbench.schema.record import Failure, Findings, Settling
from greenbench.schema.spec import RunSpec
from greenbench.schema.window import Who, Window


def run(spec: RunSpec, log: Path | None = None, *, progress: Progress) -> Findings:
    """Measure `spec`'s candidate against its baseline; `log` is where its own output goes.

    Raises UserError, before any model is loaded, for what cannot run here. A device that vanishes
    leaves what was measured until then, and a failure if that was not all.
    """
    stages, own = Stages(progress), OwnProcesses()
    machine = detect(spec.device)
    check_tasks(spec.task)
    refuse_here(spec, machine)
    with opened(spec, machine, own) as meters:
        require_ticks(meters, spec.protocol)
        bench = Bench(spec, machine, meters, own, log)
        try:
            findings = training.told(bench, stages) if spec.trains else _tell(bench, stages)
        except Lost as lost:
            findings = _without(bench, stages.kept, lost)
    return findings.model_copy(update={"stages_s": stages.seconds})


def _without(bench: Bench, kept: Findings | None, lost: Lost) -> Findings:
    """What there is of a run whose device is lost: all that was kept, else its windows alone."""
    if kept and kept.profile:
        return kept.model_copy(update={"profile": kept.profile.ended(str(lost))})
    return Findings(
        windows=bench.recorder.windows,
        validity="invalid",
        codes=[lost.code],
        failure=Failure(reason="device_lost", message=str(lost), phase=None, log_tail=[]),
    )


def _tell(bench: Bench, stages: Stages) -> Findings:
    """The story itself: load, prepare, score, warm up, measure, conclude."""
    spec, recorder, progress = bench.spec, bench.recorder, stages.progress
    rest = partial(_rest, bench, stages)
    with stages("load"):
        fingerprint = files.fingerprint(spec.model)  # before it is loaded: what changes later shows
        bases = suited(spec, bench.machine)
    rest("empty", spec.protocol.idle_s)
    with stages("load"):
        bases = _expecting(bench, bases, fingerprint)
    apart = bench.apart(bases)
    place = _place(bench, bases["candidate"], fingerprint, apart)
    candidate = Candidate(spec, list(spec.technique.values()), place, recorder, progress)
    resident_s = 0.0 if apart else spec.protocol.idle_s

    with _pair(bench, bases["baseline"], candidate, stages, apart) as pair:
        posed = _posed(pair, bench, bases["baseline"])
        pair.alone(partial(rest, "one", spec.protocol.idle_s / 2))  # twice, each time half as long
        pair.fill()
        with stages("score"):
            scored = score(pair, place, bench.engines, spec, recorder, progress)
        rest("both", resident_s)
        with stages("warmup"):
            warmth = warm_up(pair, posed.requests, spec.protocol, bench.meters.trace)
        with stages("measure"):
            take, kinds = _taking(bench, pair, posed.requests)
            order = schedule.rounds(spec.protocol, spec.seed, kinds, in_turn=apart is not None)
            stopping = schedule.measure(recorder, pair, take, spec.protocol, order, progress)
        # As the blocks show it: answers have another mix of texts.
        applied, idle = candidate.applied(), candidate.idle()
        with stages("solve"):
            marked = mark(pair, posed.questions, spec, recorder, apart, progress)
        with stages("difficulty"):
            asked = ask(pair, candidate, spec, scored.quality, recorder, apart, progress)
        known = {
            "techniques": applied,
            **scored._asdict(),
            "quality": scored.quality + marked.quality,
            "warmup": warmth,
            "stopping": stopping,
            **_circumstances(bench, bases["baseline"], apart),
        }

        def told(profile: Profile | None) -> Findings:
            found = _concluded(bench, pair, warmth, asked, marked.graded, apart, idle)
            return found.model_copy(update={**known, "profile": profile})

        profile = explained(bench, pair, posed.requests, told, stages)
        rest("both", resident_s)
    candidate.close()
    rest("unloaded", resident_s)
    with stages("finish"):
        join_wall_log(spec, recorder)
        return told(profile)


def _rest(bench: Bench, stages: Stages, who: Whose, seconds: float) -> None:
    with stages("idle"):
        bench.recorder.idle(who, seconds)


def _place(bench: Bench, base: Build, fingerprint: str, apart: str | None) -> Place:
    again = apart is not None and "candidate" not in bench.sleepers
    return Place(bench.machine, bench.engines["candidate"], base, fingerprint, again)


def _circumstances(bench: Bench, base: Build, apart: str | None) -> dict[str, object]:
    """Which model it was, and how both were measured."""
    return {
        "model": files.facts(bench.spec.model, base.directory),
        "design": "sequential" if apart else "interleaved",
        "design_reason": apart,
        "block_order": _order(bench.recorder.windows),
    }


def _concluded(
    bench: Bench,
    pair: Pair,
    warmth: dict[Who, Settling],
    asked: Asked | None,
    graded: Sequence[Graded],
    apart: str | None,
    idle: bool,
) -> Findings:
    """What the windows say."""
    in_process = all("module" in engine.forms for engine in bench.engines.values())
    return conclude(
        bench.spec,
        bench.meters,
        bench.recorder,
        Bodies(
            pair.footprints,
            bench.machine.device,
            share=in_process and not apart,
            contents=bench.contents,
        ),
        warmth,
        asked,
        graded,
        engines=bench.engines,
        probed=bench.probed,
        eager=bench.eager,
        apart=apart,
        idle=idle,
    )


def _expecting(bench: Bench, bases: Mapping[Who, Build], fingerprint: str) -> dict[Who, Build]:
    """`bases`, with what their weights say of known texts in process, for the probe."""
    expected = {
        who: kept_expectation(base, bench.engines[who], bench.machine, fingerprint)
        for who, base in bases.items()
    }
    return {who: replace(base, expected=expected[who]) for who, base in bases.items()}


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
        rest_s = {who: engine.rest_s for who, engine in bench.engines.items()}
        return Together(serve, make, rest_s)
    return InTurn(serve, make, partial(_warm_once, bench), bench.sleepers)


def _warm_once(bench: Bench, served: Served) -> None:
    """As short as the protocol allows: it comes back at every change of models."""
    spec = bench.spec
    brief = replace(spec.protocol, warmup_limit_s=spec.protocol.warmup_s)
    requests = _asked(served, bench)
    warm(served, requests, brief, bench.meters.trace)


def _taking(bench: Bench, pair: Pair, requests: Requests) -> tuple[Take, Sequence[Kind]]:
    """How a window is taken, and which there are in a block."""
    spec, recorder = bench.spec, bench.recorder
    if spec.load.is_closed:
        fresh = (
            prompts(spec, pair) if any(e.keeps_prompts for e in bench.engines.values()) else None
        )
        take = schedule.one_after_another(recorder, requests, spec.protocol, fresh)
        return take, schedule.CLOSED
    found = loads(spec, bench.engines, pair)
    return under_load(recorder, found, spec.protocol), found.kinds


class _Posed(NamedTuple):
    """What both models are asked."""

    requests: Requests
    questions: Questions


def _posed(pair: Pair, bench: Bench, base: Build) -> _Posed:
    """Refused, if it must be, before anything is prepared."""
    with pair.use("baseline") as served:
        return _Posed(_asked(served, bench), questions(served, bench.spec, base.directory))


def _asked(served: Served, bench: Bench) -> Requests:
    work = warming(bench.spec, bench.engines)
    text = texts.for_prompts(work.batch_size * work.prompt_tokens)
    return Requests(served.tokenizer, text, work, bench.spec.seed)


def _order(windows: Sequence[Window]) -> list[list[str]]:
    """Per block, its windows as ``who:phase`` in the order they were taken; under load ``who:phase@load``."""
    taken: dict[int, list[str]] = {}
    for window in windows:
        if window.place and window.place.series in ("block", "load"):
            load = "" if window.place.load is None else f"@{window.place.load:g}"
            taken.setdefault(window.place.unit, []).append(f"{window.who}:{window.phase}{load}")
    return [taken[block] for block in sorted(taken)]
