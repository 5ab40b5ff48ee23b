"""Print the sweeps that `make bench` runs here; exit 1, with a sentence, where a GPU would go unused."""

from __future__ import annotations

import argparse
import sys

from greenbench.errors import UserError
from greenbench.machine.detect import detect_used
from greenbench.schema.ranges import require_device


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("device")
    try:
        device = parser.parse_args().device
        require_device(device)
        found = detect_used(device)
    except UserError as error:
        print(f"make: {error}", file=sys.stderr)
        return 1
    print("frontier-cpu" if found.device == "cpu" else "first-gpu frontier-gpu")
    return 0


if __name__ == "__main__":
    sys.exit(main())
