"""What disturbed a run: codes that only several windows together show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from statistics import median
from typing import TypeAlias

from greenbench.analysis.blocks import valid_blocks
from greenbench.analysis.energy.energy_by_meter import GUESSED, WHOLE, disjoint
from greenbench.analysis.readings import ANSWERED, joules
from greenbench.schema.codes import validity
from greenbench.schema.spec import TIERS
from greenbench.schema.window import POWER_CAP, WHO, Who, Window
from greenbench.stats.intervals import paired_ratio

CLOCK_CHANGE = 1.05
_Kind: TypeAlias = tuple[str, str, float | None]
_Pair: TypeAlias = tuple[str | int | float | None, ...]


def with_clock_codes(windows: Sequence[Window]) -> list[Window]:
    """The windows, ``clock_change`` on those whose median SM clock is over 5 % off their like's, and
    ``clock_apart`` on two that a block pairs whose clocks' ratio is over 5 % off that of most blocks.

    Like are the windows of one model in one phase, at one load: a technique or a load may change the
    clock, a run may not. Between requests that arrive by themselves a device may well rest: no two of
    those are apart.
    """
    usual: dict[_Kind, float] = {}
    for kind in {_kind(w) for w in windows if w.place}:
        clocks = [c for w in windows if _kind(w) == kind and (c := _clock(w))]
        usual[kind] = median(clocks) if clocks else 0.0
    apart = _apart(windows)
    return [_clocked(w, usual.get(_kind(w)), apart) for w in windows]


def _apart(windows: Sequence[Window]) -> set[_Pair]:
    pairs: defaultdict[_Pair, dict[str, float]] = defaultdict(dict)
    for window in windows:
        if (pair := _pair(window)) and (clock := _clock(window)) and not window.traffic:
            pairs[pair][window.who] = clock
    ratios = {
        pair: both["candidate"] / both["baseline"] for pair, both in pairs.items() if len(both) > 1
    }
    alike: defaultdict[_Pair, list[float]] = defaultdict(list)
    for pair, ratio in ratios.items():
        alike[pair[1:]].append(ratio)
    return {pair for pair, ratio in ratios.items() if _is_off(ratio, median(alike[pair[1:]]))}


def _clocked(window: Window, usual: float | None, apart: Collection[_Pair]) -> Window:
    if _is_off(_clock(window), usual):
        window = _coded(window, "clock_change")
    return _coded(window, "clock_apart") if _pair(window) in apart else window


def _is_off(value: float | None, usual: float | None) -> bool:
    if not value or not usual:
        return False
    return max(value, usual) > CLOCK_CHANGE * min(value, usual)


ABOVE_WALL, ABOVE_WALL_HIGH = 0.05, 0.10


def with_wall_codes(windows: Sequence[Window]) -> list[Window]:
    """The windows, ``above_wall`` on those in which the parts' counters add up to more than the wall meter.

    Nothing in a machine draws what does not come through its plug: such a counter, or the join of both
    clocks, is wrong. A window of fewer than `TICKS` rows of the wall's log says nothing.
    """
    return [_coded(w, code) if (code := _above_wall(w)) else w for w in windows]


def _above_wall(window: Window) -> str | None:
    walls = [span for span in window.energy if span.boundary == WHOLE]
    parts = [span for span in disjoint(window.energy) if span.provenance not in GUESSED]
    if not walls or not parts:
        return None
    wall_s = walls[0].end_s - walls[0].start_s
    if wall_s < TICKS * walls[0].tick_s:
        return None
    wall_w = (walls[0].end_j - walls[0].start_j) / wall_s
    parts_w = sum((span.end_j - span.start_j) / (span.end_s - span.start_s) for span in parts)
    if parts_w > (1 + ABOVE_WALL_HIGH) * wall_w:
        return "above_wall_high"
    return "above_wall" if parts_w > (1 + ABOVE_WALL) * wall_w else None


def _kind(window: Window) -> _Kind:
    return window.who, window.phase, window.place.load if window.place else None


def _pair(window: Window) -> _Pair | None:
    """What the two windows that a block pairs have in common, the block's number first."""
    place = window.place
    if place is None:
        return None
    return place.unit, place.series, place.bin, place.load, place.task, window.phase


def _clock(window: Window) -> float | None:
    clocks = [mhz for mhz in window.trace.sm_mhz if mhz] if window.trace else []
    return median(clocks) if clocks else None


def _coded(window: Window, code: str) -> Window:
    codes = sorted({*window.codes, code})
    return window.model_copy(update={"codes": codes, "validity": validity(codes)})


DRIFT, DRIFT_HIGH = 0.02, 0.10


def drift_codes(windows: Sequence[Window]) -> list[str]:
    """``drift`` or ``drift_high``: the baseline's last windows against its first, where in turn."""
    mine = [w for w in windows if w.who == "baseline" and w.phase in ANSWERED and w.tokens]
    quarter = len(mine) // 4
    if not quarter:
        return []
    per_token = [(joules(w) or w.end_s - w.start_s) / w.tokens for w in mine]
    change = abs(paired_ratio(per_token[:quarter], per_token[-quarter:]).value - 1)
    return ["drift_high"] if change > DRIFT_HIGH else ["drift"] if change > DRIFT else []


def run_codes(windows: Sequence[Window], tier: str, settled: bool) -> list[str]:
    """Codes of a whole run: those of its blocks' and its answers' windows, and what only the whole shows."""
    mine = [w for w in windows if w.block is not None]
    answers = [w for w in windows if w.phase == "solve"]
    found = {code for w in (*mine, *answers) if w.validity == "flagged" for code in w.codes}
    kept = len({w.block for w in valid_blocks(windows)})
    if kept < max(TIERS[tier][1], 1):
        found |= {"too_few_blocks", *(code for w in mine for code in w.codes)}
    found |= _capped_apart(windows)
    found |= {"unsettled"} if not settled else set()
    return sorted(found)


def capped(windows: Sequence[Window], who: Who) -> float | None:
    """Share of the time in which the power limit held a model's clocks back; null where it is not known.

    Most GPUs that work hard are held back by it: that is how they are, and no fault.
    """
    mine = [w.trace.throttle for w in windows if w.who == who and w.block is not None and w.trace]
    known = [bits for throttle in mine for bits in throttle if bits is not None]
    return sum(bool(bits & POWER_CAP) for bits in known) / len(known) if known else None


def _capped_apart(windows: Sequence[Window]) -> set[str]:
    """``power_capped``: for one model and not for the other."""
    shares = [capped(windows, who) for who in WHO]
    if None in shares:
        return set()
    return {"power_capped"} if abs(shares[0] - shares[1]) > CAPPED_APART else set()  # type: ignore[operator]


CAPPED_APART = 0.1
TICKS = 10  # a window of fewer ticks is wrong by over 10 %
