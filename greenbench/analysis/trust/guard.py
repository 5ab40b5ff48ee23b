"""One record that no one has foreseen does not end the analysis of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from greenbench.errors import UserError
from greenbench.records.store import Rejected
from greenbench.schema.record import Record
from greenbench.wording import plain

Found = TypeVar("Found")


def guarded(
    records: Sequence[Record], analyse: Callable[[list[Record], list[Rejected]], Found]
) -> Found:
    """What `analyse` makes of `records` and of those that are left out, as it fails on them.

    Which those are is only looked for where it does. It has no other effect than its answer. A UserError
    is an answer too; what fails without any record is raised.
    """
    kept, failed = list(records), list[Rejected]()
    while True:
        try:
            return analyse(kept, failed)
        except UserError:
            raise
        except Exception:
            if not kept:
                raise
            broken = _broken(kept, partial(_beside, analyse, failed))
            failed = [
                *failed,
                *(Rejected(plain(f"{kept[at].key}.json", 80), why) for at, why in broken.items()),
            ]
            kept = [record for place, record in enumerate(kept) if place not in broken]


class Analysed(list[Found]):
    """What came of records, and in `rejected` those that it fails on, each with the reason."""

    rejected: Sequence[Rejected] = ()


def analysed(
    records: Sequence[Record], analyse: Callable[[list[Record]], Iterable[Found]]
) -> Analysed[Found]:
    """What `analyse` makes of the records that it does not fail on."""
    found, failed = guarded(records, lambda kept, failed: (Analysed(analyse(kept)), failed))
    found.rejected = failed
    return found


def of_both(
    first: Sequence[Record],
    second: Sequence[Record],
    analyse: Callable[[list[Record], list[Record]], Iterable[Found]],
) -> Analysed[Found]:
    """The same of two sides, which may hold one record both."""
    others = [record.model_copy() for record in second]
    theirs = {id(record) for record in others}

    def apart(kept: list[Record]) -> Iterable[Found]:
        mine = [record for record in kept if id(record) not in theirs]
        return analyse(mine, [record for record in kept if id(record) in theirs])

    return analysed([*first, *others], apart)


def _beside(
    analyse: Callable[[list[Record], list[Rejected]], object],
    failed: list[Rejected],
    records: list[Record],
) -> None:
    analyse(records, failed)


def _broken(records: list[Record], analyse: Callable[[list[Record]], object]) -> dict[int, str]:
    """Places of the records that fail by themselves; else of the first that does after those before it."""
    alone = {
        place: why
        for place, record in enumerate(records)
        if (why := _failure([record], analyse)) is not None
    }
    if alone:
        return alone
    sound, most = 0, len(records)
    while most - sound > 1:
        middle = (sound + most) // 2
        if _failure(records[:middle], analyse) is None:
            sound = middle
        else:
            most = middle
    return {sound: _failure(records[:most], analyse) or "It cannot be analysed beside others."}


def _failure(records: list[Record], analyse: Callable[[list[Record]], object]) -> str | None:
    try:
        analyse(records)
    except UserError:
        return None
    except Exception as error:
        return not_analysed(error)
    return None


def not_analysed(error: Exception) -> str:
    """The sentence on a record that `error` came of."""
    why = plain(f"{type(error).__name__}: {error}", 160).rstrip(".")
    return f"It cannot be analysed ({why})."
