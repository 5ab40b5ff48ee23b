"""Tries every technique on a tiny checkpoint of every architecture and writes docs/architectures.md.

``python tools/matrix.py``, or ``make matrix``; `tests/techniques/test_matrix.py` holds the page to it.
"""

from __future__ import annotations

import gc
import logging
import os
import re
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from helpers.architectures import DECODERS, checkpoint, small_tokenizer
from helpers.matrix import TABLE, cell, techniques

CLASS = re.compile(r"\b[A-Z]\w+(ForCausalLM|LMHeadModel)\b")

HEAD = """\
# Architectures and techniques

Every technique that runs on a CPU, on a tiny checkpoint of every architecture here: transformers' own class,
random weights in float32, four blocks, a real tokenizer; what `compile` traces runs uncompiled. `make matrix`
writes this page, `pytest -m matrix` holds it to what happens.

- **A share**: it runs, and changed so much of the weights in the blocks' matrices, compared before and after.
- **✓**: it runs, and is of a kind that changes no weights.
- **–**: it is refused, in one sentence, before any weights are read; below.

Lossless techniques gave the tokens of the plain model in every cell where they run.
"""


def main() -> None:
    """Write the page; minutes."""
    logging.disable(logging.WARNING)  # of libraries, many a cell
    names, rows = techniques(), {}
    said: dict[tuple[str, str], list[str]] = defaultdict(list)
    tokenizer = small_tokenizer()
    gc.freeze()  # each cell collects, and what is imported is no garbage
    with tempfile.TemporaryDirectory() as work:
        for number, kind in enumerate(DECODERS, 1):
            directory = checkpoint(kind, tokenizer, Path(work) / kind)
            row = {name: cell(directory, name) for name in names}
            rows[kind] = row
            for name, each in row.items():
                if each.refused:
                    said[name, _without_names(each.refused)].append(kind)
            print(f"{number} of {len(DECODERS)}: {kind}", file=sys.stderr, flush=True)
    lines = [HEAD, _line(["architecture", *names]), _line(["---"] * (len(names) + 1))]
    lines += [_line([kind, *map(str, row.values())]) for kind, row in rows.items()]
    lines += ["", "## Refused", ""]
    lines += [f"- {', '.join(kinds)}: {text}" for (_, text), kinds in sorted(said.items())]
    TABLE.write_text("\n".join(lines) + "\n")


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _without_names(sentence: str) -> str:
    """The same for all kinds."""
    return CLASS.sub("CLASS", sentence)


if __name__ == "__main__":
    main()
