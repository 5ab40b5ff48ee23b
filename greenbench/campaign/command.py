"""The command that runs a job again, with nothing private in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from hydra.core.override_parser.types import Override, Quote, QuotedString

from greenbench.campaign.compose import Job, plain, plan
from greenbench.campaign.invocation import BenchSpec
from greenbench.schema.knobs import default
from greenbench.schema.spec import USUAL_ENGINE, RunSpec
from greenbench.scrub import scrub

APART = ("results", "force", "launcher", "devices", "device_groups", "neighbours", "sessions")
"""What only said where the record goes, where the run runs, beside how many, and how often."""


def command(job: Job, exact: BenchSpec) -> str:
    """The command that asks for the run `exact`, as `job` asked for it.

    A hub's branch gives way to its commit. Files of the user's ``--config-dir`` give way to the values
    in them, as whoever reads the record has no such directory.
    """
    asked = job.overrides if job.config_dir is None else list(_spelt_out(job.spec))
    settled = dict(_changes(_values(job.spec), _values(exact)))
    kept = [text for text in without(asked, *APART) if text.partition("=")[0] not in settled]
    said = [*kept, *(f"{key}={value}" for key, value in settled.items())]
    return scrub(shlex.join(["greenbench", "bench", *said]))


def without(overrides: Sequence[str], *roots: str) -> list[str]:
    """The overrides but those of these keys, and of the keys in them."""
    return [text for text in overrides if re.split("[=.]", text.lstrip("+"))[0] not in roots]


def _spelt_out(spec: BenchSpec) -> Iterator[str]:
    """All that makes `spec` of the defaults."""
    if spec.technique:
        yield f"technique=[{','.join(spec.technique)}]"
    usual = _values(plan([f"engine={spec.engine.name}"], multirun=False)[0].spec)
    if spec.engine.name != USUAL_ENGINE:
        yield f"engine={spec.engine.name}"
    usual["technique"] = {name: _defaults(each) for name, each in spec.technique.items()}
    for key, value in _changes(usual, _values(spec)):
        yield f"{key}={value}"


def _values(spec: BenchSpec) -> dict[str, Any]:
    return {field.name: plain(getattr(spec, field.name)) for field in fields(RunSpec)}


def _defaults(technique: Any) -> dict[str, Any]:
    """What its knobs are where no one says otherwise."""
    known = {knob.name: default(knob) for knob in fields(technique)}
    return {name: plain(value) for name, value in known.items() if value is not MISSING}


def _changes(
    before: Mapping[str, Any], after: Mapping[str, Any], within: str = ""
) -> Iterator[tuple[str, str]]:
    """Keys whose values differ, and the new values in Hydra's grammar."""
    for name, value in after.items():
        old = before.get(name, MISSING)
        if isinstance(value, dict) and isinstance(old, dict):
            yield from _changes(old, value, f"{within}{name}.")
        elif old is MISSING or value != old:
            yield f"{within}{name}", in_grammar(value)


def in_grammar(value: Any) -> str:
    """A plain value as an override takes it."""
    return Override._get_value_element_as_str(_quoted(value))


def _quoted(value: Any) -> Any:
    match value:
        case str():
            plain_word = value.replace("_", "").replace("-", "").isalnum() and value[0].isalpha()
            reserved = value.lower() in ("null", "true", "false", "inf", "nan")
            return value if plain_word and not reserved else QuotedString(value, Quote.single)
        case list():
            return [_quoted(each) for each in value]
        case dict():
            return {name: _quoted(each) for name, each in value.items()}
    return value
