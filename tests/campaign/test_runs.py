"""What is imported before a run is."""

import subprocess
import sys

from greenbench.campaign.runs import PRELOAD

SPY = f"""
import importlib, torch
def spy(name):
    def looked(*_):
        raise SystemExit(name)
    return looked
for name in ("is_available", "device_count", "_lazy_init", "get_device_capability"):
    setattr(torch.cuda, name, spy(name))
for module in {PRELOAD}:
    importlib.import_module(module)
"""
ABROAD = """
import sys, greenbench.campaign.sweep, greenbench.campaign.bench
print([name for name in ("torch", "transformers", "lm_eval", "scipy.stats") if name in sys.modules])
"""


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_what_workers_are_forked_from_has_not_looked_at_a_gpu():
    """CUDA does not outlive a fork."""
    done = python(SPY)
    assert done.returncode == 0, done.stderr


def test_a_sweep_itself_loads_nothing_heavy():
    assert python(ABROAD).stdout == "[]\n"
