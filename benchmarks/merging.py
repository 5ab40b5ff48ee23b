"""How long `greenbench merge` and `verify` take, on generated records of many folders.

    python benchmarks/merging.py [--records 2000] [--folders 40]

The records are those of `reporting.py`. One in ten is in two folders, one in twenty has the key of another
and other readings, as a second session has, and one in forty is broken: cut short, changed by hand or of no
schema. Nothing of them is in the cache before. The goals, of two cores: 2,000 records merged in 10 s, and
verified in a minute.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from reporting import _fill, _templates, resealed


def main() -> int:
    """Generate, merge, verify and print; the exit status is 0 whatever it takes, as machines are busy."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--folders", type=int, default=40)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folders = _spread(Path(work), arguments.records, arguments.folders)
        output = Path(work) / "all"
        for words in (["merge", *map(str, folders), "-o", str(output)], ["verify", str(output)]):
            seconds, said = _timed(words, Path(work) / "cache")
            print(f"{words[0]}: {seconds:.1f} s. {said}")
    return 0


def _spread(work: Path, records: int, folders: int) -> list[Path]:
    """Folders of records, as the heading says."""
    made = work / "made"
    made.mkdir()
    _fill(made, list(_templates()), records)
    dice = random.Random(0)
    places = [work / f"machine{number}" / "records" for number in range(folders)]
    for place in places:
        place.mkdir(parents=True)
    for number, file in enumerate(sorted((made / "records").glob("*.json"))):
        first, second = dice.sample(places, 2)
        data = file.read_bytes()
        (first / file.name).write_bytes(_broken(data, number) if number % 40 == 39 else data)
        if number % 10 == 5:
            (second / file.name).write_bytes(data)
        if number % 20 == 7:
            later = data.decode().replace('"started_at": "20', '"started_at": "21', 1)
            with suppress(ValueError):  # one that was cut short
                (second / file.name).write_text(resealed(later))
    return [place.parent for place in places]


def _broken(data: bytes, number: int) -> bytes:
    kinds = (data[: len(data) // 2], data.replace(b'"value": 0.', b'"value": 0.9', 1), b"{}")
    return kinds[number // 40 % 3]


def _timed(words: list[str], cache: Path) -> tuple[float, str]:
    begin_s = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "greenbench", *words],
        env=os.environ | {"GREENBENCH_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    return time.perf_counter() - begin_s, (done.stdout.splitlines() or [done.stderr])[-1]


if __name__ == "__main__":
    sys.exit(main())
