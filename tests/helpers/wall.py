"""A wall meter's log that grows while a test runs."""

import threading
from contextlib import contextmanager
from datetime import UTC, datetime


@contextmanager
def growing_log(path, power_w):
    """A box that always draws the same: `path` gains a row every tenth of a second."""
    path.write_text("timestamp,watts\n")
    over = threading.Event()

    def log():
        with path.open("a", buffering=1) as file:
            while True:
                file.write(f"{datetime.now(UTC).isoformat()},{power_w}\n")
                if over.wait(0.1):
                    return

    thread = threading.Thread(target=log)
    thread.start()
    try:
        yield path
    finally:
        over.set()
        thread.join()
