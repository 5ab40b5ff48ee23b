"""How the runs were measured: models, protocol, meters, windows, and how each run went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from greenbench.analysis.disturbances import capped
from greenbench.analysis.groups.comparable import Setting
from greenbench.analysis.groups.rows import Group, Row
from greenbench.report.markdown.format import code, prose, show
from greenbench.schema.record import EngineFacts, Record, Settling, Stopping, Waiting
from greenbench.schema.resolved import ResolvedProtocol
from greenbench.schema.window import WHO, Who
from greenbench.wording import number, percent


def how_measured(groups: Sequence[Group]) -> list[str]:
    """A list, by group: model, protocol, meters, windows, and how each run went."""
    lines: list[str] = []
    for index, group in enumerate(groups, start=1):
        records = [row.record for row in group.rows]
        lines += [
            f"{index}. {prose(group.setting.title)}",
            f"   - model: {_models(records)}",
            f"   - protocol: {_protocols(records)}; measured {_dates(records)}",
            f"   - joules: {_meters(records, group.setting)}",
            *_remarks(records),
            *_references(records),
            f"   - windows: {_windows(records)}",
            *_limited(records),
            *_repeated(records),
            *(f"   - {code(row.label)}: {said}" for row in group.rows if (said := _course(row))),
        ]
    return lines


def _models(records: Sequence[Record]) -> str:
    known = {record.model for record in records if record.model}
    return " or ".join(
        f"{prose(model.id or model.name)} from {model.source}"
        f"{f', commit {code(model.commit)}' if model.commit else ''}"
        f", content {code(model.fingerprint[:16])}, licence {prose(model.license or 'unknown')}"
        for model in sorted(known, key=repr)
    )


def _protocols(records: Sequence[Record]) -> str:
    return " or ".join(sorted({_protocol(record.spec.protocol) for record in records}))


def _protocol(spec: ResolvedProtocol) -> str:
    most = f" to {spec.max_blocks}" if spec.max_blocks != spec.blocks else ""
    return (
        f"tier {spec.tier}, {spec.blocks}{most} blocks in random order, windows of {spec.window_s} s "
        f"and {spec.min_iterations} requests or more, warm-up {spec.warmup_s} s"
    )


def _dates(records: Sequence[Record]) -> str:
    days = sorted({prose(record.started_at[:10]) for record in records})
    return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _meters(records: Sequence[Record], place: Setting) -> str:
    used = sorted({name for record in records if record.meter for name in record.meter.used})
    spans = [w.energy[0] for record in records for w in record.windows if w.energy]
    tick = f", tick up to {max(span.tick_s for span in spans):g} s" if spans else ""
    names = f"meter {', '.join(map(code, used))}" if used else "no meter"
    boundary = f", boundary {prose(place.boundary)}" if place.boundary else ""
    return f"{names}, provenance {code(place.source)}{boundary}{tick}"


def _references(records: Sequence[Record]) -> list[str]:
    """How the models ran where their engine knows two ways, and why not the other."""
    kinds = {
        str(r.spec.engine.knobs["reference"]) for r in records if "reference" in r.spec.engine.knobs
    }
    said = {why for r in records if r.engine for why in r.engine.eager.values()}
    reasons = f" (eager: {'; '.join(map(prose, sorted(said)))})" if said else ""
    return [f"   - reference: {' or '.join(map(prose, sorted(kinds)))}{reasons}"] if kinds else []


def _remarks(records: Sequence[Record]) -> list[str]:
    """What the meters in use want known, and why the others were not used."""
    choices = [record.meter for record in records if record.meter]
    notes = {(name, note) for choice in choices for name, note in choice.notes.items()}
    refused = {(name, reason) for choice in choices for name, reason in choice.refused.items()}
    return [
        *(f"   - {code(name)}: {prose(note)}" for name, note in sorted(notes)),
        *(f"   - not by {code(name)}: {prose(reason)}" for name, reason in sorted(refused)),
    ]


def _windows(records: Sequence[Record]) -> str:
    windows = [window for record in records for window in record.windows]
    parts = [str(len(windows))]
    for validity in ("flagged", "invalid"):
        marked = [window for window in windows if window.validity == validity]
        codes = Counter(reason for window in marked for reason in window.codes)
        names = ", ".join(f"{code(name)} {count} times" for name, count in sorted(codes.items()))
        parts.append(f"{len(marked)} {validity}{f' ({names})' if names else ''}")
    return ", ".join(parts)


def _limited(records: Sequence[Record]) -> list[str]:
    """How much of the time the power limit held the clocks back, which is the GPU's state and no fault."""
    shares = [
        share for r in records for who in WHO if (share := capped(r.windows, who)) is not None
    ]
    if not shares or max(shares) == 0:
        return []
    low, high = percent(min(shares)), percent(max(shares))
    span = low if low == high else f"{low} to {high}"
    return [f"   - the power limit held the clocks back for {span} of the time, by model and run"]


def _repeated(records: Sequence[Record]) -> list[str]:
    """How much of the text came again, where any did."""
    shares = [r.prompts.repeated / r.prompts.sent for r in records if r.prompts and r.prompts.sent]
    if not any(shares):
        return []
    low, high = (f"{number(100 * share)} %" for share in (min(shares), max(shares)))
    span = low if low == high else f"{low} to {high}"
    return [f"   - text: {span} of the prompts, by run, came again word for word"]


def _course(row: Row) -> str:
    """What else ran the candidate, why no more blocks were taken, how the warm-up of each model ended, and
    what the one that waited cost."""
    record = row.record
    parts = [_run_by(record.candidate_engine)] if record.candidate_engine else []
    parts += [_stopped(record.stopping)] if record.stopping else []
    parts += [_warmed(who, end) for who, end in sorted(record.warmup.items())]
    parts += [_waited(record.waiting)] if record.waiting else []
    return "; ".join(parts)


def _run_by(engine: EngineFacts) -> str:
    version = f" {prose(engine.version)}" if engine.version else ""
    known = [nats for nats in engine.probe.values() if nats is not None]
    probed = (
        f", {number(known[0])} nats per token from the same weights in process" if known else ""
    )
    return f"candidate run by {prose(engine.name)}{version}{probed}"


def _waited(found: Waiting) -> str:
    """Watts, and of which server how much of a CPU."""
    shares = [
        f"{show(share.scaled(100, '%'), suffix=' %')} of a CPU by the {who}'s server"
        for who, share in sorted(found.cpu.items())
    ]
    watts = show(found.power, suffix=" W", change=True)
    return f"cost of the model that waits: idle power {', '.join([watts, *shares])}"


def _stopped(stopping: Stopping) -> str:
    half, target = stopping.half_width, stopping.target_half_width
    width = "no half-width" if half is None else f"half-width {number(100 * half)} %"
    reached = "reached" if stopping.reached else "**not reached**"
    asked = f" (the spread of the first asks for {stopping.needed})" if stopping.needed else ""
    return (
        f"{stopping.blocks} of at most {stopping.limit} blocks{asked}, {width} of the ratio "
        f"{code(stopping.metric)}, target {100 * target:g} % {reached}"
    )


def _warmed(who: Who, end: Settling) -> str:
    settled = "settled" if end.settled else "**not settled**"
    return f"{who} {settled} after {number(end.seconds)} s of warm-up by {prose(end.by)}"
