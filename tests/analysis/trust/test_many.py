"""Many records by all CPUs, few by this process alone, and the same either way."""

import json
import os
import subprocess
import sys

from helpers import sound

from greenbench.analysis.trust.checked import load
from greenbench.records.store import Store, canonical

PROGRAM = """
import json, os, sys, threading
from pathlib import Path
from greenbench.analysis.trust import checked, many

many.FEW, many.allowance.threads = 3, lambda: 2
mine, restated = [], checked.restated
checked.restated = lambda record: mine.append(record) or restated(record)  # in a fork, the fork's list

def whose(file):
    return os.getpid() == parent

parent, some = os.getpid(), [Path(str(number)) for number in range(40)]
told = {"many": any(many.each(whose, some)), "few": all(many.each(whose, some[:5]))}
records, rejected = checked.load([Path(sys.argv[1])])
told |= {"here": len(mine), "records": [record.name for record in records], "no": len(rejected)}
done = threading.Event()
other = threading.Thread(target=done.wait)
other.start()
told["beside a thread"] = all(many.each(whose, some))
done.set()
print(json.dumps(told))
"""


def test_many_are_looked_at_by_other_processes_and_few_by_none(tmp_path, monkeypatch):
    for name in "abcdefg":
        Store(tmp_path).write(sound.run(name, 0.9))
    (tmp_path / "records" / "cut.json").write_bytes(canonical(sound.run("h", 0.9))[:-9])
    environment = os.environ | {"GREENBENCH_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert told | {"records": None} == {
        "many": False, "few": True, "here": 0, "records": None, "no": 1, "beside a thread": True,
    }  # fmt: skip
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "another"))
    assert told["records"] == [record.name for record in load([tmp_path]).records]
