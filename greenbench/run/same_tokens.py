"""Whether two models speak in the same tokens."""

from __future__ import annotations

from greenbench.engines.engine import Build
from greenbench.engines.transformers.load import load_tokenizer
from greenbench.errors import UserError


def require_one_vocabulary(key: str, one: Build, other: Build) -> None:
    """The same ids must be the same tokens: what is asked is ids."""
    first, second = (
        load_tokenizer(each.model, each.directory).get_vocab() for each in (one, other)
    )
    if first != second:
        raise UserError(
            f"{key}: {one.model.name} and {other.model.name} differ in "
            f"{len(set(first.items()) ^ set(second.items()))} entries of their vocabularies; choose one of "
            "the same family."
        )
