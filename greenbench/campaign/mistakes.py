"""What Hydra and OmegaConf say over many lines, in one sentence with the key and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException, ValidationError

from greenbench.errors import UserError


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn every mistake in an override or a file of values into a UserError."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error)) from error


def explain(error: Exception) -> str:
    """The sentence for one error."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        allowed = sorted(set(error.options or ()) - {"schema"})
        return f"{group}={option} is unknown: allowed are {', '.join(allowed) or 'none'}."
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override} cannot be read: an override is KEY=VALUE or GROUP=OPTION, "
            "in quotes where it has brackets."
        )
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if isinstance(cause, ValidationError):
        said = str(error).partition("override ")[2].partition("\n")[0] or str(cause.full_key)
        why = str(cause.msg or cause).splitlines()[0]
        return f"{said} is not allowed for {cause.full_key}: {why}."
    if isinstance(cause, OmegaConfBaseException) and isinstance(cause, AttributeError | KeyError):
        return f"{cause.full_key} is not a key of the configuration: {_allowed_keys(cause)}."
    lines = (line.strip() for line in str(error).splitlines() if "http" not in line)
    text = re.sub(r"\s+", " ", "; ".join(filter(None, lines))) or type(error).__name__
    return f"{text.rstrip('.')}: an override is KEY=VALUE or GROUP=OPTION."


def _allowed_keys(error: OmegaConfBaseException) -> str:
    parent = error.parent_node
    keys = (
        sorted({str(key) for key in parent} - {"hydra"}) if isinstance(parent, DictConfig) else []
    )
    if not keys:
        return "nothing is allowed here, choose its group first"
    return f"allowed here are {', '.join(keys)}"
