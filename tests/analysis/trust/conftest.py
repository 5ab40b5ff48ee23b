"""A results directory with a sound record beside the one that lies, and a cache of the test's own."""

import pytest
from helpers import sound

from greenbench.records.store import Store


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """One of the test's own."""
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def results(tmp_path):
    """A results directory with one sound record."""
    Store(tmp_path / "results").write(sound.run("other", 0.9))
    return tmp_path / "results"
