"""What must not leak into a record: paths, names of people and machines, tokens and secrets."""

from __future__ import annotations

import getpass
import os
import re
import socket
from collections.abc import Iterator
from contextlib import suppress

_named: set[str] = set()
HIDDEN = "***"
SECRET_NAME = re.compile("TOKEN|KEY|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
SECRET_MIN_LENGTH = 4
NO_SECRETS = {"true", "false", "none", "null"}  # as in TOKENIZERS_PARALLELISM=false
TOKEN = re.compile(
    r"""\b(?:hf_(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{6,}  # hf_quantizer is code, not a token
    |(?:hf|npm|pypi)_[A-Za-z0-9]{16,}
    |gh[a-z]_[A-Za-z0-9]{6,}
    |github_pat_\w+
    |(?:sk|glpat|xox[a-z])-[\w-]{6,}
    |AKIA[A-Z0-9]{12,}
    |eyJ[\w-]{10,}(?:\.[\w-]+)*)
    |(?i:\bbearer\s+)[\w.~+/-]{6,}=*
    |(?<=://)[^\s/@]+(?=@)""",
    re.VERBOSE,
)
PART = r"[^\s/\"'`<>:,;|]"
ABSOLUTE_PATH = re.compile(
    rf"""(?P<url>(?<![a-z0-9+.-])(?!file:)[a-z][a-z0-9+.-]*://[^\s"'`<>,;=]*)
    |(?!(?<=<)/\w+>)  # </s>
    (?:(?<![\w/~])(?<!(?<!\w)\.)|(?<=-[A-Z])|(?<=\\[nrt]))  # not J/token nor ./a, but -I/a and \n/a
    (?:~[\w.-]*)?(?:/+{PART}+)*/+(?P<last>{PART}+)/*""",
    re.VERBOSE,
)
QUOTED_PATH = re.compile(r"""(?P<quote>["'`])~?/[^"'`\n]*?(?P<last>[^"'`/\n]+)/*(?P=quote)""")


def scrub(text: str) -> str:
    """`text`, encodable as UTF-8, without what tells about its machine's owner.

    Removes the values of environment variables that are named like secrets or as such, what looks like a
    token, the home directory, user and host names. Of an absolute path the last component stays.
    """
    text = hide(text)
    text = TOKEN.sub(HIDDEN, text)
    text = re.sub(rf"(?<!\w){re.escape(_home())}(?![\w.-])", "~", text)
    text = QUOTED_PATH.sub(r"\g<quote>\g<last>\g<quote>", text)
    text = ABSOLUTE_PATH.sub(lambda match: match["url"] or match["last"], text)
    for name in _names():
        text = re.sub(rf"(?<![^\W_])(?:{name})(?![^\W_])", HIDDEN, text, flags=re.IGNORECASE)
    return text


def hide(text: str) -> str:
    """`text`, encodable as UTF-8, without the values of environment variables that hold secrets."""
    text = _encodable(text)
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def name_secret(variable: str) -> None:
    """This environment variable holds a secret, whatever it is called."""
    _named.add(variable)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _secrets() -> Iterator[str]:
    """Values that may be secrets; shorter ones would shred the text and are none."""
    for name, value in os.environ.items():
        is_word = len(value) < SECRET_MIN_LENGTH or value.lower() in NO_SECRETS
        is_secret = name in _named or SECRET_NAME.search(name)
        if is_secret and not is_word:
            yield _encodable(value)


def _home() -> str:
    return os.path.expanduser("~").rstrip("/") or "~"


def _names() -> Iterator[str]:
    """Patterns of the user's and the host's names, the host with its domain."""
    with suppress(KeyError, OSError):  # a user id without a name, as in some containers
        yield re.escape(getpass.getuser())
    if home := os.path.basename(_home()).strip("~"):
        yield re.escape(home)
    if host := socket.gethostname().partition(".")[0]:
        yield rf"{re.escape(host)}(?:\.[\w-]+)*"
