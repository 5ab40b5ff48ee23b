"""Two sets of runs compared, as markdown and as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from greenbench.analysis.choices.change import Change, Pairing, shown
from greenbench.report.markdown.format import Column, code, prose, table
from greenbench.wording import plain

LONG = 4000


class _Line(NamedTuple):
    name: str
    change: Change


COLUMNS: list[Column[_Line]] = [
    Column("technique", lambda line, _: code(line.name)),
    Column("what", lambda line, _: line.change.metric),
    Column("B over A", lambda line, _: shown(line.change)),
    Column("verdict", lambda line, _: line.change.verdict),
    Column("why", lambda line, _: prose(line.change.why)),
]


def as_markdown(
    found: Sequence[Pairing], broken: Sequence[str] = (), unjudged: Sequence[str] = ()
) -> str:
    """A table for a pull request's comment."""
    lines = table([_Line(p.name, change) for p in found for change in p.changes], COLUMNS)
    apart = [f"{p.name} {_apart(p)}" for p in found if p.differs]
    return "\n".join(
        ["### GreenBench: B against A", "", *lines, "", *map(prose, [*apart, *broken, *unjudged])]
    ).rstrip()


def as_text(
    found: Sequence[Pairing], broken: Sequence[str] = (), unjudged: Sequence[str] = ()
) -> str:
    """The same for a terminal."""
    lines = []
    for pairing in found:
        lines.append(plain(pairing.name))
        lines += [f"  {plain(_apart(pairing), LONG)}"] if pairing.differs else []
        lines += [f"  {c.metric:8} {shown(c):34} {c.verdict}: {c.why}" for c in pairing.changes]
    return "\n".join([*lines, *(plain(said, LONG) for said in (*broken, *unjudged))])


def _apart(pairing: Pairing) -> str:
    return (
        "has no verdict, as only runs of one setting are compared (protocol, rule 5) and these differ "
        f"in {'; '.join(pairing.differs)}."
    )
