"""``index.html``: one file with everything in it, that opens from disk and asks no network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any, Final

from greenbench.analysis.groups.rows import Group
from greenbench.analysis.groups.selection import Crowd
from greenbench.analysis.impact import Assumptions
from greenbench.analysis.training.table import by_budget
from greenbench.report.markdown.sections.selection import notice
from greenbench.report.page import still
from greenbench.report.page.data import page_data
from greenbench.schema.record import Record

if TYPE_CHECKING:
    from greenbench.records.store import Rejected

LIBRARIES: Final = (
    ("d3-7.9.2.min.js", "d3-LICENSE.txt"),
    ("plot-0.6.17.min.js", "plot-LICENSE.txt"),
)
"""Observable Plot and the d3 that it draws with, as published, with their licences (both ISC)."""
OURS: Final = (
    "base.js",
    "numbers.js",
    "tables.js",
    "solved.js",
    "figure.js",
    "run.js",
    "load.js",
    "compare.js",
    "main.js",
)
_ESCAPES: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


PLACES: Final = ("@ANSWERS@", "@TABLES@", "@TOGETHER@", "@TRAINED@", "@DATA@")
"""What the records fill, in this order."""


def page(
    groups: Sequence[Group],
    records: Sequence[Record],
    rejected: Sequence[Rejected],
    given: Assumptions,
    crowd: Crowd | None = None,
) -> bytes:
    """The whole page; the same bytes for the same records, whatever their order."""
    parts = (
        still.answers(
            groups, [line for line in notice(crowd) if line] if crowd else [], len(records)
        ),
        still.tables(groups),
        still.together(groups),
        still.trained(groups, by_budget(records), given.tokens_served),
        embedded(page_data(groups, records, rejected, given)),
    )
    first, *rest = _frame()
    filled = (part + after for part, after in zip(parts, rest, strict=True))
    return "".join([first, *filled]).encode()


def embedded(data: Any) -> str:
    """`data` as JSON that no string in it can end: it is ASCII without ``<``, ``>`` and ``&``."""
    text = json.dumps(data, separators=(",", ":"), sort_keys=True, allow_nan=False)
    return text.translate(_ESCAPES)


@cache
def _frame() -> list[str]:
    """The page around what the records fill: template, style and scripts, put together once."""
    scripts = [f"/*\n{_asset(text)}*/\n{_asset(name)}" for name, text in LIBRARIES]
    scripts.append(f"(() => {{\n{''.join(map(_asset, OURS))}}})();")
    answers, tables, together, trained, data = PLACES
    text = Template(_asset("page.html")).substitute(
        policy="; ".join(_policy(scripts)),
        style=_asset("page.css"),
        answers=answers,
        tables=tables,
        together=together,
        trained=trained,
        data=data,
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )
    return re.split("|".join(PLACES), text)


def _policy(scripts: Sequence[str]) -> list[str]:
    """Content Security Policy: nothing is loaded, and no script runs but these, by their hashes."""
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return [
        "default-src 'none'",
        f"script-src {hashes}",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def _asset(name: str) -> str:
    return (files("greenbench.report.page") / "assets" / name).read_text(encoding="utf-8")
