"""Energy labels A to G: the class of a run's energy ratio, or why it gets none."""

from __future__ import annotations

from typing import NamedTuple

from greenbench.analysis.groups.rows import Row
from greenbench.analysis.yardstick import SOLVED, in_energy
from greenbench.wording import plain

VERSION = 1
BANDS = (("A", 0.40), ("B", 0.55), ("C", 0.70), ("D", 0.85), ("E", 1.02), ("F", 1.50))
"""Upper ends of the energy ratio to the run's own baseline; above the last: G. Fixed in a version."""
MARGIN_POINTS = 3.0  # of quality that a labelled run may be shown to lose at most


class Label(NamedTuple):
    """A letter, or none and the reason."""

    letter: str
    reason: str


def band(ratio: float) -> str:
    """The band that an energy ratio lies in."""
    return next((letter for letter, upper in BANDS if ratio <= upper), "G")


def label(row: Row) -> Label:
    """The run's label, within its model, task, workload and device class; by joules per solved problem where
    answers were graded, else by joules per token.

    Withheld where joules are estimated, the tier claims nothing, the run is invalid, the interval
    spans two bands, or a loss of quality beyond the margin is not excluded.
    """
    yardstick = in_energy([row])
    ratio = row.ratio(yardstick.metric)
    interval, change = ratio.bounds, row.change.bounds
    letters = sorted({band(end) for end in interval or ()})
    tier = row.record.spec.protocol.tier
    obstacles = {
        f"no interval: {plain(ratio.reason)}": interval is None,
        "joules are estimated": not ratio.is_measured,
        f"tier {tier} makes no claims": tier not in {"dev", "publish"},
        "the run is invalid": row.record.validity == "invalid",
        f"a loss of over {MARGIN_POINTS:g} points of quality is not excluded": change is None
        or change[0] < -MARGIN_POINTS,
        f"the interval spans {' and '.join(letters)}": len(letters) > 1,
    }
    found = next((reason for reason, present in obstacles.items() if present), None)
    if found or ratio.value is None:
        return Label("", found or "no energy ratio")
    per = " per solved problem" if yardstick is SOLVED else ""
    return Label(letters[0], f"energy ratio{per} {ratio.value:.2f}, scale version {VERSION}")
