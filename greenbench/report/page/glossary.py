"""Which entry of the page's glossary each heading leads to; the entries stand in page.html."""

from __future__ import annotations

from html import escape
from typing import Final

TERMS: Final = (
    ("p, ", "p"),
    ("interval", "interval"),
    ("verdict", "verdict"),
    ("frontier", "frontier"),
    ("energy label", "label"),
    ("both eager", "eager"),
    ("how sure", "sure"),
    ("provenance", "provenance"),
    ("idle", "idle"),
    ("bits per byte", "bits"),
    ("preparation", "preparation"),
    ("pays back", "preparation"),
    ("queries", "impact"),
    ("roofline", "roofline"),
    ("candidate, %", "roofline"),
    ("per output token", "latency"),
    ("first token", "latency"),
    ("solved", "solved"),
    ("←", "bar"),
    ("ratio", "ratio"),
    ("baseline =", "ratio"),
    ("point", "quality"),
    ("quality", "quality"),
    ("J/token", "energy"),
    ("tokens/s", "speed"),
    ("MB", "bytes"),
    ("share of the baseline", "bytes"),
    ("technique", "technique"),
    ("tier", "tier"),
)
"""The first that a heading has in it counts."""
PLAIN: Final = ("choose", "where", "model, device, workload", "outcome", "what disturbed it", "why")
"""Headings that need no entry."""


def term(heading: str) -> str | None:
    """The entry that says what `heading` means; null for plain words."""
    return next((name for words, name in TERMS if words in heading), None)


def link(heading: str) -> str:
    """A link to that entry, as HTML; nothing for plain words."""
    name = None if heading in PLAIN else term(heading)
    what = escape(f"What {heading} means", quote=True)
    return f'<a class="term" href="#term-{name}" aria-label="{what}">?</a>' if name else ""
