"""Traces of requests: when each came and how long it was, as other services have written them down.

Three forms are read, told apart by their content: our own CSV (``time_s,prompt_tokens,output_tokens``), the
CSV of Azure's public traces of LLM inference (``TIMESTAMP,ContextTokens,GeneratedTokens``; P. Patel et al.,
ISCA 2024, arXiv 2311.18677), and the JSON lines of Mooncake's (``timestamp`` in ms, ``input_length``,
``output_length``; R. Qin et al., FAST 2025, arXiv 2407.00079). Lines that begin with # are comments.
"""

from __future__ import annotations

import csv
import json
import math
import random
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from statistics import median_low
from typing import Any, NamedTuple

from greenbench.errors import UserError
from greenbench.schema.load_spec import MOST_RATE

BURSTS = Path(__file__).with_name("bursts.csv")
LONGEST_S = 1e9
"""A trace is of days, not of decades; and far from this, times keep their digits."""
REMEDY = "give a CSV with the header time_s,prompt_tokens,output_tokens, an Azure CSV or a Mooncake JSONL"


class Row(NamedTuple):
    """One request."""

    at_s: float
    """Seconds after the first."""
    prompt_tokens: int
    output_tokens: int


class RequestTrace:
    """Requests in the order in which they came; after the last they begin again, at the same mean rate."""

    def __init__(self, rows: Sequence[Row], stretch: float = 1.0) -> None:
        """Of two `rows` or more, the first at 0 and the last later; all times are `stretch` times theirs."""
        self.rows = rows
        self._stretch = stretch
        self._turn_s = rows[-1].at_s * len(rows) / (len(rows) - 1)

    @property
    def period_s(self) -> float:
        """From the first request to when it comes again: a mean gap after the last."""
        return self._turn_s * self._stretch

    @property
    def rate(self) -> float:
        """Requests per second, on average."""
        return len(self.rows) / self.period_s

    @property
    def median_prompt(self) -> int:
        """Tokens of its middle prompt."""
        return median_low(row.prompt_tokens for row in self.rows)

    @property
    def median_output(self) -> int:
        """Tokens of its middle answer."""
        return median_low(row.output_tokens for row in self.rows)

    def at(self, rate: float) -> RequestTrace:
        """The same requests at another mean `rate`: all gaps grow or shrink alike."""
        return RequestTrace(self.rows, self._stretch * self.rate / rate)

    def endless(self, dice: random.Random) -> Iterator[Row]:
        """Its requests over and over, from a moment of it that `dice` choose, which is the new 0.

        The same dice choose the same request at every rate.
        """
        start_s = dice.random() * self._turn_s
        first = bisect_left(self.rows, start_s, key=lambda row: row.at_s)
        for turn in count():
            shift_s = turn * self._turn_s - start_s
            for row in self.rows[0 if turn else first :]:
                yield row._replace(at_s=(row.at_s + shift_s) * self._stretch)


def load(path: Path | None = None) -> RequestTrace:
    """The trace in the file at `path`, or the one that comes with GreenBench.

    Raises UserError, naming the line, for what cannot be read: no number, no token, a time before the last.
    """
    path = path or BURSTS
    try:
        with path.open(encoding="utf-8-sig") as file:
            rows = list(_rows(path.name, _lines(file)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"The trace {path.name} cannot be read ({why}): {REMEDY}.") from None
    if len(rows) < 2 or rows[-1].at_s == rows[0].at_s:
        raise UserError(
            f"The trace {path.name} needs two requests or more at different times, or it has no rate: "
            f"{REMEDY}."
        )
    return _bounded(path.name, [row._replace(at_s=row.at_s - rows[0].at_s) for row in rows])


def _bounded(name: str, rows: Sequence[Row]) -> RequestTrace:
    """The trace of `rows`, if its times are of a load that could be. Raises UserError."""
    if rows[-1].at_s > LONGEST_S:
        raise UserError(
            f"The trace {name} lasts {rows[-1].at_s:.3g} s, and {LONGEST_S:g} s is the most: see that its "
            "times are in the unit of its form, or cut it."
        )
    # So few seconds would have no rate that a float holds.
    if (len(rows) - 1) / MOST_RATE > rows[-1].at_s:
        raise UserError(
            f"The trace {name} has over {MOST_RATE:g} requests per second: see that its times are in the "
            "unit of its form, or stretch them."
        )
    return RequestTrace(tuple(rows))


class _Line(NamedTuple):
    number: int
    text: str


def _lines(file: Any) -> Iterator[_Line]:
    """What is neither empty nor a comment."""
    for number, text in enumerate(file, 1):
        if text.strip() and not text.startswith("#"):
            yield _Line(number, text.strip())


class _Form(NamedTuple):
    """How one kind of trace is written: its three columns, and how its times are."""

    time: str
    prompt: str
    output: str
    seconds: Callable[[Any], float]
    example: str


def _since_1970(text: Any) -> float:
    """In Azure's form, whose year of 2024 says its zone and that of 2023 does not."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


OURS = _Form("time_s", "prompt_tokens", "output_tokens", float, "12.5")
AZURE = _Form(
    "TIMESTAMP", "ContextTokens", "GeneratedTokens", _since_1970, "2023-11-16 18:17:03.9799600"
)
MOONCAKE = _Form(
    "timestamp", "input_length", "output_length", lambda ms: float(ms) / 1000, "12500 (ms)"
)


def _rows(name: str, lines: Iterator[_Line]) -> Iterator[Row]:
    """All requests, at the times that the file says."""
    first = next(lines, None)
    if first is None:
        raise UserError(f"The trace {name} has no requests: {REMEDY}.")
    if first.text.startswith("{"):
        read = _read(name, MOONCAKE, _objects(name, chain([first], lines)))
    else:
        header = _cells(first.text)
        form = next((each for each in (OURS, AZURE) if set(each[:3]) <= set(header)), None)
        if form is None:
            raise UserError(f"The trace {name} has a header of no known form: {REMEDY}.")
        cut = ((n, dict(zip(header, _cells(text), strict=False))) for n, text in lines)
        read = _read(name, form, cut)
    yield from read


def _cells(text: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([text]))]


def _objects(name: str, lines: Iterator[_Line]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, text in lines:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):  # brackets within brackets
            found = None
        if not isinstance(found, dict):
            raise UserError(
                f"Line {number} of the trace {name} is no JSON object: write one request a line, or "
                "leave it out."
            )
        yield number, found


def _read(name: str, form: _Form, numbered: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[Row]:
    last_s = -math.inf
    for number, fields in numbered:
        where = f"Line {number} of the trace {name}"
        row = Row(
            _time_s(where, form, fields.get(form.time)),
            _tokens(where, form.prompt, fields.get(form.prompt)),
            _tokens(where, form.output, fields.get(form.output)),
        )
        if row.at_s < last_s:
            raise UserError(f"{where} is earlier than the line before it: sort it by time.")
        yield row
        last_s = row.at_s


def _time_s(where: str, form: _Form, value: Any) -> float:
    try:
        seconds = form.seconds(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if isinstance(value, bool) or not math.isfinite(seconds):
        raise UserError(
            f"{where} has the {form.time} {value!r}, which is no time: write it as in {form.example}."
        )
    return seconds


def _tokens(where: str, column: str, value: Any) -> int:
    try:
        tokens = float(value)
    except (TypeError, ValueError, OverflowError):
        tokens = math.nan
    if isinstance(value, bool) or not (tokens >= 1 and tokens.is_integer()):
        raise UserError(
            f"{where} has {column} {value!r}: allowed is a whole number, 1 or more; leave out what is "
            "no request."
        )
    return int(tokens)
