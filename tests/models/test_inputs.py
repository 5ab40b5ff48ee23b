"""Whole contents are hashed, once: what is known is trusted only where no change can hide."""

import json
import os
import time
from importlib import metadata

import pytest
from blake3 import blake3

from greenbench.errors import UserError
from greenbench.models import inputs

LARGE = 3 * inputs.LARGE_BYTES
OLD_NS = 10 * inputs.SETTLED_NS


@pytest.fixture
def reads(monkeypatch):
    """Files that are really read."""
    seen = []

    def counting(*args, **kwargs):
        seen.append(kwargs)
        return blake3(*args, **kwargs)

    counting.AUTO = blake3.AUTO
    monkeypatch.setattr(inputs, "blake3", counting)
    return lambda: sum("max_threads" in kwargs for kwargs in seen)


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(LARGE))
    return path


@pytest.fixture
def later(monkeypatch):
    """As if the files had been left alone for a while."""
    now_ns = time.time_ns
    monkeypatch.setattr(inputs.time, "time_ns", lambda: now_ns() + OLD_NS)


def test_a_digest_is_blake3_of_the_whole_content(file, tmp_path):
    assert inputs.digest(file) == blake3(file.read_bytes()).hexdigest()
    (tmp_path / "empty").touch()
    assert inputs.digest(tmp_path / "empty") == blake3(b"").hexdigest()


@pytest.mark.usefixtures("later")
def test_a_large_file_is_read_once(file, reads, tmp_path):
    first = inputs.digest(file)
    assert inputs.digest(file) == first
    (tmp_path / "link").symlink_to(file)  # as a hub's snapshot is made of
    assert inputs.digest(tmp_path / "link") == first
    assert reads() == 1


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("restored", [False, True])
def test_one_changed_byte_anywhere_shows_even_where_size_and_times_are_put_back(file, restored):
    before, times = inputs.digest(file), file.stat()
    with file.open("r+b") as stream:
        stream.seek(LARGE // 2 + 12345)
        stream.write(bytes([stream.read(1)[0] ^ 1]))
    if restored:
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file.stat().st_size == times.st_size
    assert inputs.digest(file) != before


@pytest.mark.usefixtures("later")
def test_another_file_in_its_place_shows(file, tmp_path):
    before, times = inputs.digest(file), file.stat()
    other = tmp_path / "other"
    other.write_bytes(os.urandom(LARGE))
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(file)
    assert inputs.digest(file) != before


def test_what_was_written_just_now_is_not_remembered(file, reads):
    """Its next change might keep its times, on a file system whose clock is coarse."""
    inputs.digest(file)
    inputs.digest(file)
    assert reads() == 2


@pytest.mark.usefixtures("later")
def test_what_is_kept_is_whole_tells_no_path_and_can_be_spoilt(file, reads, tmp_path):
    first = inputs.digest(file)
    (note,) = (tmp_path / "cache" / "digests").iterdir()
    assert str(tmp_path) not in note.name + note.read_text()
    for spoilt in (b"", b"{", b"[]", b"{}", json.dumps([1, 2, "x"]).encode()):
        note.write_bytes(spoilt)
        assert inputs.digest(file) == first
    assert reads() == 6


@pytest.mark.usefixtures("later")
def test_without_a_place_to_keep_it_it_is_read_again(file, reads, monkeypatch, tmp_path):
    (tmp_path / "no-folder").touch()
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "no-folder"))
    assert inputs.digest(file) == inputs.digest(file)
    assert reads() == 2


def test_a_file_that_changes_while_it_is_read_or_cannot_be_read_is_one_sentence(
    file, monkeypatch, tmp_path
):
    with pytest.raises(UserError, match="cannot be read") as error:
        inputs.digest(tmp_path / "absent")
    assert "\n" not in str(error.value)
    states = iter([[LARGE, 1, 1, 1, 1], [LARGE, 2, 2, 1, 1]])
    monkeypatch.setattr(inputs, "_state", lambda path: next(states))
    with pytest.raises(UserError, match="being written"):
        inputs.digest(file)


def test_a_tree_is_its_names_and_contents_and_not_its_place(tmp_path):
    for folder, text in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text(text)
    a, b, c = (inputs.tree({"file": tmp_path / folder / "file"}) for folder in "abc")
    assert a == b != c
    assert inputs.tree({"other": tmp_path / "a" / "file"}) != a


@pytest.mark.parametrize("name", ["torch", "transformers", "tokenizers", "lm-eval", "Jinja2"])
def test_every_package_that_computes_has_its_version(name, monkeypatch):
    before, version = inputs.packages(), metadata.version
    assert before[name] == version(name)
    monkeypatch.setattr(
        metadata, "version", lambda asked: version(asked) + ("+1" * (asked == name))
    )
    assert inputs.packages() == before | {name: version(name) + "+1"}


def test_greenbench_and_python_count_and_what_is_not_installed_does_not():
    found = inputs.packages(["no-such-package", "hydra-core"])
    assert {"python", "greenbench", "hydra-core"} <= set(found)
    assert "no-such-package" not in found


def test_a_plug_ins_code_counts_all_of_its_package_and_ours_does_not(tmp_path, monkeypatch):
    from greenbench.techniques.pruning.depth import PruneDepth

    (tmp_path / "outer").mkdir()
    (tmp_path / "outer" / "__init__.py").touch()
    (tmp_path / "outer" / "inner.py").write_text("class Technique: ...")
    helper = tmp_path / "outer" / "helper.py"
    helper.write_text("FACTOR = 1")
    (tmp_path / "alone.py").write_text("class Technique: ...")
    monkeypatch.syspath_prepend(tmp_path)
    import alone
    from outer import inner

    parts = (PruneDepth(), alone.Technique(), inner.Technique(), None)
    before = inputs.plugins(*parts)
    assert set(before) == {"alone", "outer"}
    helper.write_text("FACTOR = 2")
    after = inputs.plugins(*parts)
    assert after["outer"] != before["outer"]
    assert after["alone"] == before["alone"]
