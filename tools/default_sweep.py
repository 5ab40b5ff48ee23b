"""Print the sweep that `make bench` runs here; exit 1, with a sentence, where a GPU would go unused."""

from __future__ import annotations

import argparse
import sys

from greenbench.errors import Unsupported
from greenbench.machine.detect import detect_used
from greenbench.schema.enums import Device


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("device", choices=[each.value for each in Device])
    try:
        found = detect_used(Device(parser.parse_args().device))
    except Unsupported as error:
        print(f"make: {error}", file=sys.stderr)
        return 1
    print("frontier-cpu" if found.device == "cpu" else "frontier-gpu")
    return 0


if __name__ == "__main__":
    sys.exit(main())
