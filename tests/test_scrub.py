"""What scrub removes, what it keeps."""

from __future__ import annotations

import getpass
import os
import socket
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenbench.scrub import HIDDEN, scrub

WORD = st.text(string.ascii_letters + string.digits + "_-.", min_size=1).filter(
    lambda word: word.strip(".")
)
PIECES = st.lists(
    st.sampled_from(["/", "a", "b.py", "'", '"', " ", "~", ".", "-I", "<", ">", ":", "=", "\\n"])
    | st.sampled_from(["hf_", "A1b2C3d4", "bearer ", "https://", "file://", "@", "janedoe7", "\n"])
    | st.sampled_from(["/home/Jane Doe", "correct-horse/battery+staple", "nodule9", "\udcff"])
).map("".join)
SECRET = st.text(string.ascii_letters + string.digits + "/+=", min_size=8)


@pytest.fixture(autouse=True)
def _owner(monkeypatch):
    """An owner whose names occur in no other word of these tests."""
    monkeypatch.setattr(getpass, "getuser", lambda: "janedoe7")
    monkeypatch.setattr(socket, "gethostname", lambda: "nodule9.cluster.example")
    monkeypatch.setenv("HOME", "/home/Jane Doe")
    monkeypatch.setenv("HUB_TOKEN", "correct-horse/battery+staple")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ('File "/usr/lib/python3/torch/nn.py", line 3', 'File "nn.py", line 3'),
        ("cannot open '/data/my models/x y.bin'", "cannot open 'x y.bin'"),
        ("/opt/a/b.cpp:12: error in /opt/a/c.h", "b.cpp:12: error in c.h"),
        ("gcc -I/opt/cuda/include -L/opt/cuda/lib64/", "gcc -Iinclude -Llib64"),
        (r"b'Traceback\n/srv/x/y.py'", r"b'Traceback\ny.py'"),
        ("PATH=/usr/bin:/opt/z/bin", "PATH=bin:bin"),
        ("~/work/x.py and ~other/work/y.py", "x.py and y.py"),
        ("file:///srv/models/x", "file:x"),
        ("at /home/Jane Doe/models/x.py", "at x.py"),
        ("in /home/Jane Doe", "in ~"),
        ("janedoe7@nodule9.cluster.example: janedoe7_cache", f"{HIDDEN}@{HIDDEN}: {HIDDEN}_cache"),
        ("token=hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345", f"token={HIDDEN}"),
        ("key sk-proj-0123456789abcdef.", f"key {HIDDEN}."),
        ("ghp_0123456789abcdefghij0123456789", HIDDEN),
        ("Authorization: Bearer abc.def-ghi==", f"Authorization: {HIDDEN}"),
        ("https://me:pw@hub.example/x", f"https://{HIDDEN}@hub.example/x"),
        ("password correct-horse/battery+staple!", f"password {HIDDEN}!"),
    ],
)
def test_removes(text, clean):
    assert scrub(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "12.5 J/token, and/or 3 / 4 of them",
        "see https://hub.example/org/model/blob/x.py",
        "<s> hello </s>",
        "./relative/path.py and ../other/path.py and src/main.py",
        "hf_quantizer.preprocess_model(model, hf_device_map)",
        "RuntimeError: expected [2, 3], got [3, 2]",
    ],
)
def test_keeps(text):
    assert scrub(text) == text


def test_harmless_values_of_suspicious_variables_stay(monkeypatch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("KEYMAP", "us")
    assert scrub("use_cache is false for us") == "use_cache is false for us"


@given(st.text(), st.lists(WORD, min_size=2), st.sampled_from([" ", "=", "(", "\n", ": ", '"']))
def test_no_directory_survives(before, parts, opening):
    directory = "/" + "/".join(parts[:-1]) + "/"
    assert directory not in scrub(f"{before}{opening}/{'/'.join(parts)}")


@given(st.text(), SECRET, st.text(), st.sampled_from(["A_TOKEN", "api_key", "DbPassword"]))
def test_no_secret_survives(before, secret, after, name):
    os.environ[name] = secret
    try:
        assert secret not in scrub(before + secret + after)
    finally:
        del os.environ[name]


@given(st.text(), st.sampled_from(["janedoe7", "JaneDoe7", "nodule9", "nodule9.cluster.example"]))
def test_no_name_survives(text, name):
    assert name.lower() not in scrub(f"{text} {name} {text}").lower()


@given(PIECES | st.text(st.characters(exclude_categories=())))
def test_any_text_comes_out_encodable_and_without_the_secret(text):
    clean = scrub(text)
    clean.encode("utf-8")
    assert "correct-horse/battery+staple" not in clean
