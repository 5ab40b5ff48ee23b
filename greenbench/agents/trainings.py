"""What runs that trained say to an agent: recipes by joules to a loss, apart from all that serves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from greenbench.analysis.training.table import by_budget, of_place
from greenbench.report.markdown.training import as_document
from greenbench.schema.record import Record

MOST: Final = 12
"""Budgets that are told."""


def trained(records: Sequence[Record], *, model: str = "", device: str = "") -> dict[str, Any]:
    """They, of models and devices whose names hold these; nothing where nothing was trained."""
    budgets = of_place(by_budget(records), model=model, device=device)
    return {"trainings": as_document(budgets[:MOST])} if budgets else {}
