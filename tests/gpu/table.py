"""A table in markdown of what pytest has found, from its JUnit files; what was not reached is not there."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET


def lines(files: Sequence[Path]) -> Iterator[str]:
    """The table, and above it what the tests ran on."""
    yield f"On {device()}:"
    yield ""
    yield "| test | outcome | s | why |"
    yield "|---|---|---|---|"
    for file in files:
        for case in ET.parse(file).getroot().iter("testcase"):
            found = next(
                (each for each in case if each.tag in ("failure", "error", "skipped")), None
            )
            outcome = "passed" if found is None else found.tag
            why = (
                ""
                if found is None
                else (found.get("message") or "").splitlines()[0].replace("|", "\\|")
            )
            yield f"| {case.get('name')} | {outcome} | {float(case.get('time', 0)):.0f} | {why[:160]} |"


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
    print("\n".join(lines([Path(name) for name in sys.argv[1:]])))
