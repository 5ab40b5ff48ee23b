"""Tables and runs whose truth is planted: 300 W and 210 W on the imaginary GPU, 60 W of them idle."""

from pathlib import Path
from typing import Any

import yaml

from greenbench.analysis.reproduction.judge import Judged, judged
from greenbench.analysis.reproduction.tables import Table, read
from helpers import sound

GROSS, NET = 0.7, (0.7 * 300 - 60) / (300 - 60)
LEVEL_J = 3.0
"""Of the baseline, per token."""
SOURCE = {"title": "t", "authors": "a", "year": 2026, "link": "l", "where": "w", "seen": "s"}
COMMON: dict[str, Any] = {
    "metric": "energy_per_token", "basis": "gross", "model": "Org/smollm2-135m",
    "device": "Imaginary GPU", "engine": "transformers", "arrivals": "closed", "batch": 1,
    "technique": "saver", "prompt_tokens": 64, "output_tokens": 32,
}  # fmt: skip


def table(tmp_path: Path, *rows: dict[str, Any], **common: Any) -> Table:
    """Of a file, with what rows share."""
    place = tmp_path / "planted.yaml"
    shared = {name: value for name, value in (COMMON | common).items() if value is not None}
    content = {"claims": "it saves", "source": SOURCE, "common": shared, "rows": list(rows)}
    place.write_text(yaml.safe_dump(content))
    return read(place)


def judge(tmp_path: Path, row: dict[str, Any], *records: Any, **common: Any) -> Judged:
    """One row against runs: by default the one of the saver."""
    (found,) = judged(table(tmp_path, row, **common), records or [sound.run()])
    return found
