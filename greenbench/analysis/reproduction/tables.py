"""Published tables as data: what was measured, by whom, on what, and with idle power counted or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import exp, hypot
from pathlib import Path
from typing import Any, Final, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from greenbench.errors import UserError
from greenbench.schema.metrics import (
    ENERGY_PER_ANSWER,
    ENERGY_PER_TOKEN,
    TOKENS_PER_S,
    Metric,
    PublishedRatio,
)
from greenbench.schema.quantity import Boundary, Part
from greenbench.schema.ranges import require_choice
from greenbench.stats.intervals import Interval, t_quantile
from greenbench.wording import plain

FOLDER: Final = Path(__file__).parent / "tables"
METRICS: Final[Mapping[str, Metric]] = {
    each.ratio: each for each in (ENERGY_PER_TOKEN, TOKENS_PER_S, ENERGY_PER_ANSWER)
}
"""What tables may be of, by the names of the ratios."""
Basis = Literal["gross", "net"]
"""Joules with the idle power of the time counted, or above it."""


class Source(Part):
    """Where a table was published."""

    title: str
    authors: str
    year: int
    link: str
    where: str
    """Its table, figure or file."""
    seen: str
    """The text that its numbers were read in."""


class Published(Part):
    """One number of a table, and what it holds for. Null: not told there."""

    metric: PublishedRatio
    unit: str = ""
    """Of a level, the metric's own; empty: it is a ratio."""
    basis: Basis = "gross"
    """Of joules."""
    boundary: Boundary = "gpu"
    """What joules cover."""
    model: str
    """As the hub calls it."""
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    against: str | None = None
    """The model that it is set against; null: the same, without the technique."""
    device: str
    """As its maker calls it, with the number of several: ``8 x NVIDIA H100``."""
    engine: str
    engine_version: str | None = None
    arrivals: Literal["closed", "concurrent"]
    batch: int | None = None
    """Requests answered at once."""
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    technique: str | None = None
    """By our name for it; null: none."""
    knobs: dict[str, Any] = Field(default_factory=dict)
    """Of the technique, that must be the same; those that no row names must be as by default."""
    needs: dict[str, Any] = Field(default_factory=dict)
    """Of the technique, that only a run needs."""
    before: float | None = Field(None, gt=0)
    """Without the technique, or of the model that it is set against."""
    after: float = Field(gt=0)
    """With it; where nothing stands before, the number itself."""
    before_sd: float = Field(0.0, ge=0)
    """Standard deviation over repeats, as of the two below."""
    after_sd: float = Field(0.0, ge=0)
    sd: float = Field(0.0, ge=0)
    """Of the ratio, or of the level."""
    n: int = Field(1, ge=1)
    """Repeats."""
    derived: str | None = None
    """How the numbers were drawn from others of the table."""
    origin: str | None = None
    """Another source than the table's."""
    apart: str | None = None
    """Why no run of ours measures the same."""
    doubt: str | None = None
    """What a reader of the number must know."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.technique and self.against:
            raise ValueError("a row has a technique, or another model that it is set against")
        if bool(self.unit) is (self.technique is not None or self.against is not None):
            raise ValueError("a level has a unit and no technique, and a ratio has no unit")
        if self.unit and self.unit != self.of.unit:
            raise ValueError(f"a level of {self.metric} has the unit {self.of.unit}")
        if self.of is ENERGY_PER_ANSWER and not self.technique:
            raise ValueError(
                "energy_per_answer is compared with a technique and without, and in no other way"
            )
        if (self.before_sd or self.after_sd or self.sd) and self.n < 2:
            raise ValueError("a standard deviation needs n, the number of repeats")
        return self

    @property
    def of(self) -> Metric:
        """What it is a number of."""
        return METRICS[self.metric]

    @property
    def value(self) -> float:
        """The ratio, or the level."""
        return self.after / (self.before or 1.0)

    @property
    def interval(self) -> Interval:
        """With the 95 % t interval of its repeats' logarithms, where they were published."""
        spread = hypot(self.before_sd / (self.before or 1.0), self.after_sd / self.after)
        relative = self.sd / self.value or spread
        if not relative:
            return Interval(self.value, None, None, self.n, "no spread was published")
        half = t_quantile(self.n) * relative / self.n**0.5
        return Interval(self.value, self.value * exp(-half), self.value * exp(half), self.n)


class Table(Part):
    """A published table."""

    name: str
    claims: str
    """What it says, in a sentence."""
    source: Source
    rows: list[Published] = Field(min_length=1)


def names() -> list[str]:
    """Of all tables that come with GreenBench."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def table(name: str) -> Table:
    """The one of that name, or of that file. Raises UserError."""
    if name.endswith((".yaml", ".yml")):
        return read(Path(name))
    require_choice(name, "table", names())
    return read(FOLDER / f"{name}.yaml")


def read(path: Path) -> Table:
    """A table of a file. Raises UserError, in one sentence."""
    try:
        found = yaml.safe_load(path.read_text())
        rows = list(_spread(found["common"], found["rows"]))
        return Table(name=path.stem, claims=found["claims"], source=found["source"], rows=rows)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): name a table, or its file."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{path} is no table: {place or 'a row'}: {plain(first['msg'])} (docs/reproduce.md has its keys)."
        ) from error
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is no table ({plain(error, 120)}): it needs claims, source, common and rows."
        ) from error


def _spread(common: Mapping[str, Any], rows: list[dict[str, Any]]) -> Iterator[Published]:
    """Each row with what it shares with others; rows may hold rows."""
    for row in rows:
        own = dict(row)
        inner = own.pop("rows", None)
        if inner is None:
            yield Published.model_validate({**common, **own})
        else:
            yield from _spread({**common, **own}, inner)
