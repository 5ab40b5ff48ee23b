"""What techniques took and promised, as tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from greenbench.analysis.energy.active_weights import Active, active
from greenbench.analysis.energy.promises import (
    break_even,
    prepare_energy,
    product,
    promised_ratio,
    realised,
)
from greenbench.analysis.energy.shortfalls import KEPT, UNKNOWN, outcome
from greenbench.analysis.energy.symptoms import SYMPTOMS, Evidence
from greenbench.analysis.groups.rows import Group, Row
from greenbench.report.markdown import lost_time
from greenbench.report.markdown.format import Column, Notes, code, folded, only, prose, show, table
from greenbench.schema.metrics import ENERGY_PER_TOKEN, MODEL_BYTES, TPOT, Metric
from greenbench.schema.technique import AppliedTechnique, Promise
from greenbench.wording import ESTIMATE, TIMES, TO, fixed, number

NO_PROMISE = "none"
KERNELS = re.compile("dense|dequantize")  # as the rules of causes name them
PAYS_BACK = (
    "It pays back on a device that stays on: there a token saves its joules less idle power times the time "
    "that it frees. `greenbench advise --requests-per-day` also says when others use that time."
)
READ = (
    "Where only a part of the weights is active, what a generated token really met was counted: bytes of "
    "the weights that its pass read, shared among the rows of a batch; of experts, in the mean over blocks, "
    "those that its routers chose, and those that any row of the batch used, which are more in a larger "
    "batch. These are read once for all rows, but on GPUs, where transformers decodes each row with a copy "
    "of its own experts: there the bytes are of all that were chosen."
)
SCALES = ((1e9, " G"), (1e6, " M"), (1e3, " k"))


def preparation(groups: Sequence[Group]) -> list[str]:
    """A table for each group, and a line on each technique."""
    applied = {
        part.name: part for group in groups for row in group.rows for part in row.record.techniques
    }
    tables = _tables(groups, PREPARATION)
    return [
        *([PAYS_BACK, "", *tables] if tables else []),
        *(f"- {_about(applied[name])}" for name in sorted(applied)),
    ]


def promised(groups: Sequence[Group]) -> list[str]:
    """What was promised and realised for each group, and why; the details folded."""
    tables = _tables(groups, SUMMARY)
    if not tables:
        return []
    said = (
        "Promises are made before anything is measured: bytes of the weights, multiplications for "
        "one token in the decoder's blocks, zeros. Realised is J/token where it was measured, else "
        "time per token, reading the prompt included."
    )
    kept = (
        "Kept is the part of the promised saving that was measured; for J/token, of the most promised. "
        "Decoding time is that between two tokens of an answer."
    )
    counted = _tables(groups, ACTIVE, lambda row: active(row) is not None)
    parts = [READ, "", *counted] if counted else []
    observed = [line for group in groups for line in _observed(group)]
    profiled = lost_time.told(row for group in groups for row in group.rows)
    details = [kept, "", *_tables(groups, PROMISED), *rules(), *profiled, *observed]
    return [
        said,
        "",
        *tables,
        *parts,
        *folded("Promises in full, and how causes are named", details),
        "",
    ]


def rules() -> list[str]:
    """How causes are named, for the reader."""
    return [
        f"A run kept its promise where it realised {100 * KEPT:.0f} % or more of the most that it "
        "promised to save, in J/token where that is measured, else in time per token. Where it did "
        f"not, each cause whose rule holds is named; where none does, {UNKNOWN}:",
        "",
        *(f"- {cause.name}: {KERNELS.sub(lambda kernel: code(kernel[0]), cause.rule)}."
          for cause in SYMPTOMS),
        "",
    ]  # fmt: skip


def _tables(
    groups: Sequence[Group],
    columns: Sequence[Column[Row]],
    shows: Callable[[Row], bool] = lambda row: bool(row.record.techniques),
) -> list[str]:
    lines: list[str] = []
    for index, group in enumerate(groups, start=1):
        rows = list(filter(shows, group.rows))
        if rows:
            shown = [each for each in columns if each is not CHANGED or any(map(_changed, rows))]
            lines += [f"{index}. {prose(group.setting.title)}", "", *table(rows, shown), ""]
    return lines


def _about(applied: AppliedTechnique) -> str:
    paper = f" ({prose(applied.paper)})" if applied.paper else ""
    kind = "lossless" if applied.lossless else "lossy"
    return f"{code(applied.name)}: {prose(applied.summary)}{paper}; {kind}."


def _seconds(row: Row) -> str:
    return _summed(row, [number(part.prepare_s) for part in row.record.techniques],
                   sum(part.prepare_s for part in row.record.techniques))  # fmt: skip


def _joules(row: Row, notes: Notes) -> str:
    total = prepare_energy(row)
    if total.value is None:
        return show(total, notes)
    parts = [only(part.prepare_energy, notes) for part in row.record.techniques]
    mark = ESTIMATE if total.is_estimate else ""
    return f"{mark}{_summed(row, parts, total.value)}" if len(parts) > 1 else only(total, notes)


def _summed(row: Row, parts: Sequence[str], total: float) -> str:
    if len(parts) == 1:
        return parts[0]
    named = zip(parts, row.record.techniques, strict=True)
    return f"{number(total)} = {' + '.join(f'{part} {code(each.name)}' for part, each in named)}"


def _break_even(row: Row, notes: Notes) -> str:
    tokens = break_even(row)
    if tokens.value is None:
        return f"n/a {notes.mark(tokens.reason)}"
    mark = ESTIMATE if tokens.is_estimate else ""
    interval = tokens.bounds
    if interval is None:
        return f"{mark}{_tokens(tokens.value)} {notes.mark(tokens.reason)}"
    return f"{mark}{_tokens(tokens.value)} ({TO.join(map(_tokens, interval))})"


def _tokens(count: float) -> str:
    for scale, letter in SCALES:
        if count >= scale:
            return f"{number(count / scale)}{letter}"
    return number(count)


PREPARATION: list[Column[Row]] = [
    Column("technique", lambda row, _: code(row.label)),
    Column("seconds", lambda row, _: _seconds(row)),
    Column("joules, once", _joules),
    Column("pays back after, tokens", _break_even),
]


def _share(value: float | None) -> str:
    return NO_PROMISE if value is None else f"{fixed(value, 2)}{TIMES}"


def _saving(ratio: float | None) -> str:
    return NO_PROMISE if ratio is None or fixed(ratio, 2) == "1.00" else _share(ratio)


def _realised(row: Row, metric: Metric, promise: float | None, notes: Notes) -> str:
    ratio = row.ratio(metric)
    said = show(ratio, notes, suffix=TIMES) if ratio.bounds else only(ratio, notes) + TIMES
    if promise is None or promise >= 1 or ratio.value is None:
        return said
    kept = 100 * (1 - ratio.value) / (1 - promise)
    return f"{said}; {f'{kept:.0f} %' if kept > 0 else 'none'} kept"


def _kernels(row: Row) -> str:
    found = [part.promise.kernel for part in row.record.techniques if part.promise.kernel]
    return ", ".join(map(code, dict.fromkeys(found)))


def _also(promise: Promise) -> str:
    sparsity = f", {100 * promise.sparsity:.0f} % zeros" if promise.sparsity else ""
    drafts = f", {promise.drafts} drafts a pass" if promise.drafts else ""
    return f"{prose(promise.note)}{sparsity}{drafts}"


def _became(row: Row) -> str:
    found = outcome(row)
    proven = lost_time.shares(found.split) if found.split else []
    said = [*proven, *(f"{name}: {_shown(evidence)}" for name, evidence in found.causes)]
    return found.word or "; ".join(said)


def _shown(evidence: Evidence) -> str:
    return " ".join([*filter(None, [", ".join(map(code, evidence.kernels))]), evidence.text])


PROMISED: list[Column[Row]] = [
    Column("technique", lambda row, _: code(row.label)),
    Column("bytes promised", lambda row, _: _share(product(row.record, "bytes_ratio"))),
    Column(
        "bytes held",
        lambda row, notes: _realised(row, MODEL_BYTES, product(row.record, "bytes_ratio"), notes),
    ),
    Column("multiplications promised", lambda row, _: _share(product(row.record, "flops_ratio"))),
    Column(
        "decoding time",
        lambda row, notes: _realised(row, TPOT, product(row.record, "flops_ratio"), notes),
    ),
    Column(
        "J/token",
        lambda row, notes: _realised(row, ENERGY_PER_TOKEN, promised_ratio(row.record), notes),
    ),
    Column("kernel", lambda row, _: _kernels(row)),
    Column(
        "in words", lambda row, _: "; ".join(_also(part.promise) for part in row.record.techniques)
    ),
]


def _changed(row: Row) -> str:
    """Shares of the weights of the blocks that the techniques changed; empty where none was to."""
    shares = [part.touched for part in row.record.techniques if part.touched]
    return " + ".join(f"{number(100 * share)} %" for share in shares)


CHANGED: Column[Row] = Column("blocks' weights changed", lambda row, _: _changed(row))
SUMMARY: list[Column[Row]] = [
    Column("technique", lambda row, _: code(row.label)),
    CHANGED,
    Column("promised, at most", lambda row, _: _saving(promised_ratio(row.record))),
    Column("realised", lambda row, notes: show(realised(row.record), notes, suffix=TIMES)),
    Column("what became of it", lambda row, _: _became(row)),
]


def _of_active(
    title: str, value: Callable[[Active], float | None], show: Callable[[float], str] = number
) -> Column[Row]:
    """A column of what was counted; empty where it was not."""

    def cell(row: Row, _: Notes) -> str:
        counted = active(row)
        found = None if counted is None else value(counted)
        return "" if found is None else show(found)

    return Column(title, cell)


ACTIVE: list[Column[Row]] = [
    Column("technique", lambda row, _: code(row.label)),
    _of_active("active bytes promised", lambda found: found.promised, _share),
    _of_active("counted", lambda found: found.counted, _share),
    _of_active("kept", lambda found: found.kept, lambda share: f"{100 * share:.0f} %"),
    _of_active("MB a token", lambda found: found.bytes_a_token and found.bytes_a_token / 1e6),
    _of_active("experts a token", lambda found: found.experts_a_token),
    _of_active("touched a pass", lambda found: found.touched_a_pass),
    _of_active("touched a token", lambda found: found.touched_a_token),
    Column("J/token", lambda row, notes: show(row.ratio(ENERGY_PER_TOKEN), notes, suffix=TIMES)),
]


def _observed(group: Group) -> list[str]:
    return [
        f"- {code(row.label)}, {code(part.name)} showed: "
        + prose("; ".join(f"{name} {_brief(value)}" for name, value in part.observed.items()))
        for row in group.rows
        for part in row.record.techniques
        if part.observed
    ]


def _brief(value: object) -> str:
    return number(value) if isinstance(value, float) else str(value)
