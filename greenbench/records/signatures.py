"""Signatures of records by ssh keys, made and checked by OpenSSH's own ssh-keygen, as git's are.

https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from greenbench.errors import UserError

NAMESPACE: Final = "greenbench"
"""What a signature is for: one made for mail or a commit is none of a record."""
UNSIGNED: Final = "It is not signed."


def signature_of(record: Path) -> Path:
    """Where the signature of that file is, or will be."""
    return record.with_name(f"{record.name}.sig")


def sign(records: Sequence[Path], key: Path) -> None:
    """Leave a signature by `key` beside each file. Raises UserError where that cannot be."""
    if not key.is_file():
        raise UserError(f"There is no key {key}: give a private key of ssh, as ~/.ssh/id_ed25519.")
    for record in records:
        signature_of(record).unlink(missing_ok=True)  # ssh-keygen would ask whether to
        said = _asked("-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(key), str(record))
        if said.returncode:
            raise UserError(f"{record} cannot be signed ({_why(said)}): see that the key is yours.")


class Signers:
    """Whose signatures are asked for: a file as ssh's ``allowed_signers``, a name and a public key a line."""

    def __init__(self, allowed: Path) -> None:
        """Raises UserError where the file is not there, or names nobody."""
        try:
            lines = allowed.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"The signers in {allowed} cannot be read: give a file like ssh's allowed_signers."
            ) from error
        if not any(line.strip() and not line.startswith("#") for line in lines):
            raise UserError(f"{allowed} names no signer: a line is a name and a public key of ssh.")
        self._allowed = str(allowed)

    def refusal(self, record: Path) -> str | None:
        """Why it does not pass for signed by one of them, in one sentence; null: it does."""
        signature = signature_of(record)
        if not signature.is_file():
            return UNSIGNED
        about = ("-s", str(signature), "-f", self._allowed)
        found = _asked("-Y", "find-principals", *about)
        name = found.stdout.partition("\n")[0].partition(",")[0].strip()
        if found.returncode or not name:
            return "It is signed by none of the signers."
        with record.open("rb") as content:
            checked = _asked("-Y", "verify", "-n", NAMESPACE, "-I", name, *about, stdin=content)
        return (
            None if checked.returncode == 0 else f"Its signature does not hold ({_why(checked)})."
        )


def _asked(
    *words: str, stdin: IO[bytes] | int = subprocess.DEVNULL
) -> subprocess.CompletedProcess[str]:
    """What ssh-keygen says. Raises UserError where it is not there."""
    command = ["ssh-keygen", *words]
    try:
        return subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UserError("Signatures need ssh-keygen: install OpenSSH's client.") from None


def _why(said: subprocess.CompletedProcess[str]) -> str:
    lines = said.stderr.strip().splitlines() or said.stdout.strip().splitlines()
    return lines[-1].rstrip(".\r ") if lines else "ssh-keygen gives no reason"
