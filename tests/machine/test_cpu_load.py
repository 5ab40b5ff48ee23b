"""Who else computes, and what this run holds."""

import subprocess
import sys

import psutil

from greenbench.machine import cpu_load


def test_a_neighbour_on_the_cpu_is_seen_and_the_run_itself_is_not():
    start = cpu_load.Usage(0.0, 100.0, 50.0, 2000.0)
    cores = psutil.cpu_count()
    assert cpu_load.codes(start, cpu_load.Usage(10.0, 110.0, 60.0, 2000.0)) == []
    assert cpu_load.codes(start, cpu_load.Usage(10.0, 100.0 + 5.0 * cores, 50.0, 2000.0)) == [
        "other_load"
    ]
    slow = cpu_load.Usage(10.0, 100.0, 50.0, 1800.0)
    assert cpu_load.codes(start, slow) == ["cpu_frequency_change"]


def test_a_window_that_began_or_ended_on_the_battery_says_so():
    plugged, loose = (cpu_load.Usage(0.0, 0.0, 0.0, None, battery) for battery in (False, True))
    found = [
        cpu_load.codes(*edges) for edges in ((plugged, plugged), (loose, plugged), (plugged, loose))
    ]
    assert found == [[], ["on_battery"], ["on_battery"]]


FREED = """
import os
from greenbench.machine import memory

big = bytearray(os.urandom(1)) * (1 << 29)
high = memory.host_peak_bytes([os.getpid()])
del big
memory.reset_peaks([os.getpid()])
print(high - memory.host_peak_bytes([os.getpid()]))
"""


def test_a_new_high_water_mark_forgets_what_was_freed():
    """In a process of its own: one that runs tests has freed so much that it needs no more for 512 MiB."""
    done = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 1 << 28
