"""Who takes part in a race: techniques with their knobs, and stacks of them, by engine and batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple

from greenbench.campaign.catalog import experiments, refuse_rivals
from greenbench.campaign.compose import Job, plan
from greenbench.campaign.invocation import BenchSpec, Where
from greenbench.campaign.overrides import each_value
from greenbench.errors import Unavailable, UserError
from greenbench.stats.contenders import Entry

PLACES: Final = ("engine", "workload.batch_size")
"""What may be swept beside techniques: engines with their knobs, and batches."""
REFUSED: Final = {
    "session": "each round is a session of its own",
    "sessions": "each round is a session of its own",
    "force": "what was measured is taken up, so that a race that was stopped goes on",
}
USUAL: Final = {"cpu": ("frontier-cpu",), "cuda": ("frontier-gpu", "engines-gpu")}
"""The sweeps whose techniques take part where none are named."""


class Part(NamedTuple):
    """One technique of a stack, with its knobs."""

    name: str
    knobs: tuple[str, ...]
    """Overrides."""

    def __str__(self) -> str:
        short = (knob.split(".", 2)[2] for knob in self.knobs)
        return f"{self.name}({', '.join(short)})" if self.knobs else self.name


class Field(NamedTuple):
    """The candidates, and how each is asked for."""

    fixed: list[str]
    """Overrides of all runs."""
    parts: Mapping[str, Part]
    places: Mapping[str, tuple[str, ...]]
    entries: list[Entry]
    """Those that begin, and then stacks as they are found."""
    jobs: Mapping[str, Job]
    """By place, the run of the baseline against itself."""
    config_dir: Path | None = None

    def words(self, entry: Entry) -> list[str]:
        """The overrides of its runs."""
        chosen = [self.parts[each] for each in entry.parts]
        stack = (
            f"technique=[{','.join(part.name for part in chosen)}]" if chosen else "technique=none"
        )
        knobs = [knob for part in chosen for knob in part.knobs]
        return [*self.fixed, *self.places[entry.place], stack, *knobs]

    def label(self, entry: Entry) -> str:
        """What it is called."""
        stack = " + ".join(entry.parts) or "the baseline"
        return f"{stack}, {entry.place}" if len(self.places) > 1 else stack

    def stacked(self, base: Entry, part: Entry) -> Entry | None:
        """`part` on top of `base` or, where that cannot be, below it; null where neither can."""
        for first, then in ((base, part), (part, base)):
            parts = tuple(dict.fromkeys((*first.parts, *then.parts)))
            if len({self.parts[each].name for each in parts}) < len(parts):
                return None
            known = (each for each in self.entries if set(each.parts) == set(parts))
            entry = next((each for each in known if each.place == base.place), None)
            if entry is None and self._can_be(Entry(parts, base.place)):
                entry = Entry(parts, base.place)
                self.entries.append(entry)
            if entry is not None:
                return entry
        return None

    def _can_be(self, entry: Entry) -> bool:
        try:
            self._plan(entry)
        except UserError:
            return False
        return True

    def _plan(self, entry: Entry) -> list[Job]:
        return plan(self.words(entry), multirun=False, config_dir=self.config_dir)

    def refusal(self, entry: Entry) -> str | None:
        """What is said against its runs before they begin."""
        from greenbench.run.preflight import refuse

        try:
            for job in self._plan(entry):
                refuse_rivals(job.overrides)
                refuse(job.spec)
        except UserError as error:
            return str(error)
        return None


def field(overrides: Sequence[str], config_dir: Path | None = None) -> Field:
    """Of overrides, as ``bench --multirun`` takes them. Raises UserError, one sentence, for a mistake."""
    techniques, knobs, swept, fixed = _sorted(overrides)
    places = {" ".join(each): each for each in product(*swept)} if swept else {"": ()}

    def planned(*words: str) -> Job:
        return plan([*fixed, *words], multirun=False, config_dir=config_dir)[0]

    jobs = {place: planned("technique=none", *words) for place, words in places.items()}
    named = techniques or _usual(next(iter(jobs.values())).spec)
    owners = _owners(named, knobs, planned)
    units = [unit for text in named for unit in _units(text, knobs, owners)]
    parts = {str(part): part for unit in units for part in unit}
    entries = [Entry(tuple(map(str, unit)), place) for place in places for unit in units]
    found = Field(fixed, parts, places, list(dict.fromkeys(entries)), jobs, config_dir)
    for entry in found.entries if techniques else ():
        plan(
            found.words(entry), multirun=False, config_dir=config_dir
        )  # says what is wrong with it
    if not found.entries:
        raise UserError(
            "technique=none alone is no race: name two techniques or more, or none of them."
        )
    return found


def _sorted(
    overrides: Sequence[str],
) -> tuple[list[str], dict[str, list[list[str]]], list[list[str]], list[str]]:
    """Techniques; by technique, each of its knobs once for each value; what is swept; all else."""
    techniques: list[str] = []
    knobs: dict[str, list[list[str]]] = {}
    swept, fixed = [], []
    for text in overrides:
        key = text.lstrip("+").partition("=")[0]
        if key in REFUSED:
            raise UserError(f"{text} has no part in a race, as {REFUSED[key]}: leave it out.")
        root, *inside = key.split(".")
        values = each_value(text)
        if key == "technique":
            techniques = values
        elif root == "technique":
            knobs.setdefault(inside[0], []).append(values)
        elif len(values) == 1:
            fixed.append(text)
        elif key in PLACES or root == "engine":
            swept.append(values)
        else:
            raise UserError(
                f"{text} asks for several values, and a race chooses among techniques, their knobs, "
                "engines and batch sizes: name one."
            )
    return techniques, knobs, swept, fixed


def _names(text: str) -> list[str]:
    """The options of one value of ``technique=``, ``none`` left out."""
    names = [name.strip() for name in text.partition("=")[2].strip("[]").split(",")]
    return [name for name in names if name != "none"]


def _owners(
    named: Sequence[str], knobs: Mapping[str, object], planned: Callable[[str], Job]
) -> dict[str, str]:
    """By option the technique whose knobs it takes: its own name, unless it is a variant of one.

    Raises UserError for a knob of none of them.
    """
    names = dict.fromkeys(name for text in named for name in _names(text))
    if set(knobs) <= set(names):
        return {name: name for name in names}
    owners = {name: next(iter(planned(f"technique={name}").spec.technique), name) for name in names}
    if unused := sorted(set(knobs) - set(owners.values())):
        raise UserError(
            f"A knob of {unused[0]} is set, and {unused[0]} is no candidate: name it too, as in "
            f"technique={unused[0]}."
        )
    return owners


def _units(
    text: str, knobs: Mapping[str, list[list[str]]], owners: Mapping[str, str]
) -> Iterator[tuple[Part, ...]]:
    """What one value of ``technique=`` stands for: a stack for each combination of its knobs' values."""
    each = [
        [Part(name, some) for some in product(*knobs.get(owners[name], ()))]
        for name in _names(text)
    ]
    if each:
        yield from product(*each)


def _usual(spec: BenchSpec) -> list[str]:
    """The techniques of the frontier's sweeps on such a device. Raises UserError where it is not known."""
    from omegaconf import OmegaConf

    device = spec.device
    if device == "auto" and spec.launcher.where is not Where.local:
        raise UserError(
            f"What runs on {spec.launcher.where.value}'s machines hangs on their device, which is not known "
            "here: name techniques (technique=A,B), or say device=cuda or device=cpu."
        )
    kind = "cuda" if device.startswith("cuda") or gpus_of(device) else "cpu"
    found = experiments()
    read = [OmegaConf.load(found[name]).hydra.sweeper.params.technique for name in USUAL[kind]]
    return list(dict.fromkeys(one for text in read for one in each_value(f"technique={text}")))


def gpus_of(device: str) -> list[str]:
    """UUIDs of the GPUs that a run on `device` may use, without starting CUDA; none on a CPU."""
    from greenbench.machine.gpus import visible_uuids

    try:
        return [] if device == "cpu" else visible_uuids()
    except Unavailable:
        return []
