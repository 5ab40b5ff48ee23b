"""The energy label as a picture."""

from __future__ import annotations

from html import escape

from greenbench.analysis.energy.energy_label import label
from greenbench.analysis.groups.rows import Row
from greenbench.wording import file_stem, plain, short

COLOURS = {
    "A": "#00783c", "B": "#4b9b2f", "C": "#a3b81f", "D": "#e0b000", "E": "#e58700", "F": "#d95f0e",
    "G": "#b2182b", "": "#666666",
}  # fmt: skip


def file_name(row: Row) -> str:
    """Where the report keeps the picture, from the leaderboard's place."""
    return f"labels/{file_stem(row.name)}.svg"


def svg(row: Row) -> str:
    """The label as a small picture with its text for screen readers."""
    found = label(row)
    letter = found.letter or "–"
    said = escape(f"{row.label}: energy label {found.letter or 'withheld'}, {found.reason}")
    colour = COLOURS[found.letter]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="240" height="56" role="img" '
        f'aria-label="{said}"><title>{said}</title>'
        '<rect width="240" height="56" rx="6" fill="#ffffff" stroke="#333333"/>'
        f'<path d="M6 6h40l14 22-14 22H6z" fill="{colour}"/>'
        '<text x="26" y="39" font-family="sans-serif" font-size="30" font-weight="bold" '
        f'fill="#ffffff" text-anchor="middle">{letter}</text>'
        '<text x="70" y="25" font-family="sans-serif" font-size="13" fill="#111111">'
        f"{escape(short(row.label, 22))}</text>"
        '<text x="70" y="43" font-family="sans-serif" font-size="10" fill="#333333">'
        f"{escape(plain(found.reason, 30))}</text></svg>\n"
    )
