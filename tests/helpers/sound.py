"""Records as runs of today leave them: their numbers follow from their windows and items."""

from __future__ import annotations

from typing import Any

from greenbench.analysis.conclusions import code
from greenbench.analysis.trust.restated import restated
from greenbench.records.calls import rebuilt
from greenbench.schema.record import Record
from greenbench.schema.spec import TIERS
from greenbench.schema.window import Window
from helpers import answers, campaign, graded, load_windows

WATTS: dict[Any, float] = {"baseline": 40.0, "candidate": 20.0}
MOST: dict[Any, float] = {"baseline": 4.0, "candidate": 6.0}


def sound(record: Record) -> Record:
    """`record` with the numbers of its windows, as the code of today draws them."""
    fields = {"conclusions": code(), "command": rebuilt(record.command)}
    return restated(lasting(record)).model_copy(update=fields)


def lasting(record: Record) -> Record:
    """`record` with windows of blocks that last as long as its tier promises."""
    least_s, _ = TIERS[record.spec.protocol.tier]

    def longer(window: Window) -> Window:
        if window.block is None:
            return window
        return window.model_copy(update={"end_s": max(window.end_s, window.start_s + least_s)})

    return record.model_copy(update={"windows": [longer(window) for window in record.windows]})


def run(name: str = "saver", ratio: float = 0.7, **changes: Any) -> Record:
    """A sound run on the imaginary GPU."""
    return sound(campaign.run(name, ratio, **changes))


def of_every_kind() -> dict[str, Record]:
    """Runs with all that can be drawn from windows and items."""
    by_difficulty = campaign.run("prompt_lookup", 0.8)
    windows = [*by_difficulty.windows, *answers.campaign()]
    quality = [*by_difficulty.quality, answers.score("a", [6.0, 5.0, 4.0, 3.0, 2.0, 1.0])]
    update = {
        "windows": windows,
        "quality": quality,
        "difficulty": answers.difficulty(answers.campaign()),
    }
    found = {
        "closed": campaign.run("saver", 0.7),
        "ten blocks": campaign.run("publish", 0.7, tier="publish"),
        "flagged": campaign.run("capped", 0.8, validity="flagged", codes=["power_capped"]),
        "estimated": campaign.run(
            "x", 0.7, meters={"estimate": ("cpu_package", "estimated:model", 1.0)}
        ),
        "graded": graded.run(),
        "load": load_windows.at_rates(WATTS, MOST),
        "difficulty": by_difficulty.model_copy(update=update),
    }
    return {name: sound(record) for name, record in found.items()}
