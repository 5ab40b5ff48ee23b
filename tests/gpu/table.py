"""A table in markdown of what pytest has found in each part; what was not reached is not there."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

BEGUN = re.compile(
    r"^tests/\S+?::(?P<name>.+?) *"
    r"(?P<outcome>\b(?:PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b.*)?$"
)
"""A line of ``pytest -v``: whole, or as far as it had come."""

BAR = r"\|"


class Row(NamedTuple):
    """One test."""

    name: str
    outcome: str
    seconds: str = ""
    why: str = ""


def lines(folder: Path) -> Iterator[str]:
    """The table of the parts in `folder`, and above it what the tests ran on."""
    device = (folder / "device.txt").read_text().strip()
    yield f"On {device or 'a device that did not answer'}:"
    yield ""
    yield "| test | outcome | s | why |"
    yield "|---|---|---|---|"
    for log in sorted(folder.glob("*.log")):
        for row in part(log):
            yield f"| {' | '.join(cell.replace('|', BAR) for cell in row)} |"


def part(log: Path) -> list[Row]:
    """What its XML says, or its log where pytest was killed before it wrote any."""
    try:
        cases = ET.parse(log.with_suffix(".xml")).getroot().iter("testcase")
    except (OSError, ET.ParseError):
        return list(logged(log.read_text(errors="replace")))
    return [reported(case) for case in cases]


def reported(case: ET.Element) -> Row:
    """A test of JUnit's XML."""
    found = next((each for each in case if each.tag in ("failure", "error", "skipped")), None)
    message = "" if found is None else (found.get("message") or "")
    why = next(iter(message.splitlines()), "")[:160]
    outcome = "passed" if found is None else found.tag
    return Row(str(case.get("name")), outcome, f"{float(case.get('time', 0)):.0f}", why)


def logged(text: str) -> Iterator[Row]:
    """The tests of a log, of which the last may not have ended."""
    for found in filter(None, map(BEGUN.match, text.splitlines())):
        outcome = found["outcome"]
        if outcome is None:
            yield Row(found["name"], "hung", why="it was killed when the time was over")
        else:
            yield Row(found["name"], outcome.split()[0].lower())


def device() -> str:
    """The GPU with its driver, and the torch."""
    import torch

    if not torch.cuda.is_available():
        return f"no GPU, torch {torch.__version__}"
    import pynvml

    pynvml.nvmlInit()
    driver = pynvml.nvmlSystemGetDriverVersion()
    return f"{torch.cuda.get_device_name()}, driver {driver}, torch {torch.__version__}"


if __name__ == "__main__":
    (what,) = sys.argv[1:]
    print(device() if what == "device" else "\n".join(lines(Path(what))))
