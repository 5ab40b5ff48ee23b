"""What an agent can ask for. Each method is a tool: its docstring and its annotations are all that the agent
reads about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from greenbench.agents import outlook, reading
from greenbench.agents.background import Background
from greenbench.agents.places import Places
from greenbench.campaign.bench import Asked
from greenbench.campaign.catalog import GROUPS, comment, experiments, options
from greenbench.campaign.command import in_grammar
from greenbench.campaign.launch.local import Workers
from greenbench.campaign.overrides import require_harmless
from greenbench.errors import UserError

Results = Annotated[
    str | None, Field(description="A results directory of this server; null: its first.")
]
Key = Annotated[str | None, Field(description="A run's key, or its first digits.")]
Limit = Annotated[float | None, Field(description="At most so much; null: no limit.")]
Country = Annotated[str | None, Field(description="Such as FRA, USA or WORLD.")]
Model = Annotated[str, Field(description="Only models whose name holds this.")]
Device = Annotated[str, Field(description="Only devices whose name holds this.")]
Overrides = Annotated[
    list[str],
    Field(
        description="What to run, as GROUP=OPTION and KEY=VALUE, such as technique=int8_bnb, "
        "model=smollm2-135m, protocol=quick, task.items=50 or +experiments=smoke."
    ),
]
Multirun = Annotated[
    bool, Field(description="Run every combination of values, as of technique=none,int8_bnb.")
]
RunId = Annotated[str, Field(description="As start and status name it.")]
DISTURB = "looking at the machine would disturb it"


class Tools:
    """All tools; a server offers those that change something only where its user allows it."""

    def __init__(self, places: Places, workers: Workers, config_dir: Path | None = None) -> None:
        self._places, self._workers, self._config_dir = places, workers, config_dir
        self.background = Background(places)

    def doctor(
        self,
        subject: Annotated[
            str | None,
            Field(description="Such as techniques, engines, meters: all that is said about it."),
        ] = None,
    ) -> dict[str, Any]:
        """Say what this machine can measure and run, and why not the rest. Takes some seconds."""
        self.background.require_rest(DISTURB)
        found: dict[str, Any] = outlook.apart(self._workers, outlook.machine, subject)
        return found

    def techniques(self) -> dict[str, Any]:
        """List techniques, and the other options that overrides are made of, each with a few words."""
        beside = [self._config_dir] if self._config_dir else []
        found: dict[str, Any] = {group: options(group, beside) for group in GROUPS}
        return found | {
            "+experiments": {name: comment(path) for name, path in experiments().items()}
        }

    def estimate(
        self, overrides: Overrides, multirun: Multirun = False, results: Results = None
    ) -> dict[str, Any]:
        """Say how long runs would take and how many joules, or why one cannot be measured here. Nothing is
        fetched for it."""
        self.background.require_rest(DISTURB)
        _, folder = self._places.named(results)
        return self._estimated(self._asked(overrides, multirun, folder))

    def results(
        self,
        results: Results = None,
        run: Key = None,
        raw: Annotated[
            bool, Field(description="With its windows and items, which take 50 kB or more.")
        ] = False,
    ) -> dict[str, Any]:
        """Read what was measured: the answer for each group of comparable runs and their numbers in short.

        Ratios are to each run's own baseline: below 1 takes less. With `run`, its record, of whose raw
        readings only the number is told unless `raw`.
        """
        _, folder = self._places.named(results)
        return reading.overview(folder) if run is None else reading.one(folder, run, raw)

    def advise(
        self,
        results: Results = None,
        quality_loss_points: Annotated[
            float, Field(description="Points of accuracy that may be lost.")
        ] = 1.0,
        token_ms: Limit = None,
        first_token_ms: Limit = None,
        memory_gb: Limit = None,
        requests_per_day: Annotated[
            float | None, Field(description="To say what is saved in a year.")
        ] = None,
        rate_per_s: Annotated[
            float | None, Field(description="Requests per second, in its place.")
        ] = None,
        ttft_ms: Limit = None,
        tpot_ms: Limit = None,
        country: Country = None,
        model: Model = "",
        device: Device = "",
    ) -> dict[str, Any]:
        """Choose the run that saves the most energy and is shown to keep the limits, if one is."""
        limits = {
            "quality_loss": quality_loss_points,
            "token_ms": token_ms,
            "first_token_ms": first_token_ms,
            "memory_gb": memory_gb,
            "requests_per_day": requests_per_day,
            "rate": rate_per_s,
            "ttft_ms": ttft_ms,
            "tpot_ms": tpot_ms,
        }
        _, folder = self._places.named(results)
        return reading.advice(folder, _given(limits), _impact(country), model, device)

    def devices(
        self,
        rate_per_s: Annotated[float, Field(description="Requests per second to be served.")],
        results: Results = None,
        ttft_ms: Limit = None,
        tpot_ms: Limit = None,
        country: Country = None,
        model: Model = "",
        device: Device = "",
    ) -> dict[str, Any]:
        """Say how many devices serve a rate within limits, with each technique and without, and what they
        draw; of runs under load at rates."""
        limits = {"rate": rate_per_s, "ttft_ms": ttft_ms, "tpot_ms": tpot_ms}
        _, folder = self._places.named(results)
        return reading.devices(folder, _given(limits), _impact(country), model, device)

    def compare(
        self,
        a: Results = None,
        b: Results = None,
        run_a: Key = None,
        run_b: Key = None,
        fail_on: Annotated[
            list[str] | None,
            Field(description="Limits, such as energy>+3%, time>+5% or quality<-1 (points)."),
        ] = None,
    ) -> dict[str, Any]:
        """Say what changed from A to B: of the runs that two directories share, or from run to run."""
        before, after = (
            reading.records(self._places.named(results)[1], key)
            for results, key in ((a, run_a), (b, run_b))
        )
        return reading.changes(before, after, fail_on or [])

    def status(
        self,
        run: Annotated[
            str | None, Field(description="As start names it; null: the last ones.")
        ] = None,
    ) -> dict[str, Any]:
        """Say how far the runs are that were started in the background, and what they have left by now."""
        return {"started": self.background.status(run)}

    def start(
        self, overrides: Overrides, multirun: Multirun = False, results: Results = None
    ) -> dict[str, Any]:
        """Start to measure, in the background, one call's runs at a time. Ask status how far it is.

        It goes on when this server ends: a later one on the same directory sees it and can stop it. What
        is measured already is not measured again.
        """
        self.background.require_rest("two at once would disturb each other")
        name, folder = self._places.named(results)
        asked = self._asked(overrides, multirun, folder)
        expected = self._estimated(asked)
        if not expected["runs_to_measure"]:
            raise UserError(expected["runs"][0]["refused"])
        return {**self.background.start(name, folder, asked), "expected": expected["in_all"]}

    def stop(self, run: RunId) -> dict[str, Any]:
        """Stop a run that was started in the background; what is measured by then is kept."""
        return self.background.stop(run)

    def _asked(self, overrides: list[str], multirun: bool, folder: Path) -> Asked:
        """What to run, its records in `folder`. Raises UserError for what is not for an agent to say."""
        require_harmless(overrides)
        where = f"results={in_grammar(str(folder))}"
        return Asked([*overrides, where], multirun, self._config_dir)

    def _estimated(self, asked: Asked) -> dict[str, Any]:
        found: dict[str, Any] = outlook.apart(self._workers, outlook.estimate, asked)
        return found


def _given(limits: Mapping[str, float | None]) -> dict[str, float]:
    return {name: most for name, most in limits.items() if most is not None}


def _impact(country: str | None) -> list[str]:
    return [f"country={country}"] if country else []
