"""What can be run here and what that takes: looked up in a process of its own, which loads torch and a GPU's
context and takes both away again, as a server that kept them would disturb what is measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from greenbench.campaign.bench import Asked, foreseen
from greenbench.campaign.launch.local import Workers
from greenbench.errors import UserError
from greenbench.schema.ranges import require_choice

if TYPE_CHECKING:
    from greenbench.campaign.listing import Foreseen

LIMIT_S = 300.0
SHOWN = 50
"""Runs of a sweep, at most."""


def apart(workers: Workers, function: Callable[..., Any], *args: object) -> Any:
    """What ``function(*args)`` says in a process of its own. Raises UserError where it does, or cannot be."""
    outcome = workers.call(
        _said, function, *args,
        time_limit_s=LIMIT_S, log_path=None, on_progress=lambda progress: None,
    )  # fmt: skip
    if outcome.failure is not None:
        raise UserError(outcome.failure.message)
    if isinstance(outcome.value, UserError):
        raise outcome.value
    return outcome.value


def _said(function: Callable[..., Any], *args: object, progress: object) -> Any:
    """A mistake is an answer: as a failure its sentence would be cut."""
    try:
        return function(*args)
    except UserError as error:
        return error


def machine(subject: str | None) -> dict[str, Any]:
    """What works here by name and what does not, with the reason; of one `subject` all that is said."""
    from greenbench.doctor.examine import SUBJECTS, examine  # loads torch, as all that looks around

    if subject is not None:
        require_choice(subject, "subject", SUBJECTS)
    found = examine()
    around = found["machine"]
    facts = {
        "greenbench": around["greenbench"],
        "device": around["device"]["device"],
        "device_name": around["device"]["device_name"],
        "cpu": around["cpu"]["name"],
    }
    if subject is not None:
        return facts | {subject: found[subject]}
    return facts | {name: _in_short(found[name]) for name in SUBJECTS}


def _in_short(said: dict[str, str]) -> dict[str, Any]:
    from greenbench.doctor.runnable import OK

    works = [name for name, text in said.items() if text.startswith(OK)]
    return {"ok": works, "not": {name: text for name, text in said.items() if name not in works}}


def estimate(asked: Asked) -> dict[str, Any]:
    """What each run that is `asked` for will take; nothing is run. Raises UserError."""
    from greenbench.campaign.listing import in_all  # as above

    found = foreseen(asked)
    return {
        "in_all": in_all(found),
        "runs_to_measure": sum(each.refused is None for each in found),
        "runs": [_run(each) for each in found[:SHOWN]],
        "runs_left_out": max(0, len(found) - SHOWN),
    }


def _run(found: Foreseen) -> dict[str, Any]:
    named = {"model": found.job.spec.model.name, "name": found.label}
    if found.forecast is None:
        return named | {"refused": str(found.refused)}
    seconds, power_w, basis, estimated = found.forecast
    energy_j = None if power_w is None else seconds * power_w
    return named | {
        "seconds": seconds,
        "energy_j": energy_j,
        "energy_is_an_estimate": estimated,
        "basis": basis,
    }
