"""Operators by what they do: told by their names, the shapes of their inputs and number formats alone."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from statistics import fmean
from typing import Final, NamedTuple

from greenbench.schema.profile import Kind, Operation, Operator, Profiled, Trace

OPERATOR: Final = re.compile(r"\w+::\w+")
"""As torch calls one; any other name is a kernel's."""
PRODUCT: Final = re.compile(
    r"(?:^|_)(?:add|d?q)?(?:mm|mv|matmul|linear|dot|vdot)(?:_|$)|gemm|gemv|cutlass|cublas|xmma|nvjet"
    r"|fullyconnected"
)
"""Multiplies by a matrix."""
ATTENTION: Final = re.compile(
    r"attention|attn|kv_cache|softmax|flash|fmha|sdpa|index_copy|(?:^|_)(?:badd)?b?bmm|readvalue|assign"
)
CONVERSION: Final = re.compile(r"dequant|unpack|bitwise|shift|_and_|_or_|^convert$")
COPY: Final = re.compile(r"copy|clone|contiguous|memcpy|pin_memory|reorder")
GATHER: Final = re.compile(r"embedding|index|gather|take|scatter")
"""Reads a few rows of a matrix."""
PARTS: Final = frozenset(
    {"aten::linear", "aten::matmul", "aten::einsum", "aten::mv", "aten::inner"}
)
"""Made of other operators, which do the work."""
VIEWS: Final = frozenset({
    "t", "transpose", "as_strided", "view", "_unsafe_view", "reshape", "expand", "unsqueeze", "squeeze",
    "slice", "select", "permute", "detach", "alias", "narrow", "split", "chunk", "unbind", "resolve_conj",
    "resolve_neg", "result_type", "lift_fresh", "to", "_to_copy", "empty", "empty_like", "empty_strided",
    "zeros_like", "ones_like", "resize_", "flatten",
})  # fmt: skip
"""Of a matrix these give another name, or room; what copies it then is an operator of its own."""
FLOATS: Final = frozenset({"float", "double", "c10::BFloat16", "c10::Half"})
INTEGERS: Final = frozenset({"signed char", "unsigned char", "int", "short int"})
"""In which weights are packed: indices are of 64 bits."""
PACKS: Final = frozenset({"int", "short int"})
"""Of these, those that hold several weights each."""
OUT_FIRST: Final = "_C::"
"""How vLLM's own kernels are named, many of which are given the tensor that they fill first."""
PLAIN: Final = ("aten", "mkl", "openvino")
"""Whose products are of packed weights only where a number format says so."""
LIST: Final = "TensorList"
"""Stands for the numbers of each tensor of a list."""
PACKED: Final = (1, 2, 4, 8, 16)
"""Weights in one whole number."""
BRIEF_S: Final = 10e-6
"""An operator that takes less takes about as long to begin as to work."""
LEAST: Final = 1024
"""Numbers of a matrix: a smaller one is no matrix of weights."""
KEPT: Final = 3
"""Operators of each kind that are named."""


class Product(NamedTuple):
    """Rows times a matrix."""

    rows: int
    inner: int
    outer: int


class Known(NamedTuple):
    """What is known of both models before any operator is told."""

    matrices: frozenset[int]
    """How many numbers each matrix has that one of them multiplies by."""
    brief: frozenset[tuple[object, ...]]
    """Operators, by name and inputs, that take no longer than to begin them."""


def known(traces: Sequence[Trace], *, on_host: bool) -> Known:
    """Of all `traces`, of both models; `on_host`: they computed on the processor that begins operators."""
    sizes: set[int] = set()
    calls: Counter[tuple[object, ...]] = Counter()
    seconds: defaultdict[tuple[object, ...], float] = defaultdict(float)
    for operation in (each for trace in traces for each in trace.operations):
        calls[operation[:3]] += operation.calls
        seconds[operation[:3]] += operation.seconds
        what = product(operation)
        if what and what.outer > 1 and what.inner * what.outer >= LEAST:
            sizes.add(what.inner * what.outer)
    brief = (key for key, many in calls.items() if seconds[key] < BRIEF_S * many)
    return Known(frozenset(sizes), frozenset(brief if on_host else ()))


def product(operation: Operation) -> Product | None:
    """What it multiplies, of rows and one matrix; null: it is none, or its shapes are not told."""
    text = _text(operation.name)
    if operation.name in PARTS or ATTENTION.search(text) or not PRODUCT.search(text):
        return None
    multiplied = operation.shapes[text.startswith(("add", "_add")) :]  # behind what it is added to
    if operation.name.startswith(OUT_FIRST) and (into := _into(operation)):
        return into
    tensors = [shape for shape in multiplied if len(shape) >= 2]
    vectors = [shape for shape in multiplied if len(shape) == 1]
    match tensors:
        case [rows, matrix, *_]:
            inner = rows[-1]
            return Product(prod(rows[:-1]), inner, max(prod(matrix) // max(inner, 1), 1))
        case [(outer, inner)] if vectors:
            return Product(1, inner, outer)
        case [] if len(vectors) > 1:
            return Product(1, vectors[0][0], 1)
    return None


def _into(operation: Operation) -> Product | None:
    """What is multiplied where the result comes before the rows, and the matrix, if it is told, after them;
    null: the first is no such result."""
    match operation.shapes:
        case [(*many, outer), (*rows, inner), *_] if many and many == rows:
            return None if operation.numbers[1] in PACKS else Product(prod(rows), inner, outer)
    return None


def kind(operation: Operation, known: Known) -> Kind:
    """What an operator does."""
    text = _text(operation.name)
    shapes = [shape for shape in operation.shapes if shape]
    largest: tuple[int, ...] = max(shapes, key=prod, default=())
    if operation.name in PARTS or text in VIEWS:
        return "launches"
    if ATTENTION.search(text) or (len(largest) == 4 and prod(largest) not in known.matrices):
        return "attention"
    if PRODUCT.search(text):
        return "packed products" if _is_packed(operation, text) else "products"
    if not GATHER.search(text) and _is_of_matrix(operation, known):
        return _of_matrix(operation, text)
    return "launches" if operation[:3] in known.brief else "operators"


def _text(name: str) -> str:
    """The part of an operator's name that says what it does; of a kernel's all but its parameters."""
    if OPERATOR.fullmatch(name):
        return name.partition("::")[2].lower()
    return name.partition("<")[0].partition("(")[0].lower()


def _is_packed(operation: Operation, text: str) -> bool:
    foreign = OPERATOR.fullmatch(operation.name) and not operation.name.startswith(PLAIN)
    integers = any(numbers in INTEGERS for numbers in operation.numbers)
    return bool(foreign) or integers or "scaled_mm" in text or "pack" in text


def _is_of_matrix(operation: Operation, known: Known) -> bool:
    """Whether it goes through a whole matrix of weights, packed or not."""
    numbers = [*operation.numbers, *[""] * len(operation.shapes)]
    return any(
        prod(shape) * many in known.matrices
        for shape, form in zip(operation.shapes, numbers, strict=False)
        if shape
        for many in (PACKED if form in INTEGERS or form == LIST else PACKED[:1])
    )


def _of_matrix(operation: Operation, text: str) -> Kind:
    formats = {form for form in operation.numbers if form in FLOATS | INTEGERS}
    if CONVERSION.search(text) or (COPY.search(text) and len(formats) > 1) or formats & INTEGERS:
        return "conversions"
    return "copies" if COPY.search(text) else "matrix work"


class _Sums(NamedTuple):
    """Of one repetition."""

    seconds: Mapping[Kind, float]
    calls: Mapping[Kind, int]
    multiplications: int
    elements: int


def profiled(traces: Sequence[Trace], known: Known) -> Profiled:
    """Sums over one model's `traces`, one of each repetition."""
    sums = [_sums(trace, known) for trace in traces]
    kinds = sorted({kind for some in sums for kind in some.seconds})
    counted = sorted({kind for some in sums for kind in some.calls})
    return Profiled(
        wall_s=[trace.wall_s for trace in traces],
        kinds_s={kind: [some.seconds.get(kind, 0.0) for some in sums] for kind in kinds},
        by_rows_s=[_by_rows(trace) for trace in traces],
        calls={kind: fmean(some.calls.get(kind, 0) for some in sums) for kind in counted},
        multiplications=fmean(some.multiplications for some in sums),
        elements=fmean(some.elements for some in sums),
        operators=_longest(traces, known),
    )


def _sums(trace: Trace, known: Known) -> _Sums:
    waiting_s = min(trace.asleep_s, trace.between_s)
    seconds: defaultdict[Kind, float] = defaultdict(float)
    seconds |= {
        "launches": trace.launching_s,
        "outside operators": trace.between_s - waiting_s,
        "waiting": waiting_s,
        "untold": trace.untold_s,
    }
    calls: Counter[Kind] = Counter()
    multiplications = elements = 0
    for operation in trace.operations:
        what = kind(operation, known)
        seconds[what] += operation.seconds
        calls[what] += operation.calls
        if times := product(operation):
            multiplications += operation.calls * prod(times)
        elif what in ("conversions", "matrix work", "operators", "launches"):
            elements += operation.calls * _numbers(operation)
    return _Sums(seconds, calls, multiplications, elements)


def _numbers(operation: Operation) -> int:
    """That it goes through; 0 of what only looks at them otherwise."""
    text = _text(operation.name)
    if operation.name in PARTS or text in VIEWS or GATHER.search(text):
        return 0
    return max(map(prod, filter(None, operation.shapes)), default=0)


def _by_rows(trace: Trace) -> float:
    """Seconds of products that go with their rows: of each matrix that is met with few rows and with many,
    the line through both."""
    met: defaultdict[tuple[object, ...], list[tuple[int, int, float]]] = defaultdict(list)
    for operation in trace.operations:
        if what := product(operation):
            form = operation.name, operation.numbers, what.inner, what.outer
            met[form].append((what.rows, operation.calls, operation.seconds))
    return sum(map(_along_rows, met.values()))


def _along_rows(met: Iterable[tuple[int, int, float]]) -> float:
    """Of one matrix, by how many rows it was multiplied with."""
    points = sorted(met)
    (few, calls, seconds), (many, *more) = points[0], points[-1]
    if few == many:
        return 0.0
    slope = max(0.0, more[1] / more[0] - seconds / calls) / (many - few)
    return sum(min(spent, slope * rows * times) for rows, times, spent in points)


def _longest(traces: Sequence[Trace], known: Known) -> list[Operator]:
    """The `KEPT` of each kind, the longest first."""
    seconds: dict[tuple[Kind, str, str], list[float]] = {}
    calls: Counter[tuple[Kind, str, str]] = Counter()
    for place, trace in enumerate(traces):
        for each in trace.operations:
            numbers = " × ".join(form for form in each.numbers if form in FLOATS | INTEGERS)
            key = kind(each, known), each.name, numbers
            seconds.setdefault(key, [0.0] * len(traces))[place] += each.seconds
            calls[key] += each.calls
    kept: Counter[Kind] = Counter()
    found = []
    for key in sorted(seconds, key=lambda key: -sum(seconds[key])):
        what, name, numbers = key
        kept[what] += 1
        if kept[what] <= KEPT:
            many = calls[key] / len(traces)
            found.append(
                Operator(name=name, numbers=numbers, kind=what, calls=many, seconds=seconds[key])
            )
    return found
