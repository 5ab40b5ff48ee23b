"""What the codes of windows and runs mean, in plain words."""

from __future__ import annotations

from collections import Counter

from greenbench.report.markdown.format import code
from greenbench.schema.codes import meaning
from greenbench.schema.record import Record


def counted(record: Record) -> dict[str, str]:
    """The run's codes, or its windows' where it has none, with how many windows have each, in words."""
    counts = Counter(found for window in record.windows for found in window.codes)
    return {
        found: _count(counts[found], len(record.windows))
        for found in record.codes or sorted(counts)
    }


def explained(record: Record) -> str:
    """The same in a sentence, each code with its meaning."""
    parts = [f"{code(found)}{count}: {meaning(found)}" for found, count in counted(record).items()]
    return "; ".join(parts) or "no code was recorded"


def _count(windows: int, of: int) -> str:
    return f" in {windows} of {of} windows" if windows else ""
